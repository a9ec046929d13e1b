/**
 * The edits of xapi.md 4.16 as small functions from document to document. Each keeps the document whole: what is
 * dropped takes along what cannot be without it, and nothing is left pointing at an object that is gone. They compose
 * in any order; src/metadata/recovery.ts puts them together for a failover or a drill.
 */
import type { Uuid, XapiBuild } from '../domain/pool.ts';
import { Closures, sourceOf } from './closure.ts';
import { MetadataDocument, type MetadataObject } from './document.ts';
import { copyStruct, isForeign, nullRef, referencesOf, renameReferences } from './references.ts';
import { isStruct, type XmlStruct, type XmlValue } from './xmlvalue.ts';

/** Changes members of an object: a value replaces, `undefined` removes; null leaves the object as it is. */
type Change = Readonly<Record<string, XmlValue | undefined>> | null;

/** Applies `change` to each object of a class. */
export function changeObjects(
  document: MetadataDocument,
  className: string,
  change: (object: MetadataObject) => Change,
): MetadataDocument {
  let touched = false;
  const objects = document.objects.map((object) => {
    if (object.class !== className) return object;
    const wanted = change(object);
    if (wanted === null) return object;
    const different = Object.keys(wanted).filter((field) => wanted[field] !== object.fields[field]);
    if (different.length === 0) return object;
    touched = true;
    const fields = copyStruct(object.fields);
    for (const field of different) {
      const value = wanted[field];
      if (value === undefined) delete fields[field];
      else fields[field] = value;
    }
    return { ...object, fields };
  });
  return touched ? document.with(objects) : document;
}

/** Objects of these classes cannot be without the object that the field names. */
const cannotBeWithout: Readonly<Record<string, readonly string[]>> = {
  VBD: ['VM'],
  VIF: ['VM', 'network'],
  VGPU: ['VM', 'GPU_group', 'type'],
  VTPM: ["vTPM'_VM"],
  PVS_proxy: ['VIF', 'site'],
  VDI: ['SR'],
};

/**
 * The document without the chosen objects, and without those that cannot be without them. A CD or floppy drive whose
 * disk goes is empty afterwards; the drive of any other disk goes with it. Other references become null.
 */
export function dropObjects(
  document: MetadataDocument,
  chosen: (object: MetadataObject) => boolean,
): MetadataDocument {
  const gone = new Set<string>();
  for (const object of document.objects) if (chosen(object)) gone.add(object.id);
  if (gone.size === 0) return document;
  for (let before = -1; before !== gone.size; ) {
    before = gone.size;
    for (const object of document.objects) {
      if (gone.has(object.id)) continue;
      const fields = cannotBeWithout[object.class] ?? [];
      if (fields.some((field) => isGone(gone, object.fields[field]))) gone.add(object.id);
      else if (
        object.class === 'VBD' &&
        object.fields['type'] !== 'CD' &&
        object.fields['type'] !== 'Floppy' &&
        isGone(gone, object.fields['VDI'])
      )
        gone.add(object.id);
    }
  }
  const rename = (id: string): string | null => (gone.has(id) ? null : id);
  const known = (id: string): boolean => document.object(id) !== null;
  const left: MetadataObject[] = [];
  for (const object of document.objects) {
    if (gone.has(object.id)) continue;
    let fields = renameReferences(object.class, object.fields, known, rename);
    if (object.class === 'VBD' && isGone(gone, object.fields['VDI'])) {
      fields = copyStruct(fields);
      fields['empty'] = true;
      fields['currently_attached'] = false;
    }
    left.push(fields === object.fields ? object : { ...object, fields });
  }
  return document.with(left);
}

function isGone(gone: ReadonlySet<string>, value: XmlValue | undefined): boolean {
  return typeof value === 'string' && gone.has(value);
}

/** Drops what no VM of the document needs any more: disks of dropped drives, SRs without disks, networks, hosts. */
export function dropUnused(document: MetadataDocument): MetadataDocument {
  const used = new Set(new Closures(sourceOf(document)).of(document.ofClass('VM')));
  return dropObjects(document, (object) => !used.has(object));
}

/** Writes an id that no object has as the null reference, and takes it out of lists. Real references stay. */
export function nullDangling(document: MetadataDocument): MetadataDocument {
  const known = (id: string): boolean => document.object(id) !== null;
  let touched = false;
  const objects = document.objects.map((object) => {
    const fields = renameReferences(object.class, object.fields, known, (id) =>
      known(id) || isForeign(id) ? id : null,
    );
    if (fields === object.fields) return object;
    touched = true;
    return { ...object, fields };
  });
  return touched ? document.with(objects) : document;
}

/** References to ids that no object has; real `OpaqueRef:` texts of the exporting pool are none. */
export function danglingReferences(
  document: MetadataDocument,
): { readonly object: MetadataObject; readonly field: string; readonly id: string }[] {
  const found: { object: MetadataObject; field: string; id: string }[] = [];
  const known = (id: string): boolean => document.object(id) !== null;
  for (const object of document.objects)
    for (const { field, id, shape } of referencesOf(object.class, object.fields, known))
      if (
        id !== '' &&
        !isForeign(id) &&
        !known(id) &&
        (shape === 'one' || shape === 'set' || shape === 'keys')
      )
        found.push({ object, field, id });
  return found;
}

/**
 * Marks drives, interfaces and GPUs as detached, so that a VM exported while it ran is not imported with attached disks
 * (xapi.md 4.6). VMs that stay Suspended keep the marks: resume needs them.
 */
export function clearAttached(document: MetadataDocument): MetadataDocument {
  const suspended = new Set(
    document.vms.filter((vm) => vm.powerState === 'Suspended').map((vm) => vm.id as XmlValue),
  );
  const clear = (object: MetadataObject): Change =>
    object.fields['currently_attached'] === true && !suspended.has(object.fields['VM'] ?? '')
      ? { currently_attached: false }
      : null;
  return ['VBD', 'VIF', 'VGPU'].reduce((made, name) => changeObjects(made, name, clear), document);
}

/** A network of the document by name, and the network of the target pool that it becomes. */
export interface NetworkRewrite {
  readonly production: string;
  readonly recovery: { readonly nameLabel: string; readonly bridge: string };
}

/** Gives networks the name and the bridge of their targets, so that the import can match nothing else (xapi.md 4.8). */
export function mapNetworks(
  document: MetadataDocument,
  targets: readonly NetworkRewrite[],
): MetadataDocument {
  const byName = new Map(targets.map((target) => [target.production, target.recovery]));
  return changeObjects(document, 'network', (network) => {
    const name = network.fields['name_label'];
    const target = typeof name === 'string' ? byName.get(name) : undefined;
    return target === undefined ? null : { name_label: target.nameLabel, bridge: target.bridge };
  });
}

/** Empties CD drives whose ISO `keep` does not want; the ISO and its SR go when nothing else uses them. */
export function ejectIsos(
  document: MetadataDocument,
  keep: (iso: { readonly location: string; readonly srType: string }) => boolean,
): MetadataDocument {
  const ejected = new Set(
    document.vdis
      .filter((vdi) => vdi.sr?.isIso === true)
      .filter((vdi) => !keep({ location: vdi.location, srType: vdi.sr?.type ?? '' }))
      .map((vdi) => vdi.object),
  );
  if (ejected.size === 0) return document;
  return dropUnused(dropObjects(document, (object) => ejected.has(object)));
}

/** Drops snapshots with their disks (xapi.md 4.11), and the links to them. */
export function dropSnapshots(document: MetadataDocument): MetadataDocument {
  const snapshots = new Set(document.vms.filter((vm) => vm.isASnapshot).map((vm) => vm.object));
  if (snapshots.size === 0) return document;
  const without = dropObjects(document, (object) => snapshots.has(object));
  return dropUnused(
    changeObjects(without, 'VM', (vm) => ({
      snapshots: vm.fields['snapshots'] === undefined ? undefined : [],
      children: vm.fields['children'] === undefined ? undefined : [],
      parent: vm.fields['parent'] === undefined ? undefined : nullRef,
    })),
  );
}

/** Drops control domains: imported, they would be bogus VMs (xapi.md 4.5). */
export function dropControlDomains(document: MetadataDocument): MetadataDocument {
  const domains = new Set(document.vms.filter((vm) => vm.isControlDomain).map((vm) => vm.object));
  if (domains.size === 0) return document;
  return dropUnused(dropObjects(document, (object) => domains.has(object)));
}

/** Drops all objects of some classes, such as VTPM, VGPU or PVS_proxy, and what only they needed. */
export function dropClasses(document: MetadataDocument, names: readonly string[]): MetadataDocument {
  if (!document.objects.some((object) => names.includes(object.class))) return document;
  return dropUnused(dropObjects(document, (object) => names.includes(object.class)));
}

/** HA fields of a VM as they were, to be restored after a controlled start. */
export interface ParkedHa {
  readonly uuid: Uuid;
  readonly nameLabel: string;
  readonly haRestartPriority: string;
  readonly haAlwaysRun: boolean;
}

/** Empties the HA fields, with which a VM could start by itself, and says what they were (xapi.md 4.5). */
export function parkHa(document: MetadataDocument): {
  readonly document: MetadataDocument;
  readonly parked: readonly ParkedHa[];
} {
  const parked = document.vms
    .filter((vm) => vm.haAlwaysRun || vm.haRestartPriority !== '')
    .map((vm) => ({
      uuid: vm.uuid,
      nameLabel: vm.nameLabel,
      haRestartPriority: vm.haRestartPriority,
      haAlwaysRun: vm.haAlwaysRun,
    }));
  return {
    document: changeObjects(document, 'VM', (vm) => ({
      ...(vm.fields['ha_always_run'] === undefined ? {} : { ha_always_run: false }),
      ...(vm.fields['ha_restart_priority'] === undefined ? {} : { ha_restart_priority: '' }),
    })),
    parked,
  };
}

/** Forgets the hosts of the exporting pool: affinity and residence become null. */
export function clearPlacement(document: MetadataDocument): MetadataDocument {
  const cleared = changeObjects(document, 'VM', (vm) => ({
    ...(vm.fields['affinity'] === undefined ? {} : { affinity: nullRef }),
    ...(vm.fields['resident_on'] === undefined ? {} : { resident_on: nullRef }),
  }));
  return cleared === document ? document : dropUnused(cleared);
}

/** Where disks lie at the target, by the uuids in the document. What is not named stays. */
export interface StorageRewrite {
  readonly srs?: ReadonlyMap<Uuid, Uuid>;
  readonly disks?: ReadonlyMap<
    Uuid,
    { readonly uuid?: Uuid; readonly location: string; readonly srUuid?: Uuid }
  >;
}

/**
 * Points disks at copies: new SR uuid, new location. The importer finds a disk by SR and location (xapi.md 4.4), so
 * this has no limit of eight entries as the `vdi:` map has. A disk can move to another SR only when that SR is the
 * target of its own; otherwise give `srs`.
 */
export function remapStorage(document: MetadataDocument, to: StorageRewrite): MetadataDocument {
  const withSrs = changeObjects(document, 'SR', (sr) => {
    const uuid = sr.fields['uuid'];
    const target = typeof uuid === 'string' ? to.srs?.get(uuid) : undefined;
    return target === undefined ? null : { uuid: target };
  });
  return changeObjects(withSrs, 'VDI', (vdi) => {
    const uuid = vdi.fields['uuid'];
    const target = typeof uuid === 'string' ? to.disks?.get(uuid) : undefined;
    if (target === undefined) return null;
    const sr = target.srUuid === undefined ? undefined : withSrs.srs.find((s) => s.uuid === target.srUuid);
    return {
      location: target.location,
      ...(target.uuid === undefined ? {} : { uuid: target.uuid }),
      ...(sr === undefined ? {} : { SR: sr.id }),
    };
  });
}

/** Where new identities come from; the caller has the random numbers. */
export interface IdentitySource {
  /** The uuid that the VM gets, by its old one; any new one when absent. */
  readonly vm?: (uuid: Uuid) => Uuid;
  readonly uuid: () => Uuid;
  readonly mac: () => string;
}

/**
 * A new identity for each VM: uuid, MAC seed and MACs, and the uuids of what belongs to it, because the importer takes
 * an existing drive or interface of the same uuid as it is (xapi.md 4.6). For drill copies with restore=true.
 */
export function freshIdentity(
  document: MetadataDocument,
  source: IdentitySource,
): { readonly document: MetadataDocument; readonly uuids: ReadonlyMap<Uuid, Uuid> } {
  const uuids = new Map<Uuid, Uuid>();
  const seeds = new Map<string, string>();
  let made = changeObjects(document, 'VM', (vm) => {
    const { uuid, other_config: otherConfig } = vm.fields;
    const planned =
      vm.fields['is_a_snapshot'] !== true && typeof uuid === 'string' ? source.vm?.(uuid) : undefined;
    const fresh = planned ?? source.uuid();
    if (typeof uuid === 'string') uuids.set(uuid, fresh);
    if (!isStruct(otherConfig)) return { uuid: fresh };
    const old = otherConfig['mac_seed'];
    if (typeof old !== 'string') return { uuid: fresh };
    // Snapshots share the seed of their VM.
    const seed = seeds.get(old) ?? source.uuid();
    seeds.set(old, seed);
    return { uuid: fresh, other_config: withEntries(otherConfig, { mac_seed: seed }) };
  });
  made = changeObjects(made, 'VIF', () => ({ uuid: source.uuid(), MAC: source.mac() }));
  for (const name of ['VBD', 'VGPU', 'VM_metrics', 'VM_guest_metrics'])
    made = changeObjects(made, name, () => ({ uuid: source.uuid() }));
  made = changeObjects(made, 'VTPM', (vtpm) =>
    vtpm.fields["vTPM'_uuid"] === undefined ? { uuid: source.uuid() } : { "vTPM'_uuid": source.uuid() },
  );
  return { document: made, uuids };
}

/** Sets entries of `other_config` of every VM that is no snapshot; null removes one. */
export function setOtherConfig(
  document: MetadataDocument,
  entries: Readonly<Record<string, string | null>>,
): MetadataDocument {
  return changeObjects(document, 'VM', (vm) => {
    const { other_config: otherConfig } = vm.fields;
    if (vm.fields['is_a_snapshot'] === true) return null;
    return { other_config: withEntries(isStruct(otherConfig) ? otherConfig : {}, entries) };
  });
}

/** Adds tags to every VM that is no snapshot. */
export function addTags(document: MetadataDocument, tags: readonly string[]): MetadataDocument {
  return changeObjects(document, 'VM', (vm) => {
    if (vm.fields['is_a_snapshot'] === true) return null;
    const there = Array.isArray(vm.fields['tags']) ? vm.fields['tags'] : [];
    return { tags: [...there, ...tags.filter((tag) => !there.includes(tag))] };
  });
}

function withEntries(map: XmlStruct, entries: Readonly<Record<string, string | null>>): XmlStruct {
  const out = copyStruct(map);
  for (const [key, value] of Object.entries(entries)) {
    if (value === null) delete out[key];
    else out[key] = value;
  }
  return out;
}

/** Names and descriptions, for drill copies that people must not mistake for the originals. */
export function renameVms(document: MetadataDocument, name: (nameLabel: string) => string): MetadataDocument {
  return changeObjects(document, 'VM', (vm) => {
    const label = vm.fields['name_label'];
    return { name_label: name(typeof label === 'string' ? label : '') };
  });
}

/**
 * Makes suspended VMs halted: their memory image is dropped, as after a power failure. Without it the import needs the
 * suspend VDI (xapi.md 4.5), and a resumed memory must fit disks of the very same moment.
 */
export function haltSuspended(document: MetadataDocument): MetadataDocument {
  if (!document.vms.some((vm) => vm.powerState === 'Suspended')) return document;
  const halted = changeObjects(document, 'VM', (vm) =>
    vm.fields['power_state'] === 'Suspended' ? { power_state: 'Halted', suspend_VDI: nullRef } : null,
  );
  return dropUnused(halted);
}

/**
 * Lowers the build in the document, so that an older pool accepts it (xapi.md 3.8). Only on a person's explicit wish:
 * enum values that the older xapi does not know still fail.
 */
export function lowerBuild(
  document: MetadataDocument,
  build: Pick<XapiBuild, 'major' | 'minor'>,
): MetadataDocument {
  const current = document.build;
  if (current.major < build.major || (current.major === build.major && current.minor <= build.minor))
    return document;
  const version = copyStruct(document.version);
  version['xapi_major'] = String(build.major);
  version['xapi_minor'] = String(build.minor);
  return new MetadataDocument(version, document.objects, document.extra);
}

/** Counts the version of these VMs up beyond that of the copies that they replace: xapi replaces older ones only. */
export function raiseVersions(
  document: MetadataDocument,
  replaced: ReadonlyMap<Uuid, number>,
): MetadataDocument {
  const versions = new Map(document.vms.map((vm) => [vm.uuid, vm.version]));
  return changeObjects(document, 'VM', (vm) => {
    const { uuid } = vm.fields;
    if (typeof uuid !== 'string' || vm.fields['is_a_snapshot'] === true) return null;
    const there = replaced.get(uuid);
    const version = versions.get(uuid);
    return there === undefined || version === undefined || version > there
      ? null
      : { version: String(there + 1) };
  });
}
