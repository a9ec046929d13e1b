/**
 * Values of XML-RPC as XenAPI writes them: the form of `ova.xml`, of every XML-RPC answer, and of a task's result.
 * Nothing is interpreted here. Text stays text (ints, enums and refs all travel so, xapi.md 1.3), and a typed scalar
 * keeps its tag and its text, so that writing what was read changes nothing.
 */
import { SaxesParser } from 'saxes';
import { scanXmlValue } from './xmlscan.ts';

export type XmlValue = string | boolean | XmlScalar | XmlValue[] | XmlStruct;
export interface XmlStruct {
  [name: string]: XmlValue;
}

/** A scalar with a tag of its own: `int`, `i4`, `i8`, `double`, `dateTime.iso8601`, `base64`, `nil`. */
export class XmlScalar {
  readonly tag: string;
  readonly text: string;
  constructor(tag: string, text: string) {
    this.tag = tag;
    this.text = text;
  }
}

export class XmlValueError extends Error {
  readonly line: number;
  readonly column: number;
  constructor(message: string, line: number, column: number) {
    super(`${message} at line ${line}, column ${column}`);
    this.name = 'XmlValueError';
    this.line = line;
    this.column = column;
  }
}

export function isStruct(value: XmlValue | undefined): value is XmlStruct {
  return typeof value === 'object' && !Array.isArray(value) && !(value instanceof XmlScalar);
}

/** A struct without prototype, so that a member called `__proto__` is a member like any other. */
export function emptyStruct(): XmlStruct {
  return Object.create(null) as XmlStruct;
}

/** A text of its own: a part of a larger text keeps all of it in memory for as long as it lives. */
export function copyText(text: string): string {
  return Buffer.from(text).toString();
}

type Frame =
  | { kind: 'value'; text: string; value: XmlValue | undefined }
  | { kind: 'scalar'; tag: string; text: string }
  | { kind: 'array'; items: XmlValue[] }
  | { kind: 'struct'; struct: XmlStruct }
  | { kind: 'member'; name: string | undefined; value: XmlValue | undefined }
  | { kind: 'name'; text: string }
  | { kind: 'data'; items: XmlValue[] }
  | { kind: 'outer'; tag: string };

const scalars = new Set([
  'string',
  'boolean',
  'int',
  'i4',
  'i8',
  'double',
  'dateTime.iso8601',
  'base64',
  'nil',
]);

/**
 * Streaming reader: feed text in pieces, then `end()` yields every top-level `<value>`, in order. `methodName`,
 * `methodCall`, `methodResponse`, `params`, `param` and `fault` around them are noted, not required.
 */
export class XmlValueReader {
  readonly values: XmlValue[] = [];
  methodName: string | null = null;
  /** True when the values stand in a `<fault>`. */
  fault = false;
  #parser = new SaxesParser({ fragment: false });
  #frames: Frame[] = [];
  #failure: XmlValueError | null = null;
  #structDepth = 0;
  readonly #keep: ((name: string, depth: number) => boolean) | undefined;

  /**
   * `keep` decides by name and depth (1 is a member of the outermost struct) which members are stored; the others are
   * read, checked and dropped at once, so that a large answer costs the memory of what is wanted of it.
   */
  constructor(keep?: (name: string, depth: number) => boolean) {
    this.#keep = keep;
    const parser = this.#parser;
    parser.on('error', (error) => this.#fail(error.message.replace(/^\d+:\d+: /, '')));
    parser.on('opentag', (node) => this.#open(node.name));
    parser.on('text', (text) => this.#text(text));
    parser.on('cdata', (text) => this.#text(text));
    parser.on('closetag', () => this.#close());
  }

  write(text: string): void {
    if (this.#failure !== null) throw this.#failure;
    this.#parser.write(text);
    if (this.#failure !== null) throw this.#failure;
  }

  end(): XmlValue[] {
    if (this.#failure !== null) throw this.#failure;
    this.#parser.close();
    if (this.#failure !== null) throw this.#failure;
    return this.values;
  }

  #fail(message: string): void {
    this.#failure ??= new XmlValueError(message, this.#parser.line, this.#parser.column);
  }

  #open(tag: string): void {
    const top = this.#frames.at(-1);
    const expected = (): void => this.#fail(`unexpected <${tag}>`);
    switch (tag) {
      case 'value':
        if (top !== undefined && top.kind !== 'member' && top.kind !== 'data' && top.kind !== 'outer')
          expected();
        this.#frames.push({ kind: 'value', text: '', value: undefined });
        return;
      case 'array':
        if (top?.kind !== 'value') expected();
        this.#frames.push({ kind: 'array', items: [] });
        return;
      case 'data':
        if (top?.kind !== 'array') expected();
        this.#frames.push({ kind: 'data', items: top?.kind === 'array' ? top.items : [] });
        return;
      case 'struct':
        if (top?.kind !== 'value') expected();
        this.#structDepth += 1;
        this.#frames.push({ kind: 'struct', struct: emptyStruct() });
        return;
      case 'member':
        if (top?.kind !== 'struct') expected();
        this.#frames.push({ kind: 'member', name: undefined, value: undefined });
        return;
      case 'name':
        if (top?.kind !== 'member') expected();
        this.#frames.push({ kind: 'name', text: '' });
        return;
      default:
        if (top?.kind === 'value' && scalars.has(tag)) this.#frames.push({ kind: 'scalar', tag, text: '' });
        else if (top === undefined || top.kind === 'outer') {
          if (tag === 'fault') this.fault = true;
          this.#frames.push(
            tag === 'methodName' ? { kind: 'scalar', tag, text: '' } : { kind: 'outer', tag },
          );
        } else expected();
    }
  }

  #text(text: string): void {
    const top = this.#frames.at(-1);
    if (top?.kind === 'value' || top?.kind === 'scalar' || top?.kind === 'name') top.text += text;
    else if (text.trim() !== '') this.#fail(`unexpected text ${JSON.stringify(text.trim().slice(0, 40))}`);
  }

  #store(struct: XmlStruct, name: string, value: XmlValue): void {
    if (this.#keep === undefined) struct[name] = value;
    else if (this.#keep(name, this.#structDepth)) {
      if (Array.isArray(value))
        struct[name] = value.map((item) => (typeof item === 'string' ? detached(item) : item));
      else struct[name] = typeof value === 'string' ? detached(value) : value;
    }
  }

  #close(): void {
    const frame = this.#frames.pop();
    const parent = this.#frames.at(-1);
    if (frame === undefined) return;
    switch (frame.kind) {
      case 'value': {
        if (frame.value !== undefined && frame.text.trim() !== '') this.#fail('text beside a typed value');
        const value = frame.value ?? frame.text;
        if (parent?.kind === 'member') parent.value = value;
        else if (parent?.kind === 'data') parent.items.push(value);
        else this.values.push(value);
        return;
      }
      case 'scalar':
        if (frame.tag === 'methodName') this.methodName = frame.text;
        else if (parent?.kind === 'value')
          parent.value = scalarOf(frame.tag, frame.text, (m) => this.#fail(m));
        return;
      case 'array':
        if (parent?.kind === 'value') parent.value = frame.items;
        return;
      case 'struct':
        this.#structDepth -= 1;
        if (parent?.kind === 'value') parent.value = frame.struct;
        return;
      case 'name':
        if (parent?.kind === 'member') parent.name = frame.text;
        return;
      case 'member':
        if (frame.name === undefined) this.#fail('<member> without <name>');
        else if (parent?.kind === 'struct') this.#store(parent.struct, frame.name, frame.value ?? '');
        return;
      case 'data':
      case 'outer':
        return;
    }
  }
}

/** A copy of its own: a piece of a string keeps the whole string alive, which here is a block of the input. */
function detached(text: string): string {
  return text.length < 13 ? text : Buffer.from(text, 'utf8').toString('utf8');
}

function scalarOf(tag: string, text: string, fail: (message: string) => void): XmlValue {
  if (tag === 'string') return text;
  if (tag === 'boolean') {
    const value = text.trim();
    if (value !== '0' && value !== '1') fail(`<boolean> holds ${JSON.stringify(text)}`);
    return value === '1';
  }
  return new XmlScalar(tag, text);
}

const makeScalar = (tag: string, text: string): XmlScalar => new XmlScalar(tag, text);

/**
 * Reads one `<value>` document, such as `ova.xml` or a task's result. The plain form goes through the quick scanner;
 * everything else, and every error, is the strict reader's. Throws `XmlValueError` with line and column.
 */
export function parseXmlValue(text: string): XmlValue {
  return scanXmlValue(text, makeScalar) ?? parseXmlValueStrictly(text);
}

/** The same with the strict reader alone: the yardstick of the quick one. */
export function parseXmlValueStrictly(text: string): XmlValue {
  const reader = new XmlValueReader();
  reader.write(text);
  const values = reader.end();
  const [first] = values;
  if (first === undefined || values.length !== 1)
    throw new XmlValueError(`${values.length} values where one belongs`, 1, 0);
  return first;
}

const special = /[&<>"\r]/;
const escapes: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  '\r': '&#13;',
};

export function escapeXml(text: string): string {
  return special.test(text) ? text.replace(/[&<>"\r]/g, (c) => escapes[c] ?? c) : text;
}

/** Writes a value the way xapi does: bare text, `<boolean>`, and no white space in between. */
export function formatXmlValue(value: XmlValue): string {
  const parts: string[] = [];
  write(value, parts);
  return parts.join('');
}

function write(value: XmlValue, out: string[]): void {
  if (typeof value === 'string') out.push('<value>', escapeXml(value), '</value>');
  else if (typeof value === 'boolean') out.push('<value><boolean>', value ? '1' : '0', '</boolean></value>');
  else if (value instanceof XmlScalar)
    out.push('<value><', value.tag, '>', escapeXml(value.text), '</', value.tag, '></value>');
  else if (Array.isArray(value)) {
    out.push('<value><array><data>');
    for (const item of value) write(item, out);
    out.push('</data></array></value>');
  } else {
    out.push('<value><struct>');
    for (const name of Object.keys(value)) {
      const member = value[name];
      if (member === undefined) continue;
      out.push('<member><name>', escapeXml(name), '</name>');
      write(member, out);
      out.push('</member>');
    }
    out.push('</struct></value>');
  }
}
