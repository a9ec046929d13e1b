/**
 * A recovery point as a new date on the metadata backup's disk, through XenAPI alone: read, added to on a private copy,
 * only what changed sent back, and read again. A write that breaks off is taken back, or told.
 */
import { backupLayout, backupMark, backupVdiMark, nextBackupDate } from '../../domain/backup-vdi.ts';
import { OperatorError, problemOf } from '../../domain/errors.ts';
import type { PoolFacts, Uuid, VdiFacts } from '../../domain/pool.ts';
import type { RecoveryPoint } from '../../domain/recovery-point.ts';
import { formatSrMeta } from '../../metadata/srmeta.ts';
import type {
  BackupContents,
  BackupImage,
  BackupImages,
  BackupToWrite,
  BackupWritten,
} from '../../ports/backup-vdi.ts';
import type { Catalog } from '../../ports/catalog.ts';
import type { Hypervisor } from '../../ports/hypervisor.ts';
import type { ActionOf, ActResult, StepContext } from '../handlers.ts';
import { backupDiskOf, backupImagesOf, isBeingMade, makeBackupDisk } from './backup-disk.ts';
import { send, type Tools } from './backup-send.ts';
import type { World } from './world.ts';

type Wanted = ActionOf<'write-backup'>;

export async function writeBackup(world: World, action: Wanted, context: StepContext): Promise<ActResult> {
  const { signal } = context;
  const images = backupImagesOf(world);
  const hypervisor = await world.hypervisor(action.site);
  const catalog = await world.catalog();
  const point = await catalog.read(action.pointId, signal);
  const pool = await hypervisor.observe(signal);
  const disk = backupDiskOf(pool, action.sr);
  const vdi = disk?.uuid ?? (await makeBackupDisk(hypervisor, action.sr, action.bytes, signal));
  const bytes = disk?.virtualSize ?? (await sizeOf(hypervisor, vdi, signal));
  const tools: Tools = { images, hypervisor, vdi, signal };
  const held = new Held(images);
  try {
    const there = held.add(await images.receive(await hypervisor.exportRawVdi(vdi, signal), bytes, signal));
    const base = held.add((await images.undone(vdi, there, signal)) ?? there);
    const contents = await contentsToKeep(images, { disk, base, pool: point.poolUuid }, signal);
    const already = contents?.dates.find(({ provenance }) => provenance?.pointId === action.pointId);
    if (already !== undefined && base === there)
      return await marked(world, tools, action, { date: already.name, bytesSent: 0 }, []);
    const { tree, warnings } = treeFor(
      { action, vdi, point, pool, contents, now: world.clock.now() },
      catalog,
      signal,
    );
    const written =
      contents === null ? await images.build(bytes, tree, signal) : await images.append(base, tree, signal);
    held.add(written.image);
    const bytesSent = await send(tools, { there, base, to: written.image });
    return await marked(world, tools, action, { date: tree.date, bytesSent, written }, warnings);
  } finally {
    await held.release();
  }
}

/**
 * What the disk holds; null where it is to be made anew. Of one whose first write never came to its end, only a host's
 * script or another pool can have made more than a part of a file system.
 */
async function contentsToKeep(
  images: BackupImages,
  { disk, base, pool }: { readonly disk: VdiFacts | null; readonly base: BackupImage; readonly pool: Uuid },
  signal: AbortSignal,
): Promise<BackupContents | null> {
  if (disk === null || (await images.filled(base, signal)).length === 0) return null;
  if (!isBeingMade(disk)) return images.contents(base, signal);
  try {
    const contents = await images.contents(base, signal);
    return contents.dates.some(({ provenance }) => provenance?.pool.uuid !== pool) ? contents : null;
  } catch (error) {
    if (!neverWhole.has(problemOf(error)?.code ?? '')) throw error;
    return null;
  }
}

const neverWhole: ReadonlySet<string> = new Set(['DR-BACKUP-DAMAGED', 'DR-BACKUP-NOT-A-BACKUP']);

/** Images that go when the step ends, however it ends. */
class Held {
  readonly #images: BackupImages;
  readonly #all = new Set<BackupImage>();

  constructor(images: BackupImages) {
    this.#images = images;
  }

  add(image: BackupImage): BackupImage {
    this.#all.add(image);
    return image;
  }

  async release(): Promise<void> {
    for (const image of this.#all) await this.#images.release(image);
  }
}

/** An SR may make a disk larger than it was asked for. */
async function sizeOf(hypervisor: Hypervisor, vdi: Uuid, signal: AbortSignal): Promise<number> {
  const made = (await hypervisor.observe(signal)).vdis.find(({ uuid }) => uuid === vdi);
  if (made !== undefined) return made.virtualSize;
  throw new OperatorError({
    code: 'DR-BACKUP-WRONG-DISK',
    what: 'The disk that was made for the metadata backup is not there any more',
    where: { site: hypervisor.site, object: `disk ${vdi}` },
    next: 'Run the export again; look at the log of the SR if it vanishes again',
  });
}

interface TreeInput {
  readonly action: Wanted;
  readonly vdi: Uuid;
  readonly point: RecoveryPoint;
  readonly pool: PoolFacts;
  readonly contents: BackupContents | null;
  readonly now: string;
}

function treeFor(
  { action, vdi, point, pool, contents, now }: TreeInput,
  catalog: Catalog,
  signal: AbortSignal,
): { readonly tree: BackupToWrite; readonly warnings: readonly string[] } {
  const { date, aheadOf } = nextBackupDate(
    (contents?.dates ?? []).map(({ name }) => name),
    now,
  );
  const carried = new Set(point.vms.map(({ uuid }) => uuid));
  const srOf = new Map(pool.vdis.map((disk) => [disk.uuid, disk.srUuid]));
  const links = pool.vms
    .filter(({ uuid }) => carried.has(uuid))
    .flatMap(({ uuid: vm, vbds }) => {
      const srs = vbds.flatMap(({ vdiUuid, empty }) =>
        vdiUuid === null || empty ? [] : (srOf.get(vdiUuid) ?? []),
      );
      return [...new Set(srs)].map((sr) => ({ sr, vm }));
    });
  const { database } = point;
  return {
    tree: {
      vdi,
      pool: point.poolUuid,
      date,
      srMeta: new TextEncoder().encode(storageNames(action, point, pool)),
      documents: point.vms.map(({ uuid, document }) => ({
        vm: uuid,
        sha256: document.sha256,
        archive: () => catalog.get(document, signal),
      })),
      links,
      provenance: {
        format: 1,
        by: 'lifeboat',
        pool: { uuid: point.poolUuid, nameLabel: point.poolName },
        group: point.group,
        pointId: point.id,
        takenAt: point.takenAt,
        documents: Object.fromEntries(point.vms.map(({ uuid, document }) => [uuid, document.sha256])),
      },
      database:
        database === null || action.dumps === 0
          ? null
          : (async function* () {
              yield await catalog.get(database, signal);
            })(),
      history: action.history,
      dumps: action.dumps,
    },
    warnings: [
      ...(aheadOf === null
        ? []
        : [
            `date ${aheadOf} on the disk lies in the future: scripts take it for the newest. Next: correct the clock of the host that wrote it, and remove that date`,
          ]),
      ...(database === null && action.dumps > 0
        ? ['the point holds no dump of the database, so the backup has none of it either']
        : []),
    ],
  };
}

/**
 * Only the SRs that travel: the host's script stops giving names back at the first SR that it does not find where it
 * restores (xapi.md 5.6), and those of one site are never all at the other.
 */
function storageNames({ sr: carrier }: Wanted, point: RecoveryPoint, pool: PoolFacts): string {
  const replicated = new Set([carrier.uuid, ...point.replication.map(({ srUuid }) => srUuid)]);
  const srs = pool.srs.filter(({ uuid }) => replicated.has(uuid));
  return formatSrMeta(
    srs.map((sr) => ({ ...sr, vdis: pool.vdis.filter((disk) => disk.srUuid === sr.uuid && disk.managed) })),
  );
}

interface Outcome {
  readonly date: string;
  readonly bytesSent: number;
  readonly written?: BackupWritten;
}

/** The mark tells the next plan when it was written, and people which date. */
async function marked(
  world: World,
  { hypervisor, vdi, signal }: Tools,
  { sr, pointId }: Wanted,
  { date, bytesSent, written }: Outcome,
  warnings: readonly string[],
): Promise<ActResult> {
  await hypervisor.setVdiOtherConfig(vdi, backupVdiMark, backupMark(date, world.clock.now()), signal);
  return {
    output: {
      sr: sr.nameLabel,
      vdi,
      date,
      directory: `${backupLayout.dates}/${date}`,
      pointId,
      bytesSent,
      documentsWritten: written?.documentsWritten ?? 0,
      documentsLinked: written?.documentsLinked ?? 0,
      removedDates: [...(written?.removedDates ?? [])],
      usedPercent: written === undefined ? null : Math.round(written.usedShare * 100),
    },
    warnings,
  };
}
