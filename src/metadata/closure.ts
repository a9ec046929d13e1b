/**
 * Which objects of a document belong to a VM: what is its own (drives, interfaces, GPUs, vTPM) and what those need
 * (disks, SRs, networks, hosts). Objects of unknown classes belong to the VM whose objects they name.
 */
import type { MetadataDocument, MetadataObject } from './document.ts';
import { referencesOf } from './references.ts';
import { isStruct } from './xmlvalue.ts';

/** Field by which an object of the class belongs to a VM, or to an object that does. */
const owners: Readonly<Record<string, readonly string[]>> = {
  VBD: ['VM'],
  VIF: ['VM'],
  VGPU: ['VM'],
  VTPM: ["vTPM'_VM", 'VM'],
  PVS_proxy: ['VIF'],
};
/** Fields that lead from an object to what it needs. Back-lists such as `SR.VDIs` lead nowhere. */
const needs: Readonly<Record<string, readonly string[]>> = {
  VM: ['suspend_VDI', 'metrics', 'guest_metrics', 'resident_on', 'affinity'],
  VBD: ['VDI'],
  VDI: ['SR'],
  VIF: ['network'],
  VGPU: ['GPU_group', 'type'],
  PVS_proxy: ['site'],
  VTPM: [],
  SR: [],
  network: [],
  host: [],
  GPU_group: [],
  VGPU_type: [],
  PVS_site: [],
  VM_metrics: [],
  VM_guest_metrics: [],
};

/** Prepared once per document: answers for each VM in time proportional to what belongs to it. */
export class Closures {
  readonly #document: MetadataDocument;
  readonly #owned = new Map<string, MetadataObject[]>();
  readonly #vdisByUuid = new Map<string, MetadataObject>();
  readonly #snapshots = new Map<string, MetadataObject[]>();

  constructor(document: MetadataDocument) {
    this.#document = document;
    const known = (id: string): boolean => document.object(id) !== null;
    for (const object of document.objects) {
      const fields = owners[object.class];
      if (fields !== undefined) {
        for (const field of fields) {
          const owner = object.fields[field];
          if (typeof owner === 'string') push(this.#owned, owner, object);
        }
      } else if (needs[object.class] === undefined) {
        for (const { id } of referencesOf(object.class, object.fields, known)) {
          const target = document.object(id);
          if (target !== null && (target.class === 'VM' || owners[target.class] !== undefined))
            push(this.#owned, id, object);
        }
      }
      const { uuid, snapshot_of: snapshotOf } = object.fields;
      if (object.class === 'VDI' && typeof uuid === 'string') this.#vdisByUuid.set(uuid, object);
      if (object.class === 'VM' && object.fields['is_a_snapshot'] === true && typeof snapshotOf === 'string')
        push(this.#snapshots, snapshotOf, object);
    }
  }

  /** Snapshots of a VM that are in the document. */
  snapshotsOf(vmId: string): readonly MetadataObject[] {
    return this.#snapshots.get(vmId) ?? [];
  }

  /** Everything that belongs to these objects, themselves included, in no particular order. */
  of(roots: Iterable<MetadataObject>): MetadataObject[] {
    const found = new Map<string, MetadataObject>();
    const queue: MetadataObject[] = [...roots];
    for (let object = queue.pop(); object !== undefined; object = queue.pop()) {
      if (found.has(object.id)) continue;
      found.set(object.id, object);
      for (const owned of this.#owned.get(object.id) ?? []) queue.push(owned);
      for (const needed of this.#needsOf(object)) queue.push(needed);
    }
    return [...found.values()];
  }

  *#needsOf(object: MetadataObject): Generator<MetadataObject> {
    const document = this.#document;
    const fields = needs[object.class];
    if (fields === undefined) {
      for (const { id } of referencesOf(
        object.class,
        object.fields,
        (known) => document.object(known) !== null,
      )) {
        const target = document.object(id);
        if (target !== null && target.class !== 'VM') yield target;
      }
      return;
    }
    for (const field of fields) {
      const id = object.fields[field];
      const target = typeof id === 'string' ? document.object(id) : null;
      if (target !== null) yield target;
    }
    const smConfig = object.fields['sm_config'];
    if (object.class === 'VDI' && isStruct(smConfig)) {
      const parent = smConfig['vhd-parent'];
      const target = typeof parent === 'string' ? this.#vdisByUuid.get(parent) : undefined;
      if (target !== undefined) yield target;
    }
  }
}

function push(map: Map<string, MetadataObject[]>, key: string, object: MetadataObject): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [object]);
  else list.push(object);
}
