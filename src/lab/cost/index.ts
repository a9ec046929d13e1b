/** What this folder adds to a lab; called once for every lab, before its pools are made. */
import type { Lab } from '../core/lab.ts';

export function installCost(lab: Lab): void {
  lab.installed.add('cost');
  lab.registry.wrap(lab.costs.wrap());
}
