/**
 * What matters once a group has moved, or is on its way: not whether one could fail over (it did), but whether its VMs
 * run once and only once, and that nothing protects them where they are now.
 */
import { type Finding, sortFindings } from '../domain/finding.ts';
import type { GroupState } from '../domain/group.ts';
import type { VmFacts } from '../domain/pool.ts';
import type { GroupSettings } from '../domain/settings.ts';
import { type CheckContext, problem, type Rule, warning } from './context.ts';
import { recoveryPoolIsReady } from './rules/recovery-pool.ts';

/** Whether the group was failed over, so that its VMs run at the recovery site. */
export function hasMoved(state: GroupState | null, group: GroupSettings): state is GroupState {
  return state?.phase === 'failed-over' && state.activeSite === group.recovery;
}

/** The failover that was begun and has not come to its end; null when there is none. */
export function openFailover(state: GroupState | null): string | null {
  return state?.phase === 'failing-over' ? state.currentRun : null;
}

const rules: readonly Rule[] = [lostSiteIsBack, vmsRunHere, nothingProtects, recoveryPoolIsReady];

export function checkAfterFailover(context: CheckContext): Finding[] {
  return sortFindings(rules.flatMap((rule) => rule(context)));
}

/** The lost site answers again: its copies are a danger even while they are halted (invariant 1). */
function lostSiteIsBack(context: CheckContext): Finding[] {
  const { group, production, recovery, state } = context;
  if (production === null) return [];
  const ours = oursAmong(context, production.vms);
  if (ours.length === 0) return [];
  const evidence = [
    `site ${group.production} was taken for lost by run ${state?.tombstone?.run ?? 'unknown'}`,
    `pool ${production.nameLabel} answered at ${production.observedAt}`,
  ];
  const runningHere = new Set(recovery?.vms.filter(runs).map((vm) => vm.uuid));
  const twice = ours.filter((vm) => runs(vm) && (recovery === null || runningHere.has(vm.uuid)));
  const about = { about: 'group' as const, name: group.name };
  const findings: Finding[] = [];
  if (twice.length > 0)
    findings.push(
      problem({
        ...about,
        code: 'DR-VMS-AT-BOTH-SITES',
        what:
          recovery === null
            ? `${vmCount(twice)} of group ${group.name} ${isOrAre(twice)} running at site ${group.production}, and perhaps at site ${group.recovery} too`
            : `${vmCount(twice)} of group ${group.name} ${isOrAre(twice)} running at both sites at once`,
        evidence,
        vms: labels(twice),
        next: `Shut them down at site ${group.production} now: those at site ${group.recovery} have taken over, and what both write drifts apart.`,
      }),
    );
  const others = ours.filter((vm) => !twice.includes(vm));
  if (others.length > 0)
    findings.push(
      problem({
        ...about,
        code: 'DR-SITE-RETURNED',
        what: `Site ${group.production} answers again and still holds ${vmCount(others)} of group ${group.name}`,
        evidence: [
          ...evidence,
          others.some(runs)
            ? `running there and not at site ${group.recovery}: ${labels(others.filter(runs)).join(', ')}`
            : 'none of them runs there now',
        ],
        vms: labels(others),
        next: `Let none of them start at site ${group.production} (auto-start and HA off, or their operation start blocked) until the two sites are reconciled.`,
      }),
    );
  return findings;
}

function vmsRunHere(context: CheckContext): Finding[] {
  const { group, recovery } = context;
  if (recovery === null) return [];
  const halted = oursAmong(context, recovery.vms).filter((vm) => !runs(vm));
  if (halted.length === 0) return [];
  return [
    warning({
      code: 'DR-VMS-NOT-RUNNING',
      about: 'group',
      name: group.name,
      what: `${vmCount(halted)} of group ${group.name} ${isOrAre(halted)} at site ${group.recovery} and not running`,
      vms: labels(halted),
      next: 'Start them there, unless they were halted before the failover too.',
    }),
  ];
}

function nothingProtects({ group, state }: CheckContext): Finding[] {
  return [
    warning({
      code: 'DR-GROUP-UNPROTECTED',
      about: 'group',
      name: group.name,
      what: `Nothing protects group ${group.name} at site ${group.recovery}: its storage is replicated nowhere, and no recovery point is made`,
      evidence: state === null ? [] : [`failed over at ${state.changedAt}`],
      next: `Back these VMs up by other means, and reconcile site ${group.production} before it takes part again.`,
    }),
  ];
}

/** Another failover must not begin beside it, and nothing of it may be mistaken for a leftover. */
export function unfinishedFailover(group: GroupSettings, run: string, underWay: boolean): Finding {
  return problem({
    code: 'DR-RUN-OPEN',
    about: 'group',
    name: group.name,
    what: underWay
      ? `A failover of group ${group.name} is under way: run ${run}`
      : `The failover of group ${group.name} was begun and has not come to its end: run ${run}`,
    next: underWay
      ? `Follow it: lifeboat run follow ${run}`
      : `Go on with it: lifeboat run resume ${run}. To begin anew, give it up first: lifeboat run abandon ${run} --reason "…"`,
  });
}

function oursAmong(context: CheckContext, vms: readonly VmFacts[]): VmFacts[] {
  const ours = new Set(context.point?.vms.map((vm) => vm.uuid) ?? []);
  return vms.filter((vm) => ours.has(vm.uuid) && !vm.isSnapshot && !vm.isTemplate);
}

const runs = (vm: VmFacts): boolean => vm.powerState !== 'Halted';
const labels = (vms: readonly VmFacts[]): string[] => vms.map((vm) => vm.nameLabel).sort();
const vmCount = (vms: readonly VmFacts[]): string => `${vms.length} VM${vms.length === 1 ? '' : 's'}`;
const isOrAre = (vms: readonly VmFacts[]): string => (vms.length === 1 ? 'is' : 'are');
