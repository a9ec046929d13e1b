/** What is odd about a recovery plan once the VMs, networks and hosts that it names are known. */
import type { Finding } from '../domain/finding.ts';
import { globExpression } from '../domain/glob.ts';
import type { PoolFacts } from '../domain/pool.ts';
import type { Moment, RecoveryPlanSettings, VmOverride } from '../domain/recovery-plan.ts';
import type { PointVm, RecoveryPoint } from '../domain/recovery-point.ts';
import { compileMatch, nothing, rulesOf, type ScopeRule } from '../domain/scope.ts';
import type { ScopeMatch } from '../domain/scope-rules.ts';
import type { GroupSettings } from '../domain/settings.ts';
import { networksNamed } from './networks.ts';
import { startOrder } from './tiers.ts';

export interface PlanLook {
  /** As it is oriented now. */
  readonly group: GroupSettings;
  readonly point: RecoveryPoint;
  readonly recovery: PoolFacts;
}

type Said = Pick<Finding, 'code' | 'what' | 'next'> & Partial<Finding>;

export function recoveryPlanFindings({ group, point, recovery }: PlanLook): Finding[] {
  const { plan } = group;
  const here = (plan.overrides ?? []).filter(({ site }) => site === group.recovery);
  return [
    ...idleRules(plan, here, point),
    ...circles(plan, point),
    ...here.flatMap((override) => overrideFindings(override, point, recovery)),
  ];
}

function problem(said: Said): Finding {
  return { about: 'config', name: 'recovery plan', evidence: [], vms: [], ...said, severity: 'problem' };
}

function warning(said: Said): Finding {
  return { about: 'config', name: 'recovery plan', evidence: [], vms: [], ...said, severity: 'warning' };
}

/** A rule that names nobody is most often a typing error, and its VMs then start in another order, or not at all. */
function idleRules(
  plan: RecoveryPlanSettings,
  overrides: readonly VmOverride[],
  point: RecoveryPoint,
): Finding[] {
  const places: (readonly [string, ScopeMatch | undefined])[] = [
    ...plan.tiers.map((tier) => [`tier ${tier.name}`, tier.vms] as const),
    ...(plan.dependencies ?? []).flatMap(({ vms, needs }, index) => [
      [`the VMs of dependency ${index + 1}`, vms] as const,
      [`what dependency ${index + 1} needs`, needs] as const,
    ]),
    ...overrides.map((override, index) => [`override ${index + 1}`, override.vms] as const),
    ['leave_off', plan.leaveOff],
  ];
  const idle = places.flatMap(([place, match]) => {
    if (match === undefined) return [];
    return rulesOf(match)
      .filter((rule) => {
        const names = compileMatch(alone(rule), point.srs);
        return !point.vms.some((vm) => names(vm) !== null);
      })
      .map((rule) => `${place}: ${rule.kind} ${rule.text}`);
  });
  const moments = [...(plan.callouts ?? []), ...(plan.prompts ?? [])]
    .filter(({ moment }) => !happens(moment, plan, point))
    .map(({ name, moment }) => `${name}: ${describeMoment(moment)}`);
  return [...told(idle, 'name no VM of the recovery point'), ...told(moments, 'never have their moment')];
}

function told(lines: readonly string[], what: string): Finding[] {
  if (lines.length === 0) return [];
  return [
    warning({
      code: 'DR-PLAN-IDLE-RULE',
      what: `${lines.length === 1 ? 'One line' : `${lines.length} lines`} of the recovery plan ${what}`,
      evidence: lines,
      next: 'Correct them, or remove what is no longer needed',
    }),
  ];
}

const listOf: Readonly<Record<ScopeRule['kind'], keyof ScopeMatch>> = {
  name: 'names',
  pattern: 'patterns',
  tag: 'tags',
  folder: 'folders',
  sr: 'srs',
  uuid: 'uuids',
};

function alone({ kind, text }: ScopeRule): ScopeMatch {
  return { ...nothing, [listOf[kind]]: [text] };
}

function happens(moment: Moment, plan: RecoveryPlanSettings, point: RecoveryPoint): boolean {
  if (moment.at === 'after-start') {
    const expression = globExpression(moment.vm);
    return startOrder(plan, point, point.vms).sequence.some(({ vm }) => expression.test(vm.nameLabel));
  }
  if (moment.at !== 'before-tier' && moment.at !== 'after-tier') return true;
  return startOrder(plan, point, point.vms).tiers.some((tier) => tier.name === moment.tier);
}

function describeMoment(moment: Moment): string {
  if (moment.at === 'after-start') return `the start of ${moment.vm}`;
  return moment.at === 'before-tier' || moment.at === 'after-tier'
    ? `tier ${moment.tier} has no VM that starts`
    : moment.at;
}

function circles(plan: RecoveryPlanSettings, point: RecoveryPoint): Finding[] {
  const { circle } = startOrder(plan, point, point.vms);
  if (circle === null) return [];
  return [
    problem({
      code: 'DR-PLAN-CIRCLE',
      what: 'VMs of the recovery plan wait for each other',
      evidence: [circle],
      next: 'Take one of these dependencies out, or move a VM into another tier',
    }),
  ];
}

function overrideFindings(override: VmOverride, point: RecoveryPoint, pool: PoolFacts): Finding[] {
  const names = compileMatch(override.vms, point.srs);
  const vms = point.vms.filter((vm) => names(vm) !== null);
  if (vms.length === 0) return [];
  const nameLabels = vms.map((vm) => vm.nameLabel).sort();
  return [
    ...networkFindings(override, vms, pool).map((found) => ({ ...found, vms: nameLabels })),
    ...hostFindings(override, pool).map((found) => ({ ...found, vms: nameLabels })),
    ...addressFindings(override, nameLabels),
  ];
}

/** Invariant 12: a network of an override is found once, by name, or nothing is imported onto it. */
function networkFindings({ networks }: VmOverride, vms: readonly PointVm[], pool: PoolFacts): Finding[] {
  const used = new Set(vms.flatMap((vm) => vm.networkNames));
  return networks.flatMap(({ production, here }) => {
    const found = networksNamed(pool, here).length;
    if (found === 1 && used.has(production)) return [];
    if (!used.has(production))
      return [
        warning({
          code: 'DR-PLAN-OVERRIDE',
          what: `An override changes network ${production}, which none of its VMs uses`,
          next: 'Correct the name of the production network in the recovery plan',
        }),
      ];
    return [
      problem({
        code: 'DR-PLAN-OVERRIDE',
        what: `Network ${here} of an override is ${found === 0 ? 'not there' : `there ${found} times`} in pool ${pool.nameLabel}`,
        next: 'Make the network, give it a name of its own, or correct the recovery plan',
      }),
    ];
  });
}

function hostFindings({ host }: VmOverride, pool: PoolFacts): Finding[] {
  if (host === null) return [];
  const found = pool.hosts.filter(({ nameLabel }) => nameLabel === host);
  if (found.length === 1 && found[0]?.live === true) return [];
  return [
    warning({
      code: 'DR-PLAN-OVERRIDE',
      what: `Host ${host}, which an override prefers, ${
        found.length === 1
          ? 'is down'
          : found.length === 0
            ? `is not in pool ${pool.nameLabel}`
            : 'is there more than once'
      }`,
      evidence: ['the VMs start wherever there is room'],
      next: 'Correct the name of the host in the recovery plan, or bring the host up',
    }),
  ];
}

function addressFindings({ addresses }: VmOverride, vms: readonly string[]): Finding[] {
  if (addresses.length === 0 || vms.length < 2) return [];
  return [
    problem({
      code: 'DR-PLAN-OVERRIDE',
      what: 'An override gives the same addresses to several VMs',
      evidence: addresses.flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6].flatMap((each) => each?.address ?? [])),
      vms,
      next: 'Write one override for each VM that gets addresses of its own',
    }),
  ];
}
