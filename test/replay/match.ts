/** The pattern language of recorded scenarios: literals, placeholders and `$operators`; values in neutral form. */

export type Json = string | number | boolean | null | Json[] | { [name: string]: Json };

/** Neutral form of an answer: ints and dates are text, floats are numbers of class Float, so both transports look alike. */
export type Seen = string | boolean | Float | null | Seen[] | { [name: string]: Seen };

export class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

const uuid = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}';
const patterns: Record<string, RegExp> = {
  $ref: new RegExp(`^OpaqueRef:${uuid}$`),
  $uuid: new RegExp(`^${uuid}$`),
  $int: /^-?\d+$/,
  $datetime: /^\d{8}T\d\d:\d\d:\d\dZ$/,
};
export const operators = new Set([
  ...Object.keys(patterns),
  '$any',
  '$re',
  '$len',
  '$keys',
  '$has',
  '$lacks',
  '$each',
  '$contains',
  '$set',
  '$excludes',
  '$all',
  '$not',
  '$float',
]);

export function isObject<T>(value: T): value is T & { [name: string]: never } {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Float);
}

export function show(seen: Seen | undefined): string {
  return (
    JSON.stringify(seen, (_k, v: unknown) => (v instanceof Float ? v.value : v))?.slice(0, 400) ?? 'nothing'
  );
}

/** Why `seen` does not fit `want`; null when it does. */
export function mismatch(want: Json, seen: Seen | undefined, at: string): string | null {
  if (isObject(want)) {
    const object = want as { [name: string]: Json };
    const [operator] = Object.keys(object);
    if (operator !== undefined && Object.keys(object).length === 1 && operators.has(operator))
      return operation(operator, object[operator] ?? null, seen, at);
    if (!isObject(seen)) return `${at}: got ${show(seen)}, wanted a struct`;
    const struct = seen as { [name: string]: Seen };
    const names = Object.keys(object).sort();
    if (names.join() !== Object.keys(struct).sort().join())
      return `${at}: got ${show(seen)}, wanted members ${names.join(', ')}`;
    return first(names.map((name) => () => mismatch(object[name] ?? null, struct[name], `${at}.${name}`)));
  }
  if (Array.isArray(want)) {
    if (!Array.isArray(seen) || seen.length !== want.length)
      return `${at}: got ${show(seen)}, wanted ${JSON.stringify(want).slice(0, 300)}`;
    return first(want.map((item, i) => () => mismatch(item, seen[i], `${at}[${i}]`)));
  }
  const got = seen instanceof Float ? seen.value : seen;
  return got === want ? null : `${at}: got ${show(seen)}, wanted ${JSON.stringify(want)}`;
}

function first(checks: readonly (() => string | null)[]): string | null {
  for (const check of checks) {
    const reason = check();
    if (reason !== null) return reason;
  }
  return null;
}

function itemsOf(seen: Seen | undefined): Seen[] {
  if (Array.isArray(seen)) return [...seen];
  return isObject(seen) ? Object.values(seen as { [name: string]: Seen }) : [];
}

function operation(operator: string, arg: Json, seen: Seen | undefined, at: string): string | null {
  const need = (ok: boolean, text: string): string | null => (ok ? null : `${at}: ${text}`);
  const pattern = patterns[operator];
  if (pattern !== undefined)
    return need(typeof seen === 'string' && pattern.test(seen), `${show(seen)} is no ${operator.slice(1)}`);
  const members = isObject(seen) ? (seen as { [name: string]: Seen }) : {};
  switch (operator) {
    case '$any':
    case '$float':
      return null;
    case '$re':
      return need(
        typeof seen === 'string' && new RegExp(String(arg), 's').test(seen),
        `${show(seen)} does not match ${String(arg)}`,
      );
    case '$len':
      return need(itemsOf(seen).length === arg, `${show(seen)} has not ${String(arg)} elements`);
    case '$keys':
      return need(
        isObject(seen) && Object.keys(members).sort().join() === [...(arg as string[])].sort().join(),
        `members are ${Object.keys(members).sort().join(', ')}`,
      );
    case '$has':
      return first(
        Object.entries(arg as { [name: string]: Json }).map(([name, want]) => () => {
          if (!Object.hasOwn(members, name)) return `${at}: no member ${name} in ${show(seen)}`;
          return mismatch(want, members[name], `${at}.${name}`);
        }),
      );
    case '$lacks':
      return need(
        !(arg as string[]).some((name) => Object.hasOwn(members, name)),
        `${show(seen)} has one of ${String(arg)}`,
      );
    case '$each':
      return first(itemsOf(seen).map((item, i) => () => mismatch(arg, item, `${at}[${i}]`)));
    case '$excludes':
      return need(
        !(arg as Json[]).some((bad) => itemsOf(seen).some((item) => mismatch(bad, item, '') === null)),
        `${show(seen)} holds what it must not`,
      );
    case '$contains':
    case '$set': {
      const left = itemsOf(seen);
      for (const want of arg as Json[]) {
        const found = left.findIndex((item) => mismatch(want, item, '') === null);
        if (found < 0) return `${at}: ${JSON.stringify(want).slice(0, 300)} is not in ${show(seen)}`;
        left.splice(found, 1);
      }
      return need(operator === '$contains' || left.length === 0, `also has ${show(left)}`);
    }
    case '$all':
      return first((arg as Json[]).map((want) => () => mismatch(want, seen, at)));
    default:
      return need(mismatch(arg, seen, '') !== null, `${show(seen)} should not match`);
  }
}
