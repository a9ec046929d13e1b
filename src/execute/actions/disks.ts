/** The disks on the attached replica: found as an import finds them, and given their names back. */
import type { DiskName } from '../../domain/plan.ts';
import type { PoolFacts, VdiFacts } from '../../domain/pool.ts';
import type { ActionOf, ActResult, StepContext, Verdict } from '../handlers.ts';
import { inParallel, listed, type World } from './world.ts';

const renamesAtOnce = 4;

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
