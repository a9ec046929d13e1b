/**
 * The record of an SR at the site that was left, once that site holds nothing but a replica: a drill there attaches a
 * clone under the same uuid, and a return introduces the SR anew. No storage is touched. Forgetting drops the disk records,
 * and with them the drives of halted VMs (xapi.md 7.9), so it is done only where none but our put-away copies use it.
 */
import type { NamedSr } from '../../domain/actions/moving.ts';
import { drillOfSr } from '../../domain/drill.ts';
import type { PoolFacts, SrFacts, VmFacts } from '../../domain/pool.ts';
import { isQuarantined } from '../../domain/quarantine.ts';
import type { ObjectRef } from '../../domain/recovery-point.ts';
import type { Hypervisor } from '../../ports/hypervisor.ts';
import type { ActionOf, ActResult, StepContext, Verdict } from '../handlers.ts';
import { inParallel, listed, type World } from './world.ts';

const exportsAtOnce = 4;

export async function forgetSr(
  world: World,
  { site, sr: { uuid, nameLabel } }: ActionOf<'forget-sr'>,
  { signal }: StepContext,
): Promise<ActResult> {
  const hypervisor = await world.hypervisor(site);
  const pool = await hypervisor.observe(signal);
  const known = ourRecord(pool, uuid);
  if (known === null) return { output: { forgotten: false, saved: [] }, warnings: [] };
  const reasons = reasonsToKeep(pool, known);
  if (reasons.length > 0)
    return {
      output: { forgotten: false, saved: [] },
      warnings: [
        `the record of SR ${nameLabel} stays at site ${site}, and no drill is possible there: ${reasons.join('; ')}`,
      ],
      partial: true,
    };
  const saved = await saveSnapshots(world, hypervisor, pool, known, signal);
  await hypervisor.forgetSr(uuid, signal);
  return { output: { forgotten: true, saved }, warnings: [] };
}

/** The attached clone of a drill bears the same uuid, and is none of ours to forget. */
function ourRecord(pool: PoolFacts, uuid: string): SrFacts | null {
  const known = pool.srs.find((sr) => sr.uuid === uuid);
  return known === undefined || drillOfSr(known) !== null ? null : known;
}

function reasonsToKeep(pool: PoolFacts, sr: SrFacts): string[] {
  const plugged = new Set(sr.pbds.filter((pbd) => pbd.attached).map((pbd) => pbd.hostUuid));
  const hosts = pool.hosts.filter((host) => plugged.has(host.uuid)).map((host) => host.nameLabel);
  const away = new Set(pool.vms.filter(isPutAway).map((vm) => vm.uuid));
  const others = usersOf(pool, sr).filter(
    (vm) => !away.has(vm.uuid) && !(vm.isSnapshot && away.has(vm.snapshotOf ?? '')),
  );
  return [
    ...(plugged.size === 0 ? [] : [`it is plugged on ${listed(hosts)}`]),
    ...(others.length === 0
      ? []
      : [`${listed(others.map((vm) => vm.nameLabel).sort())} would lose their drives on it`]),
  ];
}

const isPutAway = (vm: VmFacts): boolean => vm.powerState === 'Halted' && isQuarantined(vm);

function usersOf(pool: PoolFacts, sr: SrFacts): VmFacts[] {
  const disks = new Set(pool.vdis.filter((vdi) => vdi.srUuid === sr.uuid).map((vdi) => vdi.uuid));
  return pool.vms.filter((vm) => vm.vbds.some(({ vdiUuid }) => vdiUuid !== null && disks.has(vdiUuid)));
}

/** Snapshots are in no recovery point: which disks each of them had is known here alone. */
async function saveSnapshots(
  world: World,
  hypervisor: Hypervisor,
  pool: PoolFacts,
  sr: SrFacts,
  signal: AbortSignal,
): Promise<{ uuid: string; nameLabel: string; document: ObjectRef & { [key: string]: string | number } }[]> {
  const owners = new Set(usersOf(pool, sr).flatMap((vm) => (vm.isSnapshot ? (vm.snapshotOf ?? []) : [])));
  const catalog = await world.catalog();
  const saved: Awaited<ReturnType<typeof saveSnapshots>> = [];
  const vms = pool.vms.filter((vm) => owners.has(vm.uuid));
  await inParallel(vms, exportsAtOnce, async ({ uuid, nameLabel }) => {
    const archive = await hypervisor.exportMetadata(uuid, { snapshots: true }, signal);
    saved.push({ uuid, nameLabel, document: { ...(await catalog.put(archive, signal)) } });
  });
  return saved;
}

export async function isForgotten(
  world: World,
  site: string,
  { uuid, nameLabel }: NamedSr,
  signal: AbortSignal,
): Promise<Verdict> {
  const pool = await (await world.hypervisor(site)).observe(signal);
  return ourRecord(pool, uuid) === null
    ? { holds: true }
    : { holds: false, because: `site ${site} still knows SR ${nameLabel}` };
}
