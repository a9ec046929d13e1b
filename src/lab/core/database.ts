/**
 * The database of one pool: rows by class with opaque references and uuids, defaults from the data model, both ends of
 * every relation, and a generation number per change for event.from (xapi.md 2.4).
 */
import { randomUUID } from 'node:crypto';
import { classes, modelType } from '../../metadata/datamodel/index.ts';
import { fail, internal } from './failure.ts';
import type { Product } from './product.ts';
import { manyEnd, oneEnd, relations } from './relations.ts';
import { DateTime, epoch, isStruct, nullRef, type Struct, struct, type Value } from './values.ts';

export interface Deletion {
  readonly cls: string;
  readonly ref: string;
  readonly created: number;
  readonly deleted: number;
}

export type ChangeListener = (row: Row, change: 'add' | 'mod' | 'del', fields: readonly string[]) => void;

/** Deletions that a table remembers for event.from (xapi.md 2.4: the store is bounded). */
const rememberedDeletions = 512;

const defaults = new Map<string, ReadonlyMap<string, () => Value>>();

/** The value that a field starts with: the data model's default, or nothing of the type. */
function defaultsOf(cls: string): ReadonlyMap<string, () => Value> {
  const known = defaults.get(cls);
  if (known !== undefined) return known;
  const made = new Map<string, () => Value>();
  for (const field of classes.get(cls)?.fields.values() ?? []) {
    const type = modelType(field.type);
    const text = field.default;
    switch (type.kind) {
      case 'int':
        made.set(field.name, () => BigInt(text ?? '0'));
        break;
      case 'float':
        made.set(field.name, () => Number(text ?? '0'));
        break;
      case 'bool':
        made.set(field.name, () => text === 'true');
        break;
      case 'datetime':
        made.set(field.name, () => (text === null ? epoch : new DateTime(text)));
        break;
      case 'set':
        made.set(field.name, () => []);
        break;
      case 'map':
        made.set(field.name, () => struct());
        break;
      case 'ref':
        made.set(field.name, () => (text === '""' ? '' : nullRef));
        break;
      default:
        made.set(field.name, () => (text ?? '').replace(/^"(.*)"$/s, '$1'));
    }
  }
  defaults.set(cls, made);
  return made;
}

/** Everything below the blank except tab, line feed and carriage return. */
function hasControls(text: string): boolean {
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i);
    if (code < 32 && code !== 9 && code !== 10 && code !== 13) return true;
  }
  return false;
}

/** What xapi's database refuses to store (xapi.md 1.3). */
function checkStorable(value: Value): void {
  if (typeof value === 'string') {
    if (hasControls(value)) internal('Db_exn.Invalid_value');
  } else if (Array.isArray(value)) {
    for (const item of value) checkStorable(item);
  } else if (isStruct(value)) {
    for (const name of Object.keys(value)) {
      if (name === '') internal('Db_exn.Empty_key_in_map');
      checkStorable(name);
      checkStorable(value[name] ?? '');
    }
  }
}

/** One object. Read with the typed getters, write with `set`: never change a value in place. */
export class Row {
  readonly cls: string;
  readonly ref: string;
  readonly created: number;
  modified: number;
  alive = true;
  /** The encoded record per transport, made when asked for and dropped at the next change. */
  readonly encoded: { xml: Buffer | null; json: Buffer | null } = { xml: null, json: null };
  readonly #fields: Struct;
  readonly #db: Database;
  constructor(db: Database, cls: string, ref: string, fields: Struct, generation: number) {
    this.#db = db;
    this.cls = cls;
    this.ref = ref;
    this.#fields = fields;
    this.created = generation;
    this.modified = generation;
  }
  get fields(): Readonly<Struct> {
    return this.#fields;
  }
  /** What a client gets to see: the fields that the product of the pool has. */
  get shown(): Readonly<Struct> {
    return this.#db.shown(this.cls, this.#fields);
  }
  get uuid(): string {
    return this.text('uuid');
  }
  get(field: string): Value {
    const value = this.#fields[field];
    if (value === undefined) throw new Error(`class ${this.cls} has no field ${field}`);
    return value;
  }
  /** A string, enum or ref field. */
  text(field: string): string {
    const value = this.get(field);
    if (typeof value === 'string') return value;
    throw new Error(`${this.cls}.${field} is not a text`);
  }
  int(field: string): bigint {
    const value = this.get(field);
    if (typeof value === 'bigint') return value;
    throw new Error(`${this.cls}.${field} is not an int`);
  }
  float(field: string): number {
    const value = this.get(field);
    if (typeof value === 'number') return value;
    throw new Error(`${this.cls}.${field} is not a float`);
  }
  bool(field: string): boolean {
    const value = this.get(field);
    if (typeof value === 'boolean') return value;
    throw new Error(`${this.cls}.${field} is not a bool`);
  }
  date(field: string): DateTime {
    const value = this.get(field);
    if (value instanceof DateTime) return value;
    throw new Error(`${this.cls}.${field} is not a datetime`);
  }
  /** A set of strings, enums or refs. */
  texts(field: string): readonly string[] {
    const value = this.get(field);
    if (Array.isArray(value)) return value as string[];
    throw new Error(`${this.cls}.${field} is not a set`);
  }
  /** A map with text values. */
  map(field: string): Readonly<Record<string, string>> {
    const value = this.get(field);
    if (isStruct(value)) return value as Record<string, string>;
    throw new Error(`${this.cls}.${field} is not a map`);
  }
  /** The rows that a set of references names, dead ones left out. */
  rows(field: string, cls: string): Row[] {
    return this.texts(field)
      .map((ref) => this.#db.find(cls, ref))
      .filter((row) => row !== undefined);
  }
  /** The row that a reference names, if it is alive. */
  row(field: string, cls: string): Row | undefined {
    return this.#db.find(cls, this.text(field));
  }
  /** Writes fields, keeps the other ends of references in step, and makes one event of it all. */
  set(fields: Readonly<Record<string, Value>>): void {
    this.#db.write(this, this.#fields, fields);
  }
  /** Puts one key into a map field (an existing one is replaced). */
  put(field: string, key: string, value: string): void {
    this.set({ [field]: struct({ ...this.map(field), [key]: value }) });
  }
  /** Takes one key out of a map field. */
  drop(field: string, key: string): void {
    const map = struct(this.map(field));
    if (!(key in map)) return;
    delete map[key];
    this.set({ [field]: map });
  }
  /** Makes a "mod" event without a change (event.inject). */
  touch(): void {
    this.set({});
  }
  destroy(): void {
    this.#db.destroy(this);
  }
}

export class Database {
  generation = 1;
  readonly #tables = new Map<string, Map<string, Row>>();
  readonly #uuids = new Map<string, Map<string, string>>();
  readonly #deletions = new Map<string, Deletion[]>();
  readonly #listeners: ChangeListener[] = [];

  /** Null shows everything that the data model knows. */
  readonly #product: Pick<Product, 'has'> | null;

  constructor(product: Pick<Product, 'has'> | null = null) {
    this.#product = product;
    for (const cls of classes.keys()) {
      this.#tables.set(cls, new Map());
      this.#uuids.set(cls, new Map());
    }
  }

  /** Called after every change, inside it: keep it short. */
  onChange(listener: ChangeListener): void {
    this.#listeners.push(listener);
  }

  table(cls: string): ReadonlyMap<string, Row> {
    return this.#tables.get(cls) ?? new Map();
  }

  all(cls: string): Row[] {
    return [...this.table(cls).values()];
  }

  count(cls: string): number {
    return this.table(cls).size;
  }

  find(cls: string, ref: string): Row | undefined {
    return this.#tables.get(cls)?.get(ref);
  }

  /** The row of a handle, or `HANDLE_INVALID [class, ref]`. */
  row(cls: string, ref: string): Row {
    return this.find(cls, ref) ?? fail('HANDLE_INVALID', cls, ref);
  }

  findByUuid(cls: string, uuid: string): Row | undefined {
    const ref = this.#uuids.get(cls)?.get(uuid);
    return ref === undefined ? undefined : this.find(cls, ref);
  }

  /** Has any object of any class this uuid? They are unique across classes (xapi.md 4.15). */
  uuidTaken(uuid: string): boolean {
    for (const uuids of this.#uuids.values()) if (uuids.has(uuid)) return true;
    return false;
  }

  /** The row of a uuid, or `UUID_INVALID [class, uuid]`. */
  byUuid(cls: string, uuid: string): Row {
    return this.findByUuid(cls, uuid) ?? fail('UUID_INVALID', cls, uuid);
  }

  byName(cls: string, name: string): Row[] {
    return this.all(cls).filter((row) => row.get('name_label') === name);
  }

  /** Fields without those that a product of this age does not have. */
  shown(cls: string, fields: Readonly<Struct>): Readonly<Struct> {
    const product = this.#product;
    if (product === null) return fields;
    const model = classes.get(cls)?.fields;
    const kept = struct();
    for (const name of Object.keys(fields)) {
      const value = fields[name];
      if (value !== undefined && product.has(model?.get(name)?.since ?? 'rio')) kept[name] = value;
    }
    return kept;
  }

  deletions(cls: string): readonly Deletion[] {
    return this.#deletions.get(cls) ?? [];
  }

  /** Makes an object; fields that are not given start with the data model's default. */
  create(cls: string, given: Readonly<Record<string, Value>> = {}, ref = newRef()): Row {
    const fields = struct();
    for (const [name, start] of defaultsOf(cls)) fields[name] = start();
    for (const name of Object.keys(given)) {
      if (!(name in fields)) throw new Error(`class ${cls} has no field ${name}`);
      const value = given[name];
      if (value === undefined || oneEnd(cls, name) !== undefined) continue;
      checkStorable(value);
      fields[name] = value;
    }
    if (fields['uuid'] === '') fields['uuid'] = randomUUID();
    this.generation += 1;
    const row = new Row(this, cls, ref, fields, this.generation);
    const table = this.#tables.get(cls);
    if (table === undefined) throw new Error(`no class ${cls}`);
    table.set(ref, row);
    const uuid = fields['uuid'];
    if (typeof uuid === 'string') this.#uuids.get(cls)?.set(uuid, ref);
    for (const relation of relations) {
      if (relation.one[0] !== cls) continue;
      const target = fields[relation.one[1]];
      if (typeof target === 'string') this.#link(relation.many, target, ref, 'new');
    }
    for (const listener of this.#listeners) listener(row, 'add', []);
    return row;
  }

  write(row: Row, fields: Struct, changes: Readonly<Record<string, Value>>): void {
    if (!row.alive) fail('HANDLE_INVALID', row.cls, row.ref);
    for (const name of Object.keys(changes)) {
      const value = changes[name];
      const old = fields[name];
      if (old === undefined) throw new Error(`class ${row.cls} has no field ${name}`);
      if (value === undefined) continue;
      checkStorable(value);
      fields[name] = value;
      if (name === 'uuid' && typeof value === 'string' && typeof old === 'string') {
        this.#uuids.get(row.cls)?.delete(old);
        this.#uuids.get(row.cls)?.set(value, row.ref);
      }
      const other = manyEnd(row.cls, name);
      if (other !== undefined && old !== value) {
        if (typeof old === 'string') this.#link(other, old, row.ref, false);
        if (typeof value === 'string') this.#link(other, value, row.ref, true);
      }
    }
    this.#changed(row, Object.keys(changes));
  }

  destroy(row: Row): void {
    if (!row.alive) return;
    row.alive = false;
    this.generation += 1;
    this.#tables.get(row.cls)?.delete(row.ref);
    this.#uuids.get(row.cls)?.delete(row.uuid);
    for (const relation of relations) {
      if (relation.one[0] !== row.cls) continue;
      const target = row.fields[relation.one[1]];
      if (typeof target === 'string') this.#link(relation.many, target, row.ref, false);
    }
    const gone = this.#deletions.get(row.cls) ?? [];
    gone.push({ cls: row.cls, ref: row.ref, created: row.created, deleted: this.generation });
    if (gone.length > rememberedDeletions) gone.shift();
    this.#deletions.set(row.cls, gone);
    for (const listener of this.#listeners) listener(row, 'del', []);
  }

  /** Forgets everything of a class without events (a toolstack restart loses tasks and sessions). */
  wipe(cls: string): void {
    for (const row of this.all(cls)) this.destroy(row);
  }

  #changed(row: Row, fields: readonly string[]): void {
    this.generation += 1;
    row.modified = this.generation;
    row.encoded.xml = null;
    row.encoded.json = null;
    for (const listener of this.#listeners) listener(row, 'mod', fields);
  }

  #link(many: readonly [string, string], target: string, ref: string, present: boolean | 'new'): void {
    const row = this.find(many[0], target);
    if (row === undefined) return;
    const field = many[1];
    const set = row.get(field);
    if (!Array.isArray(set)) return;
    const at = present === 'new' ? -1 : set.lastIndexOf(ref);
    if (present !== false && at < 0) set.push(ref);
    else if (present === false && at >= 0) set.splice(at, 1);
    else return;
    this.#changed(row, [field]);
  }
}

export function newRef(): string {
  return `OpaqueRef:${randomUUID()}`;
}
