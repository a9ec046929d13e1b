/**
 * The host's own `xe-backup-metadata`, over SSH on the master. Its exit code and words say little (xapi.md 5.3): the disk is
 * read afterwards, and only a new date that holds every VM of the group counts.
 */
import type { NamedSr } from '../../domain/actions/moving.ts';
import { backupFullShare, backupMark, backupVdiMark } from '../../domain/backup-vdi.ts';
import { OperatorError } from '../../domain/errors.ts';
import type { HostFacts, PoolFacts } from '../../domain/pool.ts';
import { parseArchiveTolerantly } from '../../metadata/document.ts';
import type { BackupContents, BackupImages, BackupTree } from '../../ports/backup-vdi.ts';
import type { Dom0, ScriptEnd } from '../../ports/dom0.ts';
import type { Hypervisor } from '../../ports/hypervisor.ts';
import type { ActionOf, ActResult, StepContext } from '../handlers.ts';
import { backupDiskOf, backupImagesOf } from './backup-disk.ts';
import { listed, sentenceOf, type World } from './world.ts';

type Wanted = ActionOf<'run-backup-script'>;

/** One to two seconds per VM on a host (xapi.md 5.7), and the disk has to be attached and checked before. */
const secondsPerVm = 3;
const secondsBeside = 300;

export function scriptSeconds(vmsInPool: number): number {
  return secondsBeside + secondsPerVm * vmsInPool;
}

export async function runBackupScript(
  world: World,
  action: Wanted,
  context: StepContext,
): Promise<ActResult> {
  const { signal } = context;
  const images = backupImagesOf(world);
  const dom0 = dom0Of(world);
  const hypervisor = await world.hypervisor(action.site);
  const pool = await hypervisor.observe(signal);
  const before = await contentsOf(images, hypervisor, pool, action.sr, signal);
  assertNoForeignHistory(action, pool, before);
  const master = masterOf(pool, action.site);
  const end = await dom0.backupMetadata(
    action.site,
    master,
    { sr: action.sr.uuid, keep: action.history, timeoutSeconds: scriptSeconds(action.vmsInPool) },
    signal,
  );
  assertItSays(end, action, master);
  const seen = await newDate(images, hypervisor, { action, end, before }, signal);
  const now = world.clock.now();
  await hypervisor.setVdiOtherConfig(seen.vdi, backupVdiMark, backupMark(seen.tree.date, now), signal);
  return {
    output: {
      sr: action.sr.nameLabel,
      vdi: seen.vdi,
      date: seen.tree.date,
      host: master.nameLabel,
      documents: seen.tree.documents.length,
      dates: seen.contents.dates.length,
      usedPercent: Math.round(seen.contents.usedShare * 100),
    },
    warnings: roomWarnings(action.sr, seen.contents),
  };
}

export function dom0Of(world: World): Dom0 {
  if (world.dom0 !== undefined) return world.dom0;
  throw new Error('this program was put together without control domains');
}

export function masterOf(pool: PoolFacts, site: string): HostFacts {
  const master = pool.hosts.find(({ uuid }) => uuid === pool.masterUuid);
  if (master !== undefined) return master;
  throw new OperatorError({
    code: 'DR-BACKUP-NO-MASTER',
    what: 'The pool does not say which host is its master',
    where: { site },
    next: 'Look at the pool with `xe pool-list params=master`, then export again',
  });
}

/** What is on the disk before: null where there is none yet, or nothing that could be read. */
async function contentsOf(
  images: BackupImages,
  hypervisor: Hypervisor,
  pool: PoolFacts,
  sr: NamedSr,
  signal: AbortSignal,
): Promise<BackupContents | null> {
  const disk = backupDiskOf(pool, sr);
  if (disk === null) return null;
  const image = await images.receive(
    await hypervisor.exportRawVdi(disk.uuid, signal),
    disk.virtualSize,
    signal,
  );
  try {
    if ((await images.filled(image, signal)).length === 0) return null;
    return await images.contents(image, signal);
  } finally {
    await images.release(image);
  }
}

/** `-k` counts dates whoever wrote them: the history of another pool would go (xapi.md 5.8). */
function assertNoForeignHistory(action: Wanted, pool: PoolFacts, before: BackupContents | null): void {
  if (before === null || before.dates.length < action.history) return;
  const others = [
    ...before.databases.map(({ pool: owner }) => owner),
    ...before.dates.flatMap(({ provenance }) => provenance?.pool.uuid ?? []),
  ].filter((owner) => owner !== pool.uuid);
  if (others.length === 0) return;
  throw new OperatorError({
    code: 'DR-BACKUP-FOREIGN-HISTORY',
    what: `The host's script would prune dates of another pool on SR ${action.sr.nameLabel}`,
    where: { site: action.site },
    known: [
      `${before.dates.length} dates are there, ${action.history} would stay`,
      `pools ${listed([...new Set(others)])} have written to the disk`,
      'nothing was run',
    ],
    next: `Use method: xenapi, which prunes only dates of its own; or set history to ${before.dates.length + 1} or more; or copy the disk away first with \`xe vdi-copy\``,
  });
}

function assertItSays(end: ScriptEnd, { site, sr, history }: Wanted, master: HostFacts): void {
  if (end.code === 0) return;
  const said = `${end.stdout}\n${end.stderr}`;
  const percent = Number(/space usage: *(\d+) *%/i.exec(said)?.[1] ?? 0);
  const where = { site, object: `host ${master.nameLabel}` };
  const known = [
    end.code === null ? 'a signal ended it' : `it ended with exit code ${end.code}`,
    ...lastWords(said),
  ];
  if (end.code === 127)
    throw new OperatorError({
      code: 'DR-BACKUP-SCRIPT-ABSENT',
      what: `Host ${master.nameLabel} has no xe-backup-metadata`,
      where,
      known,
      next: 'Use method: xenapi for this group, or put the script back from the packages of the host',
    });
  if (percent > backupFullShare * 100)
    throw new OperatorError({
      code: 'DR-BACKUP-FULL',
      what: `The disk of the metadata backup on SR ${sr.nameLabel} is full`,
      where,
      known: [`${percent} % are used, and the script stops at ${backupFullShare * 100} %`, ...known],
      next: `Lower history (now ${history}): the script prunes only after it has found room, so remove old dates by hand once (runbook of this code)`,
    });
  throw new OperatorError({
    code: 'DR-BACKUP-SCRIPT',
    what: `xe-backup-metadata failed on host ${master.nameLabel}`,
    where,
    known,
    next: 'Run it by hand there with -v; a file system that was left unclean is mended by its next run, a full SR is not',
  });
}

function lastWords(said: string): string[] {
  const lines = said.split('\n').map((line) => line.trim());
  return lines.filter((line) => line !== '').slice(-4);
}

interface Ran {
  readonly action: Wanted;
  readonly end: ScriptEnd;
  readonly before: BackupContents | null;
}

/** The date that was not there before, whole. */
async function newDate(
  images: BackupImages,
  hypervisor: Hypervisor,
  { action, end, before }: Ran,
  signal: AbortSignal,
): Promise<{ readonly vdi: string; readonly tree: BackupTree; readonly contents: BackupContents }> {
  const pool = await hypervisor.observe(signal);
  const disk = backupDiskOf(pool, action.sr);
  const lies = (known: readonly string[]): OperatorError => unproven(action, end, known);
  if (disk === null)
    throw lies([
      'there is no disk with the uuid that a metadata backup of this SR has; hosts before xapi 24.13 give it any',
    ]);
  const image = await images.receive(
    await hypervisor.exportRawVdi(disk.uuid, signal),
    disk.virtualSize,
    signal,
  );
  try {
    const contents = await images.contents(image, signal);
    const old = new Set(before?.dates.map(({ name }) => name));
    const date = contents.dates.findLast(({ name }) => !old.has(name))?.name;
    if (date === undefined)
      throw lies([
        `the disk holds no date that was not there before; the newest is ${contents.dates.at(-1)?.name ?? 'none'}`,
      ]);
    const tree = await images.read(image, date, signal);
    const wrong = [...wrongIn(tree, action), ...wrongDump(contents, pool)];
    if (wrong.length > 0) throw lies([`date ${date} is there, and not whole`, ...wrong]);
    return { vdi: disk.uuid, tree, contents };
  } finally {
    await images.release(image);
  }
}

function wrongIn(tree: BackupTree, { vms }: Wanted): string[] {
  const archives = new Map(tree.documents.map(({ vm, archive }) => [vm, archive]));
  const missing = vms.filter(({ uuid }) => !archives.has(uuid)).map(({ nameLabel }) => nameLabel);
  const broken = vms.flatMap(({ uuid, nameLabel }) => {
    const archive = archives.get(uuid);
    if (archive === undefined) return [];
    const problem = problemIn(archive, uuid);
    return problem === null ? [] : [`${nameLabel}: ${problem}`];
  });
  return [
    ...(missing.length === 0 ? [] : [`no document of ${listed(missing)}`]),
    ...broken.slice(0, 5),
    ...(tree.srMeta === null ? ['the names of SRs and disks (SRMETA.xml) are missing'] : []),
  ];
}

function problemIn(archive: Uint8Array, vm: string): string | null {
  try {
    const { document } = parseArchiveTolerantly(archive);
    return document.vms.some(({ uuid }) => uuid === vm) ? null : 'its document is of another VM';
  } catch (error) {
    return sentenceOf(error);
  }
}

function wrongDump({ databases }: BackupContents, pool: PoolFacts): string[] {
  const newest = databases.find(({ pool: owner, generation }) => owner === pool.uuid && generation === 0);
  return newest === undefined || newest.bytes === 0 ? ['the dump of the pool database is missing'] : [];
}

function unproven({ site, sr }: Wanted, end: ScriptEnd, known: readonly string[]): OperatorError {
  return new OperatorError({
    code: 'DR-BACKUP-UNPROVEN',
    what: `xe-backup-metadata says that it is done, and SR ${sr.nameLabel} does not have the backup`,
    where: { site },
    known: [...known, ...lastWords(end.stdout).slice(-1)],
    next: 'Run the script by hand on the master with -v; or use method: xenapi, which names every VM that cannot be saved',
  });
}

/** Told early, since the script prunes only after it has found room. */
const tightShare = 0.8;

function roomWarnings(sr: NamedSr, { usedShare }: BackupContents): string[] {
  if (usedShare <= tightShare) return [];
  return [
    `the disk of the metadata backup on SR ${sr.nameLabel} is ${Math.round(usedShare * 100)} % full, and the script stops at ${backupFullShare * 100} %. Next: lower history`,
  ];
}
