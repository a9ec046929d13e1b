/** What the VM part knows of a pool beside its database, and small questions that all of it asks. */
import { createHash } from 'node:crypto';
import type { Row } from '../core/database.ts';
import { fail } from '../core/failure.ts';
import type { LabPool } from '../core/pool.ts';

export interface VmState {
  /** Guests carry an agent: clean shutdown works, and an address appears after the start. */
  agents: boolean;
  /** Seconds between the start and the first report of the agent. */
  agentSeconds: number;
  /** Seconds that a guest with agent takes to go down. */
  shutdownSeconds: number;
  /** IPv4 subnets by network uuid, such as `10.20.0.0/24`: where guests get their addresses. */
  readonly subnets: Map<string, string>;
  nextDomid: bigint;
}

const states = new WeakMap<LabPool, VmState>();

export function vmState(pool: LabPool): VmState {
  const known = states.get(pool);
  if (known !== undefined) return known;
  const made: VmState = {
    agents: false,
    agentSeconds: 2,
    shutdownSeconds: 1,
    subnets: new Map(),
    nextDomid: 1n,
  };
  states.set(pool, made);
  return made;
}

/** `VM_BAD_POWER_STATE [vm, expected, actual]`: states are in lower case (xapi.md 8.2). */
export function needState(vm: Row, ...expected: readonly string[]): void {
  const actual = vm.text('power_state').toLowerCase();
  if (!expected.includes(actual)) fail('VM_BAD_POWER_STATE', vm.ref, expected.join(';'), actual);
}

/** Has the guest an agent that reports? */
export function hasAgent(vm: Row): boolean {
  return vm.row('guest_metrics', 'VM_guest_metrics')?.bool('PV_drivers_detected') === true;
}

/** The MAC that a seed gives for a device, as in the recordings: local, unicast, always the same. */
export function macOf(seed: string, device: string): string {
  const md5 = (data: Uint8Array): Buffer => createHash('md5').update(data).digest();
  let first: Buffer = Buffer.from(seed);
  for (let turn = 0; turn < Number(device) * 2 + 1; turn += 1) first = md5(first);
  const second = md5(first);
  const bytes = [...first.subarray(0, 4), ...second.subarray(1, 3)];
  bytes[0] = ((bytes[0] ?? 0) | 0x02) & 0xfe;
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** Drops the records that belong to one VM alone. */
export function dropParts(vm: Row, pool: LabPool): void {
  for (const [field, cls] of [
    ['VBDs', 'VBD'],
    ['VIFs', 'VIF'],
    ['VTPMs', 'VTPM'],
    ['VGPUs', 'VGPU'],
    ['VUSBs', 'VUSB'],
    ['consoles', 'console'],
    ['crash_dumps', 'crashdump'],
  ] as const)
    for (const part of vm.rows(field, cls)) part.destroy();
  pool.db.find('VM_metrics', vm.text('metrics'))?.destroy();
  pool.db.find('VM_guest_metrics', vm.text('guest_metrics'))?.destroy();
}
