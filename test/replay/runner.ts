/** Performs a recorded scenario against the hosts of a lab, step by step. Times are measured on the lab's clock. */
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { LabClock } from '../../src/lab/core/clock.ts';
import { documentOf, type Repack, repack } from './archives.ts';
import { Float, isObject, type Json, mismatch, operators, type Seen, show } from './match.ts';
import { neutralXml, Refused, rpc, type Transport } from './rpc.ts';
import { exchange } from './wire.ts';

export interface Step {
  readonly [name: string]: Json;
}
export interface Scenario {
  readonly name: string;
  readonly pools: readonly string[];
  readonly steps: readonly Step[];
}

export interface Stage {
  readonly urls: Readonly<Record<string, URL>>;
  readonly username: string;
  readonly password: string;
  readonly storage: string;
  readonly exports: string;
  readonly clock: LabClock;
  readonly transport: Transport;
}

type Names = Map<string, Seen | Buffer>;
type Observed = { [name: string]: Seen | undefined };

/** Runs all steps; the first that differs is told as `step 3 (VM.start): ...`. Null: as recorded. */
export async function replay(scenario: Scenario, stage: Stage): Promise<string | null> {
  const runner = new Runner(stage);
  for (const pool of scenario.pools) if (pool !== 'member') await runner.login(pool);
  for (const [index, step] of scenario.steps.entries()) {
    const title = `step ${index} (${String(step['call'] ?? step['path'] ?? Object.keys(step)[0])})`;
    try {
      const reason = runner.check(step, await runner.step(step));
      if (reason !== null) return `${title}: ${reason}`;
    } catch (error) {
      return `${title}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
    }
  }
  return null;
}

class Runner {
  readonly #stage: Stage;
  readonly #names: Names = new Map();
  readonly #sessions = new Map<string, string>();

  constructor(stage: Stage) {
    this.#stage = stage;
    this.#names.set('$user', stage.username);
    this.#names.set('$password', stage.password);
  }

  #url(pool: string): URL {
    const url = this.#stage.urls[pool];
    if (url === undefined) throw new Error(`no host for pool ${pool}`);
    return url;
  }

  async login(pool: string): Promise<void> {
    const { username, password, transport } = this.#stage;
    const params = [username, password, '2.21', 'conformance'];
    const session = await rpc(this.#url(pool), transport, 'session.login_with_password', params);
    this.#sessions.set(pool, String(session));
  }

  async step(step: Step): Promise<Observed> {
    const pool = String(step['pool'] ?? 'prod');
    this.#names.set('$session', this.#sessions.get(pool) ?? null);
    this.#names.set('$address', this.#stage.urls[pool]?.hostname ?? '');
    if ('call' in step) return this.#call(pool, step);
    if ('method' in step) return this.#http(pool, step);
    if ('task' in step) return this.#task(pool, String(this.#name(step['task'])), step['timeout'] ?? 90);
    if ('archive' in step) return this.#archive(this.#name(step['archive']));
    if ('sleep' in step) await this.#stage.clock.sleep(Number(step['sleep']));
    else this.#storage(step);
    return {};
  }

  #name(key: Json | undefined): Seen | Buffer | undefined {
    return this.#names.get(String(key));
  }

  #seconds(since: number): number {
    return (this.#stage.clock.now() - since) / 1000;
  }

  async #call(pool: string, step: Step): Promise<Observed> {
    const { clock } = this.#stage;
    const end = clock.now() + Number(step['timeout'] ?? 90) * 1000;
    for (;;) {
      const session = step['session'] === false ? [] : [this.fill(step['session'] ?? '$session')];
      const params = this.fill(step['params'] ?? []);
      const started = clock.now();
      let seen: Observed;
      try {
        const transport = (step['transport'] as Transport | undefined) ?? this.#stage.transport;
        const list = [...session, ...(Array.isArray(params) ? params : [])];
        seen = { value: await rpc(this.#url(pool), transport, String(step['call']), list) };
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        seen = { error: error.description };
      }
      seen['seconds'] = new Float(this.#seconds(started));
      if ('until' in step && clock.now() < end && this.check(step, seen) !== null) {
        await clock.sleep(Number(step['every'] ?? 1));
        continue;
      }
      if ('value' in seen) this.#save(step['save'], seen['value'] ?? null);
      return seen;
    }
  }

  #save(spec: Json | undefined, value: Seen): void {
    if (typeof spec === 'string') this.#names.set(spec, value);
    else if (isObject(spec))
      for (const [name, path] of Object.entries(spec as { [name: string]: Json }))
        this.#names.set(name, dig(value, String(path)));
  }

  async #http(pool: string, step: Step): Promise<Observed> {
    const usesTask = JSON.stringify([step['query'] ?? {}, step['headers'] ?? {}]).includes('$task');
    if (usesTask) this.#names.set('$task', await this.#api(pool, 'task.create', 'conformance', ''));
    const query = new URLSearchParams(this.fill(step['query'] ?? {}) as Record<string, string>).toString();
    const headers = this.fill(step['headers'] ?? {}) as Record<string, string>;
    const bodyFrom = step['bodyFrom'];
    const body =
      bodyFrom !== undefined
        ? this.#body(bodyFrom)
        : step['body'] !== undefined
          ? Buffer.from(String(this.fill(step['body'])))
          : null;
    const answer = await exchange({
      url: this.#url(pool),
      method: String(step['method']),
      target: String(step['path']) + (query === '' ? '' : `?${query}`),
      headers,
      body,
      timeoutSeconds: Number(step['timeout'] ?? 150),
      halfClose: step['halfClose'] === true,
    });
    if (step['saveBody'] !== undefined) this.#names.set(String(step['saveBody']), answer.body);
    const seen: Observed = {
      status: String(answer.status),
      headers: { ...answer.headers },
      body: answer.body.toString(),
    };
    const expected = step['expect'] as { [name: string]: Json } | undefined;
    const task = expected?.['task'];
    if (usesTask && task !== undefined) {
      const pending = isObject(task) && (task as { status?: Json }).status === 'pending';
      seen['task'] = (await this.#task(
        pool,
        String(this.#name('$task')),
        pending ? 2 : (step['timeout'] ?? 200),
      )) as Seen;
    }
    return seen;
  }

  #api(pool: string, method: string, ...params: Json[]): Promise<Seen> {
    return rpc(this.#url(pool), this.#stage.transport, method, [this.#sessions.get(pool) ?? '', ...params]);
  }

  async #task(pool: string, ref: string, timeout: Json): Promise<Observed> {
    const { clock } = this.#stage;
    const end = clock.now() + Number(timeout) * 1000;
    for (;;) {
      const record = (await this.#api(pool, 'task.get_record', ref)) as { [name: string]: Seen };
      if (!['pending', 'cancelling'].includes(String(record['status'])) || clock.now() > end) return record;
      await clock.sleep(0.2);
    }
  }

  #archive(saved: Seen | Buffer | undefined): Observed {
    if (!(saved instanceof Buffer)) throw new Error('no such archive');
    const { members, document } = documentOf(saved);
    const neutral = neutralXml(document) as { [name: string]: Seen };
    const count: { [name: string]: string } = {};
    for (const object of neutral['objects'] as { class: string }[])
      count[object.class] = String(Number(count[object.class] ?? '0') + 1);
    return { members, ...neutral, count };
  }

  #body(spec: Json): Buffer {
    if (typeof spec === 'string') return this.#bytes(spec);
    const object = spec as { [name: string]: Json };
    if ('text' in object) return Buffer.from(String(this.fill(object['text'] ?? '')));
    if ('file' in object) return readFileSync(join(this.#stage.exports, String(object['file'])));
    const filled = { ...object, edit: this.fill(object['edit'] ?? []) } as unknown as Repack;
    return repack(this.#bytes(filled.archive), filled);
  }

  #bytes(name: string): Buffer {
    const bytes = this.#names.get(name);
    if (bytes instanceof Buffer) return bytes;
    throw new Error(`no archive is called ${name}`);
  }

  #storage(step: Step): void {
    const root = this.#stage.storage;
    const paths = (value: Json | undefined): string[] => {
      const filled = this.fill(value ?? []);
      return (Array.isArray(filled) ? filled : [filled]).map((name) => join(root, String(name)));
    };
    if ('replicate' in step) {
      const [from = '', to = ''] = paths(step['replicate']);
      empty(to);
      cpSync(from, to, { recursive: true, preserveTimestamps: true });
    } else if ('delete' in step) for (const path of paths(step['delete'])) rmSync(path);
    else if ('write' in step)
      for (const path of paths(step['write'])) {
        mkdirSync(dirname(path), { recursive: true });
        writeFileSync(path, '');
        truncateSync(path, Number(step['size']));
      }
    else for (const path of paths(step['clear'])) empty(path);
  }

  /** Replaces $name and ${name} by what was saved, in texts, keys and nested values. */
  fill(value: Json): Json {
    if (typeof value === 'string') {
      const whole = /^\$\{?(\w+)\}?$/.exec(value)?.[1];
      if (whole !== undefined && this.#names.has(`$${whole}`))
        return plain(this.#names.get(`$${whole}`) as Seen);
      return value.replace(/\$\{?(\w+)\}?/g, (all, name: string) => {
        const saved = this.#names.get(`$${name}`);
        return saved === undefined ? all : String(saved);
      });
    }
    if (Array.isArray(value)) return value.map((item) => this.fill(item));
    if (isObject(value))
      return Object.fromEntries(
        Object.entries(value as { [name: string]: Json }).map(([key, item]) => [
          operators.has(key) ? key : String(this.fill(key)),
          this.fill(item),
        ]),
      );
    return value;
  }

  check(step: Step, seen: Observed): string | null {
    const expect = (step['expect'] ?? ('until' in step ? { value: step['until'] } : {})) as {
      [name: string]: Json;
    };
    if ('error' in seen && !('error' in expect)) return `failed with ${show(seen['error'])}`;
    for (const [name, raw] of Object.entries(expect)) {
      const got = seen[name];
      if (got === undefined) return `no ${name} in ${show(seen as Seen)}`;
      if (name === 'seconds') {
        const [least, most] = raw as [number, number];
        const took = got instanceof Float ? got.value : 0;
        if (took < least || took > most) return `took ${took.toFixed(1)} s, not ${least} to ${most}`;
        continue;
      }
      const members =
        ['task', 'headers'].includes(name) && !Object.keys(raw as object).some((k) => operators.has(k));
      const want = this.fill(members ? { $has: raw } : raw);
      const reason = mismatch(name === 'status' ? String(want) : want, got, name);
      if (reason !== null) return reason;
    }
    return null;
  }
}

function plain(seen: Seen): Json {
  if (seen instanceof Float) return { $float: seen.value };
  if (Array.isArray(seen)) return seen.map(plain);
  if (isObject(seen))
    return Object.fromEntries(
      Object.entries(seen as { [name: string]: Seen }).map(([name, item]) => [name, plain(item)]),
    );
  return seen as Json;
}

/** Part of a value by dotted path; `#` is the first key of a struct, `*` its first value. */
function dig(value: Seen, path: string): Seen {
  let at: Seen = value;
  for (const part of path === '' ? [] : path.split('.')) {
    if (Array.isArray(at)) at = at[Number(part)] ?? null;
    else {
      const struct = at as { [name: string]: Seen };
      if (part === '#') at = Object.keys(struct)[0] ?? null;
      else if (part === '*') at = Object.values(struct)[0] ?? null;
      else at = struct[part] ?? null;
    }
  }
  return at;
}

/** Files go, directories stay as places where something may be mounted. */
function empty(directory: string): void {
  for (const name of readdirSync(directory)) rmSync(join(directory, name), { recursive: true });
}
