/** What this folder adds to a lab; called once for every lab, before its pools are made. */
import type { Lab } from '../core/lab.ts';

export function installVm(lab: Lab): void {
  lab.installed.add('vm');
}
