/**
 * Requests and answers of both transports, as text. XML-RPC requests are written by `xmlrpc`, whose traps are closed
 * here: ints go out as text, floats as `<double>`, dates as the server writes them (xapi.md 1.3, 1.4).
 */
import CustomType from 'xmlrpc/lib/customtype.js';
import serializer from 'xmlrpc/lib/serializer.js';
import type { ModelType } from '../../metadata/datamodel/index.ts';
import { isStruct, parseXmlValue, type XmlValue, XmlValueReader } from '../../metadata/xmlvalue.ts';
import {
  DecodeError,
  decode,
  decodeEventBatch,
  encodeDate,
  methodTypes,
  nullRef,
  UnsafeInteger,
  type XapiValue,
} from './values.ts';

export type Protocol = 'xmlrpc' | 'jsonrpc';

/** What may be sent. `undefined` members are left out. */
export type XapiParam =
  | null
  | boolean
  | number
  | bigint
  | string
  | readonly XapiParam[]
  | { readonly [name: string]: XapiParam | undefined };

/** A success or the `[code, ...params]` of a failure. */
export type Answer =
  | { readonly ok: true; readonly value: XapiValue }
  | { readonly ok: false; readonly failure: readonly string[] };

class Typed extends CustomType {
  constructor(tag: string, raw: string) {
    super(raw);
    this.tagName = tag;
  }
}

const untyped: ModelType = { kind: 'any' };

/** Types of the arguments as they stand on the wire: the session first where the method takes one. */
function wireTypes(method: string, count: number): readonly ModelType[] {
  const { params, takesSession } = methodTypes(method);
  const types: ModelType[] = takesSession ? [{ kind: 'string' }, ...params] : [...params];
  while (types.length < count) types.push(untyped);
  return types;
}

export function encodeXmlCall(method: string, params: readonly XapiParam[]): string {
  const types = wireTypes(method, params.length);
  return serializer.serializeMethodCall(
    method,
    params.map((param, index) => forXml(param, types[index] ?? untyped)),
  );
}

function forXml(value: XapiParam, type: ModelType): unknown {
  if (value === null) return type.kind === 'datetime' ? new Typed('dateTime.iso8601', unset) : nullRef;
  if (type.kind === 'datetime' && typeof value === 'string')
    return new Typed('dateTime.iso8601', encodeDate(value));
  // The serializer puts text with & or < into CDATA, where a carriage return is lost.
  if (typeof value === 'string' && value.includes('\r')) return new Typed('string', value);
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'number') {
    if (type.kind === 'float' || !Number.isInteger(value)) return new Typed('double', doubleText(value));
    return integerText(value);
  }
  return mapStructure(value, type, forXml);
}

export function encodeJsonCall(
  method: string,
  params: readonly XapiParam[],
  id: number,
  version: '2.0' | '1.0' = '2.0',
): string {
  const types = wireTypes(method, params.length);
  const body = { method, params: params.map((param, index) => forJson(param, types[index] ?? untyped)), id };
  return JSON.stringify(version === '2.0' ? { jsonrpc: '2.0', ...body } : body);
}

function forJson(value: XapiParam, type: ModelType): unknown {
  if (value === null) return type.kind === 'datetime' ? unset : nullRef;
  if (type.kind === 'datetime' && typeof value === 'string') return encodeDate(value);
  // The server takes an int as text too (xapi.md 1.4), and JSON.stringify has no exact big integer.
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'number') {
    if (type.kind === 'float' || !Number.isInteger(value)) doubleText(value);
    else integerText(value);
    return value;
  }
  return mapStructure(value, type, forJson);
}

const unset = '19700101T00:00:00Z';

function mapStructure(
  value: boolean | string | readonly XapiParam[] | { readonly [name: string]: XapiParam | undefined },
  type: ModelType,
  inner: (value: XapiParam, type: ModelType) => unknown,
): unknown {
  if (typeof value === 'boolean' || typeof value === 'string') return value;
  if (Array.isArray(value))
    return (value as readonly XapiParam[]).map((item) =>
      inner(item, type.kind === 'set' ? type.of : untyped),
    );
  const of = type.kind === 'map' ? type.value : untyped;
  return Object.fromEntries(
    Object.entries(value as Record<string, XapiParam | undefined>).flatMap(([name, item]) =>
      item === undefined ? [] : [[name, inner(item, of)]],
    ),
  );
}

function doubleText(value: number): string {
  if (!Number.isFinite(value)) throw new TypeError(`${value} cannot be sent`);
  return String(value);
}

function integerText(value: number): string {
  if (!Number.isSafeInteger(value))
    throw new TypeError(`${value} is not an exact integer: send it as bigint`);
  return String(value);
}

/** Reads an XML-RPC answer in pieces; `end` yields success or failure, decoded by the method's type. */
export class XmlAnswerReader {
  readonly #reader: XmlValueReader;
  readonly #decoder = new TextDecoder();

  /** With `fields`, the records of a `get_all_records` keep these fields alone. */
  constructor(fields?: ReadonlySet<string>) {
    // Depth 1 is the envelope, 2 the map of references, 3 a record.
    this.#reader = new XmlValueReader(
      fields === undefined ? undefined : (name, depth) => depth !== 3 || fields.has(name),
    );
  }

  write(chunk: Uint8Array): void {
    this.#reader.write(this.#decoder.decode(chunk, { stream: true }));
  }

  end(method: string): Answer {
    this.#reader.write(this.#decoder.decode());
    const [envelope] = this.#reader.end();
    if (this.#reader.fault) return { ok: false, failure: ['Fault', faultText(envelope)] };
    if (envelope === undefined || !isStruct(envelope) || typeof envelope['Status'] !== 'string')
      throw new DecodeError('the answer has no Status');
    if (envelope['Status'] === 'Success')
      return { ok: true, value: decodeResult(method, envelope['Value'] ?? '', 'xml') };
    return { ok: false, failure: failureOf(envelope['ErrorDescription']) };
  }
}

function faultText(envelope: XmlValue | undefined): string {
  const text = envelope !== undefined && isStruct(envelope) ? envelope['faultString'] : undefined;
  return typeof text === 'string' ? text : 'fault without text';
}

function failureOf(raw: unknown): string[] {
  if (Array.isArray(raw) && raw.length > 0 && raw.every((item) => typeof item === 'string')) return raw;
  throw new DecodeError('the failure has no code');
}

interface JsonEnvelope {
  readonly result?: unknown;
  readonly error?: unknown;
}

/** Reads a JSON-RPC answer of version 1.0 or 2.0. `fields` as for `XmlAnswerReader`. */
export function readJsonAnswer(text: string, method: string, fields?: ReadonlySet<string>): Answer {
  const envelope = parseJson(text);
  const { error } = envelope;
  if (error !== undefined && error !== null) {
    if (Array.isArray(error)) return { ok: false, failure: failureOf(error) };
    const { message, data } = error as { message?: unknown; data?: unknown };
    const params = Array.isArray(data) ? data : data === undefined || data === null ? [] : [data];
    return { ok: false, failure: failureOf([message, ...params.map((p) => String(p))]) };
  }
  if (!('result' in envelope)) throw new DecodeError('the answer has neither result nor error');
  try {
    return { ok: true, value: decodeResult(method, prune(envelope.result, fields), 'json') };
  } catch (failure) {
    if (!(failure instanceof UnsafeInteger)) throw failure;
    const exact = parseJson(text, exactly).result;
    return { ok: true, value: decodeResult(method, prune(exact, fields), 'json') };
  }
}

function prune(result: unknown, fields: ReadonlySet<string> | undefined): unknown {
  if (fields === undefined || typeof result !== 'object' || result === null) return result;
  const records = result as Record<string, Record<string, unknown>>;
  for (const ref of Object.keys(records)) {
    const whole = records[ref] ?? {};
    const kept: Record<string, unknown> = {};
    for (const field of fields) if (Object.hasOwn(whole, field)) kept[field] = whole[field];
    records[ref] = kept;
  }
  return records;
}

function decodeResult(method: string, raw: unknown, flavour: 'json' | 'xml'): XapiValue {
  return method === 'event.from'
    ? decodeEventBatch(raw, flavour)
    : decode(raw, methodTypes(method).result, flavour);
}

type Reviver = (this: unknown, key: string, value: unknown, context: { source?: string }) => unknown;

function exactly(_key: string, value: unknown, context: { source?: string }): unknown {
  const { source } = context;
  return typeof value === 'number' &&
    source !== undefined &&
    /^-?\d+$/.test(source) &&
    !Number.isSafeInteger(value)
    ? BigInt(source)
    : value;
}

function parseJson(text: string, reviver?: Reviver): JsonEnvelope {
  const parse = (source: string): unknown => JSON.parse(source, reviver as Parameters<typeof JSON.parse>[1]);
  let value: unknown;
  try {
    value = parse(text);
  } catch (error) {
    // The server prints floats as NaN and Infinity, which is not JSON (xapi.md 1.4).
    const repaired = quoteNonFinite(text);
    if (repaired === text) throw new DecodeError(`the answer is not JSON: ${(error as Error).message}`);
    try {
      value = parse(repaired);
    } catch (again) {
      throw new DecodeError(`the answer is not JSON: ${(again as Error).message}`);
    }
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new DecodeError('the answer is not a JSON-RPC object');
  return value as JsonEnvelope;
}

function quoteNonFinite(text: string): string {
  return text.replace(/"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity|nan|inf)\b/g, (token) =>
    token.startsWith('"') ? token : JSON.stringify(token),
  );
}

/** A task's `result`: an XML-RPC fragment, whatever the transport (xapi.md 2.1); `''` for void. */
export function decodeTaskResult(result: string, method: string): XapiValue {
  if (result === '') return null;
  return decode(parseXmlValue(result), methodTypes(method).result, 'xml');
}

/** Calls that change nothing, and so may be sent again when the answer was lost. */
export function isReadMethod(method: string): boolean {
  if (method.startsWith('Async.')) return false;
  const name = method.split('.')[1] ?? '';
  return (
    name.startsWith('get_') ||
    name.startsWith('assert_') ||
    name === 'from' ||
    name === 'compute_free_memory' ||
    name === 'probe' ||
    name === 'probe_ext' ||
    name === 'listMethods'
  );
}
