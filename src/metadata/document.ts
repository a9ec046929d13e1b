/**
 * The VM metadata document: `ova.xml` as `/export_metadata` makes it (xapi.md 3.3), a version and a list of objects.
 * Immutable. Everything that was read is kept, unknown classes and fields included, so that a document which was only
 * parsed and written means the same. An id that no object has counts as null.
 */
import { OperatorError } from '../domain/errors.ts';
import type { XapiBuild } from '../domain/pool.ts';
import { NetworkObject, SrObject, type TypedObject, typedObject, VdiObject, VmObject } from './objects.ts';
import { type HostileKey, repairKeys } from './repair.ts';
import { packOva, TarError, unpackOva } from './tar.ts';
import {
  emptyStruct,
  formatXmlValue,
  isStruct,
  parseXmlValue,
  type XmlStruct,
  type XmlValue,
  XmlValueError,
} from './xmlvalue.ts';

/** One object as the document has it. `id` is `Ref:N`; any text is allowed. */
export interface MetadataObject {
  readonly class: string;
  readonly id: string;
  readonly fields: XmlStruct;
  /** Members beside class, id and snapshot, which no known xapi writes. */
  readonly extra: XmlStruct | null;
}

export class MetadataDocument {
  readonly version: XmlStruct;
  /** Members beside version and objects. */
  readonly extra: XmlStruct | null;
  /** The text of a document that was put together as text; its objects are read when somebody asks for them. */
  readonly written: string | null;
  #objects: readonly MetadataObject[] | null;
  #byId: Map<string, MetadataObject> | null = null;
  #byClass: Map<string, MetadataObject[]> | null = null;
  #typed = new Map<MetadataObject, TypedObject>();
  #views = new Map<string, readonly TypedObject[]>();
  #referring = new Map<string, Map<string, MetadataObject[]>>();

  constructor(
    version: XmlStruct,
    objects: readonly MetadataObject[] | { readonly written: string },
    extra: XmlStruct | null = null,
  ) {
    this.version = version;
    this.extra = extra;
    this.written = 'written' in objects ? objects.written : null;
    this.#objects = 'written' in objects ? null : objects;
  }

  get objects(): readonly MetadataObject[] {
    this.#objects ??= parseDocument(this.written ?? '').objects;
    return this.#objects;
  }

  /** The object of that id; null for every other text, the null reference included. */
  object(id: string): MetadataObject | null {
    if (this.#byId === null) {
      this.#byId = new Map();
      for (const object of this.objects) if (!this.#byId.has(object.id)) this.#byId.set(object.id, object);
    }
    return this.#byId.get(id) ?? null;
  }

  ofClass(name: string): readonly MetadataObject[] {
    if (this.#byClass === null) {
      this.#byClass = new Map();
      for (const object of this.objects) {
        const list = this.#byClass.get(object.class);
        if (list === undefined) this.#byClass.set(object.class, [object]);
        else list.push(object);
      }
    }
    return this.#byClass.get(name) ?? [];
  }

  /** Objects of a class whose field holds this id. */
  referring(className: string, field: string, id: string): readonly MetadataObject[] {
    const key = `${className}.${field}`;
    let index = this.#referring.get(key);
    if (index === undefined) {
      index = new Map();
      for (const object of this.ofClass(className)) {
        const target = object.fields[field];
        if (typeof target !== 'string') continue;
        const list = index.get(target);
        if (list === undefined) index.set(target, [object]);
        else list.push(object);
      }
      this.#referring.set(key, index);
    }
    return index.get(id) ?? [];
  }

  /** The typed view of an object of this document. */
  typed(object: MetadataObject): TypedObject {
    let view = this.#typed.get(object);
    if (view === undefined) {
      view = typedObject(this, object);
      this.#typed.set(object, view);
    }
    return view;
  }

  /** Every VM record: VMs, snapshots, templates, control domains. */
  get vms(): readonly VmObject[] {
    return this.#all('VM', VmObject);
  }
  get vdis(): readonly VdiObject[] {
    return this.#all('VDI', VdiObject);
  }
  get srs(): readonly SrObject[] {
    return this.#all('SR', SrObject);
  }
  get networks(): readonly NetworkObject[] {
    return this.#all('network', NetworkObject);
  }

  /** The VM that the document is about: the first that is neither snapshot nor control domain. */
  get vm(): VmObject | null {
    return this.vms.find((vm) => !vm.isASnapshot && !vm.isControlDomain) ?? null;
  }

  /** Build of the exporting xapi: the version gate compares it (xapi.md 3.8). */
  get build(): XapiBuild {
    const part = (name: string): number => {
      const value = this.version[name];
      const number = typeof value === 'string' && value !== '' ? Number(value) : Number.NaN;
      return Number.isSafeInteger(number) ? number : 0;
    };
    const [major, minor] = [part('xapi_major'), part('xapi_minor')];
    return { major, minor, text: `${major}.${minor}` };
  }

  with(objects: readonly MetadataObject[]): MetadataDocument {
    return new MetadataDocument(this.version, objects, this.extra);
  }

  #all<T extends TypedObject>(
    name: string,
    kind: new (document: MetadataDocument, object: MetadataObject) => T,
  ): readonly T[] {
    const known = this.#views.get(name);
    if (known !== undefined) return known as readonly T[];
    const views: T[] = [];
    for (const object of this.ofClass(name)) {
      const view = this.typed(object);
      if (view instanceof kind) views.push(view);
    }
    this.#views.set(name, views);
    return views;
  }
}

/** A document that cannot be read. `problem` names the place; nothing of its content but names is repeated. */
export function documentError(what: string, known: readonly string[], next: string): OperatorError {
  return new OperatorError({ code: 'DR-DOCUMENT-UNREADABLE', what, known, next });
}

const exportAgain =
  'Export this VM again; if it comes out alike, keep the archive and report it with the xapi version of the pool.';

/**
 * Reads the archive of `/export_metadata`: a tar file with `ova.xml` first. Throws `OperatorError` with code
 * DR-DOCUMENT-UNREADABLE, or DR-DOCUMENT-HOSTILE-KEY when a map key was not escaped (xapi.md 1.3).
 */
export function parseArchive(archive: Uint8Array): MetadataDocument {
  return parseDocument(openArchive(archive));
}

function openArchive(archive: Uint8Array): Uint8Array {
  try {
    return unpackOva(archive);
  } catch (error) {
    if (!(error instanceof TarError)) throw error;
    throw documentError('The metadata archive cannot be opened', [error.message], exportAgain);
  }
}

/** Reads `ova.xml` as text or as bytes in UTF-8. Errors as for `parseArchive`. */
export function parseDocument(xml: string | Uint8Array): MetadataDocument {
  const { document, repaired } = parseDocumentTolerantly(xml);
  if (repaired.length > 0) throw hostileKeyError(repaired);
  return document;
}

/**
 * Reads `ova.xml` and forgives exactly one defect: map keys that xapi did not escape (xapi.md 1.3). They are listed in
 * `repaired`; written again, the document is well-formed, and a pool can import it.
 */
export function parseDocumentTolerantly(xml: string | Uint8Array): {
  readonly document: MetadataDocument;
  readonly repaired: readonly HostileKey[];
} {
  const text = typeof xml === 'string' ? xml : decodeXml(xml);
  let failure: XmlValueError;
  try {
    return { document: documentOf(parseXmlValue(text)), repaired: [] };
  } catch (error) {
    if (!(error instanceof XmlValueError)) throw error;
    failure = error;
  }
  const malformed = documentError('ova.xml is malformed', [failure.message], exportAgain);
  const repair = repairKeys(text);
  if (repair === null || repair.keys.length === 0) throw malformed;
  try {
    return { document: documentOf(parseXmlValue(repair.text)), repaired: repair.keys };
  } catch (error) {
    throw error instanceof XmlValueError ? malformed : error;
  }
}

/** `parseDocumentTolerantly` for an archive. */
export function parseArchiveTolerantly(archive: Uint8Array): {
  readonly document: MetadataDocument;
  readonly repaired: readonly HostileKey[];
} {
  return parseDocumentTolerantly(openArchive(archive));
}

function hostileKeyError(keys: readonly HostileKey[]): OperatorError {
  const first = keys[0];
  const owner = first === undefined ? '' : `${first.class} ${first.name}`;
  return new OperatorError({
    code: 'DR-DOCUMENT-HOSTILE-KEY',
    what: `The archive is malformed: a key in ${first?.field ?? 'a map'} of ${owner} holds characters that xapi does not escape, so no pool can import it`,
    ...(first === undefined ? {} : { where: { object: owner } }),
    known: keys.map((key) => `key ${JSON.stringify(key.key)} in ${key.field} of ${key.class} ${key.name}`),
    next: `Remove the key at the production pool (xe ${first?.class.toLowerCase() ?? 'vm'}-param-remove uuid=… param-name=${first?.field.replaceAll('_', '-') ?? 'other-config'} param-key=…) and export again.`,
  });
}

export function decodeXml(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw documentError('ova.xml is not text in UTF-8', [`it has ${bytes.length} bytes`], exportAgain);
  }
}

export function documentOf(value: XmlValue): MetadataDocument {
  const malformed = (what: string): OperatorError =>
    documentError('ova.xml is not a metadata document', [what], exportAgain);
  if (!isStruct(value)) throw malformed('its value is not a struct');
  const { version, objects } = value;
  if (!isStruct(version)) throw malformed('the member version is missing or not a struct');
  if (!Array.isArray(objects)) throw malformed('the member objects is missing or not an array');
  return new MetadataDocument(
    version,
    objects.map((item, index) => {
      const object = objectOf(item);
      if (object === null) throw malformed(`object ${index + 1} lacks class, id or snapshot`);
      return object;
    }),
    rest(value, ['version', 'objects']),
  );
}

export function objectOf(value: XmlValue): MetadataObject | null {
  if (!isStruct(value)) return null;
  const { class: name, id, snapshot } = value;
  if (typeof name !== 'string' || typeof id !== 'string' || !isStruct(snapshot)) return null;
  return { class: name, id, fields: snapshot, extra: rest(value, ['class', 'id', 'snapshot']) };
}

function rest(struct: XmlStruct, known: readonly string[]): XmlStruct | null {
  const others = Object.keys(struct).filter((name) => !known.includes(name));
  if (others.length === 0) return null;
  const out = emptyStruct();
  for (const name of others) out[name] = struct[name] ?? '';
  return out;
}

export function xmlOf(document: MetadataDocument): XmlStruct {
  return Object.assign(emptyStruct(), {
    version: document.version,
    objects: document.objects.map(xmlOfObject),
    ...document.extra,
  });
}

function xmlOfObject(object: MetadataObject): XmlStruct {
  return Object.assign(emptyStruct(), {
    class: object.class,
    id: object.id,
    snapshot: object.fields,
    ...object.extra,
  });
}

/** The text of `ova.xml`, as xapi would write it, with map keys escaped. */
export function formatDocument(document: MetadataDocument): string {
  return document.written ?? formatXmlValue(xmlOf(document));
}

/** The archive that `/import_metadata` takes: a minimal tar with `ova.xml` (xapi.md 3.4). */
export function packDocument(document: MetadataDocument): Uint8Array {
  return packOva(formatDocument(document));
}
