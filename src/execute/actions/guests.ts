/**
 * Readiness of guests. All VMs of a site that are waited for are asked about in one call per round: a pool is one core,
 * and hundreds of separate polls would slow down the very starts that they wait for (performance.md 0).
 */
import { BlockList, isIPv6 } from 'node:net';
import type { NamedVm } from '../../domain/plan.ts';
import type { Uuid } from '../../domain/pool.ts';
import type { ReadinessGate } from '../../domain/settings.ts';
import type { Hypervisor, VmState } from '../../ports/hypervisor.ts';
import type { Clock } from '../../ports/system.ts';
import type { ActionOf, ActResult, StepContext, Verdict } from '../handlers.ts';
import type { World } from './world.ts';

const roundSeconds = 2;

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
  world: World,
  watch: GuestWatch,
  action: ActionOf<'await-ready'>,
  context: StepContext,
): Promise<ActResult> {
  for (;;) {
    const state = await watch.next(action.vm.uuid, context.signal);
    const waitsFor = await firstClosedGate(world, action.gates, state, context.signal);
    if (waitsFor === null) return { output: { addresses: addressesOf(state) }, warnings: [] };
  }
}

export async function isReady(
  world: World,
  hypervisor: Hypervisor,
  condition: { readonly vm: NamedVm; readonly gates: readonly ReadinessGate[] },
  signal: AbortSignal,
): Promise<Verdict> {
  const state = (await hypervisor.vmStates([condition.vm.uuid], signal)).get(condition.vm.uuid);
  const waitsFor = await firstClosedGate(world, condition.gates, state, signal);
  return waitsFor === null
    ? { holds: true, output: { addresses: addressesOf(state) } }
    : { holds: false, because: `VM ${condition.vm.nameLabel} ${waitsFor}` };
}

/** Why the VM does not count as ready yet; null when every gate is open. */
export async function firstClosedGate(
  world: Pick<World, 'probeTcp'>,
  gates: readonly ReadinessGate[],
  state: VmState | undefined,
  signal: AbortSignal,
): Promise<string | null> {
  if (state === undefined) return 'is not in the pool';
  if (state.powerState !== 'Running') return `is ${state.powerState.toLowerCase()}`;
  for (const gate of gates) {
    switch (gate.gate) {
      case 'running':
        break;
      case 'guest-agent':
        if (state.guest === null || !(state.guest.driversDetected || state.guest.live))
          return 'is running, but its guest agent has not reported';
        break;
      case 'address':
        if (!addressesOf(state).some((address) => gate.subnets.some((subnet) => isInSubnet(address, subnet))))
          return `has no address in ${gate.subnets.join(' or ')}${saidAddresses(state)}`;
        break;
      case 'tcp':
        if (!(await answersOn(world, addressesOf(state), gate.port, signal)))
          return `does not answer on TCP port ${gate.port}${saidAddresses(state)}`;
        break;
    }
  }
  return null;
}

function saidAddresses(state: VmState): string {
  const addresses = addressesOf(state);
  return addresses.length === 0 ? ' (it reports no address)' : ` (it reports ${addresses.join(', ')})`;
}

async function answersOn(
  world: Pick<World, 'probeTcp'>,
  addresses: readonly string[],
  port: number,
  signal: AbortSignal,
): Promise<boolean> {
  for (const address of addresses) if (await world.probeTcp(address, port, signal)) return true;
  return false;
}

/** Addresses that the guest agent reports, link-local ones left out (keys `0/ip`, `0/ipv4/0`, `0/ipv6/0`; xapi.md 8.2). */
export function addressesOf(state: VmState | undefined): string[] {
  const all = Object.values(state?.guest?.networks ?? {});
  return [...new Set(all)]
    .filter((address) => address !== '' && !/^(fe80:|169\.254\.)/i.test(address))
    .sort();
}

export function isInSubnet(address: string, subnet: string): boolean {
  const [network = '', length = ''] = subnet.split('/');
  const family = isIPv6(network) ? 'ipv6' : 'ipv4';
  if (isIPv6(address) !== (family === 'ipv6')) return false;
  const list = new BlockList();
  list.addSubnet(network, Number(length), family);
  return list.check(address, family);
}
