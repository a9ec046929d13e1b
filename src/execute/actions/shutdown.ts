/**
 * Shutting a VM down for good before its storage is handed over, and bringing it back when the handing over is given up.
 * A start is blocked before the shutdown, so that neither HA nor a person starts it again in between (xapi.md 8.3, 8.4).
 */
import { OperatorError, PortError } from '../../domain/errors.ts';
import type { NamedVm } from '../../domain/plan.ts';
import { formatDuration } from '../../domain/time.ts';
import type { Hypervisor } from '../../ports/hypervisor.ts';
import { forceShutdown } from '../decisions.ts';
import type { ActionOf, ActResult, ConditionOf, StepContext, Verdict } from '../handlers.ts';
import type { TwinWatch } from './twins.ts';
import { fencedOperations } from './vms.ts';
import { sentenceOf, type World } from './world.ts';

/** How long a guest gets to shut down by itself: databases take their time to write everything down. */
const cleanShutdownSeconds = 600;

export async function shutDownVm(
  world: World,
  action: ActionOf<'shut-down-vm'>,
  context: StepContext,
): Promise<ActResult> {
  const { vm } = action;
  const hypervisor = await world.hypervisor(action.site);
  const state = (await hypervisor.vmStates([vm.uuid], context.signal)).get(vm.uuid);
  if (state === undefined) {
    throw new OperatorError({
      code: 'DR-VM-NOT-THERE',
      what: `VM ${vm.nameLabel} cannot be shut down: it is not in the pool`,
      where: { site: action.site },
      next: `Make a new plan: \`lifeboat plan ${context.plan.operation} ${context.plan.group}\``,
    });
  }
  await hypervisor.blockOperations(vm.uuid, fencedOperations, action.reason, context.signal);
  if (state.powerState === 'Halted') return { output: { how: 'was halted' }, warnings: [] };
  const refusal = await cleanly(world, hypervisor, vm, context);
  if (refusal === null) return { output: { how: 'shut down by itself' }, warnings: [] };
  // It may have been said only when the run was resumed.
  const force = action.force || context.decisions.some(({ decision }) => decision === forceShutdown);
  if (!force) throw stillRunning(action, refusal, context);
  await hypervisor.hardShutdownVm(vm.uuid, context.signal);
  return {
    output: { how: 'switched off' },
    warnings: [`VM ${vm.nameLabel} did not shut down by itself (${refusal}) and was switched off`],
  };
}

/** Why the guest did not shut down by itself; null when it did. */
async function cleanly(
  world: World,
  hypervisor: Hypervisor,
  vm: NamedVm,
  { signal }: StepContext,
): Promise<string | null> {
  const limit = new AbortController();
  const timer = new AbortController();
  const late = world.clock.sleep(cleanShutdownSeconds, timer.signal).then(
    () => limit.abort(new Error('the guest did not shut down in time')),
    () => null,
  );
  try {
    await hypervisor.cleanShutdownVm(vm.uuid, AbortSignal.any([limit.signal, signal]));
    return null;
  } catch (error) {
    if (signal.aborted) throw error;
    if (limit.signal.aborted) return `not within ${formatDuration(cleanShutdownSeconds)}`;
    // Whoever cannot be asked has not refused.
    if (!(error instanceof PortError) || error.kind !== 'refused') throw error;
    return sentenceOf(error);
  } finally {
    timer.abort();
    await late;
  }
}

function stillRunning(
  { vm, site }: ActionOf<'shut-down-vm'>,
  refusal: string,
  { run }: StepContext,
): OperatorError {
  return new OperatorError({
    code: 'DR-GUEST-STAYS-UP',
    what: `VM ${vm.nameLabel} does not shut down by itself`,
    where: { site, object: `VM ${vm.nameLabel}` },
    known: [refusal, 'nothing has been handed over: the group can stay where it is'],
    next: `Shut it down from inside and go on: \`lifeboat run resume ${run}\`. To stay: \`lifeboat run undo ${run} --reason "…"\`. To switch off what does not stop: \`lifeboat run resume ${run} --force-shutdown "REASON"\``,
  });
}

export async function isShutDown(
  world: World,
  site: string,
  vm: NamedVm,
  signal: AbortSignal,
): Promise<Verdict> {
  const hypervisor = await world.hypervisor(site);
  const state = (await hypervisor.vmStates([vm.uuid], signal)).get(vm.uuid);
  if (state === undefined) return { holds: false, because: `VM ${vm.nameLabel} is not in the pool` };
  return state.powerState === 'Halted'
    ? { holds: true }
    : { holds: false, because: `VM ${vm.nameLabel} is ${state.powerState.toLowerCase()}` };
}

/** A VM that was shut down for a handing over that is given up: started again, unless its twin runs (invariant 1). */
export async function bringBackVm(
  world: World,
  twins: TwinWatch,
  action: ActionOf<'bring-back-vm'>,
  context: StepContext,
): Promise<ActResult> {
  const { vm } = action;
  const hypervisor = await world.hypervisor(action.site);
  const state = (await hypervisor.vmStates([vm.uuid], context.signal)).get(vm.uuid);
  if (state?.powerState === 'Halted') await twins.assertNotRunning(vm, action.twinSite, context);
  await hypervisor.unblockOperations(vm.uuid, ours(action.blocked), context.signal);
  if (state?.powerState === 'Halted') await hypervisor.startVm(vm.uuid, context.signal);
  return { output: null, warnings: [] };
}

/** A guest that never stopped is back only when it could be started again. */
export async function isBroughtBack(
  world: World,
  { site, vm, blocked }: ConditionOf<'vm-brought-back'>,
  signal: AbortSignal,
): Promise<Verdict> {
  const pool = await (await world.hypervisor(site)).observe(signal);
  const found = pool.vms.find((candidate) => candidate.uuid === vm.uuid);
  if (found?.powerState !== 'Running')
    return { holds: false, because: `VM ${vm.nameLabel} does not run at site ${site}` };
  return ours(blocked).some((name) => found.blockedOperations[name] !== undefined)
    ? { holds: false, because: `starts of VM ${vm.nameLabel} are still blocked` }
    : { holds: true };
}

/** What a fence blocks, without what was blocked before it. */
export function ours(blocked: readonly string[]): string[] {
  return fencedOperations.filter((name) => !blocked.includes(name));
}
