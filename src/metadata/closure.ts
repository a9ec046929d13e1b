/**
 * Which objects of a document belong to a VM: what is its own (drives, interfaces, GPUs, vTPM) and what those need
 * (disks, SRs, networks, hosts). Objects of unknown classes belong to the VM whose objects they name.
 */
import type { MetadataDocument, MetadataObject } from './document.ts';
import { copyStruct, referencesOf, refShape } from './references.ts';
import { isStruct, type XmlStruct } from './xmlvalue.ts';

/** Field by which an object of the class belongs to a VM, or to an object that does. */
export const owners: Readonly<Record<string, readonly string[]>> = {
  VBD: ['VM'],
  VIF: ['VM'],
  VGPU: ['VM'],
  VTPM: ["vTPM'_VM", 'VM'],
  PVS_proxy: ['VIF'],
};
/** Fields that lead from an object to what it needs. Back-lists such as `SR.VDIs` lead nowhere. */
export const needs: Readonly<Record<string, readonly string[]>> = {
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
  readonly #lists = new Map<MetadataObject, ReadonlyMap<string, ReadonlySet<string>>>();

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

  /** The same as a document of its own; lists of shared objects name only what is in it. */
  documentOf(roots: Iterable<MetadataObject>): MetadataDocument {
    const objects = this.of(roots);
    const ids = objects.map((object) => object.id);
    return this.#document.with(objects.map((object) => this.narrow(object, ids)));
  }

  /**
   * The object with its long lists of references cut down to these ids. In an export of a whole pool an SR lists every
   * disk; going through that list once per VM would be quadratic.
   */
  narrow(object: MetadataObject, ids: readonly string[]): MetadataObject {
    let lists = this.#lists.get(object);
    if (lists === undefined) {
      lists = longLists(object);
      this.#lists.set(object, lists);
    }
    if (lists.size === 0) return object;
    const fields = copyStruct(object.fields);
    for (const [field, members] of lists) {
      const value = object.fields[field];
      const kept = ids.filter((id) => members.has(id));
      if (Array.isArray(value)) fields[field] = kept;
      else if (isStruct(value)) {
        const map = Object.create(null) as XmlStruct;
        for (const id of kept) map[id] = value[id] ?? '';
        fields[field] = map;
      }
    }
    return { ...object, fields };
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

function longLists(object: MetadataObject): ReadonlyMap<string, ReadonlySet<string>> {
  const lists = new Map<string, ReadonlySet<string>>();
  for (const field of Object.keys(object.fields)) {
    const value = object.fields[field];
    if (typeof value !== 'object') continue;
    const shape = refShape(object.class, field);
    if (Array.isArray(value) && value.length > 24 && shape === 'set')
      lists.set(field, new Set(value.filter((item) => typeof item === 'string')));
    else if (isStruct(value) && shape === 'keys') {
      const keys = Object.keys(value);
      if (keys.length > 24) lists.set(field, new Set(keys));
    }
  }
  return lists;
}

function push(map: Map<string, MetadataObject[]>, key: string, object: MetadataObject): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [object]);
  else list.push(object);
}
