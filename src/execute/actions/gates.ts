/** Readiness gates: why a VM does not count as ready yet. Cheap ones are asked before those that go over the network. */
import { BlockList, isIPv6 } from 'node:net';
import { PortError } from '../../domain/errors.ts';
import type { CommandGate, HttpGate, ReadinessGate } from '../../domain/recovery-plan.ts';
import type { VmState } from '../../ports/hypervisor.ts';
import { sentenceOf, type World } from './world.ts';

export type GateWorld = Pick<World, 'probeTcp' | 'probeHttp' | 'runInGuest'>;

const commandWithinSeconds = 30;

/** Why the VM does not count as ready yet, as the rest of a sentence about it; null when every gate is open. */
export async function firstClosedGate(
  world: GateWorld,
  nameLabel: string,
  gates: readonly ReadinessGate[],
  state: VmState | undefined,
  signal: AbortSignal,
): Promise<string | null> {
  if (state === undefined) return 'is not in the pool';
  if (state.powerState !== 'Running') return `is ${state.powerState.toLowerCase()}`;
  for (const gate of gates) {
    const closed = await closedBecause(world, nameLabel, gate, state, signal);
    if (closed !== null) return closed;
  }
  return null;
}

async function closedBecause(
  world: GateWorld,
  nameLabel: string,
  gate: ReadinessGate,
  state: VmState,
  signal: AbortSignal,
): Promise<string | null> {
  const addresses = addressesOf(state);
  switch (gate.gate) {
    case 'running':
      return null;
    case 'guest-agent':
      return state.guest !== null && (state.guest.driversDetected || state.guest.live)
        ? null
        : 'is running, but its guest agent has not reported';
    case 'address':
      return addresses.some((address) => gate.subnets.some((subnet) => isInSubnet(address, subnet)))
        ? null
        : `has no address in ${gate.subnets.join(' or ')} (${reported(addresses)})`;
    case 'tcp':
      return (await answersOn(world, addresses, gate.port, signal))
        ? null
        : `does not answer on TCP port ${gate.port} (${reported(addresses)})`;
    case 'http':
      return overAddresses(addresses, (address) => httpFault(world, gate, address, signal));
    case 'command':
      return overAddresses(addresses, (address) => commandFault(world, gate, nameLabel, address, signal));
  }
}

/** A guest may report addresses that lead nowhere from here: one that opens the gate is enough. */
async function overAddresses(
  addresses: readonly string[],
  faultAt: (address: string) => Promise<string | null>,
): Promise<string | null> {
  const faults: string[] = [];
  for (const address of addresses) {
    const fault = await faultAt(address);
    if (fault === null) return null;
    faults.push(fault);
  }
  return faults.length === 0 ? 'reports no address to ask it at' : faults.join('; ');
}

async function httpFault(
  world: GateWorld,
  gate: HttpGate,
  address: string,
  signal: AbortSignal,
): Promise<string | null> {
  const { port, path, tls, host, verify, caFile, status, contains } = gate;
  const answer = await world.probeHttp({ address, port, path, tls, host, verify, caFile }, signal);
  const where = `${tls ? 'https' : 'http'} port ${port} at ${address}`;
  if (!answer.answered) return `does not answer on ${where}: ${answer.because}`;
  if (!status.includes(answer.status))
    return `answers ${answer.status} instead of ${status.join(' or ')} to ${path} on ${where}`;
  if (contains !== null && !answer.text.includes(contains))
    return `answers ${path} on ${where} without ${JSON.stringify(contains)}`;
  return null;
}

/** What the program prints stays out: it may hold anything. */
async function commandFault(
  world: GateWorld,
  gate: CommandGate,
  nameLabel: string,
  address: string,
  signal: AbortSignal,
): Promise<string | null> {
  const { port, user, keyFile, hostKey, argv, exitCode } = gate;
  const program = argv[0] ?? '';
  try {
    const { code } = await world.runInGuest(
      { address, port, nameLabel, user, keyFile, hostKey, argv, timeoutSeconds: commandWithinSeconds },
      signal,
    );
    if (code === exitCode) return null;
    const ended = code === null ? 'was ended by a signal' : `ended with ${code} instead of ${exitCode}`;
    return `is not ready by its own word: ${program} at ${address} ${ended}`;
  } catch (error) {
    if (!(error instanceof PortError) || signal.aborted) throw error;
    return `could not be asked at ${address}: ${sentenceOf(error)}`;
  }
}

function reported(addresses: readonly string[]): string {
  return addresses.length === 0 ? 'it reports no address' : `it reports ${addresses.join(', ')}`;
}

async function answersOn(
  world: GateWorld,
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
