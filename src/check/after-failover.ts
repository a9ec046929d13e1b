/**
 * What matters once a group has moved, or is on its way: not whether one could fail over (it did), but whether its VMs
 * run once and only once, and that nothing protects them where they are now.
 */
import { type Finding, sortFindings } from '../domain/finding.ts';
import type { GroupState, Phase } from '../domain/group.ts';
import type { VmFacts } from '../domain/pool.ts';
import { isQuarantined } from '../domain/quarantine.ts';
import { vmsInScope } from '../domain/scope.ts';
import type { GroupSettings } from '../domain/settings.ts';
import { type CheckContext, problem, type Rule, warning } from './context.ts';
import { recoveryPoolIsReady } from './rules/recovery-pool.ts';

/** Whether the group was failed over, so that its VMs run at the recovery site. */
export function hasMoved(state: GroupState | null, group: GroupSettings): state is GroupState {
  return state?.phase === 'failed-over' && state.activeSite === group.recovery;
}

/** What moves a group between the sites, by the phase in which the group is meanwhile. */
const moving: Readonly<Partial<Record<Phase, string>>> = {
  'failing-over': 'failover',
  migrating: 'migration',
  reprotecting: 'reprotection',
};

/** The run that was begun to move the group and has not come to its end; null when there is none. */
export function openMove(state: GroupState | null): { readonly run: string; readonly what: string } | null {
  const what = state === null ? undefined : moving[state.phase];
  return what === undefined || state?.currentRun == null ? null : { run: state.currentRun, what };
}

const rules: readonly Rule[] = [lostSiteIsBack, vmsRunHere, nothingProtects, recoveryPoolIsReady];

export function checkAfterFailover(context: CheckContext): Finding[] {
  return sortFindings(rules.flatMap((rule) => rule(context)));
}

/** The lost site answers again: its copies are a danger even while they are halted (invariant 1). */
function lostSiteIsBack(context: CheckContext): Finding[] {
  const { group, production, recovery, state } = context;
  if (production === null) return [];
  const serving = recovery === null ? [] : vmsInScope(recovery, group.scope);
  const ours = oursAmong(context, production.vms, serving);
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
        next: `Stop them at site ${group.production} now: those at site ${group.recovery} have taken over, and what both write drifts apart. lifeboat quarantine ${group.name} --stop-old "REASON" does it.`,
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
          others.every(isQuarantined)
            ? 'all of them are in quarantine: none can start by itself'
            : `not in quarantine: ${labels(others.filter((vm) => !isQuarantined(vm))).join(', ')}`,
        ],
        vms: labels(others),
        next: others.every(isQuarantined)
          ? `Reconcile the two sites: lifeboat reprotect ${group.name}`
          : `Keep them from starting at site ${group.production} at once: lifeboat quarantine ${group.name}. Then reconcile the two sites: lifeboat reprotect ${group.name}`,
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
      next: `As soon as site ${group.production} is back: lifeboat reprotect ${group.name}. Back these VMs up by other means until then.`,
    }),
  ];
}

/** Nothing else must begin beside it, and nothing of it may be mistaken for a leftover. */
export function unfinishedMove(
  group: GroupSettings,
  { run, what }: { readonly run: string; readonly what: string },
  underWay: boolean,
): Finding {
  return problem({
    code: 'DR-RUN-OPEN',
    about: 'group',
    name: group.name,
    what: underWay
      ? `A ${what} of group ${group.name} is under way: run ${run}`
      : `The ${what} of group ${group.name} was begun and has not come to its end: run ${run}`,
    next: underWay
      ? `Follow it: lifeboat run follow ${run}`
      : `Go on with it: lifeboat run resume ${run}. To begin anew, give it up first: lifeboat run abandon ${run} --reason "…"`,
  });
}

/** `serving`: what serves is ours too, also where the recovery point does not know it. */
function oursAmong(
  context: CheckContext,
  vms: readonly VmFacts[],
  serving: readonly { readonly uuid: string }[] = [],
): VmFacts[] {
  const ours = new Set([...(context.point?.vms ?? []), ...serving].map((vm) => vm.uuid));
  return vms.filter((vm) => ours.has(vm.uuid) && !vm.isSnapshot && !vm.isTemplate);
}

const runs = (vm: VmFacts): boolean => vm.powerState !== 'Halted';
const labels = (vms: readonly VmFacts[]): string[] => vms.map((vm) => vm.nameLabel).sort();
const vmCount = (vms: readonly VmFacts[]): string => `${vms.length} VM${vms.length === 1 ? '' : 's'}`;
const isOrAre = (vms: readonly VmFacts[]): string => (vms.length === 1 ? 'is' : 'are');
