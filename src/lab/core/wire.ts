/**
 * Parameters as they arrived, before types are known: ocaml-rpc's `Rpc.t`. `decode` turns one into a value of a type
 * of the data model, with the tolerances and the error texts of xapi (xapi.md 1.2, 1.3).
 */
import { classes, enums, type ModelType, modelType } from '../../metadata/datamodel/index.ts';
import { internal, quoted } from './failure.ts';
import { DateTime, type Struct, struct, type Value } from './values.ts';

export type Wire =
  | { readonly kind: 'int' | 'int32'; readonly value: bigint }
  | { readonly kind: 'bool'; readonly value: boolean }
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'string' | 'datetime' | 'base64'; readonly value: string }
  | { readonly kind: 'list'; readonly value: readonly Wire[] }
  | { readonly kind: 'dict'; readonly value: readonly (readonly [string, Wire])[] }
  | { readonly kind: 'null' };

/** `Rpc.to_string` of ocaml-rpc, as it stands in error texts. */
export function wireText(wire: Wire): string {
  switch (wire.kind) {
    case 'int':
      return `I(${wire.value})`;
    case 'int32':
      return `I32(${wire.value})`;
    case 'bool':
      return `B(${wire.value})`;
    case 'float':
      return `F(${floatText(wire.value)})`;
    case 'string':
      return `S(${wire.value})`;
    case 'datetime':
      return `D(${wire.value})`;
    case 'base64':
      return `B64(${wire.value})`;
    case 'list':
      return `[${wire.value.map(wireText).join(';')}]`;
    case 'dict':
      return `{${wire.value.map(([name, value]) => `${name}:${wireText(value)}`).join(';')}}`;
    default:
      return 'N';
  }
}

/** C's `%g`. */
function floatText(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'nan' : value > 0 ? 'inf' : '-inf';
  return String(Number(value.toPrecision(6)));
}

function failure(text: string): never {
  return internal(`Failure(${quoted(text)})`);
}

function expecting(what: string, wire: Wire): never {
  return failure(`Expected ${what}, got '${wireText(wire)}'`);
}

const int64 = /^-?(?:0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+|[0-9][0-9_]*)$/;

function intOf(text: string): bigint {
  if (!int64.test(text)) failure('Int64.of_string');
  const negative = text.startsWith('-');
  const digits = (negative ? text.slice(1) : text).replaceAll('_', '');
  const value = BigInt(digits) * (negative ? -1n : 1n);
  if (value > 9223372036854775807n || value < -9223372036854775808n) failure('Int64.of_string');
  return value;
}

function floatOf(text: string): number {
  const trimmed = text.trim();
  if (trimmed === '' || trimmed !== text || Number.isNaN(Number(trimmed))) {
    if (/^[-+]?nan$/i.test(text)) return Number.NaN;
    if (/^[-+]?inf(inity)?$/i.test(text)) return text.startsWith('-') ? -Infinity : Infinity;
    failure('float_of_string');
  }
  return Number(trimmed);
}

/** A parameter as a value of the type that the message declares. */
export function decode(wire: Wire, type: ModelType): Value {
  switch (type.kind) {
    case 'string':
    case 'ref':
      return wire.kind === 'string' ? wire.value : expecting('string', wire);
    case 'enum': {
      if (wire.kind !== 'string') failure('Unknown tag/contents');
      const known = enums.get(type.name);
      // Enum names are compared in lower case by the generated code.
      const name = wire.value;
      if (known === undefined || known.includes(name)) return name;
      const same = known.find((k) => k.toLowerCase() === name.toLowerCase());
      return same ?? failure('Unknown tag/contents');
    }
    case 'int':
      if (wire.kind === 'int' || wire.kind === 'int32') return wire.value;
      return wire.kind === 'string' ? intOf(wire.value) : expecting('int64', wire);
    case 'float':
      if (wire.kind === 'float') return wire.value;
      if (wire.kind === 'int' || wire.kind === 'int32') return Number(wire.value);
      return wire.kind === 'string' ? floatOf(wire.value) : expecting('float', wire);
    case 'bool':
      return wire.kind === 'bool' ? wire.value : expecting('bool', wire);
    case 'datetime':
      if (wire.kind === 'datetime' || wire.kind === 'string') return dateOf(wire.value);
      return expecting('DateTime', wire);
    case 'set':
      if (wire.kind !== 'list') failure(`Expecting Rpc.Enum, but found '${wireText(wire)}'`);
      return wire.value.map((item) => decode(item, type.of));
    case 'map': {
      if (wire.kind !== 'dict') failure(`Expecting Rpc.Dict, but found '${wireText(wire)}'`);
      const map = struct();
      for (const [name, value] of wire.value) {
        decode({ kind: 'string', value: name }, type.key.kind === 'enum' ? type.key : modelType('string'));
        map[name] = decode(value, type.value);
      }
      return map;
    }
    case 'record':
      return decodeRecord(wire, type.name);
    case 'option':
      return wire.kind === 'null' ? '' : decode(wire, type.of);
    case 'void':
      return '';
    default:
      return plain(wire);
  }
}

/** A record given to a constructor: its settable fields, with the defaults of those left out. */
export function decodeRecord(wire: Wire, cls: string): Struct {
  if (wire.kind !== 'dict') failure('bad __structure');
  const given = new Map(wire.value);
  const record = struct();
  for (const field of classes.get(cls)?.fields.values() ?? []) {
    if (field.qualifier === 'RO') continue;
    const value = given.get(field.name);
    if (value !== undefined) record[field.name] = decode(value, modelType(field.type));
    else if (field.default === null)
      internal(`Server_helpers.Dispatcher_FieldNotFound(${quoted(field.name)})`);
  }
  return record;
}

export function dateOf(text: string): DateTime {
  const m = /^(\d{4})-?(\d\d)-?(\d\d)T(\d\d):?(\d\d):?(\d\d)(?:\.\d+)?(Z|[+-]\d\d:?\d\d)?$/.exec(text.trim());
  if (m === null) failure(`date.ml:of_iso8601: ${text}`);
  return new DateTime(`${m[1]}${m[2]}${m[3]}T${m[4]}:${m[5]}:${m[6]}Z`);
}

function plain(wire: Wire): Value {
  switch (wire.kind) {
    case 'int':
    case 'int32':
      return wire.value;
    case 'list':
      return wire.value.map(plain);
    case 'dict':
      return struct(Object.fromEntries(wire.value.map(([name, value]) => [name, plain(value)])));
    case 'datetime':
      return new DateTime(wire.value);
    case 'null':
      return '';
    default:
      return wire.value;
  }
}
