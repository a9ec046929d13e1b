/** The disks on the attached replica: compared with the recovery point, and given their names back. */
import { OperatorError } from '../../domain/errors.ts';
import type { DiskName } from '../../domain/plan.ts';
import type { PoolFacts, VdiFacts } from '../../domain/pool.ts';
import { formatBytes } from '../../domain/time.ts';
import type { ActionOf, ActResult, StepContext, Verdict } from '../handlers.ts';
import { inParallel, listed, type World } from './world.ts';

const renamesAtOnce = 4;

/**
 * Looks for every disk of the point. A disk that is missing costs the VMs that use it, which are named and left out by
 * the import; only when none is there is the SR the wrong one. Another size is told: it was resized between the replica's
 * point and the metadata, and what the replica holds is whole in itself.
 */
export async function compareDisks(
  world: World,
  action: ActionOf<'compare-disks'>,
  context: StepContext,
): Promise<ActResult> {
  const hypervisor = await world.hypervisor(action.site);
  const pool = await hypervisor.observe(context.signal);
  const missing = action.disks.flatMap((disk) => {
    const reason = faultOf(findDisk(pool, action.srUuid, disk.location));
    return reason === null ? [] : [{ disk, reason }];
  });
  const said = ({ disk, reason }: { readonly disk: DiskName; readonly reason: string }): string =>
    `disk ${disk.nameLabel || disk.uuid} of ${listed(disk.usedBy)} ${reason}`;
  const sentences = missing.map(said);
  const resized = action.disks.flatMap((disk) => {
    const found = findDisk(pool, action.srUuid, disk.location);
    if (found === undefined || found.missing || found.virtualSize === disk.virtualSize) return [];
    const reason = `has ${formatBytes(found.virtualSize)} (${found.virtualSize}) on the replica, the recovery point says ${formatBytes(disk.virtualSize)} (${disk.virtualSize}): it was resized in between`;
    return [said({ disk, reason })];
  });
  if (missing.length > 0 && missing.length === action.disks.length) {
    throw new OperatorError({
      code: 'DR-DISKS-MISSING',
      what: `None of the ${action.disks.length} disks of the recovery point is usable on SR ${action.srUuid}`,
      where: { site: action.site, object: `SR ${action.srUuid}` },
      known: sentences.slice(0, 10),
      next: 'Check that the right volume was promoted and exposed, then resume the run',
    });
  }
  return {
    output: {
      compared: action.disks.length,
      missing: missing.map(({ disk, reason }) => ({
        uuid: disk.uuid,
        nameLabel: disk.nameLabel,
        reason,
        vms: [...disk.usedBy],
      })),
    },
    warnings: [...sentences, ...resized],
    partial: missing.length > 0,
  };
}

/** Null when the disk is there. */
export function faultOf(found: Pick<VdiFacts, 'missing'> | undefined): string | null {
  return found === undefined || found.missing ? 'is not on the replica' : null;
}

/** An import matches a disk by SR and location (xapi.md 4.4). */
export function findDisk(pool: PoolFacts, srUuid: string, location: string): VdiFacts | undefined {
  return pool.vdis.find((vdi) => vdi.srUuid === srUuid && vdi.location === location);
}

export async function restoreNames(
  world: World,
  action: ActionOf<'restore-names'>,
  context: StepContext,
): Promise<ActResult> {
  const hypervisor = await world.hypervisor(action.site);
  const pool = await hypervisor.observe(context.signal);
  const sr = pool.srs.find((candidate) => candidate.uuid === action.srUuid);
  const srRenamed =
    sr !== undefined && (sr.nameLabel !== action.nameLabel || sr.nameDescription !== action.nameDescription);
  if (srRenamed)
    await hypervisor.setSrName(action.srUuid, action.nameLabel, action.nameDescription, context.signal);
  const nameless = namelessDisks(pool, action.srUuid, action.disks);
  await inParallel(nameless, renamesAtOnce, ({ disk, vdi }) =>
    hypervisor.setVdiName(vdi.uuid, disk.nameLabel, disk.nameDescription, context.signal),
  );
  return { output: { srRenamed, disksRenamed: nameless.length }, warnings: [] };
}

function namelessDisks(
  pool: PoolFacts,
  srUuid: string,
  disks: readonly DiskName[],
): { readonly disk: DiskName; readonly vdi: VdiFacts }[] {
  const found = new Map(pool.vdis.filter((vdi) => vdi.srUuid === srUuid).map((vdi) => [vdi.location, vdi]));
  return disks.flatMap((disk) => {
    const vdi = found.get(disk.location);
    const same =
      vdi === undefined || (vdi.nameLabel === disk.nameLabel && vdi.nameDescription === disk.nameDescription);
    return same ? [] : [{ disk, vdi }];
  });
}

export async function areNamesRestored(
  world: World,
  site: string,
  srUuid: string,
  disks: readonly DiskName[],
  context: StepContext,
): Promise<Verdict> {
  const hypervisor = await world.hypervisor(site);
  const pool = await hypervisor.observe(context.signal);
  const { action } = context.step;
  const sr = pool.srs.find((candidate) => candidate.uuid === srUuid);
  if (sr === undefined) return { holds: false, because: `SR ${srUuid} is not known at site ${site}` };
  if (
    action.do === 'restore-names' &&
    (sr.nameLabel !== action.nameLabel || sr.nameDescription !== action.nameDescription)
  )
    return { holds: false, because: `the SR is called "${sr.nameLabel}"` };
  const nameless = namelessDisks(pool, srUuid, disks);
  return nameless.length === 0
    ? { holds: true }
    : {
        holds: false,
        because: `${nameless.length} disks have other names: ${listed(nameless.map(({ disk }) => disk.nameLabel))}`,
      };
}
