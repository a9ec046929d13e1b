/** What the lab can be asked: XenAPI messages by name and HTTP handlers by method and path. */
import type { Readable } from 'node:stream';
import type { Row } from './database.ts';
import type { Answer } from './encode.ts';
import type { LabHost, LabPool } from './pool.ts';
import { type DateTime, isStruct, type Struct, type Value } from './values.ts';
import type { Wrap } from './wrap.ts';

/** One call of a message, its parameters decoded by the data model (optional ones that were left out are absent). */
export class Call {
  readonly pool: LabPool;
  /** The host that was asked. */
  readonly host: LabHost;
  /** Without `Async.`. */
  readonly method: string;
  readonly params: readonly Value[];
  /** The session's row; null for the login calls and for local sessions. */
  readonly session: Row | null;
  /** The session reference as it was sent. */
  readonly sessionRef: string;
  /** The task of an Async call, else null. */
  readonly task: Row | null;
  /** True for `Async.Class.method`, also before it has a task. */
  readonly isAsync: boolean;
  /** The call as it was handed over, before it had a task. */
  readonly issued: Call;
  /** Aborted when the client goes away. */
  readonly signal: AbortSignal;
  constructor(given: {
    pool: LabPool;
    host: LabHost;
    method: string;
    params: readonly Value[];
    session: Row | null;
    sessionRef: string;
    task: Row | null;
    isAsync?: boolean;
    issued?: Call;
    signal: AbortSignal;
  }) {
    this.pool = given.pool;
    this.host = given.host;
    this.method = given.method;
    this.params = given.params;
    this.session = given.session;
    this.sessionRef = given.sessionRef;
    this.task = given.task;
    this.issued = given.issued ?? this;
    this.isAsync = given.isAsync ?? given.task !== null;
    this.signal = given.signal;
  }
  /** The same call inside its task, where it no longer depends on the client. */
  inTask(task: Row): Call {
    return new Call({ ...this, task, isAsync: true, issued: this, signal: new AbortController().signal });
  }
  /** The reference under which this call stands in current_operations. */
  get operationRef(): string {
    return this.task?.ref ?? `DummyRef:|${this.pool.callIds.idOf(this)}|${this.method}`;
  }
  text(index: number, fallback = ''): string {
    const value = this.params[index];
    return typeof value === 'string' ? value : fallback;
  }
  int(index: number, fallback = 0n): bigint {
    const value = this.params[index];
    return typeof value === 'bigint' ? value : fallback;
  }
  float(index: number, fallback = 0): number {
    const value = this.params[index];
    return typeof value === 'number' ? value : fallback;
  }
  bool(index: number, fallback = false): boolean {
    const value = this.params[index];
    return typeof value === 'boolean' ? value : fallback;
  }
  date(index: number): DateTime {
    return this.params[index] as DateTime;
  }
  texts(index: number): readonly string[] {
    const value = this.params[index];
    return Array.isArray(value) ? (value as string[]) : [];
  }
  /** A map with text values. */
  map(index: number): Readonly<Record<string, string>> {
    return this.struct(index) as Record<string, string>;
  }
  struct(index: number): Struct {
    const value = this.params[index];
    return isStruct(value) ? value : {};
  }
  /** The object that a reference parameter names, or `HANDLE_INVALID [class, ref]`. */
  row(cls: string, index = 0): Row {
    return this.pool.db.row(cls, this.text(index));
  }
}

export type MessageHandler = (call: Call) => Answer | Promise<Answer>;

export type HttpMethod = 'GET' | 'PUT' | 'POST';

/** One HTTP request that got past authentication and owns a task (xapi.md 3.1). */
export interface HttpExchange {
  readonly pool: LabPool;
  readonly host: LabHost;
  readonly method: string;
  /** Of the route, such as `/export_metadata`. */
  readonly path: string;
  readonly query: URLSearchParams;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly cookies: Readonly<Record<string, string>>;
  readonly session: Row;
  /** The task named in the request, or one made for it. */
  readonly task: Row;
  readonly body: Readable;
  readonly signal: AbortSignal;
  /** Sends the status line and headers (`Task-id` and `Connection: close` are added). */
  start(status: number, headers?: Readonly<Record<string, string>>): void;
  readonly started: boolean;
  write(chunk: Buffer | string): Promise<void>;
  /** Ends the answer; without it the framework ends it when the handler is done. */
  end(): void;
  /** Cuts the connection, as xapi does after a failure behind the headers. */
  cut(): void;
}

/** The text it returns becomes the task's result. A throw fails the task, and is HTTP 500 before the headers. */
export type HttpHandler = (exchange: HttpExchange) => Promise<string>;

export interface HttpRoute {
  readonly method: HttpMethod;
  readonly path: string;
  /** Name of the handler, as in `WWW-Authenticate: Basic realm="get_export_metadata"`. */
  readonly realm: string;
  /** Name of a task that the handler makes for itself. */
  readonly label?: string;
  readonly handler: HttpHandler;
  /** Runs after authentication and before the task is taken over; what it throws fails the task as RBAC does. */
  readonly permit?: (query: URLSearchParams, pool: LabPool) => void;
}

/** A function of a host plug-in (`host.call_plugin`). */
export type PluginHandler = (call: Call, args: Readonly<Record<string, string>>) => string | Promise<string>;

export class Registry {
  readonly #plugins = new Map<string, Map<string, PluginHandler>>();
  readonly #messages = new Map<string, MessageHandler>();
  readonly #routes = new Map<string, HttpRoute[]>();
  readonly #wraps: Wrap[] = [];

  /** `on('VM.start', ...)`; a later registration takes the place of an earlier one. */
  on(method: string, handler: MessageHandler): void {
    this.#messages.set(method, handler);
  }
  /** The handler in force, for wrapping it. */
  handler(method: string): MessageHandler | undefined {
    return this.#messages.get(method);
  }
  route(route: HttpRoute): void {
    const same = (this.#routes.get(route.path) ?? []).filter((r) => r.method !== route.method);
    this.#routes.set(route.path, [...same, route]);
  }
  /** The route whose path is the longest beginning of this one: xapi's router is a prefix tree per method (xapi.md 1.1). */
  find(method: string, path: string): HttpRoute | undefined {
    let best: HttpRoute | undefined;
    for (const routes of this.#routes.values())
      for (const route of routes)
        if (route.method === method && path.startsWith(route.path))
          if (best === undefined || route.path.length > best.path.length) best = route;
    return best;
  }

  /** Stands round every call and every HTTP handler from now on; the first one added is the outermost. */
  wrap(wrap: Wrap): void {
    this.#wraps.push(wrap);
  }

  /** Runs the handler of a message inside all wraps. */
  perform(call: Call, handler: MessageHandler): Promise<Answer> {
    let run = async (): Promise<Answer> => handler(call);
    for (const wrap of this.#wraps.toReversed()) {
      const inner = run;
      if (wrap.message !== undefined) run = async () => wrap.message?.(call, inner) ?? inner();
    }
    return run();
  }

  /** What becomes of the answer of an Async call. */
  async handOver(call: Call): Promise<'go on' | 'lose' | 'drop'> {
    let verdict: 'go on' | 'lose' | 'drop' = 'go on';
    for (const wrap of this.#wraps) {
      const said = await wrap.handOver?.(call);
      if (said === 'drop' || (said === 'lose' && verdict === 'go on')) verdict = said;
    }
    return verdict;
  }

  /** Runs an HTTP handler inside all wraps. */
  performHttp(exchange: HttpExchange, handler: HttpHandler): Promise<string> {
    let run = handler;
    for (const wrap of this.#wraps.toReversed()) {
      const inner = run;
      if (wrap.http !== undefined) run = async (given) => wrap.http?.(given, inner) ?? inner(given);
    }
    return run(exchange);
  }
  addPlugin(plugin: string, name: string, handler: PluginHandler): void {
    const functions = this.#plugins.get(plugin) ?? new Map<string, PluginHandler>();
    functions.set(name, handler);
    this.#plugins.set(plugin, functions);
  }
  plugin(name: string): ReadonlyMap<string, PluginHandler> | undefined {
    return this.#plugins.get(name);
  }
}
