/**
 * Values of XenAPI, decoded by the type of the data model and never by tag (xapi.md 1.3): the same value from both
 * transports. int → number, or bigint beyond 2^53; float → number; datetime → instant, null when unset; ref → text,
 * null for the null ref; void → null; an option that is none is absent; maps and records are plain objects.
 */
import {
  type ClassModel,
  classes,
  type MessageModel,
  type ModelType,
  modelType,
} from '../../metadata/datamodel/index.ts';
import { XmlScalar } from '../../metadata/xmlvalue.ts';

export type XapiValue = null | boolean | number | bigint | string | XapiValue[] | XapiRecord;
export interface XapiRecord {
  [name: string]: XapiValue;
}

export const nullRef = 'OpaqueRef:NULL';

/** The answer does not fit the data model. */
export class DecodeError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'DecodeError';
  }
}

/** A JSON number lost digits in `JSON.parse`: the text has to be read again, exactly. */
export class UnsafeInteger extends Error {}

export interface MethodTypes {
  readonly takesSession: boolean;
  readonly params: readonly ModelType[];
  readonly result: ModelType;
}

const any: ModelType = { kind: 'any' };
const taskRef: ModelType = { kind: 'ref', name: 'task' };

/** Types of `Class.method` or `Async.Class.method`; what the table does not know is passed as it is. */
export function methodTypes(method: string): MethodTypes {
  const isAsync = method.startsWith('Async.');
  const [className = '', name = ''] = (isAsync ? method.slice(6) : method).split('.');
  const message: MessageModel | undefined = classes.get(className)?.messages.get(name);
  return {
    takesSession: message?.takesSession ?? className !== 'system',
    params: message?.params.map((param) => modelType(param.type)) ?? [],
    result: isAsync ? taskRef : message === undefined ? any : modelType(message.result),
  };
}

const byLowerCase: ReadonlyMap<string, ClassModel> = new Map(
  [...classes].map(([name, model]) => [name.toLowerCase(), model]),
);

/** Type of the snapshot in an event: event classes are lower case (xapi.md 2.4). */
export function recordTypeOfEvent(eventClass: string): ModelType {
  const model = byLowerCase.get(eventClass.toLowerCase());
  return model === undefined ? any : { kind: 'record', name: model.name };
}

type Decode = (raw: unknown) => XapiValue;
type Flavour = 'json' | 'xml';

const compiled: Record<Flavour, Map<ModelType, Decode | null>> = { json: new Map(), xml: new Map() };
const records: Record<Flavour, Map<string, Decode>> = { json: new Map(), xml: new Map() };

/** Decodes in place: the raw value is used up. */
export function decode(raw: unknown, type: ModelType, flavour: Flavour): XapiValue {
  const decoder = compile(type, flavour);
  return decoder === null ? (raw as XapiValue) : decoder(raw);
}

/** The answer of `event.from`: its snapshots are records of many classes. */
export function decodeEventBatch(raw: unknown, flavour: Flavour): XapiValue {
  const batch = objectOf(raw, 'an event batch');
  const events = Array.isArray(batch['events']) ? batch['events'] : [];
  batch['events'] = events.map((item: unknown) => {
    const event = objectOf(item, 'an event');
    event['id'] = decode(event['id'], { kind: 'int' }, flavour);
    if (event['snapshot'] !== undefined)
      event['snapshot'] = decode(
        event['snapshot'],
        recordTypeOfEvent(textOf(event['class'], 'a class')),
        flavour,
      );
    return event as XapiRecord;
  });
  batch['valid_ref_counts'] = decode(
    batch['valid_ref_counts'],
    { kind: 'map', key: { kind: 'string' }, value: { kind: 'int' } },
    flavour,
  );
  return batch as XapiRecord;
}

/** Null where the raw value already is the decoded one, so that bulk reads touch only what needs it. */
function compile(type: ModelType, flavour: Flavour): Decode | null {
  const known = compiled[flavour].get(type);
  if (known !== undefined) return known;
  const made = make(type, flavour);
  compiled[flavour].set(type, made);
  return made;
}

function make(type: ModelType, flavour: Flavour): Decode | null {
  switch (type.kind) {
    case 'string':
    case 'enum':
      return flavour === 'json' ? null : (raw) => textOf(raw, 'text');
    case 'bool':
      return (raw) => {
        if (typeof raw !== 'boolean') throw new DecodeError(`a bool was expected, not ${shown(raw)}`);
        return raw;
      };
    case 'int':
      return decodeInt;
    case 'float':
      return decodeFloat;
    case 'datetime':
      return (raw) => decodeDate(textOf(raw, 'a date'));
    case 'void':
      return () => null;
    case 'ref':
      return (raw) => {
        const text = textOf(raw, 'a ref');
        return text === nullRef || text === '' ? null : text;
      };
    case 'record':
      return recordDecoder(type.name, flavour);
    case 'option': {
      const of = compile(type.of, flavour);
      return (raw) => {
        if (raw === null || raw === undefined || (raw instanceof XmlScalar && raw.tag === 'nil')) return null;
        return of === null ? (raw as XapiValue) : of(raw);
      };
    }
    case 'set': {
      const of = compile(type.of, flavour);
      return (raw) => {
        if (!Array.isArray(raw)) throw new DecodeError(`a set was expected, not ${shown(raw)}`);
        if (of !== null) for (let i = 0; i < raw.length; i += 1) raw[i] = of(raw[i]);
        return raw as XapiValue[];
      };
    }
    case 'map': {
      const of = compile(type.value, flavour);
      return (raw) => {
        const map = objectOf(raw, 'a map');
        if (of !== null) for (const key of Object.keys(map)) map[key] = of(map[key]);
        return map as XapiRecord;
      };
    }
    case 'any':
      return flavour === 'json' ? anyFromJson : anyFromXml;
  }
}

function recordDecoder(name: string, flavour: Flavour): Decode {
  const known = records[flavour].get(name);
  if (known !== undefined) return known;
  const model = classes.get(name);
  if (model === undefined) return flavour === 'json' ? anyFromJson : anyFromXml;
  let fields: [string, Decode][] | null = null;
  const decoder: Decode = (raw) => {
    const record = objectOf(raw, `a ${name} record`);
    // Compiled on first use, since records contain records.
    fields ??= [...model.fields.values()].flatMap((field) => {
      const of = compile(modelType(field.type), flavour);
      return of === null ? [] : [[field.name, of] as [string, Decode]];
    });
    let current = '';
    try {
      for (const [field, of] of fields) {
        if (record[field] === undefined) continue;
        current = field;
        record[field] = of(record[field]);
      }
      if (flavour === 'xml')
        for (const field of Object.keys(record)) {
          current = field;
          if (!model.fields.has(field)) record[field] = anyFromXml(record[field]);
        }
    } catch (error) {
      if (error instanceof DecodeError) throw new DecodeError(`${error.message} (${name}.${current})`);
      throw error;
    }
    return record as XapiRecord;
  };
  records[flavour].set(name, decoder);
  return decoder;
}

function shown(raw: unknown): string {
  if (raw === undefined) return 'nothing';
  if (raw instanceof XmlScalar) return `<${raw.tag}>`;
  return typeof raw === 'object' ? 'a structure' : JSON.stringify(String(raw).slice(0, 40));
}

function textOf(raw: unknown, expected: string): string {
  if (typeof raw === 'string') return raw;
  if (raw instanceof XmlScalar) return raw.text;
  throw new DecodeError(`${expected} was expected, not ${shown(raw)}`);
}

function objectOf(raw: unknown, expected: string): Record<string, unknown> {
  if (typeof raw === 'object' && raw !== null && !Array.isArray(raw) && !(raw instanceof XmlScalar))
    return raw as Record<string, unknown>;
  throw new DecodeError(`${expected} was expected, not ${shown(raw)}`);
}

function decodeInt(raw: unknown): number | bigint {
  if (typeof raw === 'number') {
    if (Number.isSafeInteger(raw)) return raw;
    if (Number.isInteger(raw)) throw new UnsafeInteger();
  } else if (typeof raw === 'bigint') return raw;
  else {
    const text = textOf(raw, 'an int').trim();
    if (/^-?\d+$/.test(text)) {
      const value = Number(text);
      return Number.isSafeInteger(value) ? value : BigInt(text);
    }
  }
  throw new DecodeError(`an int was expected, not ${shown(raw)}`);
}

const infinite: Record<string, number> = {
  nan: Number.NaN,
  '-nan': Number.NaN,
  inf: Number.POSITIVE_INFINITY,
  infinity: Number.POSITIVE_INFINITY,
  '-inf': Number.NEGATIVE_INFINITY,
  '-infinity': Number.NEGATIVE_INFINITY,
};

function decodeFloat(raw: unknown): number {
  if (typeof raw === 'number') return raw;
  if (typeof raw === 'bigint') return Number(raw);
  const text = textOf(raw, 'a float').trim();
  const value = infinite[text.toLowerCase()] ?? (text === '' ? undefined : Number(text));
  if (value === undefined || (Number.isNaN(value) && !/nan/i.test(text)))
    throw new DecodeError(`a float was expected, not ${shown(text)}`);
  return value;
}

const datePattern = /^(\d{4})-?(\d\d)-?(\d\d)T(\d\d):?(\d\d):?(\d\d)(?:\.(\d{1,3})\d*)?(Z|[+-]\d\d:?\d\d)?$/;

/** Basic or extended ISO 8601; no zone means UTC; the epoch stands for "unset" and becomes null (xapi.md 1.3). */
export function decodeDate(text: string): string | null {
  const match = datePattern.exec(text.trim());
  if (match === null) throw new DecodeError(`a date was expected, not ${shown(text)}`);
  const [, year, month, day, hour, minute, second, fraction = '0', zone = 'Z'] = match;
  const offset = zone === 'Z' || zone.includes(':') ? zone : `${zone.slice(0, 3)}:${zone.slice(3)}`;
  const millis = Date.parse(
    `${year}-${month}-${day}T${hour}:${minute}:${second}.${fraction.padEnd(3, '0')}${offset}`,
  );
  if (Number.isNaN(millis)) throw new DecodeError(`a date was expected, not ${shown(text)}`);
  return millis === 0 ? null : new Date(millis).toISOString();
}

/** An instant the way the server writes dates: `20240131T09:05:00Z`. */
export function encodeDate(instant: string): string {
  const millis = Date.parse(instant);
  if (Number.isNaN(millis)) throw new TypeError(`${JSON.stringify(instant)} is not a date`);
  const iso = new Date(millis).toISOString();
  return `${iso.slice(0, 4)}${iso.slice(5, 7)}${iso.slice(8, 19)}Z`;
}

function anyFromJson(raw: unknown): XapiValue {
  if (typeof raw === 'number' && Number.isInteger(raw) && !Number.isSafeInteger(raw))
    throw new UnsafeInteger();
  if (Array.isArray(raw)) for (const item of raw) anyFromJson(item);
  else if (typeof raw === 'object' && raw !== null)
    for (const key of Object.keys(raw)) anyFromJson((raw as Record<string, unknown>)[key]);
  return raw as XapiValue;
}

function anyFromXml(raw: unknown): XapiValue {
  if (raw instanceof XmlScalar) {
    switch (raw.tag) {
      case 'int':
      case 'i4':
      case 'i8':
        return decodeInt(raw.text);
      case 'double':
        return decodeFloat(raw.text);
      case 'dateTime.iso8601':
        return decodeDate(raw.text);
      case 'nil':
        return null;
      default:
        return raw.text;
    }
  }
  if (Array.isArray(raw)) {
    for (let i = 0; i < raw.length; i += 1) raw[i] = anyFromXml(raw[i]);
    return raw as XapiValue[];
  }
  if (typeof raw === 'object' && raw !== null) {
    const map = raw as Record<string, unknown>;
    for (const key of Object.keys(map)) map[key] = anyFromXml(map[key]);
    return map as XapiRecord;
  }
  return raw as XapiValue;
}
