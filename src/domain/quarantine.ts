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
