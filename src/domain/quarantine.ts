/** How a copy that must not start is known: a mark of its own, which no import takes for anything else. */
import type { PoolFacts, Uuid, VmFacts } from './pool.ts';

/** Key in `other_config` of a VM that was put away; its value says since when and why (xapi.md 8.4). */
export const quarantineKey = 'lifeboat:quarantine';

/** Key in `other_config` of a VM, and of its pool, that starts halted VMs when a host boots (xapi.md 8.4). */
export const autoStartKey = 'auto_poweron';

export function isQuarantined(vm: Pick<VmFacts, 'otherConfig'>): boolean {
  return vm.otherConfig[quarantineKey] !== undefined;
}

/**
 * Halted copies that were put away, with their restore counters: an import replaces them, whatever their age, since what
 * serves elsewhere is always the newer one (xapi.md 4.5).
 */
export function putAwayVersions(pool: Pick<PoolFacts, 'vms'>): ReadonlyMap<Uuid, number> {
  return new Map(
    pool.vms
      .filter((vm) => vm.powerState === 'Halted' && isQuarantined(vm))
      .map((vm) => [vm.uuid, vm.version]),
  );
}

/** Key in `other_config` from which a VM's MACs are made; snapshots share that of their VM (xapi.md 4.2). */
export const macSeedKey = 'mac_seed';

/**
 * Per put-away copy, the snapshots that belong to nobody any more and bear its MAC seed: an import that replaces a copy
 * leaves its snapshots without a VM, and the next import of the same VM is refused for them (xapi.md 4.2, 4.5). Clones get
 * a seed of their own, so these can be of no other VM.
 */
export function orphanedSnapshots(pool: Pick<PoolFacts, 'vms'>): ReadonlyMap<Uuid, readonly VmFacts[]> {
  const orphans = pool.vms.filter((vm) => vm.isSnapshot && vm.snapshotOf === null && vm.macSeed !== null);
  const found = new Map<Uuid, readonly VmFacts[]>();
  if (orphans.length === 0) return found;
  for (const vm of pool.vms) {
    if (vm.isSnapshot || vm.powerState !== 'Halted' || !isQuarantined(vm)) continue;
    const left = orphans.filter((orphan) => orphan.macSeed === vm.macSeed);
    if (left.length > 0) found.set(vm.uuid, left);
  }
  return found;
}

/** The pool as an import of ours meets it, which takes the seeds off these snapshots before. */
export function withSeedsFreed<P extends Pick<PoolFacts, 'vms'>>(pool: P): P {
  const freed = new Set([...orphanedSnapshots(pool).values()].flat());
  if (freed.size === 0) return pool;
  return { ...pool, vms: pool.vms.map((vm) => (freed.has(vm) ? { ...vm, macSeed: null } : vm)) };
}
