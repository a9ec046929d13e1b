/** Observed, planned and checked: a canary. */
import { checkDrill } from '../../check/drill.ts';
import { applyOverrides } from '../../check/override.ts';
import { drillIdOf } from '../../domain/drill.ts';
import { planDigest } from '../../execute/executor.ts';
import { planCanary } from '../../plan/canary.ts';
import type { PlannedRun } from '../app.ts';
import { chosenPoint, confirmationOf, overridesOf, type Planning, planIdOf, poolOf } from './common.ts';
import { assertNobodyDrills } from './drill.ts';
import { syncOnRequest } from './verify.ts';

/** The rules of a drill hold for its clones; it starts no VM, so none of those that speak of VMs. */
export async function canaryRun(planning: Planning<'canary'>): Promise<PlannedRun> {
  const { ports, group, observation, state, request, context } = planning;
  await assertNobodyDrills(ports, group.name, state);
  const point = chosenPoint(group, observation, null);
  const plan = planCanary({
    planId: planIdOf(ports, 'canary', group.name),
    drillId: drillIdOf(group.name, observation.takenAt, ports.entropy.hex(2)),
    group,
    configDigest: ports.settings.digest,
    generation: state?.generation ?? 0,
    observation,
    syncNow: await syncOnRequest(ports, group, observation, context.signal),
  });
  const findings = checkDrill(
    {
      group,
      observation,
      recovery: poolOf(observation, group.recovery),
      production: poolOf(observation, group.production),
      point: point === null ? null : { ...point, vms: [], appliances: [] },
      state,
      decisions: new Set(),
      standing: false,
      otherGroups: ports.settings.groups.filter((other) => other.name !== group.name),
    },
    [],
  );
  return {
    plan,
    digest: planDigest(plan),
    findings: applyOverrides(findings, overridesOf(request.decisions)),
    observation,
    decisions: request.decisions,
    confirm: {
      ...confirmationOf({ ports, observation }, group.recovery),
      alsoChanges: group.production,
    },
  };
}
