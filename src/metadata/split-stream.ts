/**
 * `split` for an export of a whole pool while it arrives: tens of megabytes of which never more than a part is in
 * memory as text. Objects are cut out of the byte stream, kept in little space, and put together VM by VM at the end.
 */
import { Numbering, orderCollection, sortByIdentity } from './canonical.ts';
import { Closures, ListIndex } from './closure.ts';
import {
  decodeXml,
  documentError,
  formatDocument,
  MetadataDocument,
  type MetadataObject,
  objectOf,
  parseDocument,
} from './document.ts';
import { type RefShape, refShape, renameValue } from './references.ts';
import { type HostileKey, repairKeys } from './repair.ts';
import type { SplitOptions, VmDocument } from './split.ts';
import { readOvaHeader, TarError, tarHeaderBytes } from './tar.ts';
import {
  copyText,
  escapeXml,
  formatXmlValue,
  isStruct,
  parseXmlValue,
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
 * Objects with the least memory, ready to be written: names of fields once per class, values without references as the
 * text that the document will have, and every text that other objects of the class share once. Most fields of most
 * objects are alike, so 23 MB of a pool come down to a few.
 */
class ObjectStore {
  readonly #objects: CompactObject[] = [];
  readonly #byId = new Map<string, CompactObject>();
  readonly #columns = new Map<string, ClassColumns>();
  readonly #repaired = new Map<string, readonly HostileKey[]>();
  readonly #lists = new ListIndex();

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
      fields: fieldsOf,
    });
    const around = frameText(frame);
    for (const vm of this.#objects) {
      if (vm.class !== 'VM' || fieldOf(vm, 'is_a_snapshot') === true) continue;
      if (fieldOf(vm, 'is_control_domain') === true && options.controlDomains !== true) continue;
      const roots = options.snapshots === true ? [vm, ...closures.snapshotsOf(vm.id)] : [vm];
      const objects = sortByIdentity(closures.of(roots), fieldOf);
      const repaired = objects.flatMap((object) => this.#repaired.get(object.id) ?? []);
      const written = around.before + this.#write(objects) + around.after;
      const document = new MetadataDocument(frame.version, { written }, frame.extra);
      yield { uuid: textOf(vm, 'uuid'), nameLabel: textOf(vm, 'name_label'), document, repaired };
    }
  }

  #write(objects: readonly CompactObject[]): string {
    const numbering = new Numbering(objects);
    const ids = objects.map((object) => object.id);
    let out = '';
    for (const [number, object] of objects.entries()) {
      const { openings, kinds } = object.shape;
      out += `<value><struct><member><name>class</name><value>${object.className}</value></member><member><name>id</name><value>Ref:${number}</value></member><member><name>snapshot</name><value><struct>`;
      for (let index = 0; index < kinds.length; index += 1) {
        const value = object.values[index] ?? '';
        const kind = kinds[index] ?? 'none';
        out += openings[index];
        out +=
          kind === 'none' && typeof value === 'string'
            ? value
            : formatXmlValue(
                orderCollection(
                  kind,
                  renameValue(
                    kind === 'set' || kind === 'keys' ? this.#lists.cut(value, ids) : value,
                    kind,
                    numbering.known,
                    numbering.rename,
                  ),
                ),
              );
        out += '</member>';
      }
      out += `</struct></value></member>${object.extra}</struct></value>`;
    }
    return out;
  }
}

/** What stands before and after the objects of every document. */
function frameText(frame: MetadataDocument): { readonly before: string; readonly after: string } {
  const text = formatDocument(frame.with([]));
  const marker = '<name>objects</name><value><array><data>';
  const at = text.indexOf(marker) + marker.length;
  return { before: text.slice(0, at), after: text.slice(at) };
}

interface Shape {
  readonly names: readonly string[];
  readonly positions: ReadonlyMap<string, number>;
  readonly kinds: readonly RefShape[];
  /** `<member><name>…</name>` of each field. */
  readonly openings: readonly string[];
}

interface CompactObject {
  readonly class: string;
  /** The class as text of the document. */
  readonly className: string;
  readonly id: string;
  readonly shape: Shape;
  /** Text of the document where the kind is `none`, else the value with the references of the archive. */
  readonly values: readonly XmlValue[];
  /** Members beside class, id and snapshot, as text of the document. */
  readonly extra: string;
}

function fieldOf(object: CompactObject, name: string): XmlValue | undefined {
  const position = object.shape.positions.get(name);
  if (position === undefined) return undefined;
  const value = object.values[position];
  if (object.shape.kinds[position] !== 'none' || typeof value !== 'string') return value;
  return value === yes ? true : value === no ? false : parseXmlValue(value);
}

function textOf(object: CompactObject, name: string): string {
  const value = fieldOf(object, name);
  return typeof value === 'string' ? value : '';
}

function fieldsOf(object: CompactObject): XmlStruct {
  const fields = Object.create(null) as XmlStruct;
  for (const name of object.shape.names) fields[name] = fieldOf(object, name) ?? '';
  return fields;
}

/** At most this many texts of a field are remembered for sharing; a field of uuids would remember them all. */
const sharedTexts = 32;
const yes = formatXmlValue(true);
const no = formatXmlValue(false);
const nothing = formatXmlValue('');
const emptyList = formatXmlValue([]);
const emptyMap = formatXmlValue(Object.create(null) as XmlStruct);

class ClassColumns {
  readonly name: string;
  #shape: Shape = { names: [], positions: new Map(), kinds: [], openings: [] };
  /** Text of the document by value, for each field. */
  readonly #texts = new Map<string, Map<string, string>>();

  constructor(name: string) {
    this.name = name;
  }

  compact(object: MetadataObject): CompactObject {
    const names = Object.keys(object.fields);
    const before = this.#shape.names;
    if (names.length !== before.length || names.some((name, index) => name !== before[index]))
      this.#shape = {
        names,
        positions: new Map(names.map((name, index) => [name, index])),
        kinds: names.map((name) => refShape(this.name, name)),
        openings: names.map((name) => `<member><name>${escapeXml(name)}</name>`),
      };
    const { kinds } = this.#shape;
    return {
      class: this.name,
      className: escapeXml(this.name),
      id: copyText(object.id),
      shape: this.#shape,
      values: names.map((name, index) => {
        const value = object.fields[name] ?? '';
        return kinds[index] === 'none' ? this.#written(name, value) : copyValue(value);
      }),
      extra: membersText(object.extra),
    };
  }

  #written(field: string, value: XmlValue): string {
    if (typeof value === 'boolean') return value ? yes : no;
    if (value === '') return nothing;
    if (typeof value === 'string') return this.#text(field, value);
    if (Array.isArray(value) && value.length === 0) return emptyList;
    if (isStruct(value) && Object.keys(value).length === 0) return emptyMap;
    return this.#shared(field, formatXmlValue(orderCollection('none', value)));
  }

  #text(field: string, value: string): string {
    const known = this.#known(field);
    const shared = known.get(value);
    if (shared !== undefined) return shared;
    const written = copyText(`<value>${escapeXml(value)}</value>`);
    if (known.size < sharedTexts) known.set(copyText(value), written);
    return written;
  }

  /** For values that are not text: their text of the document stands for them. No text begins with a tag unescaped. */
  #shared(field: string, written: string): string {
    const known = this.#known(`${field} `);
    const shared = known.get(written);
    if (shared !== undefined) return shared;
    if (known.size < sharedTexts) known.set(written, written);
    return written;
  }

  #known(field: string): Map<string, string> {
    let known = this.#texts.get(field);
    if (known === undefined) {
      known = new Map();
      this.#texts.set(field, known);
    }
    return known;
  }
}

function membersText(members: XmlStruct | null): string {
  if (members === null) return '';
  return Object.keys(members)
    .map((name) => `<member><name>${escapeXml(name)}</name>${formatXmlValue(members[name] ?? '')}</member>`)
    .join('');
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
