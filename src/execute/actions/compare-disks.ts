/**
 * The disks on the attached replica, held against the recovery point: by location, which is how an import finds them,
 * then by uuid and size; and what else is there, by which another volume or an older state of it gives itself away.
 */
import { OperatorError } from '../../domain/errors.ts';
import type { DiskName } from '../../domain/plan.ts';
import type { PoolFacts, VdiFacts } from '../../domain/pool.ts';
import { formatBytes, formatDuration, secondsBetween } from '../../domain/time.ts';
import type { ActionOf, ActResult, StepContext } from '../handlers.ts';
import { findDisk } from './disks.ts';
import { listed, type World } from './world.ts';

type Comparison = ActionOf<'compare-disks'>;
/** Something that is to be said of one disk. */
interface Remark {
  readonly disk: DiskName;
  readonly reason: string;
}

/**
 * A disk that is missing costs the VMs that use it, which are named and left out by the import; only when none is there
 * is the SR the wrong one. Another size or uuid is told, for what the replica holds is whole in itself; so are disks that
 * the point does not know.
 */
export async function compareDisks(
  world: World,
  action: Comparison,
  context: StepContext,
): Promise<ActResult> {
  const hypervisor = await world.hypervisor(action.site);
  const pool = await hypervisor.observe(context.signal);
  const missing = action.disks.flatMap((disk) => missingOf(pool, action, disk));
  const changed = action.disks.flatMap((disk) => changedOf(pool, action, disk));
  const surplus = surplusOf(pool, action);
  if (missing.length > 0 && missing.length === action.disks.length)
    throw nothingOfThePoint(pool, action, missing, surplus);
  const foreign = looksForeign(action, missing, surplus);
  return {
    output: {
      compared: action.disks.length,
      missing: missing.map(({ disk, reason }) => ({
        uuid: disk.uuid,
        nameLabel: disk.nameLabel,
        reason,
        vms: [...disk.usedBy],
      })),
      surplus: surplus.map(({ uuid, nameLabel }) => ({ uuid, nameLabel })),
    },
    warnings: [...foreign, ...missing.map(said), ...changed.map(said)],
    partial: missing.length > 0,
  };
}

const said = ({ disk, reason }: Remark): string =>
  `disk ${disk.nameLabel || disk.uuid} of ${listed(disk.usedBy)} ${reason}`;

function missingOf(pool: PoolFacts, action: Comparison, disk: DiskName): Remark[] {
  const found = findDisk(pool, action.srUuid, disk.location);
  if (found?.missing === false) return [];
  if (found !== undefined)
    return [{ disk, reason: 'is not on the replica: the SR has its record, and no data for it' }];
  const elsewhere = pool.vdis.find((vdi) => vdi.uuid === disk.uuid && !vdi.missing);
  if (elsewhere === undefined) return [{ disk, reason: `is not on the replica${ageOf(action)}` }];
  const where =
    elsewhere.srUuid === action.srUuid
      ? `under location ${elsewhere.location}, and the recovery point says ${disk.location}`
      : `on SR ${nameOf(pool, elsewhere.srUuid)} of the same pool`;
  return [{ disk, reason: `is not on the replica where an import looks for it: it is ${where}` }];
}

/** Whether the disk may have been made after the replica's point (skew), or must have been there. */
function ageOf({ against }: Comparison): string {
  if (against === undefined || against.replicaTakenAt === null) return '';
  const skewSeconds = secondsBetween(against.replicaTakenAt, against.pointTakenAt);
  return skewSeconds > 0
    ? `, which is ${formatDuration(skewSeconds)} older than the recovery point: it may have been made in between`
    : ', which is no older than the recovery point: it was deleted since, or the replica is not whole';
}

function changedOf(pool: PoolFacts, { srUuid }: Comparison, disk: DiskName): Remark[] {
  const found = findDisk(pool, srUuid, disk.location);
  if (found === undefined || found.missing) return [];
  const remarks: Remark[] = [];
  if (found.virtualSize !== disk.virtualSize)
    remarks.push({
      disk,
      reason: `has ${formatBytes(found.virtualSize)} (${found.virtualSize}) on the replica, the recovery point says ${formatBytes(disk.virtualSize)} (${disk.virtualSize}): it was resized in between`,
    });
  // ISO files and LUNs without metadata of their own get a new uuid whenever they are introduced (xapi.md 7.8).
  if (found.uuid !== disk.uuid && disk.location === disk.uuid)
    remarks.push({
      disk,
      reason: `has uuid ${found.uuid} on the replica, and the recovery point says ${disk.uuid}: the VM gets what lies at its location`,
    });
  return remarks;
}

/** Disks that no VM of the point uses and that the point does not know otherwise. */
function surplusOf(pool: PoolFacts, { srUuid, disks, against }: Comparison): VdiFacts[] {
  const known = new Set([...disks.map(({ location }) => location), ...(against?.others ?? [])]);
  return pool.vdis.filter(
    (vdi) =>
      vdi.srUuid === srUuid && vdi.managed && !vdi.missing && !vdi.isASnapshot && !known.has(vdi.location),
  );
}

/** More strangers than acquaintances: it may be another volume, or one that was filled anew. */
function looksForeign(
  { srUuid, disks }: Comparison,
  missing: readonly Remark[],
  surplus: readonly VdiFacts[],
): string[] {
  const there = disks.length - missing.length;
  if (missing.length <= there || surplus.length <= there) return [];
  return [
    `SR ${srUuid} holds ${there} of ${disks.length} disks of the recovery point, and ${surplus.length} that it does not know: look whether the right volume, and the right point of it, was promoted`,
  ];
}

function nothingOfThePoint(
  pool: PoolFacts,
  { site, srUuid, disks, against }: Comparison,
  missing: readonly Remark[],
  surplus: readonly VdiFacts[],
): OperatorError {
  const others = new Set(against?.others);
  const acquainted = pool.vdis.filter((vdi) => vdi.srUuid === srUuid && others.has(vdi.location)).length;
  const content =
    surplus.length > 0
      ? `it holds ${surplus.length} disks that the recovery point does not know, such as ${listed(surplus.map(({ nameLabel, uuid }) => nameLabel || uuid))}: it is another volume, or a much older state of this one`
      : acquainted > 0
        ? `it holds ${acquainted} disks of the recovery point that no VM uses: it is an older state of the volume, or its disks were deleted`
        : 'it holds no disk at all: it is an empty volume, or its content was not replicated';
  return new OperatorError({
    code: 'DR-DISKS-MISSING',
    what: `None of the ${disks.length} disks of the recovery point is usable on SR ${srUuid}`,
    where: { site, object: `SR ${srUuid}` },
    known: [content, ...missing.slice(0, 10).map(said)],
    next: 'Check that the right volume was promoted and exposed, then resume the run',
  });
}

function nameOf(pool: PoolFacts, srUuid: string): string {
  return pool.srs.find((sr) => sr.uuid === srUuid)?.nameLabel ?? srUuid;
}
