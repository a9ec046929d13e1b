/** The preflight of every operation that is possible in the phase of a group, as the world is now. Changes nothing. */
import { OperatorError } from '../domain/errors.ts';
import { type Finding, sortFindings } from '../domain/finding.ts';
import type { GroupState } from '../domain/group.ts';
import type { Observation } from '../domain/observation.ts';
import type { Operation, Plan } from '../domain/plan.ts';
import type { GroupSettings } from '../domain/settings.ts';
import type { CheckReport } from '../domain/status.ts';
import { observe } from '../observe/observe.ts';
import { planFailover } from '../plan/failover.ts';
import type { Context, PlanRequest } from './app.ts';
import { asTheyStand, groupsNamed, observeRequest } from './groups.ts';
import { planSeen } from './plan-run.ts';
import { failoverFindings } from './planning/failover.ts';
import type { AppPorts } from './ports.ts';
import { usualWish } from './recover-metadata.ts';

type Checked = CheckReport['groups'][number]['operations'][number];

interface Standing {
  readonly ports: AppPorts;
  readonly group: GroupSettings;
  readonly state: GroupState | null;
  readonly observation: Observation;
  readonly context: Context;
}

export async function check(
  ports: AppPorts,
  request: { readonly groups: readonly string[] },
  context: Context = {},
): Promise<CheckReport> {
  const groups = await asTheyStand(await ports.states(), groupsNamed(ports.settings, request.groups));
  context.onProgress?.('Looking at the sites, their arrays and the catalog');
  const asked = observeRequest(
    groups.map(({ group }) => group),
    null,
  );
  const observation = await observe(ports, asked, context.signal);
  const checked: CheckReport['groups'][number][] = [];
  for (const { group, state } of groups) {
    const standing = { ports, group, state, observation, context };
    const operations: Checked[] = [];
    for (const operation of operationsIn(state)) operations.push(await checkOne(standing, operation));
    checked.push({ group: group.name, operations });
  }
  return { takenAt: observation.takenAt, groups: checked, gaps: observation.gaps };
}

/** What can be asked of a group in its phase; a move that is under way or half done is told under its own name. */
export function operationsIn(state: GroupState | null): readonly Operation[] {
  const move = state?.roles === 'swapped' ? 'failback' : 'migrate';
  switch (state?.phase) {
    case undefined:
    case 'unprotected':
    case 'protected':
      return ['export', 'verify', 'drill', move, 'failover'];
    case 'drilling':
      return ['export', 'verify', 'drill-cleanup', 'failover'];
    case 'migrating':
    case 'failing-over':
      return ['failover'];
    case 'failed-over':
      return ['failover', 'reprotect'];
    case 'reprotecting':
      return ['reprotect'];
    case 'stuck':
      return ['export', 'verify', 'failover'];
  }
}

async function checkOne(standing: Standing, operation: Operation): Promise<Checked> {
  const { context } = standing;
  try {
    return operation === 'failover' ? await checkFailover(standing) : await checkPlan(standing, operation);
  } catch (error) {
    context.signal?.throwIfAborted();
    if (!(error instanceof OperatorError)) throw error;
    return {
      operation,
      findings: error.problems.map((found) => asFinding(found, standing.group)),
      forecastSeconds: null,
    };
  }
}

/** In quiet times a production site that answers is what we hope for, and the findings are told differently. */
async function checkFailover({ ports, group, state, observation, context }: Standing): Promise<Checked> {
  const plan = planFailover({
    planId: 'check',
    group,
    configDigest: ports.settings.digest,
    generation: 0,
    observation,
    pointId: null,
    declaredLost: false,
  });
  const findings = await failoverFindings(ports, {
    group,
    observation,
    state,
    pointId: null,
    decisions: [],
    standing: true,
    context,
  });
  return { operation: 'failover', findings, forecastSeconds: forecastOf(plan) };
}

async function checkPlan(
  { ports, group, state, observation, context }: Standing,
  operation: Operation,
): Promise<Checked> {
  const request = requestOf(operation, group.name);
  const { plan, findings } = await planSeen(ports, { group, state, observation, context }, request);
  return {
    operation,
    findings: sortFindings([...findings, ...waits(plan, findings)]),
    forecastSeconds: forecastOf(plan),
  };
}

function requestOf(operation: Operation, group: string): PlanRequest {
  switch (operation) {
    case 'export':
    case 'verify':
    case 'drill-cleanup':
      return { operation, group };
    case 'drill':
      return { operation, group, pointId: null, vms: [], keep: false, decisions: [] };
    case 'migrate':
    case 'failback':
    case 'canary':
      return { operation, group, decisions: [] };
    case 'recover-metadata':
      return { operation, group, wish: usualWish, decisions: [] };
    case 'reprotect':
      return { operation, group, decisions: [], quarantineOnly: false };
    case 'failover':
      return { operation, group, pointId: null, decisions: [] };
  }
}

/** A plan that waits for something cannot be run, even where no rule has said why. */
function waits(plan: Plan, findings: readonly Finding[]): Finding[] {
  if (plan.waitingOn.length === 0 || findings.some(({ severity }) => severity === 'problem')) return [];
  return [
    {
      severity: 'problem',
      code: 'DR-PLAN-WAITS',
      about: 'group',
      name: plan.group,
      what: `The ${plan.operation} of group ${plan.group} cannot be run`,
      evidence: plan.waitingOn.map((what) => `it needs ${what}`),
      vms: [],
      next: 'Mend that, and run the command again.',
    },
  ];
}

function asFinding(
  { code, what, known, next }: OperatorError['problems'][number],
  group: GroupSettings,
): Finding {
  return {
    severity: 'problem',
    code,
    about: 'group',
    name: group.name,
    what,
    evidence: known ?? [],
    vms: [],
    next,
  };
}

const forecastOf = (plan: Plan): number | null =>
  plan.steps.length === 0 ? null : plan.expects.forecastSeconds;
