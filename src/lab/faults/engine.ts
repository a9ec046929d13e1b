/** The rules of one lab: which of them a call meets, counted from the moment at which the rule was made. */
import { randomUUID } from 'node:crypto';
import { classes } from '../../metadata/datamodel/index.ts';
import type { LabHost, LabPool } from '../core/pool.ts';
import { isStruct, type Value } from '../core/values.ts';
import { changesWorld, type FaultAction, type FaultInput, type FaultRule, fits, parseFault } from './rule.ts';

/** A call as the rules see it. */
export interface Seen {
  readonly pool: LabPool;
  readonly host: LabHost;
  /** `Class.method` without `Async.`, or null for an HTTP handler. */
  readonly method: string | null;
  /** Path of an HTTP handler, or null for a message. */
  readonly path: string | null;
  readonly async: boolean;
  /** A parameter by name: of a message, or of the query. */
  param(name: string): Value | undefined;
}

/** A rule that is in force, with what has happened to it. */
export interface ActiveFault {
  readonly id: string;
  readonly rule: FaultRule;
  /** Matching calls so far. */
  matched: number;
  /** How many of them it met. */
  fired: number;
}

/** Carries out what concerns the world rather than one call. */
export type WorldAction = (action: FaultAction, pool: LabPool | null) => Promise<void>;

export class FaultEngine {
  readonly #faults = new Map<string, ActiveFault>();
  readonly #world: WorldAction;
  readonly #poolNamed: (name: string) => LabPool;

  constructor(given: { world: WorldAction; poolNamed: (name: string) => LabPool }) {
    this.#world = given.world;
    this.#poolNamed = given.poolNamed;
  }

  /** Rules in force, oldest first. */
  get active(): readonly ActiveFault[] {
    return [...this.#faults.values()];
  }

  /**
   * Puts a rule in force and returns its id. One that changes the world and names no call happens at once.
   *
   * @throws Error that lists every problem of the rule
   */
  async add(input: FaultInput): Promise<string> {
    const rule = parseFault(input);
    const id = rule.id ?? randomUUID().slice(0, 8);
    if (rule.pool !== undefined && !rule.pool.includes('*')) this.#poolNamed(rule.pool);
    if (rule.method === undefined && rule.path === undefined) {
      await this.#world(rule.effect, rule.pool === undefined ? null : this.#poolNamed(rule.pool));
      return id;
    }
    if (this.#faults.has(id)) throw new Error(`a fault is already called ${id}`);
    this.#faults.set(id, { id, rule, matched: 0, fired: 0 });
    return id;
  }

  /** False when there is no such rule. */
  remove(id: string): boolean {
    return this.#faults.delete(id);
  }

  clear(): void {
    this.#faults.clear();
  }

  /** Counts the call and returns what happens to it, in the order of the rules. */
  meet(seen: Seen): FaultAction[] {
    const actions: FaultAction[] = [];
    for (const fault of this.#faults.values()) {
      const { rule } = fault;
      if (!matches(rule, seen)) continue;
      fault.matched += 1;
      const past = rule.times === 'always' ? Number.POSITIVE_INFINITY : rule.nth + rule.times;
      if (fault.matched < rule.nth || fault.matched >= past) continue;
      fault.fired += 1;
      actions.push(rule.effect);
    }
    return actions;
  }

  /** Carries out an action that changes the world. */
  async changeWorld(action: FaultAction, pool: LabPool): Promise<void> {
    if (changesWorld(action)) await this.#world(action, pool);
  }
}

function matches(rule: FaultRule, seen: Seen): boolean {
  const wanted: readonly [string | undefined, string | null][] = [
    [rule.method?.replace(/^Async\./i, ''), seen.method],
    [rule.path, seen.path],
    [rule.pool, seen.pool.name],
  ];
  for (const [pattern, value] of wanted) {
    if (pattern !== undefined && (value === null || !fits(pattern, value))) return false;
  }
  const asyncOnly =
    rule.async ?? (rule.method?.toLowerCase().startsWith('async.') === true ? true : undefined);
  if (asyncOnly !== undefined && asyncOnly !== seen.async) return false;
  if (rule.host !== undefined && !hostFits(rule.host, seen.host)) return false;
  return Object.entries(rule.where ?? {}).every(([path, text]) => paramFits(seen, path, text));
}

export function hostFits(pattern: string, host: LabHost): boolean {
  return [host.name, host.address, host.row.uuid, host.row.text('name_label')].some((name) =>
    fits(pattern, name),
  );
}

/** Follows `self.SR.name_label` from a parameter through fields and references to a value. */
function paramFits(seen: Seen, path: string, text: string): boolean {
  const [name = '', ...fields] = path.split('.');
  let value = seen.param(name);
  for (const field of fields) {
    if (typeof value === 'string') value = objectOf(seen.pool, value)?.fields[field];
    else value = isStruct(value) ? value[field] : undefined;
  }
  if (value === undefined) return false;
  const texts = [plain(value)];
  const object = typeof value === 'string' ? objectOf(seen.pool, value) : undefined;
  if (object !== undefined) {
    texts.push(object.uuid);
    const label = object.fields['name_label'];
    if (typeof label === 'string') texts.push(label);
  }
  return texts.some((candidate) => fits(text, candidate));
}

function plain(value: Value): string {
  if (typeof value !== 'object') return String(value);
  return Array.isArray(value) ? value.map(plain).join(',') : '';
}

/** The object of a reference, whatever its class. */
function objectOf(pool: LabPool, ref: string) {
  if (!ref.startsWith('OpaqueRef:')) return undefined;
  for (const cls of classes.keys()) {
    const row = pool.db.find(cls, ref);
    if (row !== undefined) return row;
  }
  return undefined;
}
