/**
 * Which objects of a document belong to a VM: what is its own (drives, interfaces, GPUs, vTPM) and what those need
 * (disks, SRs, networks, hosts). Objects of unknown classes belong to the VM whose objects they name.
 */
import type { MetadataDocument, MetadataObject } from './document.ts';
import { copyStruct, referencesOf, refShape } from './references.ts';
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
 * Cuts the lists of shared objects down to the ids of one document. In an export of a whole pool an SR lists every disk;
 * going through that list once per VM would be quadratic.
 */
export class ListCutter {
  readonly #lists = new WeakMap<MetadataObject, ReadonlyMap<string, ReadonlySet<string>>>();

  cut(object: MetadataObject, ids: readonly string[]): MetadataObject {
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
}

/** Only objects that many others name have such lists. */
export const sharedClasses: ReadonlySet<string> = new Set([
  'SR',
  'network',
  'host',
  'GPU_group',
  'VGPU_type',
  'PVS_site',
]);

function longLists(object: MetadataObject): ReadonlyMap<string, ReadonlySet<string>> {
  const lists = new Map<string, ReadonlySet<string>>();
  if (!sharedClasses.has(object.class)) return lists;
  for (const field of Object.keys(object.fields)) {
    const value = object.fields[field];
    if (typeof value !== 'object') continue;
    const shape = refShape(object.class, field);
    if (Array.isArray(value) && value.length > longList && shape === 'set')
      lists.set(field, new Set(value.filter((item) => typeof item === 'string')));
    else if (isStruct(value) && shape === 'keys') {
      const keys = Object.keys(value);
      if (keys.length > longList) lists.set(field, new Set(keys));
    }
  }
  return lists;
}

function push<T>(map: Map<string, T[]>, key: string, object: T): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [object]);
  else list.push(object);
}
