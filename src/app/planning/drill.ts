/** Observed, planned and checked: a drill, and the clean-up of one. */
import type { CheckContext } from '../../check/context.ts';
import { checkDrill } from '../../check/drill.ts';
import { applyOverrides } from '../../check/override.ts';
import type { Inventory } from '../../domain/actions/drill.ts';
import { drillIdOf } from '../../domain/drill.ts';
import { exitCodes, OperatorError } from '../../domain/errors.ts';
import type { Finding } from '../../domain/finding.ts';
import type { GroupState } from '../../domain/group.ts';
import { nearest } from '../../domain/nearest.ts';
import type { ImportedVm, Plan } from '../../domain/plan.ts';
import type { RecoveryPoint } from '../../domain/recovery-point.ts';
import { foldRun } from '../../domain/run.ts';
import { planDigest } from '../../execute/executor.ts';
import { planDrill } from '../../plan/drill.ts';
import { planDrillCleanup } from '../../plan/drill-cleanup.ts';
import { isAskedFor } from '../../plan/recover/partial.ts';
import { recoveryPlanFindings } from '../../plan/recovery-plan-findings.ts';
import type { PlannedRun } from '../app.ts';
import type { AppPorts } from '../ports.ts';
import { rehearse } from '../rehearse.ts';
import {
  chosenPoint,
  confirmationOf,
  lacksMetadata,
  overridesOf,
  type Planning,
  planIdOf,
  poolOf,
} from './common.ts';

export async function drillRun(planning: Planning<'drill'>): Promise<PlannedRun> {
  const { ports, group, observation, state, request } = planning;
  await assertNobodyDrills(ports, group.name, state);
  const point = chosenPoint(group, observation, request.pointId);
  assertNamesOf(point, request.vms);
  const plan = planDrill({
    planId: planIdOf(ports, 'drill', group.name),
    drillId: drillIdOf(group.name, observation.takenAt, ports.entropy.hex(2)),
    group,
    configDigest: ports.settings.digest,
    generation: state?.generation ?? 0,
    observation,
    pointId: request.pointId,
    keep: request.keep,
    vms: request.vms,
    freshUuid: () => ports.entropy.uuid(),
  });
  return {
    plan,
    digest: planDigest(plan),
    findings: await drillFindings(planning, point, plan),
    observation,
    decisions: request.decisions,
    confirm: confirmationOf({ ports, observation }, group.recovery),
    ...(lacksMetadata({ group, observation, request }) ? { lacksMetadata: true } : {}),
  };
}

async function drillFindings(
  { ports, group, observation, state, request, context }: Planning<'drill'>,
  point: RecoveryPoint | null,
  plan: Plan,
): Promise<Finding[]> {
  const recovery = poolOf(observation, group.recovery);
  const asked =
    point === null ? null : { ...point, vms: point.vms.filter((vm) => isAskedFor(request.vms, vm)) };
  const checked: CheckContext = {
    group,
    observation,
    recovery,
    production: poolOf(observation, group.production),
    point: asked,
    state,
    decisions: new Set(request.decisions.map(({ decision }) => decision)),
    standing: false,
    otherGroups: ports.settings.groups.filter((other) => other.name !== group.name),
  };
  let rehearsal: readonly Finding[] = [];
  if (asked !== null && recovery !== null) {
    context.onProgress?.(
      `Rehearsing the import of ${asked.vms.length} copies into pool ${recovery.nameLabel}`,
    );
    rehearsal = [
      ...(await rehearse(ports, group, asked, recovery, context.signal, copiesIn(plan))),
      ...recoveryPlanFindings({ group, point: asked, recovery }),
    ];
  }
  return applyOverrides(checkDrill(checked, rehearsal), overridesOf(request.decisions));
}

function copiesIn(plan: Plan): ReadonlyMap<string, ImportedVm> {
  const copies = plan.steps.flatMap(({ action }) => (action.do === 'import-vms' ? action.vms : []));
  return new Map(copies.map((copy) => [copy.original ?? copy.uuid, copy]));
}

export async function drillCleanupRun({
  ports,
  group,
  observation,
  state,
}: Planning<'drill-cleanup'>): Promise<PlannedRun> {
  await assertNobodyDrills(ports, group.name, state);
  const open = state?.drill ?? null;
  const plan = planDrillCleanup({
    planId: planIdOf(ports, 'drill-cleanup', group.name),
    group,
    configDigest: ports.settings.digest,
    generation: state?.generation ?? 0,
    observation,
    open,
    before: open === null ? null : await inventoryBefore(ports, open.run),
  });
  return {
    plan,
    digest: planDigest(plan),
    findings: [],
    observation,
    decisions: [],
    confirm: confirmationOf({ ports, observation }, group.recovery),
  };
}

/** What the drill's run recorded before it made anything; null when its journal is gone, broken, or got not so far. */
async function inventoryBefore(ports: AppPorts, runId: string): Promise<Inventory | null> {
  try {
    const events = await ports.journals.read(runId);
    if (events.length === 0) return null;
    const run = foldRun(events);
    const step = run.plan.steps.find(({ action }) => action.do === 'record-inventory');
    const output = step === undefined ? null : (run.steps.get(step.id)?.output ?? null);
    // Written by recordInventory of that run.
    return output as unknown as Inventory | null;
  } catch (error) {
    if (error instanceof OperatorError) return null;
    throw error;
  }
}

/** A drill that another process carries out cleans up itself: taking its clone away under it would break it. */
export async function assertNobodyDrills(
  ports: AppPorts,
  group: string,
  state: GroupState | null,
): Promise<void> {
  const run = state?.currentRun ?? null;
  if (run === null || !(await (await ports.states()).isCarriedOut(run))) return;
  throw new OperatorError(
    {
      code: 'DR-LOCK-HELD',
      what: `Group ${group} is being worked on by run ${run}`,
      known: ['nothing was done by this command'],
      next: `Follow it with \`lifeboat run follow ${run}\``,
    },
    { exitCode: exitCodes.locked },
  );
}

function assertNamesOf(point: RecoveryPoint | null, names: readonly string[]): void {
  if (point === null) return;
  const known = point.vms.flatMap((vm) => [vm.nameLabel, vm.uuid]);
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length === 0) return;
  throw new OperatorError(
    unknown.map((name) => {
      const close = nearest(name, known);
      return {
        code: 'DR-VM-UNKNOWN' as const,
        what: `Recovery point ${point.id} holds no VM ${name}`,
        next:
          close === null ? `See which it holds: lifeboat catalog show ${point.id}` : `Did you mean ${close}?`,
      };
    }),
    { exitCode: exitCodes.usage },
  );
}
