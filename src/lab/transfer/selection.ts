/** Which objects an export takes along, and under which ids (xapi.md 3.3). */
import type { Database, Row } from '../core/database.ts';
import type { LabPool } from '../core/pool.ts';
import type { Struct } from '../core/values.ts';

export type DeviceType = 'vif' | 'vbd' | 'vgpu' | 'vtpm';

export interface SelectionOptions {
  readonly snapshots: boolean;
  readonly vhdParents: boolean;
  readonly excluded: ReadonlySet<DeviceType>;
}

/** The ids run on over the life of the daemon: two exports of one VM differ. */
const counters = new WeakMap<LabPool, number>();

function nextId(pool: LabPool): string {
  const number = counters.get(pool) ?? 0;
  counters.set(pool, number + 1);
  return `Ref:${number}`;
}

/** A restarted toolstack counts from the beginning. */
export function forgetIds(pool: LabPool): void {
  counters.delete(pool);
}

/** Ids by reference, in visiting order; the null reference may be among them, with an id that no object has. */
export class Selection {
  readonly ids = new Map<string, string>();
  readonly #pool: LabPool;
  readonly #db: Database;
  readonly #options: SelectionOptions;

  constructor(pool: LabPool, options: SelectionOptions) {
    this.#pool = pool;
    this.#db = pool.db;
    this.#options = options;
  }

  /** The id of a reference, or the null reference. */
  id(ref: string): string {
    return this.ids.get(ref) ?? 'OpaqueRef:NULL';
  }

  /** Ids of those references that are part of the document. */
  known(refs: readonly string[]): string[] {
    return refs.map((ref) => this.ids.get(ref)).filter((id) => id !== undefined);
  }

  /** A record without the fields that the product of the pool does not have. */
  shown(cls: string, fields: Struct): Readonly<Struct> {
    return this.#db.shown(cls, fields);
  }

  /** Objects of a class that are part of the document. */
  rows(cls: string): Row[] {
    const table = this.#db.table(cls);
    const found: Row[] = [];
    for (const ref of this.ids.keys()) {
      const row = table.get(ref);
      if (row !== undefined) found.push(row);
    }
    return found;
  }

  addVm(ref: string, snapshots = this.#options.snapshots): void {
    const vm = this.#db.find('VM', ref);
    if (vm === undefined || this.ids.has(ref)) return;
    const { excluded } = this.#options;
    this.#add(ref);
    if (!excluded.has('vif')) for (const vif of vm.rows('VIFs', 'VIF')) this.#addVif(vif);
    if (!excluded.has('vbd')) for (const vbd of vm.rows('VBDs', 'VBD')) this.#addVbd(vbd);
    if (!excluded.has('vgpu')) {
      for (const vgpu of vm.rows('VGPUs', 'VGPU')) {
        this.#add(vgpu.ref);
        this.#add(vgpu.text('type'));
        this.#add(vgpu.text('GPU_group'));
      }
    }
    this.#addProxies(vm);
    if (!excluded.has('vtpm')) for (const vtpm of vm.rows('VTPMs', 'VTPM')) this.#add(vtpm.ref);
    if (snapshots) for (const snapshot of vm.texts('snapshots')) this.addVm(snapshot, false);
    const suspendVdi = vm.row('suspend_VDI', 'VDI');
    if (vm.text('power_state') === 'Suspended' && suspendVdi !== undefined) this.#addVdi(suspendVdi);
    for (const field of ['metrics', 'guest_metrics', 'resident_on', 'affinity']) this.#add(vm.text(field));
    if (snapshots) this.addVm(vm.text('parent'), false);
  }

  #add(ref: string): void {
    if (!this.ids.has(ref)) this.ids.set(ref, nextId(this.#pool));
  }

  #addVif(vif: Row): void {
    this.#add(vif.ref);
    this.#add(vif.text('network'));
  }

  #addVbd(vbd: Row): void {
    this.#add(vbd.ref);
    const vdi = vbd.bool('empty') ? undefined : vbd.row('VDI', 'VDI');
    if (vdi !== undefined) this.#addVdi(vdi);
  }

  #addVdi(vdi: Row): void {
    this.#add(vdi.ref);
    this.#add(vdi.text('SR'));
    const parentUuid = vdi.map('sm_config')['vhd-parent'];
    if (!this.#options.vhdParents || parentUuid === undefined) return;
    const parent = this.#db.findByUuid('VDI', parentUuid);
    if (parent !== undefined && !this.ids.has(parent.ref)) this.#addVdi(parent);
  }

  /** Proxies come along even when the VIFs stay out. */
  #addProxies(vm: Row): void {
    const vifs = new Set(vm.texts('VIFs'));
    for (const proxy of this.#db.table('PVS_proxy').values()) {
      if (!vifs.has(proxy.text('VIF'))) continue;
      this.#add(proxy.ref);
      this.#add(proxy.text('site'));
    }
  }
}
