/**
 * Guests that write: bytes on the disk of a running VM go into the real file of its SR. A ledger notices when one
 * volume has writers at two sites, which no real storage would survive.
 */
import type { Row } from '../core/database.ts';
import type { Lab } from '../core/lab.ts';
import type { LabHost, LabPool } from '../core/pool.ts';
import type { Backend } from '../storage/driver.ts';
import { backendOn, hasPower } from '../storage/state.ts';

/** A guest that cannot do what was asked: it does not run, or its disk does not answer. */
export class GuestFailure extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'GuestFailure';
  }
}

export interface Violation {
  /** Milliseconds since 1970 on the lab's clock. */
  readonly at: number;
  readonly vdi: string;
  /** `pool/vm uuid` of each writer. */
  readonly writers: readonly string[];
}

interface Writer {
  readonly pool: LabPool;
  readonly vm: Row;
  readonly host: LabHost;
  readonly vdi: Row;
  readonly backend: Backend;
}

/** Disks that a running VM writes to and that answer. */
function writersOf(pool: LabPool, vm: Row): Writer[] {
  if (vm.text('power_state') !== 'Running' || vm.bool('is_control_domain')) return [];
  const host = pool.hostOf(vm.text('resident_on'));
  if (host === undefined || !hasPower(host)) return [];
  return vm.rows('VBDs', 'VBD').flatMap((vbd) => {
    const vdi =
      vbd.text('mode') === 'RW' && vbd.bool('currently_attached') ? vbd.row('VDI', 'VDI') : undefined;
    const sr = vdi?.row('SR', 'SR');
    const backend = sr === undefined ? null : backendOn(pool, sr, host.row.ref);
    if (vdi === undefined || backend === null || backend.access() !== 'rw') return [];
    return [{ pool, vm, host, vdi, backend }];
  });
}

export class Ledger {
  readonly #lab: Lab;
  readonly #violations: Violation[] = [];
  readonly #seen = new Set<string>();

  constructor(lab: Lab) {
    this.#lab = lab;
  }

  /** Everything that was noticed since the start. */
  get violations(): readonly Violation[] {
    return this.#violations;
  }

  /** Looks at every VM of the lab. */
  check(): void {
    for (const pool of this.#lab.pools.values()) for (const vm of pool.db.all('VM')) this.checkVm(pool, vm);
  }

  /** Looks whether another pool writes to a disk that this VM writes to; copies for a drill do not count. */
  checkVm(pool: LabPool, vm: Row): void {
    for (const own of writersOf(pool, vm)) {
      if (own.backend.isolated?.() === true) continue;
      const others = [...this.#lab.pools.values()]
        .filter((other) => other !== pool)
        .flatMap((other) => this.#writersTo(other, own.vdi.uuid));
      if (others.length > 0) this.#note(own.vdi.uuid, [own, ...others]);
    }
  }

  #writersTo(pool: LabPool, uuid: string): Writer[] {
    const vdi = pool.db.findByUuid('VDI', uuid);
    if (vdi === undefined) return [];
    return vdi
      .rows('VBDs', 'VBD')
      .flatMap((vbd) => vbd.row('VM', 'VM') ?? [])
      .flatMap((vm) => writersOf(pool, vm))
      .filter((writer) => writer.vdi === vdi && writer.backend.isolated?.() !== true);
  }

  #note(vdi: string, writers: readonly Writer[]): void {
    const names = writers.map((w) => `${w.pool.name}/${w.vm.uuid}`).sort();
    const key = `${vdi} ${names.join(' ')}`;
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    this.#violations.push({ at: this.#lab.clock.now(), vdi, writers: names });
  }
}

const ledgers = new WeakMap<Lab, Ledger>();

export function ledgerOf(lab: Lab): Ledger {
  const known = ledgers.get(lab);
  if (known !== undefined) return known;
  const made = new Ledger(lab);
  ledgers.set(lab, made);
  return made;
}

function openDisk(lab: Lab, poolName: string, vmUuid: string, device: string): Writer {
  const pool = lab.pool(poolName);
  const vm = pool.db.findByUuid('VM', vmUuid);
  if (vm === undefined) throw new GuestFailure(`no VM ${vmUuid} in pool ${poolName}`);
  const state = vm.text('power_state');
  if (state !== 'Running') throw new GuestFailure(`the guest is ${state.toLowerCase()}`);
  const host = pool.hostOf(vm.text('resident_on'));
  if (host === undefined || !hasPower(host)) throw new GuestFailure(`the host of the guest has no power`);
  const vbd = vm.rows('VBDs', 'VBD').find((row) => row.text('userdevice') === device);
  const vdi = vbd?.bool('currently_attached') === true ? vbd.row('VDI', 'VDI') : undefined;
  const sr = vdi?.row('SR', 'SR');
  if (vdi === undefined || sr === undefined) throw new GuestFailure(`the guest has no disk ${device}`);
  const backend = backendOn(pool, sr, host.row.ref);
  if (backend === null) throw new GuestFailure(`SR ${sr.uuid} is not plugged on host ${host.name}`);
  if (backend.access() === 'none') throw new GuestFailure(`the storage of SR ${sr.uuid} does not answer`);
  return { pool, vm, host, vdi, backend };
}

/** The guest writes bytes on its disk, as a process inside it would. Device `0` is its first disk. */
export function guestWrite(
  lab: Lab,
  poolName: string,
  vmUuid: string,
  device: string,
  offset: number,
  bytes: Uint8Array,
): void {
  const { pool, vm, backend, vdi } = openDisk(lab, poolName, vmUuid, device);
  if (backend.access() !== 'rw') throw new GuestFailure('the disk is read-only');
  const disk = backend.open(vdi.text('location'), 'r+');
  try {
    disk.write(offset, bytes);
  } finally {
    disk.close();
  }
  ledgerOf(lab).checkVm(pool, vm);
}

/** What the guest reads there. */
export function guestRead(
  lab: Lab,
  poolName: string,
  vmUuid: string,
  device: string,
  offset: number,
  length: number,
): Buffer {
  const { backend, vdi } = openDisk(lab, poolName, vmUuid, device);
  const disk = backend.open(vdi.text('location'), 'r');
  try {
    return disk.read(offset, length);
  } finally {
    disk.close();
  }
}
