/**
 * Values of the lab's database. The JavaScript type tells the XenAPI type, so nothing needs a second look at the data
 * model when it is written out: bigint = int, number = float, DateTime = datetime, string = string, enum or ref,
 * array = set, plain object = map or record.
 */
export type Value = string | bigint | number | boolean | DateTime | Value[] | Struct;
export interface Struct {
  [name: string]: Value;
}

/** The form of xapi.md 1.3: `20240131T09:05:00Z`. */
export class DateTime {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
  static ofMillis(millis: number): DateTime {
    return new DateTime(`${new Date(millis).toISOString().slice(0, 19).replaceAll('-', '')}Z`);
  }
  /** Milliseconds since 1970. */
  get millis(): number {
    const m = /^(\d{4})-?(\d\d)-?(\d\d)T(\d\d):?(\d\d):?(\d\d)/.exec(this.text);
    if (m === null) return 0;
    return Date.parse(`${m[1]}-${m[2]}-${m[3]}T${m[4]}:${m[5]}:${m[6]}Z`);
  }
}

/** "Unset" of a datetime field. */
export const epoch = new DateTime('19700101T00:00:00Z');
export const nullRef = 'OpaqueRef:NULL';

/** A struct without prototype: a member called `__proto__` is a member like any other. */
export function struct(members: Readonly<Record<string, Value>> = {}): Struct {
  return Object.assign(Object.create(null) as Struct, members);
}

export function isStruct(value: Value | undefined): value is Struct {
  return typeof value === 'object' && !Array.isArray(value) && !(value instanceof DateTime);
}

export function sameValue(a: Value | undefined, b: Value | undefined): boolean {
  if (a === b) return true;
  if (a === undefined || b === undefined) return false;
  if (a instanceof DateTime) return b instanceof DateTime && a.text === b.text;
  if (b instanceof DateTime) return false;
  if (Array.isArray(a))
    return Array.isArray(b) && a.length === b.length && a.every((x, i) => sameValue(x, b[i]));
  if (Array.isArray(b) || typeof a !== 'object' || typeof b !== 'object') return false;
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((n) => sameValue(a[n], b[n]));
}
