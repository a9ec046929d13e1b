/** Actions, phases, times and outcomes in an operator's words: the same ones in plans, live views and reports. */
import { unreachable } from '../domain/errors.ts';
import { describeGate } from '../domain/gate-words.ts';
import type { Phase as GroupPhase } from '../domain/group.ts';
import type { Action, Operation, Plan, Step } from '../domain/plan.ts';
import type { RunOutcome } from '../domain/run.ts';
import { formatDuration, type Instant } from '../domain/time.ts';
import { backupChapter, describeBackup } from './backup-words.ts';
import { canaryChapter, describeCanary } from './canary-words.ts';
import { describeDrill, drillChapter } from './drill-words.ts';
import { describeMoving, movingChapter, pointChapter, sitesOfMove, vmsMoved } from './moving-words.ts';
import { clean, count, names } from './paper.ts';
import { describeRecover, recoverChapter } from './recover-words.ts';
import { describeRecoveryPlan, recoveryPlanChapter } from './recovery-plan-words.ts';

/** `2026-01-31 02:30:05 UTC`: every report speaks UTC, as the journals do. */
export function formatInstant(at: Instant): string {
  return `${at.slice(0, 10)} ${at.slice(11, 19)} UTC`;
}

export function formatClock(at: Instant): string {
  return at.slice(11, 19);
}

/** `02:05`, `1:02:05`: for counting up beside one another. */
export function formatStopwatch(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const part = (value: number): string => String(value).padStart(2, '0');
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return hours > 0 ? `${hours}:${part(minutes)}:${part(rest)}` : `${part(minutes)}:${part(rest)}`;
}

export function formatAge(seconds: number | null): string {
  if (seconds === null) return 'unknown';
  return seconds < 0 ? `${formatDuration(-seconds)} in the future` : formatDuration(seconds);
}

/** How metadata and replica lie to one another in time. */
export function describeSkew(seconds: number | null): string {
  if (seconds === null) return 'unknown';
  if (Math.abs(seconds) < 1) return 'none: metadata and replica are of the same second';
  return seconds > 0
    ? `the metadata is ${formatDuration(seconds)} newer than the replica`
    : `the replica is ${formatDuration(-seconds)} newer than the metadata`;
}

export const operationWords: Readonly<Record<Operation, string>> = {
  export: 'Export',
  verify: 'Verification',
  drill: 'Drill',
  'drill-cleanup': 'Clean-up of a drill',
  migrate: 'Planned migration',
  failover: 'Failover',
  reprotect: 'Reprotection',
  failback: 'Failback',
  canary: 'Canary',
  'recover-metadata': 'Recovery of the metadata',
};

/** What a plan is called: putting the old copies away is only the first half of a reprotection. */
export function titleOf({ operation, group, steps }: Plan): string {
  const onlyQuarantine = operation === 'reprotect' && steps.length > 0 && steps.every(putsAway);
  return `${onlyQuarantine ? 'Quarantine' : operationWords[operation]} of group ${group}`;
}

const putsAway = ({ action }: Step): boolean =>
  action.do === 'quarantine-vms' || action.do === 'note-standing' || action.do === 'detach-sr';

/** An export saves and a clean-up removes; everything else has a recovery point, a state of data and a time to speak of. */
export function speaksOfRecovery(operation: Operation): boolean {
  return !['export', 'drill-cleanup', 'canary', 'recover-metadata'].includes(operation);
}

export const outcomeWords: Readonly<Record<RunOutcome, string>> = {
  done: 'done',
  'done-with-warnings': 'done, with warnings',
  failed: 'failed',
  stuck: 'stuck: a person must answer a question',
  stopped: 'stopped',
  abandoned: 'given up',
  undone: 'taken back',
};

export const groupPhaseWords: Readonly<Record<GroupPhase, string>> = {
  unprotected: 'unprotected',
  protected: 'protected',
  drilling: 'drill under way',
  migrating: 'migration under way',
  'failing-over': 'failover under way',
  'failed-over': 'failed over',
  reprotecting: 'reprotection under way',
  stuck: 'STUCK',
};

/** The chapter of the runbook that an action belongs to. */
export function chapterOf(action: Action): string {
  switch (action.do) {
    case 'record-evidence':
    case 'record-replica':
      return 'Before anything changes';
    case 'verify-point':
      return 'Before anything changes';
    case 'capture-pool':
    case 'save-documents':
    case 'record-replication':
      return 'Save the metadata';
    case 'seal-point':
      return 'Store it, and prove that it can be read';
    case 'rehearse-import':
    case 'prune-catalog':
      return 'Rehearse and tidy up';
    case 'tombstone':
    case 'lift-tombstone':
    case 'fence-vms':
    case 'promote':
      return 'Take over';
    case 'expose':
    case 'attach-sr':
    case 'compare-disks':
    case 'restore-names':
      return 'Attach the storage';
    case 'import-vms':
    case 'rebuild-appliance':
      return 'Import the VMs';
    case 'start-vm':
    case 'await-ready':
      return 'Start the VMs, tier by tier';
    case 'restore-ha':
      return 'Afterwards';
    case 'note-standing':
    case 'shut-down-vm':
    case 'bring-back-vm':
    case 'quarantine-vms':
    case 'release-vms':
    case 'detach-sr':
    case 'forget-sr':
    case 'plug-sr':
    case 'release-storage':
    case 'final-sync':
    case 'note-let-go':
    case 'see-final-sync':
    case 'see-reversed':
    case 'unprepare':
    case 'promote-synced':
    case 'fence-storage':
    case 'demote-source':
    case 'reverse-replication':
    case 'swap-roles':
      return movingChapter(action);
    case 'write-canary':
    case 'await-canary':
    case 'clone-canary':
    case 'find-canary':
    case 'remove-canary':
      return canaryChapter(action);
    case 'write-backup':
    case 'run-backup-script':
    case 'look-at-backup-jobs':
      return backupChapter;
    case 'attach-found-clone':
    case 'read-backup':
    case 'judge-backups':
    case 'forget-found-clones':
      return recoverChapter(action);
    case 'record-inventory':
    case 'clone-replica':
    case 'record-proof':
    case 'remove-copies':
    case 'forget-clone':
    case 'stop-clone':
    case 'compare-inventory':
      return drillChapter(action);
    case 'pause':
    case 'ask':
    case 'call-out':
    case 'adjust-vm':
    case 'set-addresses':
      return recoveryPlanChapter(action);
    case 'sync-replication':
    case 'verify-replication':
      return 'The replication';
    case 'verify-catalog':
      return 'The catalog';
    case 'compare-sites':
    case 'verify-readiness':
      return 'The sites';
    default:
      return unreachable(action);
  }
}

/** The chapters of a plan: an export reads its point back after sealing, a failover before it changes anything. */
export function chapterIn(plan: Plan, action: Action): string {
  if (action.do === 'verify-point' && plan.operation === 'export')
    return chapterOf({ do: 'seal-point', pointId: '' });
  if (action.do === 'verify-point' && plan.operation === 'verify')
    return chapterOf({ do: 'verify-catalog', group: plan.group, deep: true });
  return pointChapter(plan, action) ?? chapterOf(action);
}

export function describeAction(action: Action): string {
  switch (action.do) {
    case 'record-evidence':
      return `Write down why site ${action.site} is taken for lost`;
    case 'capture-pool':
      return `Read pool, networks, vApps and ${count(action.srs.length, 'SR')} of site ${action.site}`;
    case 'save-documents':
      return describeDocuments(action);
    case 'record-replication':
      return `Note the newest replica of ${names(action.pairs.map((pair) => pair.sr))}`;
    case 'seal-point':
      return `Seal recovery point ${action.pointId} in every catalog target`;
    case 'verify-point':
      return `Read recovery point ${action.pointId} back from the catalog`;
    case 'rehearse-import':
      return `Rehearse the import at site ${action.site}`;
    case 'prune-catalog':
      return `Let go of recovery points of group ${action.group} that retention no longer keeps`;
    case 'record-replica':
      return `Note the replica of ${clean(action.pair.sr)}: ${formatInstant(action.expected.takenAt)}, ${formatAge(action.ageSeconds)} old`;
    case 'fence-vms':
      return `Stop and block ${count(action.vms.length, 'VM')} at site ${action.site}`;
    case 'promote':
      return `Promote volume ${clean(action.pair.target.volume)} on array ${action.pair.target.array} to the point of ${formatInstant(action.point.takenAt)}`;
    case 'expose':
      return `Open volume ${clean(action.pair.target.volume)} to the hosts of site ${action.site}`;
    case 'attach-sr':
      return `Attach SR ${clean(action.sr.nameLabel)} at site ${action.site}, on ${count(action.sr.hosts.length, 'host')}`;
    case 'compare-disks':
      return `Find ${count(action.disks.length, 'disk')} of the recovery point on the attached SR`;
    case 'restore-names':
      return `Give SR ${clean(action.nameLabel)} and ${count(action.disks.length, 'disk')} their names back`;
    case 'import-vms':
      return `Import ${count(action.vms.length, 'VM')}`;
    case 'rebuild-appliance':
      return `Rebuild vApp ${clean(action.nameLabel)} with ${count(action.vms.length, 'VM')}`;
    case 'start-vm':
      return `Start ${clean(action.vm.nameLabel)}`;
    case 'await-ready':
      return `Wait for ${clean(action.vm.nameLabel)}: ${action.gates.map(describeGate).join(', ')}`;
    case 'restore-ha':
      return `Restore the HA priority of ${count(action.vms.length, 'VM')}`;
    case 'tombstone':
      return `Mark what site ${action.lostSite} holds of group ${action.group}: those are copies, and must not start`;
    case 'sync-replication':
      return `Send a new point of SR ${clean(action.pair.sr)} from array ${action.pair.source.array}, and wait until it is whole on array ${action.pair.target.array}`;
    case 'verify-replication':
      return `Hold the replica of SR ${clean(action.pair.sr)} against the RPO of ${formatDuration(action.rpoSeconds)}`;
    case 'verify-catalog':
      return `Check the recovery points of group ${action.group} in every catalog target${action.deep ? ', every byte' : ''}`;
    case 'compare-sites':
      return action.since === null
        ? `Look at sites ${action.production} and ${action.recovery}`
        : `Compare sites ${action.production} and ${action.recovery} with ${formatInstant(action.since.at)}`;
    case 'verify-readiness':
      return `Check whether a failover to site ${action.site} would work now`;
    case 'write-canary':
    case 'await-canary':
    case 'clone-canary':
    case 'find-canary':
    case 'remove-canary':
      return describeCanary(action);
    case 'attach-found-clone':
    case 'read-backup':
    case 'judge-backups':
    case 'forget-found-clones':
      return describeRecover(action);
    case 'lift-tombstone':
      return `Take that mark off site ${action.lostSite}: what it holds of group ${action.group} is the original`;
    case 'note-standing':
    case 'shut-down-vm':
    case 'bring-back-vm':
    case 'quarantine-vms':
    case 'release-vms':
    case 'detach-sr':
    case 'forget-sr':
    case 'plug-sr':
    case 'release-storage':
    case 'final-sync':
    case 'note-let-go':
    case 'see-final-sync':
    case 'see-reversed':
    case 'unprepare':
    case 'promote-synced':
    case 'fence-storage':
    case 'demote-source':
    case 'reverse-replication':
    case 'swap-roles':
      return describeMoving(action);
    case 'record-inventory':
    case 'clone-replica':
    case 'record-proof':
    case 'remove-copies':
    case 'forget-clone':
    case 'stop-clone':
    case 'compare-inventory':
      return describeDrill(action);
    case 'write-backup':
    case 'run-backup-script':
    case 'look-at-backup-jobs':
      return describeBackup(action);
    case 'pause':
    case 'ask':
    case 'call-out':
    case 'adjust-vm':
    case 'set-addresses':
      return describeRecoveryPlan(action);
    default:
      return unreachable(action);
  }
}

function describeDocuments(action: Extract<Action, { readonly do: 'save-documents' }>): string {
  const kept = action.kept?.length ?? 0;
  if (action.vms.length === 0) return `Keep the metadata of ${count(kept, 'VM')}, after a look at each copy`;
  const way = action.strategy === 'all' ? 'all in one request' : `one by one, ${action.concurrency} at once`;
  const fetch = `Save the metadata of ${count(action.vms.length, 'VM')} from site ${action.site}, ${way}`;
  return kept === 0 ? fetch : `${fetch}; keep that of ${kept}`;
}

/** The VMs that an action touches, by uuid. */
export function vmsOf(action: Action): readonly string[] {
  switch (action.do) {
    case 'start-vm':
    case 'await-ready':
    case 'adjust-vm':
    case 'set-addresses':
      return [action.vm.uuid];
    case 'save-documents':
      return [...action.vms, ...(action.kept ?? [])].map((vm) => vm.uuid);
    case 'fence-vms':
    case 'import-vms':
    case 'rebuild-appliance':
    case 'restore-ha':
      return action.vms.map((vm) => vm.uuid);
    case 'shut-down-vm':
    case 'bring-back-vm':
    case 'quarantine-vms':
    case 'release-vms':
      return vmsMoved(action);
    case 'record-proof':
    case 'remove-copies':
      return action.vms.map((vm) => vm.uuid);
    default:
      return [];
  }
}

/** Where the plan changes things, and where from: for headlines. */
export function sitesOf(plan: Plan): { readonly from: string | null; readonly to: string | null } {
  const move = sitesOfMove(plan);
  if (move !== null) return move;
  for (const { action } of plan.steps) {
    if (action.do === 'record-inventory' || action.do === 'compare-inventory')
      return { from: action.site, to: null };
    if (action.do === 'tombstone') {
      const attach = plan.steps.find(
        (step) => step.action.do === 'attach-sr' || step.action.do === 'import-vms',
      );
      const to = attach !== undefined && 'site' in attach.action ? attach.action.site : null;
      return { from: action.lostSite, to };
    }
    if (action.do === 'capture-pool') return { from: action.site, to: null };
    if (action.do === 'compare-sites') return { from: action.production, to: null };
  }
  return { from: null, to: null };
}
