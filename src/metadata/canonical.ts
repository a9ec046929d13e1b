/**
 * One form for one meaning. Ids of a document count on over the life of xapi, so that two exports of an unchanged VM
 * differ in every reference (xapi.md 3.3); the canonical document numbers its objects by class and uuid, orders lists of
 * references and maps, and writes an id without object as the null reference. Nothing else is changed or lost.
 */
import { createHash } from 'node:crypto';
import { MetadataDocument, type MetadataObject, xmlOf } from './document.ts';
import { copyStruct, isForeign, type RefShape, refShape, renameReferences } from './references.ts';
import { formatXmlValue, isStruct, type XmlStruct, type XmlValue } from './xmlvalue.ts';

/** The order in which the importer goes through the classes (xapi.md 4.1). */
export const importOrder: readonly string[] = [
  'host',
  'SR',
  'VDI',
  'VM_guest_metrics',
  'VM_metrics',
  'VM',
  'network',
  'GPU_group',
  'VBD',
  'VIF',
  'VGPU_type',
  'VGPU',
  'PVS_site',
  'PVS_proxy',
  'VTPM',
];
const rank: ReadonlyMap<string, number> = new Map(importOrder.map((name, index) => [name, index]));

/** A text that no other object of the class shares; the position decides where there is none. */
function identity<T>(object: T, field: (object: T, name: string) => XmlValue | undefined): string {
  for (const name of ['uuid', "vTPM'_uuid", 'identifier', 'PVS_uuid']) {
    const value = field(object, name);
    if (typeof value === 'string' && value !== '') return value;
  }
  return '';
}

export function sortObjects(objects: readonly MetadataObject[]): MetadataObject[] {
  return sortByIdentity(objects, (object, field) => object.fields[field]);
}

/** The same for objects in any form that can be asked for a field. */
export function sortByIdentity<T extends { readonly class: string }>(
  objects: readonly T[],
  field: (object: T, name: string) => XmlValue | undefined,
): T[] {
  const keyed = objects.map((object, index) => ({
    object,
    index,
    rank: rank.get(object.class) ?? importOrder.length,
    key: identity(object, field),
  }));
  keyed.sort(
    (a, b) =>
      a.rank - b.rank ||
      compare(a.object.class, b.object.class) ||
      compare(a.key, b.key) ||
      a.index - b.index,
  );
  return keyed.map((entry) => entry.object);
}

export function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** New ids for the objects of a document, in their order. */
export class Numbering {
  readonly #numbers = new Map<string, number>();

  constructor(ordered: Iterable<{ readonly id: string }>) {
    let number = 0;
    for (const { id } of ordered) {
      if (!this.#numbers.has(id)) this.#numbers.set(id, number);
      number += 1;
    }
  }

  readonly known = (id: string): boolean => this.#numbers.has(id);

  readonly rename = (id: string): string | null => {
    const number = this.#numbers.get(id);
    if (number !== undefined) return `Ref:${number}`;
    return isForeign(id) ? id : null;
  };
}

/** The canonical form of a document, with ids `Ref:0`, `Ref:1`, …; canonical documents come back equal. */
export function canonicalDocument(document: MetadataDocument): MetadataDocument {
  const ordered = sortObjects(document.objects);
  const { known, rename } = new Numbering(ordered);
  return new MetadataDocument(
    document.version,
    ordered.map((object, index) => {
      const renamed = renameReferences(object.class, object.fields, known, rename);
      return {
        class: object.class,
        id: `Ref:${index}`,
        fields: orderCollections(object.class, renamed, renamed !== object.fields),
        extra: object.extra,
      };
    }),
    document.extra,
  );
}

/** `ours` tells that the struct is a copy already and may be changed in place. */
function orderCollections(className: string, fields: XmlStruct, ours: boolean): XmlStruct {
  let out: XmlStruct | null = ours ? fields : null;
  for (const field of Object.keys(fields)) {
    const value = fields[field];
    if (typeof value !== 'object') continue;
    const ordered = orderCollection(refShape(className, field), value);
    if (ordered === value) continue;
    out ??= copyStruct(fields);
    out[field] = ordered;
  }
  return out ?? fields;
}

/** A list of references in the order of their ids, a map in the order of its keys; anything else as it is. */
export function orderCollection(shape: RefShape, value: XmlValue): XmlValue {
  if (Array.isArray(value))
    return value.length > 1 && shape === 'set'
      ? [...value].sort((a, b) => numberOf(a) - numberOf(b) || compare(String(a), String(b)))
      : value;
  return isStruct(value) ? orderMap(value) : value;
}

function numberOf(id: XmlValue): number {
  return typeof id === 'string' && id.startsWith('Ref:') ? Number(id.slice(4)) : Number.POSITIVE_INFINITY;
}

function orderMap(map: XmlStruct): XmlStruct {
  const keys = Object.keys(map);
  if (keys.every((key, index) => index === 0 || compare(keys[index - 1] ?? '', key) <= 0)) return map;
  const out = Object.create(null) as XmlStruct;
  for (const key of keys.sort(compare)) {
    const value = map[key];
    if (value !== undefined) out[key] = value;
  }
  return out;
}

/** Fields that change while the VM means the same: operations in flight, counters, places and times (performance.md 2). */
export const volatileFields: Readonly<Record<string, readonly string[]>> = {
  VM: [
    'domid',
    'memory_target',
    'last_booted_record',
    'last_boot_CPU_flags',
    'resident_on',
    'scheduled_to_be_resident_on',
    'requires_reboot',
    'pending_guidances',
    'pending_guidances_recommended',
    'pending_guidances_full',
    'consoles',
    'snapshots',
    'children',
    'parent',
  ],
  VBD: ['device', 'status_code', 'status_detail', 'runtime_properties', 'storage_lock', 'metrics'],
  VIF: ['status_code', 'status_detail', 'runtime_properties', 'metrics'],
  VDI: ['physical_utilisation', 'storage_lock', 'metadata_latest', 'parent', 'snapshots', 'missing'],
  VGPU: ['resident_on', 'scheduled_to_be_resident_on', 'PCI', 'compatibility_metadata'],
  network: ['assigned_ips', 'PIFs'],
};
/** Of these classes only the named fields mean anything for a recovery. */
export const meaningfulFields: Readonly<Record<string, readonly string[]>> = {
  host: ['uuid'],
  SR: ['uuid', 'name_label', 'name_description', 'type', 'content_type', 'shared', 'sm_config'],
};

/** What a guest tells of itself and what a run measured: the first start deletes what an import brought (xapi.md 4.10). */
const transientClasses: ReadonlySet<string> = new Set(['VM_metrics', 'VM_guest_metrics']);

const guestFields = ['metrics', 'guest_metrics'];

/**
 * SHA-256 of what the document means for a recovery, in hexadecimal digits: equal for two exports of a VM between which
 * nothing of meaning happened; running operations, metrics, what guests tell, times and placement left out. The digest by
 * which an export keeps a document (src/adapters/xenapi/digest.ts) counts the same.
 */
export function fingerprint(document: MetadataDocument): string {
  // Placement first, so that a host which nothing else names does not count.
  const lasting = document.objects.filter((object) => !transientClasses.has(object.class));
  const placed = lasting.map((object) =>
    object.class === 'VM'
      ? { ...object, fields: without(object.fields, [...(volatileFields['VM'] ?? []), ...guestFields]) }
      : object,
  );
  const used = new Set<XmlValue | undefined>();
  for (const object of placed) if (object.class === 'VM') used.add(object.fields['affinity']);
  const canonical = canonicalDocument(
    document.with(placed.filter((object) => object.class !== 'host' || used.has(object.id))),
  );
  const hash = createHash('sha256');
  hash.update(formatXmlValue(xmlOf(canonical.with(canonical.objects.map(essence)))));
  return hash.digest('hex');
}

function essence(object: MetadataObject): MetadataObject {
  const keep = meaningfulFields[object.class];
  if (keep !== undefined) {
    const fields = Object.create(null) as XmlStruct;
    for (const field of keep) {
      const value = object.fields[field];
      if (value !== undefined) fields[field] = value;
    }
    return { ...object, fields };
  }
  const fields = without(object.fields, [
    'allowed_operations',
    'current_operations',
    ...(volatileFields[object.class] ?? []),
  ]);
  const smConfig = fields['sm_config'];
  if (object.class === 'VDI' && isStruct(smConfig)) {
    // Marks that the storage driver leaves for each host that holds the disk open (xapi.md 7.10).
    const marks = Object.keys(smConfig).filter((key) => key.startsWith('host_OpaqueRef:'));
    if (marks.length > 0) fields['sm_config'] = without(smConfig, marks);
  }
  return { ...object, fields };
}

function without(struct: XmlStruct, names: readonly string[]): XmlStruct {
  const out = copyStruct(struct);
  for (const name of names) delete out[name];
  return out;
}
