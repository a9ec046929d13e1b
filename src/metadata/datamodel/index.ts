/**
 * XenAPI's data model as a table: classes, fields, messages and enums of xapi 26.17, made by tools/datamodel.ts.
 * The client decodes answers by these types and never by XML tag (xapi.md 1.3); the lab answers by them.
 */
import table from './datamodel.json' with { type: 'json' };

export interface FieldModel {
  readonly name: string;
  readonly type: string;
  /** `RW` has a setter, `C` is given at construction, `RO` is the server's. */
  readonly qualifier: 'RO' | 'C' | 'RW';
  /** Default as the data model prints it (`""`, `{}`, `false`, `OpaqueRef:NULL`); null for a mandatory field. */
  readonly default: string | null;
  /** Release of publication and removal, by code name (xapi.md 11.1); empty when unknown or never. */
  readonly since: string;
  readonly removed: string;
}

export interface MessageModel {
  readonly name: string;
  readonly result: string;
  /** Without the session. */
  readonly params: readonly { readonly name: string; readonly type: string; readonly required: boolean }[];
  readonly since: string;
  readonly removed: string;
  /** False for the login calls. */
  readonly takesSession: boolean;
}

export interface ClassModel {
  readonly name: string;
  readonly state: string;
  readonly fields: ReadonlyMap<string, FieldModel>;
  readonly messages: ReadonlyMap<string, MessageModel>;
}

type RawField = [string, string, string, string | null, string, string];
type RawMessage = [string, string, [string, string, number][], string, string, number];
interface RawTable {
  classes: Record<string, { state: string; fields: RawField[]; messages: RawMessage[] }>;
  enums: Record<string, string[]>;
}

const raw = table as unknown as RawTable;

export const classes: ReadonlyMap<string, ClassModel> = new Map(
  Object.entries(raw.classes).map(([name, c]) => [
    name,
    {
      name,
      state: c.state,
      fields: new Map(
        c.fields.map(([field, type, qualifier, value, since, removed]) => [
          field,
          {
            name: field,
            type,
            qualifier: qualifier as FieldModel['qualifier'],
            default: value,
            since,
            removed,
          },
        ]),
      ),
      messages: new Map(
        c.messages.map(([message, result, params, since, removed, session]) => [
          message,
          {
            name: message,
            result,
            params: params.map(([param, type, required]) => ({
              name: param,
              type,
              required: required === 1,
            })),
            since,
            removed,
            takesSession: session === 1,
          },
        ]),
      ),
    },
  ]),
);

export const enums: ReadonlyMap<string, readonly string[]> = new Map(Object.entries(raw.enums));

/** A type of the data model, taken apart. */
export type ModelType =
  | { readonly kind: 'string' | 'int' | 'float' | 'bool' | 'datetime' | 'void' }
  | { readonly kind: 'enum'; readonly name: string }
  | { readonly kind: 'ref' | 'record'; readonly name: string }
  | { readonly kind: 'set' | 'option'; readonly of: ModelType }
  | { readonly kind: 'map'; readonly key: ModelType; readonly value: ModelType }
  | { readonly kind: 'any' };

const parsed = new Map<string, ModelType>();

/** Takes a type's text apart: `(VM ref -> VM record) map`, `string set`, `enum vm_power_state`, `sr_stat record option`. */
export function modelType(text: string): ModelType {
  const known = parsed.get(text);
  if (known !== undefined) return known;
  const type = parseType(text.trim());
  parsed.set(text, type);
  return type;
}

function parseType(text: string): ModelType {
  if (text.endsWith(' set')) return { kind: 'set', of: modelType(text.slice(0, -4)) };
  if (text.endsWith(' option')) return { kind: 'option', of: modelType(text.slice(0, -7)) };
  if (text.startsWith('(') && text.endsWith(') map')) {
    const inner = text.slice(1, -5);
    let depth = 0;
    for (let i = 0; i < inner.length; i += 1) {
      if (inner[i] === '(') depth += 1;
      else if (inner[i] === ')') depth -= 1;
      else if (depth === 0 && inner.startsWith(' -> ', i)) {
        return { kind: 'map', key: modelType(inner.slice(0, i)), value: modelType(inner.slice(i + 4)) };
      }
    }
  }
  if (
    text === 'string' ||
    text === 'int' ||
    text === 'float' ||
    text === 'bool' ||
    text === 'datetime' ||
    text === 'void'
  )
    return { kind: text };
  if (text.startsWith('enum ')) return { kind: 'enum', name: text.slice(5) };
  if (text.endsWith(' ref')) return { kind: 'ref', name: text.slice(0, -4) };
  if (text.endsWith(' record')) return { kind: 'record', name: text.slice(0, -7) };
  return { kind: 'any' };
}
