/** The acts of a drill in an operator's words. */
import type { DrillAction } from '../domain/actions/drill.ts';
import { unreachable } from '../domain/errors.ts';
import { clean, count } from './paper.ts';

export function drillChapter(action: DrillAction): string {
  switch (action.do) {
    case 'record-inventory':
      return 'Before anything changes';
    case 'clone-replica':
      return 'Attach the storage';
    case 'record-proof':
      return 'Evidence';
    case 'remove-copies':
    case 'forget-clone':
    case 'stop-clone':
    case 'compare-inventory':
      return 'Clean up';
    default:
      return unreachable(action);
  }
}

export function describeDrill(action: DrillAction): string {
  switch (action.do) {
    case 'record-inventory':
      return `Write down which VMs, SRs, networks and vApps site ${action.site} holds`;
    case 'clone-replica':
      return `Clone volume ${clean(action.target.volume)} on array ${action.target.array} for drill ${action.drill}`;
    case 'record-proof':
      return `Record for ${count(action.vms.length, 'VM')} what was proven`;
    case 'remove-copies':
      return action.vms.length === 0
        ? `Make sure that no copy of drill ${action.drill} is left at site ${action.site}`
        : `Remove the copies of drill ${action.drill} at site ${action.site}: ${count(action.vms.length, 'VM')}`;
    case 'forget-clone':
      return `Unplug and forget the clone of SR ${clean(action.nameLabel)} at site ${action.site}`;
    case 'stop-clone':
      return `Remove the clone of volume ${clean(action.target.volume)} on array ${action.target.array}`;
    case 'compare-inventory':
      return `Compare site ${action.site} with what it held before`;
    default:
      return unreachable(action);
  }
}
