/** Acts of a planned migration, a reprotection and a failback in an operator's words. */
import type { MovingAction } from '../domain/actions/moving.ts';
import { unreachable } from '../domain/errors.ts';
import type { Action, Plan } from '../domain/plan.ts';
import type { Run } from '../domain/run.ts';
import { clean, count, names } from './paper.ts';

/** The chapter of the runbook that the act belongs to. */
export function movingChapter(action: MovingAction): string {
  switch (action.do) {
    case 'note-standing':
      return 'Before anything changes';
    case 'shut-down-vm':
    case 'bring-back-vm':
      return 'Shut the VMs down';
    case 'quarantine-vms':
    case 'release-vms':
    case 'detach-sr':
    case 'plug-sr':
      return 'Let go of the old site';
    case 'final-sync':
    case 'note-let-go':
    case 'see-final-sync':
    case 'unprepare':
      return 'Bring the last writes over';
    case 'promote-synced':
    case 'fence-storage':
    case 'release-storage':
      return 'Take over';
    case 'demote-source':
    case 'reverse-replication':
    case 'see-reversed':
    case 'swap-roles':
      return 'Turn the protection round';
    case 'forget-sr':
      return 'Leave room for drills at the old site';
    default:
      return unreachable(action);
  }
}

export function describeMoving(action: MovingAction): string {
  switch (action.do) {
    case 'note-standing':
      return `Write down how site ${action.site} and its storage stand`;
    case 'shut-down-vm':
      return `Shut ${clean(action.vm.nameLabel)} down at site ${action.site}${action.force ? ', by force if it does not by itself' : ''}`;
    case 'bring-back-vm':
      return `Start ${clean(action.vm.nameLabel)} at site ${action.site} again`;
    case 'quarantine-vms':
      return `Quarantine ${count(action.vms.length, 'VM')} at site ${action.site}: starts blocked, auto-start and HA off${action.stopRunning ? '; stop those that run' : ''}`;
    case 'release-vms':
      return `Release ${count(action.vms.length, 'VM')} at site ${action.site} from quarantine`;
    case 'detach-sr':
      return `Unplug SR ${clean(action.sr.nameLabel)} on every host of site ${action.site}`;
    case 'forget-sr':
      return `Forget the record of SR ${clean(action.sr.nameLabel)} at site ${action.site}; its storage is not touched`;
    case 'plug-sr':
      return `Plug SR ${clean(action.sr.nameLabel)} at site ${action.site} again, on ${count(action.hosts.length, 'host')}`;
    case 'final-sync':
      return `Stop writes to volume ${clean(action.pair.source.volume)} on array ${action.pair.source.array}, bring its last point to array ${action.pair.target.array} and see that it is there`;
    case 'note-let-go':
      return `See that no host of site ${action.site} has SR ${clean(action.sr.nameLabel)}, and note when`;
    case 'see-final-sync':
      return `See that the last point of volume ${clean(action.pair.source.volume)} is whole on array ${action.pair.target.array}, and was cut after the SR was let go`;
    case 'see-reversed':
      return `See that volume ${clean(action.pair.target.volume)} replicates from array ${action.pair.target.array} back to array ${action.pair.source.array}`;
    case 'unprepare':
      return `Let volume ${clean(action.pair.source.volume)} on array ${action.pair.source.array} be written again`;
    case 'promote-synced':
      return `Promote volume ${clean(action.pair.target.volume)} on array ${action.pair.target.array} to that last point`;
    case 'fence-storage':
      return `Make volume ${clean(action.pair.source.volume)} on array ${action.pair.source.array} refuse writes`;
    case 'release-storage':
      return `Unplug ${count(action.srs.length, 'SR')} at site ${action.site}: ${names(action.srs.map((sr) => sr.nameLabel))}`;
    case 'demote-source':
      return `Demote volume ${clean(action.pair.source.volume)} on array ${action.pair.source.array}${action.discard ? '; what it alone holds is thrown away' : ''}`;
    case 'reverse-replication':
      return `Replicate volume ${clean(action.pair.target.volume)} from array ${action.pair.target.array} back to array ${action.pair.source.array}, until a point is there`;
    case 'swap-roles':
      return `Change places: group ${action.group} belongs to site ${action.activeSite} now`;
    default:
      return unreachable(action);
  }
}

/** The VMs that the act touches, by uuid. */
export function vmsMoved(action: MovingAction): readonly string[] {
  switch (action.do) {
    case 'shut-down-vm':
    case 'bring-back-vm':
      return [action.vm.uuid];
    case 'quarantine-vms':
    case 'release-vms':
      return action.vms.map((vm) => vm.uuid);
    default:
      return [];
  }
}

const savesPoint = new Set<Action['do']>([
  'capture-pool',
  'save-documents',
  'record-replication',
  'seal-point',
  'verify-point',
  'rehearse-import',
  'prune-catalog',
]);

/**
 * A move saves two recovery points, one on each side of the change of places: each is a chapter of its own. Null where
 * the act belongs to the chapter that it has in every plan.
 */
export function pointChapter(plan: Plan, action: Action): string | null {
  if (!savesPoint.has(action.do)) return null;
  const swap = plan.steps.findIndex((step) => step.action.do === 'swap-roles');
  if (swap < 0) return null;
  const here = plan.steps.findIndex((step) => step.action === action);
  return here < swap ? 'Save the last recovery point' : 'Save the first recovery point of the new direction';
}

/** From where to where the VMs move; of a reprotection, from where to where they are protected then. */
export function sitesOfMove(plan: Plan): { readonly from: string | null; readonly to: string | null } | null {
  const away = plan.steps.flatMap(({ action }) => (action.do === 'quarantine-vms' ? [action.site] : []))[0];
  if (away === undefined) return null;
  const serving = plan.steps.flatMap(({ action }) =>
    action.do === 'swap-roles' ? [action.activeSite] : [],
  )[0];
  if (serving === undefined) return { from: away, to: null };
  return plan.operation === 'reprotect' ? { from: serving, to: away } : { from: away, to: serving };
}

const syncKinds = new Set<Action['do']>(['final-sync', 'see-final-sync']);

/** What a move without loss has kept of its promise; null for every other operation. */
export function lossOfMove(run: Run): string | null {
  const syncs = run.plan.steps.filter((step) => syncKinds.has(step.action.do));
  if (syncs.length === 0) return null;
  const seen = syncs.filter((step) => run.steps.get(step.id)?.status === 'succeeded').length;
  return seen === syncs.length
    ? 'none: the last write was seen at the other side before anything was promoted'
    : 'none: nothing was promoted';
}
