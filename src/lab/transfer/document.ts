/**
 * The document of an archive as the importer sees it: objects with file ids, each record decoded by the data model
 * of this pool. Missing fields take their defaults, unknown ones are ignored, and a missing mandatory field or a
 * wrong type is an exception inside xapi (xapi.md 3.3, 3.4).
 */
import { classes, modelType } from '../../metadata/datamodel/index.ts';
import { parseXmlValue, XmlScalar, type XmlValue, XmlValueError } from '../../metadata/xmlvalue.ts';
import { fail, internal, quoted } from '../core/failure.ts';
import { DateTime, epoch, nullRef, type Struct, struct, type Value } from '../core/values.ts';
import { decode, type Wire } from '../core/wire.ts';

/** One object of the file. */
export class FileObject {
  readonly cls: string;
  readonly id: string;
  readonly raw: Readonly<Record<string, XmlValue>>;
  #record: FileRecord | null = null;

  constructor(cls: string, id: string, raw: Readonly<Record<string, XmlValue>>) {
    this.cls = cls;
    this.id = id;
    this.raw = raw;
  }

  has(field: string): boolean {
    return Object.hasOwn(this.raw, field);
  }

  /** The record by the data model; throws INTERNAL_ERROR as xapi's generated code does. */
  get record(): FileRecord {
    this.#record ??= new FileRecord(decodeSnapshot(this.cls, this.raw));
    return this.#record;
  }
}

/** A decoded record with typed access. */
export class FileRecord {
  readonly fields: Readonly<Struct>;
  constructor(fields: Readonly<Struct>) {
    this.fields = fields;
  }
  get(field: string): Value {
    return this.fields[field] ?? '';
  }
  text(field: string): string {
    const value = this.fields[field];
    return typeof value === 'string' ? value : '';
  }
  bool(field: string): boolean {
    return this.fields[field] === true;
  }
  int(field: string): bigint {
    const value = this.fields[field];
    return typeof value === 'bigint' ? value : 0n;
  }
  texts(field: string): readonly string[] {
    const value = this.fields[field];
    return Array.isArray(value) ? (value as string[]) : [];
  }
  map(field: string): Readonly<Record<string, string>> {
    return (this.fields[field] ?? {}) as Record<string, string>;
  }
  with(changes: Readonly<Record<string, Value>>): FileRecord {
    return new FileRecord(struct({ ...this.fields, ...changes }));
  }
}

export interface FileDocument {
  readonly version: Value;
  readonly objects: readonly FileObject[];
  readonly byId: ReadonlyMap<string, FileObject>;
}

/** Reads `ova.xml`. Broken XML is `INTERNAL_ERROR [Xmlm.Error(...)]`. */
export function readDocument(xml: string): FileDocument {
  let root: XmlValue;
  try {
    root = parseXmlValue(xml);
  } catch (error) {
    if (!(error instanceof XmlValueError)) throw error;
    const what = quoted(
      xml.split('\n')[error.line - 1]?.slice(Math.max(0, error.column - 2), error.column) ?? '',
    );
    return internal(`Xmlm.Error(${error.line}:${error.column}, character sequence illegal here (${what}))`);
  }
  const header = members(root, 'header');
  const version = header['version'];
  const list = header['objects'];
  if (version === undefined || !Array.isArray(list))
    return internal('Failure("Field objects not present in rpc")');
  const objects = list.map((item) => {
    const object = members(item, 'obj');
    const { class: cls, id, snapshot } = object;
    if (typeof cls !== 'string' || typeof id !== 'string') return internal('Failure("obj_of_rpc")');
    return new FileObject(cls, id, members(snapshot, cls));
  });
  const byId = new Map<string, FileObject>();
  for (const object of objects) if (!byId.has(object.id)) byId.set(object.id, object);
  return { version: plainValue(version), objects, byId };
}

/** The object of an id, or `IMPORT_ERROR_FAILED_TO_FIND_OBJECT [id]`. */
export function findInFile(document: FileDocument, id: string): FileObject {
  return document.byId.get(id) ?? fail('IMPORT_ERROR_FAILED_TO_FIND_OBJECT', id);
}

function members(value: XmlValue | undefined, what: string): Readonly<Record<string, XmlValue>> {
  if (typeof value !== 'object' || Array.isArray(value) || value instanceof XmlScalar)
    return internal(`Failure(${quoted(`${what}: expected a struct`)})`);
  return value;
}

function plainValue(value: XmlValue): Value {
  if (typeof value === 'string' || typeof value === 'boolean') return value;
  if (value instanceof XmlScalar) return value.text;
  if (Array.isArray(value)) return value.map(plainValue);
  const result = struct();
  for (const name of Object.keys(value)) result[name] = plainValue(value[name] ?? '');
  return result;
}

function wireOf(value: XmlValue): Wire {
  if (typeof value === 'string') return { kind: 'string', value };
  if (typeof value === 'boolean') return { kind: 'bool', value };
  if (Array.isArray(value)) return { kind: 'list', value: value.map(wireOf) };
  if (!(value instanceof XmlScalar)) {
    return {
      kind: 'dict',
      value: Object.keys(value).map((name) => [name, wireOf(value[name] ?? '')] as const),
    };
  }
  const { tag, text } = value;
  if (tag === 'int' || tag === 'i4' || tag === 'i8') return { kind: 'int', value: BigInt(text.trim()) };
  if (tag === 'double') return { kind: 'float', value: Number(text) };
  if (tag === 'dateTime.iso8601') return { kind: 'datetime', value: text };
  if (tag === 'base64') return { kind: 'base64', value: text };
  return { kind: 'null' };
}

function decodeSnapshot(cls: string, raw: Readonly<Record<string, XmlValue>>): Struct {
  const record = struct();
  for (const field of classes.get(cls)?.fields.values() ?? []) {
    const given = raw[field.name];
    const type = modelType(field.type);
    if (given !== undefined) record[field.name] = decode(wireOf(given), type);
    else if (type.kind === 'set' && type.of.kind === 'ref') record[field.name] = [];
    else if (field.default === null) internal(`Failure(${quoted(`Field ${field.name} not present in rpc`)})`);
    else record[field.name] = fallback(type.kind, field.default);
  }
  return record;
}

function fallback(kind: string, text: string): Value {
  switch (kind) {
    case 'int':
      return BigInt(text);
    case 'float':
      return Number(text);
    case 'bool':
      return text === 'true';
    case 'datetime':
      return text === '' ? epoch : new DateTime(text);
    case 'set':
      return [];
    case 'map':
      return struct();
    case 'ref':
      return text === '""' ? '' : nullRef;
    default:
      return text.replace(/^"(.*)"$/s, '$1');
  }
}
