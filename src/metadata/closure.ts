/**
 * Which objects of a document belong to a VM: what is its own (drives, interfaces, GPUs, vTPM) and what those need
 * (disks, SRs, networks, hosts). Objects of unknown classes belong to the VM whose objects they name.
 */
import type { MetadataDocument, MetadataObject } from './document.ts';
import { copyStruct, isForeign, referencesOf, refShape } from './references.ts';
import { isStruct, type XmlStruct, type XmlValue } from './xmlvalue.ts';

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

/** Objects in any form that can be asked for a field. */
export interface ObjectSource<T extends { readonly class: string; readonly id: string }> {
  readonly objects: readonly T[];
  readonly byId: (id: string) => T | null;
  readonly field: (object: T, name: string) => XmlValue | undefined;
  /** All fields, for classes that we do not know. */
  readonly fields: (object: T) => XmlStruct;
}

export function sourceOf(document: MetadataDocument): ObjectSource<MetadataObject> {
  return {
    objects: document.objects,
    byId: (id) => document.object(id),
    field: (object, name) => object.fields[name],
    fields: (object) => object.fields,
  };
}

/** Prepared once per document: answers for each VM in time proportional to what belongs to it. */
export class Closures<T extends { readonly class: string; readonly id: string }> {
  readonly #source: ObjectSource<T>;
  readonly #owned = new Map<string, T[]>();
  readonly #vdisByUuid = new Map<string, T>();
  readonly #snapshots = new Map<string, T[]>();

  constructor(source: ObjectSource<T>) {
    this.#source = source;
    const { field } = source;
    for (const object of source.objects) {
      const ownerFields = owners[object.class];
      if (ownerFields !== undefined) {
        for (const name of ownerFields) {
          const owner = field(object, name);
          if (typeof owner === 'string') push(this.#owned, owner, object);
        }
      } else if (needs[object.class] === undefined) {
        for (const target of this.#named(object))
          if (target.class === 'VM' || owners[target.class] !== undefined)
            push(this.#owned, target.id, object);
      } else if (object.class === 'VDI') {
        const uuid = field(object, 'uuid');
        if (typeof uuid === 'string') this.#vdisByUuid.set(uuid, object);
      } else if (object.class === 'VM' && field(object, 'is_a_snapshot') === true) {
        const of = field(object, 'snapshot_of');
        if (typeof of === 'string') push(this.#snapshots, of, object);
      }
    }
  }

  /** Snapshots of a VM that are in the document. */
  snapshotsOf(vmId: string): readonly T[] {
    return this.#snapshots.get(vmId) ?? [];
  }

  /** Everything that belongs to these objects, themselves included, in no particular order. */
  of(roots: Iterable<T>): T[] {
    const found = new Map<string, T>();
    const queue: T[] = [...roots];
    for (let object = queue.pop(); object !== undefined; object = queue.pop()) {
      if (found.has(object.id)) continue;
      found.set(object.id, object);
      for (const owned of this.#owned.get(object.id) ?? []) queue.push(owned);
      this.#needsOf(object, queue);
    }
    return [...found.values()];
  }

  #needsOf(object: T, queue: T[]): void {
    const names = needs[object.class];
    if (names === undefined) {
      for (const target of this.#named(object)) if (target.class !== 'VM') queue.push(target);
      return;
    }
    const { field, byId } = this.#source;
    for (const name of names) {
      const id = field(object, name);
      const target = typeof id === 'string' ? byId(id) : null;
      if (target !== null) queue.push(target);
    }
    if (object.class !== 'VDI') return;
    const smConfig = field(object, 'sm_config');
    const parent = isStruct(smConfig) ? smConfig['vhd-parent'] : undefined;
    const target = typeof parent === 'string' ? this.#vdisByUuid.get(parent) : undefined;
    if (target !== undefined) queue.push(target);
  }

  #named(object: T): T[] {
    const { byId, fields } = this.#source;
    const named: T[] = [];
    for (const { id } of referencesOf(object.class, fields(object), (known) => byId(known) !== null)) {
      const target = byId(id);
      if (target !== null) named.push(target);
    }
    return named;
  }
}

/** A list that is longer than this is indexed before it is cut down. */
const longList = 24;

/**
 * Cuts long lists of references down to the ids of one document. In an export of a whole pool an SR lists every disk;
 * going through that list once per VM would be quadratic, so each list is indexed once.
 */
export class ListIndex {
  readonly #lists = new WeakMap<object, IndexedList>();

  /** The list, or the map by reference, with only these ids and real references; itself when it is short. */
  cut(value: XmlValue, ids: readonly string[]): XmlValue {
    if (Array.isArray(value)) {
      if (value.length <= longList) return value;
      const { members, foreign } = this.#indexed(value, () => value);
      return [...ids.filter((id) => members.has(id)), ...foreign];
    }
    if (!isStruct(value)) return value;
    if (!this.#lists.has(value) && Object.keys(value).length <= longList) return value;
    const { members, foreign } = this.#indexed(value, () => Object.keys(value));
    const map = Object.create(null) as XmlStruct;
    for (const id of ids) if (members.has(id)) map[id] = value[id] ?? '';
    for (const id of foreign) map[id] = value[id] ?? '';
    return map;
  }

  #indexed(value: object, items: () => readonly XmlValue[]): IndexedList {
    let list = this.#lists.get(value);
    if (list === undefined) {
      const texts = items().filter((item) => typeof item === 'string');
      list = { members: new Set(texts), foreign: texts.filter(isForeign) };
      this.#lists.set(value, list);
    }
    return list;
  }
}

interface IndexedList {
  readonly members: ReadonlySet<string>;
  /** Real references of the exporting pool, which every document keeps. */
  readonly foreign: readonly string[];
}

/** `ListIndex` for the fields of an object that are lists of references or maps by reference. */
export class ListCutter {
  readonly #index = new ListIndex();

  cut(object: MetadataObject, ids: readonly string[]): MetadataObject {
    let fields: XmlStruct | null = null;
    for (const field of Object.keys(object.fields)) {
      const value = object.fields[field];
      if (typeof value !== 'object') continue;
      const shape = refShape(object.class, field);
      if (shape !== 'set' && shape !== 'keys') continue;
      const kept = this.#index.cut(value, ids);
      if (kept === value) continue;
      fields ??= copyStruct(object.fields);
      fields[field] = kept;
    }
    return fields === null ? object : { ...object, fields };
  }
}

function push<T>(map: Map<string, T[]>, key: string, object: T): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [object]);
  else list.push(object);
}
