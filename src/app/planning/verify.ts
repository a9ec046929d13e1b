/** Observed, planned and checked: a verification; and what its run asks of the checks. */
import { openMove, unfinishedMove } from '../../check/after-failover.ts';
import { runRules } from '../../check/check.ts';
import type { CheckContext } from '../../check/context.ts';
import { driftBetween } from '../../check/drift.ts';
import { checkVerify, readinessRules } from '../../check/verify.ts';
import type { Finding } from '../../domain/finding.ts';
import type { GroupState } from '../../domain/group.ts';
import type { Observation } from '../../domain/observation.ts';
import { oriented } from '../../domain/orientation.ts';
import type { GroupSettings } from '../../domain/settings.ts';
import type { Verifier } from '../../execute/actions/world.ts';
import { planDigest } from '../../execute/executor.ts';
import { observe } from '../../observe/observe.ts';
import { planVerify } from '../../plan/verify.ts';
import type { PlannedRun } from '../app.ts';
import { groupNamed, observeRequest } from '../groups.ts';
import { verificationHistory } from '../journals.ts';
import type { AppPorts } from '../ports.ts';
import { rehearse } from '../rehearse.ts';
import { chosenPoint, type Planning, planIdOf, poolOf } from './common.ts';

export async function verifyRun({
  ports,
  group,
  observation,
  state,
  request,
  context,
}: Planning<'verify'>): Promise<PlannedRun> {
  const history = await verificationHistory(ports, group.name);
  const plan = planVerify({
    planId: planIdOf(ports, 'verify', group.name),
    group,
    configDigest: ports.settings.digest,
    generation: state?.generation ?? 0,
    observation,
    point: observation.catalog.points.find((point) => point.group === group.name) ?? null,
    since: history.looked,
    frozen: (state?.frozen ?? null) !== null,
    sync: request.sync === true,
    deep: request.deep === true,
    syncNow: await syncOnRequest(ports, group, observation, context.signal),
  });
  return {
    plan,
    digest: planDigest(plan),
    findings: await verifyFindings(ports, group, observation, state),
    observation,
    decisions: [],
    confirm: null,
  };
}

/** What keeps a verification from running; the same before a run and in quiet times. */
export async function verifyFindings(
  ports: AppPorts,
  group: GroupSettings,
  observation: Observation,
  state: GroupState | null,
): Promise<Finding[]> {
  const open = openMove(state);
  if (open !== null)
    return [unfinishedMove(group, open, await (await ports.states()).isCarriedOut(open.run))];
  return checkVerify(quietContext(ports, group, observation, state));
}

/** Which source arrays send a point on request; an array that does not answer has its say in the step that looks at it. */
export async function syncOnRequest(
  ports: AppPorts,
  group: GroupSettings,
  observation: Observation,
  signal: AbortSignal | undefined,
): Promise<ReadonlyMap<string, boolean | null>> {
  const answers = new Map<string, boolean | null>();
  for (const name of new Set(group.storage.map(({ source }) => source.array))) {
    const seen = observation.arrays?.find(({ array }) => array === name)?.capabilities;
    try {
      const capabilities = seen ?? (await (await ports.array(name)).capabilities(signal));
      answers.set(name, capabilities.syncNow);
    } catch {
      signal?.throwIfAborted();
      answers.set(name, null);
    }
  }
  return answers;
}

function quietContext(
  ports: Pick<AppPorts, 'settings'>,
  group: GroupSettings,
  observation: Observation,
  state: GroupState | null,
): CheckContext {
  return {
    group,
    observation,
    recovery: poolOf(observation, group.recovery),
    production: poolOf(observation, group.production),
    point: chosenPoint(group, observation, null),
    state,
    decisions: new Set(),
    standing: true,
    otherGroups: ports.settings.groups.filter(({ name }) => name !== group.name),
  };
}

/** The checks, for the steps of a run. */
export function verifierOver(ports: AppPorts): Verifier {
  return {
    async readiness(name, signal) {
      const configured = groupNamed(ports.settings, name);
      const state = await (await ports.states()).get(name);
      const group = oriented(configured, state);
      const observation = await observe(ports, observeRequest([group], null), signal);
      const context = quietContext(ports, group, observation, state);
      const { point, recovery } = context;
      const rehearsal =
        point === null || recovery === null ? [] : await rehearse(ports, group, point, recovery, signal);
      return runRules(readinessRules, context, rehearsal);
    },
    drift(group, before, now, point) {
      return driftBetween({
        group,
        before,
        now,
        vms: point?.vms ?? [],
        srTypes: new Map(point?.srs.map((sr) => [sr.uuid, sr.type])),
      });
    },
  };
}
