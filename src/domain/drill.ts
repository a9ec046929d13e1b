/**
 * How the objects of a drill are known again: by marks that are made in the same call as the object, so that no crash
 * can leave one without. What bears no mark of ours is never removed.
 */
import type { Observation } from './observation.ts';
import type { PoolFacts, SrFacts, Uuid, VmFacts } from './pool.ts';
import type { GroupSettings } from './settings.ts';
import type { Instant } from './time.ts';

/** Key of a copy's `other_config`: the drill it was made for. It travels with clones and snapshots of the copy. */
export const drillMark = 'lifeboat:drill';
/** Key of a copy's `other_config`: uuid of the VM that it is a copy of. */
export const originalMark = 'lifeboat:original';
export const drillTag = 'lifeboat-drill';
/** Names of copies begin with this, so that nobody takes one for its original. */
export const drillPrefix = 'drill: ';

/** `shop-20260314T020000Z-0001`: readable on an array, and it tells its group. */
export function drillIdOf(group: string, at: Instant, random: string): string {
  return `${group}-${at.replace(/[-:]|\.\d+/g, '')}-${random}`;
}

/** The group that a drill belongs to; null for an id that is not of our making. */
export function groupOfDrill(drill: string): string | null {
  return /^(.+)-\d{8}T\d{6}Z-[0-9a-f]+$/.exec(drill)?.[1] ?? null;
}

/** The drill that a VM is a copy for; null for every other VM. */
export function drillOfVm(vm: Pick<VmFacts, 'otherConfig'>): string | null {
  return vm.otherConfig[drillMark] ?? null;
}

/** Description of an attached clone: the only text that is given in the very call that introduces an SR. */
export function drillDescription(drill: string): string {
  return `${drillMark}=${drill}`;
}

/** The drill that an SR is a clone for; null for every other SR. */
export function drillOfSr(sr: Pick<SrFacts, 'nameDescription'>): string | null {
  return new RegExp(`${drillMark}=(\\S+)`).exec(sr.nameDescription)?.[1] ?? null;
}

/** What is there of one drill. */
export interface DrillRemains {
  readonly drill: string;
  readonly vms: readonly { readonly uuid: Uuid; readonly nameLabel: string }[];
  readonly srs: readonly { readonly uuid: Uuid; readonly nameLabel: string }[];
  readonly clones: readonly { readonly array: string; readonly volume: string }[];
}

/** Every drill of the group of which something is seen, in the order of their ids. */
export function drillRemains(
  group: GroupSettings,
  observation: Pick<Observation, 'arrays'>,
  pool: Pick<PoolFacts, 'vms' | 'srs'> | null,
): DrillRemains[] {
  const isOurs = (drill: string | null): drill is string =>
    drill !== null && groupOfDrill(drill) === group.name;
  const found = new Map<
    string,
    {
      vms: DrillRemains['vms'][number][];
      srs: DrillRemains['srs'][number][];
      clones: DrillRemains['clones'][number][];
    }
  >();
  const of = (drill: string) => {
    const known = found.get(drill) ?? { vms: [], srs: [], clones: [] };
    found.set(drill, known);
    return known;
  };
  for (const vm of pool?.vms ?? []) {
    const drill = drillOfVm(vm);
    if (isOurs(drill) && !vm.isSnapshot) of(drill).vms.push({ uuid: vm.uuid, nameLabel: vm.nameLabel });
  }
  for (const sr of pool?.srs ?? []) {
    const drill = drillOfSr(sr);
    if (isOurs(drill)) of(drill).srs.push({ uuid: sr.uuid, nameLabel: sr.nameLabel });
  }
  for (const { array, drills } of observation.arrays ?? [])
    for (const { volume, drill } of drills ?? []) if (isOurs(drill)) of(drill).clones.push({ array, volume });
  const byKey = <T>(items: readonly T[], key: (item: T) => string): T[] =>
    [...items].sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0));
  return byKey([...found], ([drill]) => drill).map(([drill, { vms, srs, clones }]) => ({
    drill,
    vms: byKey(vms, (vm) => `${vm.nameLabel} ${vm.uuid}`),
    srs: byKey(srs, (sr) => `${sr.nameLabel} ${sr.uuid}`),
    clones: byKey(clones, (clone) => `${clone.array} ${clone.volume}`),
  }));
}

/** Whether a VM with this `other_config` is a copy that a drill of this group made. */
export function isDrillCopy(otherConfig: VmFacts['otherConfig'], group: string): boolean {
  const drill = drillOfVm({ otherConfig });
  return drill !== null && groupOfDrill(drill) === group;
}

/** The pool as it is once the drills of a group are cleaned up, as far as a look can tell: what a failover meets. */
export function withoutDrills(pool: PoolFacts, group: string): PoolFacts {
  const isOurs = (drill: string | null): boolean => drill !== null && groupOfDrill(drill) === group;
  const copies = pool.vms.filter((vm) => isOurs(drillOfVm(vm)));
  const clones = new Set(pool.srs.filter((sr) => isOurs(drillOfSr(sr))).map((sr) => sr.uuid));
  if (copies.length === 0 && clones.size === 0) return pool;
  const usedOn = (host: Uuid): number =>
    copies
      .filter((vm) => vm.residentOn === host && vm.powerState !== 'Halted')
      .reduce((sum, vm) => sum + vm.memoryDynamicMax + vm.memoryOverhead, 0);
  return {
    ...pool,
    hosts: pool.hosts.map((host) => ({ ...host, memoryFree: host.memoryFree + usedOn(host.uuid) })),
    vms: pool.vms.filter((vm) => !copies.includes(vm)),
    srs: pool.srs.filter((sr) => !clones.has(sr.uuid)),
    vdis: pool.vdis.filter((vdi) => !clones.has(vdi.srUuid)),
  };
}
