/** How a copy that must not start is known: a mark of its own, which no import takes for anything else. */
import type { VmFacts } from './pool.ts';

/** Key in `other_config` of a VM that was put away; its value says since when and why (xapi.md 8.4). */
export const quarantineKey = 'lifeboat:quarantine';

/** Key in `other_config` of a VM, and of its pool, that starts halted VMs when a host boots (xapi.md 8.4). */
export const autoStartKey = 'auto_poweron';

export function isQuarantined(vm: Pick<VmFacts, 'otherConfig'>): boolean {
  return vm.otherConfig[quarantineKey] !== undefined;
}
