/**
 * Taking documents apart and putting them together. `split` makes one self-contained canonical document per VM of an
 * `all=true` export; `merge` makes one document of many, with one copy of each SR, disk, network and host, since the
 * importer's work grows with the number of objects (performance.md 5.3).
 */
import { OperatorError } from '../domain/errors.ts';
import { canonicalDocument } from './canonical.ts';
import { Closures, ListCutter, sourceOf } from './closure.ts';
import { MetadataDocument, type MetadataObject } from './document.ts';
import type { VmObject } from './objects.ts';
import { copyStruct, isForeign, nullRef, refShape, renameReferences } from './references.ts';
import { emptyStruct, isStruct, type XmlStruct, type XmlValue } from './xmlvalue.ts';

export interface SplitOptions {
  /** Snapshots go into the document of their VM; by default they are left out (xapi.md 4.11). */
  readonly snapshots?: boolean;
  /** Control domains become documents too; by default they are left out (xapi.md 4.5). */
  readonly controlDomains?: boolean;
}

export interface VmDocument {
  readonly uuid: string;
  readonly nameLabel: string;
  readonly document: MetadataDocument;
}

/** One canonical document per VM and custom template, in the order of the input. */
export function split(document: MetadataDocument, options: SplitOptions = {}): VmDocument[] {
  const cut = vmCutter(document, options);
  return document.vms
    .filter((vm) => !vm.isASnapshot && (!vm.isControlDomain || options.controlDomains === true))
    .map((vm) => ({ uuid: vm.uuid, nameLabel: vm.nameLabel, document: cut(vm) }));
}

/** The document of one VM out of a larger one; null when that VM is not in it. */
export function extractVm(
  document: MetadataDocument,
  uuid: string,
  options: SplitOptions = {},
): MetadataDocument | null {
  const vm = document.vms.find((candidate) => candidate.uuid === uuid);
  return vm === undefined ? null : vmCutter(document, options)(vm);
}

function vmCutter(document: MetadataDocument, options: SplitOptions): (vm: VmObject) => MetadataDocument {
  const closures = new Closures(sourceOf(document));
  const lists = new ListCutter();
  return (vm) => {
    const roots = options.snapshots === true ? [vm.object, ...closures.snapshotsOf(vm.id)] : [vm.object];
    const objects = closures.of(roots);
    const ids = objects.map((object) => object.id);
    return canonicalDocument(document.with(objects.map((object) => lists.cut(object, ids))));
  };
}

/**
 * One canonical document with the VMs of all. Shared objects (host, SR, VDI, network, GPU group and type, PVS site) are
 * one when everything that the importer looks at is equal; their lists are united, and for the rest the first copy
 * counts. The version is the newest of all, so that the version gate stays as strict as for the strictest. Throws
 * `OperatorError` DR-DOCUMENT-DUPLICATE-VM when two documents hold the same VM.
 */
export function merge(documents: readonly MetadataDocument[]): MetadataDocument {
  const [first] = documents;
  if (first === undefined) return new MetadataDocument(emptyStruct(), []);
  const merged = new Map<string, { class: string; fields: XmlStruct; extra: XmlStruct | null }>();
  const shared = new Map<string, string>();
  const vms = new Map<string, string>();
  let version = first.version;
  let newest = first.build;
  let next = 0;
  for (const document of documents) {
    const { build } = document;
    if (build.major > newest.major || (build.major === newest.major && build.minor > newest.minor)) {
      version = document.version;
      newest = build;
    }
    const ids = new Map<string, string>();
    for (const object of document.objects) {
      if (object.class === 'VM') assertNew(vms, object);
      const key = shareKey(document, object);
      const known = key === null ? undefined : shared.get(key);
      const id = known ?? `Ref:${next++}`;
      if (key !== null) shared.set(key, id);
      ids.set(object.id, id);
    }
    const rename = (id: string): string | null => ids.get(id) ?? (isForeign(id) ? id : null);
    for (const object of document.objects) {
      const id = ids.get(object.id) ?? object.id;
      const fields = renameReferences(object.class, object.fields, (known) => ids.has(known), rename);
      const there = merged.get(id);
      if (there === undefined) merged.set(id, { class: object.class, fields, extra: object.extra });
      else there.fields = unite(object.class, there.fields, fields);
    }
  }
  const objects = [...merged].map(([id, object]) => ({ id, ...object }));
  return canonicalDocument(new MetadataDocument(version, objects, first.extra));
}

function assertNew(vms: Map<string, string>, object: MetadataObject): void {
  const { uuid, name_label: name } = object.fields;
  if (typeof uuid !== 'string') return;
  if (vms.has(uuid))
    throw new OperatorError({
      code: 'DR-DOCUMENT-DUPLICATE-VM',
      what: `Two documents of one batch hold the VM ${String(name ?? '')}`,
      known: [`uuid ${uuid}`],
      next: 'Give each VM of a batch one document.',
    });
  vms.set(uuid, String(name ?? ''));
}

/** What makes two objects of different documents one: everything that the importer looks at; null for a VM's own. */
function shareKey(document: MetadataDocument, object: MetadataObject): string | null {
  const { fields } = object;
  const text = (value: XmlValue | undefined): string => (typeof value === 'string' ? value : '');
  const uuid = text(fields['uuid']);
  if (uuid === '' && object.class !== 'VGPU_type') return null;
  const key = (...parts: string[]): string => JSON.stringify([object.class, uuid, ...parts]);
  switch (object.class) {
    case 'host':
      return key();
    case 'SR':
      return key(text(fields['content_type']), text(fields['type']));
    case 'VDI': {
      const sr = document.object(text(fields['SR']));
      const smConfig = fields['sm_config'];
      const other = fields['other_config'];
      return key(
        text(fields['location']),
        sr === null ? '' : (shareKey(document, sr) ?? sr.id),
        isStruct(smConfig) ? text(smConfig['SCSIid']) : '',
        isStruct(other) ? JSON.stringify(Object.entries(other).sort()) : '',
      );
    }
    case 'network':
      return key(text(fields['name_label']), text(fields['bridge']));
    case 'GPU_group': {
      const types = fields['GPU_types'];
      return key(JSON.stringify(Array.isArray(types) ? types : []));
    }
    case 'VGPU_type':
      return key(text(fields['identifier']), text(fields['vendor_name']), text(fields['model_name']));
    case 'PVS_site':
      return key(text(fields['PVS_uuid']));
    default:
      return null;
  }
}

/** The first copy, with its lists of references united with those of the other. */
function unite(className: string, first: XmlStruct, other: XmlStruct): XmlStruct {
  let out: XmlStruct | null = null;
  for (const field of Object.keys(other)) {
    const mine = first[field];
    const theirs = other[field];
    if (refShape(className, field) === 'none') continue;
    if (Array.isArray(mine) && Array.isArray(theirs)) {
      const added = theirs.filter((item) => typeof item === 'string' && !mine.includes(item));
      if (added.length === 0) continue;
      out ??= copyStruct(first);
      out[field] = [...mine, ...added];
    } else if (mine === nullRef && typeof theirs === 'string' && theirs !== nullRef) {
      out ??= copyStruct(first);
      out[field] = theirs;
    } else if (isStruct(mine) && isStruct(theirs)) {
      const keys = Object.keys(theirs).filter((key) => mine[key] === undefined);
      if (keys.length === 0) continue;
      out ??= copyStruct(first);
      out[field] = Object.assign(copyStruct(mine), Object.fromEntries(keys.map((key) => [key, theirs[key]])));
    }
  }
  return out ?? first;
}
