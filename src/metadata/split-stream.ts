/**
 * `split` for an export of a whole pool while it arrives: tens of megabytes of which never more than a part is in
 * memory as text. Objects are cut out of the byte stream, kept in little space, and put together VM by VM at the end.
 */
import { canonicalDocument } from './canonical.ts';
import { Closures, ListCutter, sharedClasses } from './closure.ts';
import {
  decodeXml,
  documentError,
  MetadataDocument,
  type MetadataObject,
  objectOf,
  parseDocument,
} from './document.ts';
import { type HostileKey, repairKeys } from './repair.ts';
import type { SplitOptions, VmDocument } from './split.ts';
import { readOvaHeader, TarError, tarHeaderBytes } from './tar.ts';
import {
  copyText,
  isStruct,
  parseXmlValue,
  XmlScalar,
  type XmlStruct,
  type XmlValue,
  XmlValueError,
} from './xmlvalue.ts';

export interface StreamedVmDocument extends VmDocument {
  /** Keys of the VM's objects that xapi had not escaped and that are right now (xapi.md 1.3). */
  readonly repaired: readonly HostileKey[];
}

const exportSingly = 'Export the VMs one by one; the one that cannot be read then stands alone.';

/**
 * Documents of an `all=true` archive, one per VM, as `split` makes them, in the order of the archive. Nothing is yielded
 * before the archive is complete. Throws `OperatorError` DR-DOCUMENT-UNREADABLE for an archive that is cut or damaged.
 */
export async function* splitStream(
  archive: AsyncIterable<Uint8Array>,
  options: SplitOptions = {},
): AsyncGenerator<StreamedVmDocument> {
  const store = new ObjectStore();
  const cutter = new ObjectCutter((bytes) => store.add(bytes));
  let header: Buffer | null = Buffer.alloc(0);
  let left = 0;
  for await (const chunk of archive) {
    let bytes: Uint8Array = chunk;
    if (header !== null) {
      header = Buffer.concat([header, bytes]);
      if (header.length < tarHeaderBytes) continue;
      left = sizeFrom(header);
      bytes = header.subarray(tarHeaderBytes);
      header = null;
    }
    if (left === 0) continue;
    const content = bytes.length > left ? bytes.subarray(0, left) : bytes;
    left -= content.length;
    cutter.write(content);
  }
  if (header !== null || left > 0)
    throw documentError(
      'The export of all VMs is cut',
      [header === null ? `${left} bytes are missing` : 'it ends within its header'],
      'Export again.',
    );
  const frame = parseDocument(cutter.end());
  yield* store.documents(frame, options);
}

function sizeFrom(header: Uint8Array): number {
  try {
    return readOvaHeader(header);
  } catch (error) {
    if (!(error instanceof TarError)) throw error;
    throw documentError('The metadata archive cannot be opened', [error.message], 'Export again.');
  }
}

const objectsOpen = Buffer.from('<name>objects</name><value><array><data>');
const slash = 0x2f;
const bang = 0x21;
const question = 0x3f;
const valueTag = Buffer.from('value>');

/** Cuts the array of objects into its elements by counting `<value>` tags; the rest is the frame around them. */
class ObjectCutter {
  readonly #take: (object: Buffer) => void;
  #rest = Buffer.alloc(0);
  #head: Buffer | null = null;
  #tail: Buffer[] = [];
  #inTail = false;
  /** Nesting of `<value>` at `#at`, and where the object began in `#rest`. */
  #depth = 0;
  #start = 0;
  #at = 0;

  constructor(take: (object: Buffer) => void) {
    this.#take = take;
  }

  write(bytes: Uint8Array): void {
    if (this.#inTail) {
      this.#tail.push(Buffer.from(bytes));
      return;
    }
    this.#rest = this.#rest.length === 0 ? Buffer.from(bytes) : Buffer.concat([this.#rest, bytes]);
    if (this.#head === null) {
      const open = this.#rest.indexOf(objectsOpen);
      if (open < 0) return;
      this.#head = this.#rest.subarray(0, open + objectsOpen.length);
      this.#start = this.#head.length;
      this.#at = this.#start;
    }
    this.#cut();
  }

  /** The document without its objects. */
  end(): string {
    if (!this.#inTail)
      throw documentError(
        'The export of all VMs is malformed',
        ['its list of objects does not end'],
        exportSingly,
      );
    return decodeXml(Buffer.concat([this.#head ?? Buffer.alloc(0), ...this.#tail]));
  }

  #cut(): void {
    const bytes = this.#rest;
    let at = this.#at;
    for (;;) {
      const open = bytes.indexOf(0x3c, at);
      // The longest tag that counts is `</value>`; what may continue in the next piece waits.
      if (open < 0 || open + 8 > bytes.length) {
        at = open < 0 ? bytes.length : open;
        break;
      }
      const next = bytes[open + 1];
      if (next === bang || next === question)
        throw documentError(
          'The export of all VMs has a form that xapi does not write',
          ['it holds a comment or CDATA'],
          exportSingly,
        );
      if (next === slash) {
        if (isValueTag(bytes, open + 2)) {
          this.#depth -= 1;
          at = open + 8;
          if (this.#depth === 0) {
            this.#take(bytes.subarray(this.#start, at));
            this.#start = at;
          }
          continue;
        }
        if (this.#depth === 0) {
          this.#inTail = true;
          this.#tail.push(bytes.subarray(open));
          this.#rest = Buffer.alloc(0);
          return;
        }
      } else if (isValueTag(bytes, open + 1)) {
        if (this.#depth === 0) this.#start = open;
        this.#depth += 1;
      }
      at = open + 2;
    }
    this.#rest = bytes.subarray(this.#start);
    this.#at = at - this.#start;
    this.#start = 0;
  }
}

function isValueTag(bytes: Buffer, at: number): boolean {
  for (let index = 0; index < 6; index += 1) if (bytes[at + index] !== valueTag[index]) return false;
  return true;
}

/**
 * Objects with the least memory: names of fields once per class, and every text that other objects of the class have
 * in the same field once as well. Most fields of most objects are alike, so 23 MB of a pool come down to a few.
 */
class ObjectStore {
  readonly #objects: CompactObject[] = [];
  readonly #byId = new Map<string, CompactObject>();
  readonly #columns = new Map<string, ClassColumns>();
  readonly #repaired = new Map<string, readonly HostileKey[]>();
  readonly #shared = new Map<string, MetadataObject>();

  add(bytes: Buffer): void {
    const { object, repaired } = readObject(bytes);
    let columns = this.#columns.get(object.class);
    if (columns === undefined) {
      columns = new ClassColumns(copyText(object.class));
      this.#columns.set(columns.name, columns);
    }
    const compact = columns.compact(object);
    this.#objects.push(compact);
    if (!this.#byId.has(compact.id)) this.#byId.set(compact.id, compact);
    if (repaired.length > 0) this.#repaired.set(compact.id, repaired);
  }

  *documents(frame: MetadataDocument, options: SplitOptions): Generator<StreamedVmDocument> {
    const closures = new Closures<CompactObject>({
      objects: this.#objects,
      byId: (id) => this.#byId.get(id) ?? null,
      field: fieldOf,
      fields: (object) => unfold(object).fields,
    });
    const lists = new ListCutter();
    for (const vm of this.#objects) {
      if (vm.class !== 'VM' || fieldOf(vm, 'is_a_snapshot') === true) continue;
      if (fieldOf(vm, 'is_control_domain') === true && options.controlDomains !== true) continue;
      const roots = options.snapshots === true ? [vm, ...closures.snapshotsOf(vm.id)] : [vm];
      const compact = closures.of(roots);
      const ids = compact.map((object) => object.id);
      const objects = compact.map((object) => lists.cut(this.#load(object), ids));
      const repaired = ids.flatMap((id) => this.#repaired.get(id) ?? []);
      const document = canonicalDocument(new MetadataDocument(frame.version, objects, frame.extra));
      yield { uuid: textOf(vm, 'uuid'), nameLabel: textOf(vm, 'name_label'), document, repaired };
    }
  }

  #load(compact: CompactObject): MetadataObject {
    if (!sharedClasses.has(compact.class)) return unfold(compact);
    let object = this.#shared.get(compact.id);
    if (object === undefined) {
      object = unfold(compact);
      this.#shared.set(compact.id, object);
    }
    return object;
  }
}

interface Shape {
  readonly names: readonly string[];
  readonly positions: ReadonlyMap<string, number>;
}

interface CompactObject {
  readonly class: string;
  readonly id: string;
  readonly shape: Shape;
  readonly values: readonly XmlValue[];
  readonly extra: XmlStruct | null;
}

function fieldOf(object: CompactObject, name: string): XmlValue | undefined {
  const position = object.shape.positions.get(name);
  return position === undefined ? undefined : object.values[position];
}

function textOf(object: CompactObject, name: string): string {
  const value = fieldOf(object, name);
  return typeof value === 'string' ? value : '';
}

function unfold(compact: CompactObject): MetadataObject {
  const { shape, values } = compact;
  const fields = Object.create(null) as XmlStruct;
  for (const [index, name] of shape.names.entries()) fields[name] = values[index] ?? '';
  return { class: compact.class, id: compact.id, fields, extra: compact.extra };
}

/** At most this many texts of a field are remembered for sharing; a field of uuids would remember them all. */
const sharedTexts = 32;
const emptyList: XmlValue[] = [];
const emptyMap = Object.create(null) as XmlStruct;

class ClassColumns {
  readonly name: string;
  #shape: Shape = { names: [], positions: new Map() };
  readonly #texts = new Map<string, Map<string, string>>();

  constructor(name: string) {
    this.name = name;
  }

  compact(object: MetadataObject): CompactObject {
    const names = Object.keys(object.fields);
    const before = this.#shape.names;
    if (names.length !== before.length || names.some((name, index) => name !== before[index]))
      this.#shape = { names, positions: new Map(names.map((name, index) => [name, index])) };
    return {
      class: this.name,
      id: copyText(object.id),
      shape: this.#shape,
      values: names.map((name) => this.#value(name, object.fields[name] ?? '')),
      extra: object.extra === null ? null : (copyValue(object.extra) as XmlStruct),
    };
  }

  #value(field: string, value: XmlValue): XmlValue {
    if (typeof value === 'boolean') return value;
    if (typeof value === 'string') return this.#text(field, value);
    if (Array.isArray(value))
      return value.length === 0 ? emptyList : value.map((item) => this.#value(field, item));
    if (!isStruct(value)) return new XmlScalar(value.tag, this.#text(field, value.text));
    const keys = Object.keys(value);
    if (keys.length === 0) return emptyMap;
    const out = Object.create(null) as XmlStruct;
    for (const key of keys) out[key] = this.#value(field, value[key] ?? '');
    return out;
  }

  #text(field: string, text: string): string {
    if (text === '') return '';
    let known = this.#texts.get(field);
    if (known === undefined) {
      known = new Map();
      this.#texts.set(field, known);
    }
    const shared = known.get(text);
    if (shared !== undefined) return shared;
    const copy = copyText(text);
    if (known.size < sharedTexts) known.set(copy, copy);
    return copy;
  }
}

function readObject(bytes: Buffer): {
  readonly object: MetadataObject;
  readonly repaired: readonly HostileKey[];
} {
  const text = decodeXml(bytes);
  try {
    return { object: objectIn(parseXmlValue(text)), repaired: [] };
  } catch (error) {
    if (!(error instanceof XmlValueError)) throw error;
    const repair = repairKeys(text);
    if (repair !== null && repair.keys.length > 0) {
      try {
        return { object: objectIn(parseXmlValue(repair.text)), repaired: repair.keys };
      } catch (second) {
        if (!(second instanceof XmlValueError)) throw second;
      }
    }
    throw documentError('An object of the export of all VMs is malformed', [error.message], exportSingly);
  }
}

function objectIn(value: XmlValue): MetadataObject {
  const object = objectOf(value);
  if (object === null)
    throw documentError(
      'ova.xml is not a metadata document',
      ['an object lacks class, id or snapshot'],
      exportSingly,
    );
  return object;
}

function copyValue(value: XmlValue): XmlValue {
  if (typeof value === 'string') return copyText(value);
  if (Array.isArray(value)) return value.map(copyValue);
  if (!isStruct(value)) return value;
  const out = Object.create(null) as XmlStruct;
  for (const key of Object.keys(value)) out[key] = copyValue(value[key] ?? '');
  return out;
}
