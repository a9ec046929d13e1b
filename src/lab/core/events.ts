/** event.from, event.inject and the old event.register/next (xapi.md 2.4). */
import { classes } from '../../metadata/datamodel/index.ts';
import type { Row } from './database.ts';
import { type Answer, Counter } from './encode.ts';
import { fail } from './failure.ts';
import type { LabPool } from './pool.ts';
import type { Call, Registry } from './registry.ts';

/** Changes are collected for so long before they are sent. */
const batchSeconds = 0.05;
const maxInt64 = 9223372036854775807n;

/** Which objects a subscription takes: whole classes, single objects, or all. */
class Subscriptions {
  readonly classes: ReadonlySet<string>;
  readonly #whole = new Set<string>();
  readonly #single = new Map<string, Set<string>>();
  readonly #all: boolean;
  constructor(texts: readonly string[]) {
    this.#all = texts.includes('*');
    for (const text of texts) {
      const slash = text.indexOf('/');
      const name = (slash < 0 ? text : text.slice(0, slash)).toLowerCase();
      if (slash < 0) this.#whole.add(name);
      else this.#single.set(name, (this.#single.get(name) ?? new Set()).add(text.slice(slash + 1)));
    }
    this.classes = new Set(
      [...classes.keys()].filter(
        (cls) => this.#all || this.#whole.has(cls.toLowerCase()) || this.#single.has(cls.toLowerCase()),
      ),
    );
  }
  takes(cls: string, ref: string): boolean {
    const name = cls.toLowerCase();
    return this.#all || this.#whole.has(name) || this.#single.get(name)?.has(ref) === true;
  }
}

/** Classes that never make events, as xapi's model says. */
const silent = new Set([
  'session',
  'user',
  'secret',
  'data_source',
  'vdi_nbd_server_info',
  'probe_result',
  'sr_stat',
  'auth',
]);
/** Classes whose objects, if there are any, are not kept in the database. */
const uncounted = new Set([
  'message',
  'event',
  'data_source',
  'vdi_nbd_server_info',
  'probe_result',
  'sr_stat',
  'auth',
]);

function parseToken(text: string): number {
  if (text === '') return -1;
  const m = /^(-?\d+),(-?\d+)$/.exec(text);
  if (m === null) fail('EVENT_FROM_TOKEN_PARSE_FAILURE', text);
  const parts = [BigInt(m[1] ?? '0'), BigInt(m[2] ?? '0')];
  if (parts.some((part) => part > maxInt64)) fail('EVENT_FROM_TOKEN_PARSE_FAILURE', text);
  return Number(parts[0]);
}

function tokenOf(generation: number): string {
  // The second part counts messages; the lab keeps them in its database like everything else.
  return `${String(generation).padStart(20, '0')},${'0'.padStart(20, '0')}`;
}

function event(row: Row, operation: 'add' | 'mod'): Answer {
  return {
    // Messages do not live in the database and have no generation.
    id: row.cls === 'message' ? '0' : String(row.modified),
    timestamp: '0.0',
    class: row.cls.toLowerCase(),
    operation,
    ref: row.ref,
    snapshot: row,
  };
}

function eventsSince(pool: LabPool, subscriptions: Subscriptions, since: number): Answer[] {
  const added: Row[] = [];
  const changed: Row[] = [];
  const gone: Answer[] = [];
  for (const cls of subscriptions.classes) {
    if (silent.has(cls.toLowerCase())) continue;
    const note = cls === 'message';
    for (const row of pool.db.table(cls).values()) {
      if (row.modified <= since || !subscriptions.takes(cls, row.ref)) continue;
      (row.created > since ? added : changed).push(row);
    }
    for (const deletion of pool.db.deletions(cls)) {
      const seen = note || deletion.created <= since;
      if (deletion.deleted <= since || !seen || !subscriptions.takes(cls, deletion.ref)) continue;
      gone.push({
        id: note ? '0' : String(deletion.deleted),
        timestamp: '0.0',
        class: cls.toLowerCase(),
        operation: 'del',
        ref: deletion.ref,
      });
    }
  }
  added.sort((a, b) => a.created - b.created);
  changed.sort((a, b) => a.modified - b.modified);
  return [...added.map((row) => event(row, 'add')), ...changed.map((row) => event(row, 'mod')), ...gone];
}

async function eventFrom(call: Call): Promise<Answer> {
  const { pool } = call;
  const since = parseToken(call.text(1));
  const subscriptions = new Subscriptions(call.texts(0));
  const timeout = call.float(2);
  const deadline = pool.clock.now() + timeout * 1000;
  let events = eventsSince(pool, subscriptions, since);
  let seen = pool.db.generation;
  while (events.length === 0 && !call.signal.aborted) {
    const left = (deadline - pool.clock.now()) / 1000;
    if (left <= 0) break;
    const moved = await pool.until(() => pool.db.generation > seen, left, call.signal);
    if (call.session?.alive === false) fail('SESSION_INVALID', call.sessionRef);
    if (!moved) break;
    await pool.clock.sleep(batchSeconds);
    seen = pool.db.generation;
    events = eventsSince(pool, subscriptions, since);
  }
  const counts: { [name: string]: Answer } = {};
  for (const cls of classes.keys())
    if (!uncounted.has(cls.toLowerCase())) counts[cls.toLowerCase()] = new Counter(pool.db.count(cls));
  return {
    events,
    valid_ref_counts: counts,
    token: tokenOf(Math.max(since, pool.db.generation)),
  };
}

interface Registration {
  readonly classes: Set<string>;
  since: number;
}

export function installEvents(registry: Registry): void {
  const registered = new WeakMap<Row, Registration>();
  registry.on('event.from', eventFrom);
  registry.on('event.inject', (call) => {
    const row = call.pool.db.find(call.text(0), call.text(1));
    if (row === undefined) fail('HANDLE_INVALID', call.text(0), call.text(1));
    const before = call.pool.db.generation;
    row.touch();
    return tokenOf(before - 1);
  });
  registry.on('event.get_current_id', (call) => BigInt(call.pool.db.generation));
  registry.on('event.register', (call) => {
    if (call.session === null) return '';
    const known = registered.get(call.session) ?? { classes: new Set(), since: call.pool.db.generation };
    for (const name of call.texts(0)) known.classes.add(name);
    registered.set(call.session, known);
    return '';
  });
  registry.on('event.unregister', (call) => {
    if (call.session === null) return '';
    const known = registered.get(call.session);
    for (const name of call.texts(0)) known?.classes.delete(name);
    if (known?.classes.size === 0) registered.delete(call.session);
    return '';
  });
  registry.on('event.next', async (call) => {
    const known = call.session === null ? undefined : registered.get(call.session);
    if (known === undefined) fail('SESSION_NOT_REGISTERED', call.sessionRef);
    const subscriptions = new Subscriptions([...known.classes]);
    let events = eventsSince(call.pool, subscriptions, known.since);
    while (events.length === 0 && !call.signal.aborted) {
      await call.pool.nextChange(call.signal);
      if (call.session?.alive === false) fail('SESSION_INVALID', call.sessionRef);
      events = eventsSince(call.pool, subscriptions, known.since);
    }
    known.since = call.pool.db.generation;
    return events;
  });
}
