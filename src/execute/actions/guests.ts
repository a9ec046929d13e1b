/**
 * Readiness of guests. All VMs of a site that are waited for are asked about in one call per round: a pool is one core,
 * and hundreds of separate polls would slow down the very starts that they wait for (performance.md 0).
 */
import type { NamedVm } from '../../domain/plan.ts';
import type { Uuid } from '../../domain/pool.ts';
import type { ReadinessGate } from '../../domain/settings.ts';
import type { Hypervisor, VmState } from '../../ports/hypervisor.ts';
import type { Clock } from '../../ports/system.ts';
import type { ActionOf, ActResult, StepContext, Verdict } from '../handlers.ts';
import { addressesOf, firstClosedGate, type GateWorld } from './gates.ts';
import type { World } from './world.ts';

const roundSeconds = 2;
const loginPauseSeconds = 10;

/** Answers "how is this VM" for many askers with one call. */
export class GuestWatch {
  readonly #hypervisor: Hypervisor;
  readonly #clock: Clock;
  #asking = new Set<Uuid>();
  #round: Promise<ReadonlyMap<Uuid, VmState>> | null = null;

  constructor(hypervisor: Hypervisor, clock: Clock) {
    this.#hypervisor = hypervisor;
    this.#clock = clock;
  }

  /** The state as of the next round, within `roundSeconds`. */
  async next(vm: Uuid, signal: AbortSignal): Promise<VmState | undefined> {
    this.#asking.add(vm);
    this.#round ??= this.#begin();
    const states = await this.#round;
    signal.throwIfAborted();
    return states.get(vm);
  }

  async #begin(): Promise<ReadonlyMap<Uuid, VmState>> {
    await this.#clock.sleep(roundSeconds);
    const vms = [...this.#asking];
    this.#asking = new Set();
    this.#round = null;
    return this.#hypervisor.vmStates(vms);
  }
}

export async function awaitReady(
  world: GateWorld & Pick<World, 'clock'>,
  watch: GuestWatch,
  action: ActionOf<'await-ready'>,
  context: StepContext,
): Promise<ActResult> {
  const { vm, gates } = action;
  const isLoginAsked = gates.some((gate) => gate.gate === 'command');
  for (;;) {
    const state = await watch.next(vm.uuid, context.signal);
    const waitsFor = await firstClosedGate(world, vm.nameLabel, gates, state, context.signal);
    if (waitsFor === null) return { output: { addresses: addressesOf(state) }, warnings: [] };
    // Guests lock out who tries to log in every other second.
    if (isLoginAsked) await world.clock.sleep(loginPauseSeconds, context.signal);
  }
}

export async function isReady(
  world: GateWorld,
  hypervisor: Hypervisor,
  condition: { readonly vm: NamedVm; readonly gates: readonly ReadinessGate[] },
  signal: AbortSignal,
): Promise<Verdict> {
  const state = (await hypervisor.vmStates([condition.vm.uuid], signal)).get(condition.vm.uuid);
  const waitsFor = await firstClosedGate(world, condition.vm.nameLabel, condition.gates, state, signal);
  return waitsFor === null
    ? { holds: true, output: { addresses: addressesOf(state) } }
    : { holds: false, because: `VM ${condition.vm.nameLabel} ${waitsFor}` };
}
