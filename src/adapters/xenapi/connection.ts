/**
 * A pool: the sessions with its hosts. Logs in at whichever configured host is the coordinator, checks the pool's
 * uuid after every login, renews a lost session once, and logs out when it is closed (xapi.md 1.5).
 */
import { PortError } from '../../domain/errors.ts';
import type { Clock } from '../../ports/system.ts';
import { type FailureContext, outcomeUnknown, portError } from './failures.ts';
import { type Endpoint, HostLink, LinkError, type LinkOptions, manyListeners } from './link.ts';
import { greet, rpc } from './rpc.ts';
import { methodTypes, type XapiValue } from './values.ts';
import { isReadMethod, type Protocol, type XapiParam } from './wire.ts';

/** Session limits count by originator (xapi.md 1.5), so it never varies. */
export const originator = 'lifeboat';
const loginTimeoutSeconds = 60;
/** A call without session is answered before anything is looked up: longer means that nobody is at home. */
const greetingTimeoutSeconds = 30;
const logoutTimeoutSeconds = 10;
const defaultCallTimeoutSeconds = 600;
const connectionAttempts = 3;

/** The part of pino that is used. */
export interface DebugLog {
  debug(fields: object, message: string): void;
}

export interface ConnectionOptions {
  readonly site: string;
  readonly endpoints: readonly Endpoint[];
  readonly username: string;
  readonly password: () => Promise<string>;
  readonly poolUuid: string | null;
  readonly transport: 'auto' | Protocol;
  readonly maxRequests: number;
  readonly clock: Clock;
  readonly log: DebugLog | undefined;
  readonly oldTls: boolean;
  readonly userAgent: string;
}

/** A login at one host. */
export interface Live {
  readonly link: HostLink;
  readonly protocol: Protocol;
  readonly session: string;
  /** Counts logins: event tokens of an older one mean nothing. */
  readonly generation: number;
  readonly pool: string;
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  readonly timeoutSeconds?: number;
  /** True for waiting calls (`event.from`) and the book-keeping of tasks: they take no place among `maxRequests`. */
  readonly unlimited?: boolean;
  /** Of the records of a `get_all_records`, only these fields: a large pool fits into little memory so. */
  readonly fields?: ReadonlySet<string> | undefined;
}

export class PoolConnection {
  readonly options: ConnectionOptions;
  readonly links: readonly HostLink[];
  #live: Live | null = null;
  #connecting: Promise<Live> | null = null;
  #seenPool: string | null = null;
  #preferred = 0;
  #generation = 0;
  #closed = false;
  readonly #secrets = new Set<string>();
  /** Sessions whose connection broke: logged out at the next login, as nobody else will. */
  readonly #orphans = new Set<string>();
  readonly #slots: Slots;

  constructor(options: ConnectionOptions) {
    this.options = options;
    const linkOptions: LinkOptions = {
      site: options.site,
      oldTls: options.oldTls,
      userAgent: options.userAgent,
    };
    this.links = options.endpoints.map((endpoint) => new HostLink(endpoint, linkOptions));
    this.#slots = new Slots(options.maxRequests, options.site);
  }

  context(operation: string): FailureContext {
    return { site: this.options.site, operation, secrets: [...this.#secrets] };
  }

  /** Texts that must never be shown, such as a password in a device_config. */
  hide(secret: string): void {
    if (secret.length > 0) this.#secrets.add(secret);
  }

  /**
   * Calls a method; the session is put in front. Reads are sent again after a connection error, at another host if need
   * be; a write only when it surely was not sent. Throws `PortError`.
   */
  async call(
    method: string,
    params: readonly XapiParam[] = [],
    options: CallOptions = {},
  ): Promise<XapiValue> {
    if (options.unlimited === true) return this.#call(method, params, options);
    return this.#slots.run(() => this.#call(method, params, options), options.signal);
  }

  /** Holds one of the places for requests while `work` runs. */
  limited<T>(work: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    return this.#slots.run(work, signal);
  }

  async #call(method: string, params: readonly XapiParam[], options: CallOptions): Promise<XapiValue> {
    const { takesSession } = methodTypes(method);
    const started = this.options.clock.monotonicSeconds();
    let renewed = false;
    for (let attempt = 1; ; attempt += 1) {
      const live = await this.live(options.signal);
      try {
        const value = await rpc(
          live.link,
          live.protocol,
          method,
          takesSession ? [live.session, ...params] : params,
          {
            context: this.context(method),
            timeoutSeconds: options.timeoutSeconds ?? defaultCallTimeoutSeconds,
            signal: options.signal,
            fields: options.fields,
          },
        );
        this.#logCall(method, started, 'done');
        return value;
      } catch (error) {
        this.#logCall(
          method,
          started,
          error instanceof PortError ? (error.peerCode ?? error.kind) : 'defect',
        );
        if (!(error instanceof PortError)) throw error;
        if (isSessionLoss(error) && !renewed) {
          renewed = true;
          this.drop(live, error.peerCode === 'HOST_IS_SLAVE');
          continue;
        }
        if (!(error instanceof LinkError) || error.kind !== 'unreachable') throw error;
        this.drop(live, true);
        const repeatable = !error.sent || (isReadMethod(method) && !error.timedOut);
        if (!repeatable && !isReadMethod(method))
          throw outcomeUnknown(
            this.context(method),
            ['the request was sent, and no answer came', ...(error.problem.known ?? [])],
            error,
          );
        if (!repeatable || attempt >= connectionAttempts) throw error;
        await this.options.clock.sleep(attempt * 0.5, options.signal);
      }
    }
  }

  #logCall(method: string, started: number, outcome: string): void {
    this.options.log?.debug(
      {
        site: this.options.site,
        method,
        milliseconds: Math.round((this.options.clock.monotonicSeconds() - started) * 1000),
        outcome,
      },
      'xapi call',
    );
  }

  /** The present session; logs in when there is none. Several callers share one login. */
  async live(signal?: AbortSignal): Promise<Live> {
    if (this.#closed) throw this.#closedError();
    if (this.#live !== null) return this.#live;
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = null;
    });
    return unlessAborted(this.#connecting, signal, this.options.site);
  }

  /** Forgets a session, unless another has taken its place. `orphaned` when the server still holds it. */
  drop(live: Live, orphaned: boolean): void {
    if (orphaned) this.#orphans.add(live.session);
    if (this.#live === live) this.#live = null;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    try {
      await this.#connecting;
    } catch (error) {
      this.options.log?.debug({ site: this.options.site, error: String(error) }, 'login given up');
    }
    const live = this.#live;
    this.#live = null;
    if (live !== null) await this.#logOut(live, [live.session, ...this.#orphans]);
    for (const link of this.links) link.close();
  }

  async #logOut(live: Live, sessions: readonly string[]): Promise<void> {
    for (const session of sessions) {
      try {
        await rpc(live.link, live.protocol, 'session.logout', [session], {
          context: this.context('session.logout'),
          timeoutSeconds: logoutTimeoutSeconds,
        });
      } catch (error) {
        const outcome = error instanceof PortError ? (error.peerCode ?? error.kind) : String(error);
        this.options.log?.debug({ site: this.options.site, outcome }, 'logout failed');
        // A host that is gone takes its sessions along, sooner or later.
        if (error instanceof LinkError) return;
      }
      this.#orphans.delete(session);
    }
  }

  async #connect(): Promise<Live> {
    const queue = this.links.map((_, index) => (this.#preferred + index) % this.links.length);
    const tried = new Set<number>();
    const failures: PortError[] = [];
    const coordinators = new Set<string>();
    let sifted = false;
    while (queue.length > 0) {
      const index = queue.shift() ?? 0;
      const link = this.links[index];
      if (link === undefined || tried.has(index)) continue;
      tried.add(index);
      try {
        const live = await this.#logIn(link);
        this.#preferred = index;
        this.#live = live;
        const orphans = [...this.#orphans];
        if (orphans.length > 0) await this.#logOut(live, orphans);
        return live;
      } catch (error) {
        if (!(error instanceof PortError)) throw error;
        this.options.log?.debug(
          { site: this.options.site, url: link.endpoint.url, outcome: error.peerCode ?? error.kind },
          'login failed',
        );
        // The same password fails at every host of the pool, and each failure costs seconds.
        if (error.kind === 'auth') throw error;
        failures.push(error);
        if (error instanceof LinkError && error.kind === 'unreachable' && !sifted) {
          // One after the other, the hosts of a dead site would take minutes to say nothing.
          sifted = true;
          await this.#sift(
            queue.filter((other) => !tried.has(other)),
            (silent, why) => {
              tried.add(silent);
              failures.push(why);
            },
          );
        }
        if (error.peerCode === 'HOST_IS_SLAVE') {
          // Only a hint: a configured host of that address goes first, nothing else is ever contacted.
          const address = error.peerParams[0] ?? '';
          coordinators.add(address);
          const hinted = this.links.flatMap((l, i) => (sameHost(l.endpoint.hostname, address) ? [i] : []));
          queue.unshift(...hinted);
        }
      }
    }
    throw this.#noHost(failures, [...coordinators]);
  }

  /** Asks hosts at the same time whether they answer at all, and names those that do not. */
  async #sift(indexes: readonly number[], silent: (index: number, why: PortError) => void): Promise<void> {
    await Promise.all(
      indexes.map(async (index) => {
        const link = this.links[index];
        if (link === undefined) return;
        try {
          await greet(link, this.options.transport, {
            context: this.context('contact'),
            timeoutSeconds: greetingTimeoutSeconds,
          });
        } catch (error) {
          if (!(error instanceof PortError)) throw error;
          if (error instanceof LinkError && error.kind === 'unreachable') silent(index, error);
        }
      }),
    );
  }

  #noHost(failures: readonly PortError[], coordinators: readonly string[]): PortError {
    // A host that will answer soon is worth waiting for; a wrong certificate is told before anything else.
    for (const kind of ['trust', 'busy', 'protocol'] as const) {
      const first = failures.find((error) => error.kind === kind);
      if (first !== undefined) return first;
    }
    const [only] = failures;
    if (only !== undefined && failures.length === 1 && only.peerCode !== 'HOST_IS_SLAVE') return only;
    const known = failures.map((error) => {
      const where = error.problem.where?.object;
      const why = error.peerCode ?? error.problem.known?.join(', ') ?? error.problem.what;
      return where === undefined ? why : `${where}: ${why}`;
    });
    if (coordinators.length > 0)
      return portError('unreachable', this.options.site, {
        code: 'DR-POOL-NO-COORDINATOR',
        what: 'The coordinator of the pool does not answer: every host that does is a member',
        known: [`the members name ${coordinators.join(', ')}`, ...known],
        next: 'Add the address of the coordinator to the hosts of the site in sites.yaml; if it is lost for good, run `xe pool-emergency-transition-to-master` on a survivor, then `xe pool-recover-slaves`',
      });
    return portError('unreachable', this.options.site, {
      code: 'DR-POOL-UNREACHABLE',
      what: 'No host of the pool answers',
      known: known.length > 0 ? known : ['no host is configured'],
      next: 'Check the addresses in sites.yaml, the network between, and whether the hosts run',
    });
  }

  async #logIn(link: HostLink): Promise<Live> {
    const { options } = this;
    const context = { ...this.context('session.login_with_password') };
    const greeting = await greet(link, options.transport, {
      context,
      timeoutSeconds: greetingTimeoutSeconds,
    });
    const password = await options.password();
    this.hide(password);
    const log = (params: readonly XapiParam[]): Promise<XapiValue> =>
      rpc(link, greeting.protocol, 'session.login_with_password', params, {
        context: this.context('session.login_with_password'),
        timeoutSeconds: loginTimeoutSeconds,
      });
    let session: XapiValue;
    try {
      session = await log([options.username, password, '2.0', originator]);
    } catch (error) {
      // Before 6.2 there was no originator (xapi.md 1.5).
      if (!(error instanceof PortError) || error.peerCode !== 'MESSAGE_PARAMETER_COUNT_MISMATCH')
        throw atHost(error, link);
      session = await log([options.username, password, '2.0']);
    }
    const reference = String(session);
    this.hide(reference);
    this.#generation += 1;
    const live: Live = {
      link,
      protocol: greeting.protocol,
      session: reference,
      generation: this.#generation,
      pool: '',
    };
    try {
      const pool = await this.#identify(live);
      return { ...live, pool };
    } catch (error) {
      await this.#logOut(live, [reference]);
      throw error;
    }
  }

  /** The same address may carry another pool after a rebuild. */
  async #identify(live: Live): Promise<string> {
    const ask = (method: string, params: readonly XapiParam[]): Promise<XapiValue> =>
      rpc(live.link, live.protocol, method, [live.session, ...params], {
        context: this.context(method),
        timeoutSeconds: loginTimeoutSeconds,
      });
    const pools = await ask('pool.get_all', []);
    const [pool] = Array.isArray(pools) ? pools : [];
    const uuid = String(await ask('pool.get_uuid', [pool ?? null]));
    const expected = this.options.poolUuid ?? this.#seenPool;
    if (expected !== null && uuid.toLowerCase() !== expected.toLowerCase())
      throw portError('trust', this.options.site, {
        object: live.link.endpoint.url,
        code: 'DR-POOL-IDENTITY',
        what: 'The host belongs to another pool',
        known: [
          `expected pool ${expected}${this.options.poolUuid === null ? ', as seen before' : ', from sites.yaml'}`,
          `found pool ${uuid}`,
        ],
        next: 'Check the address; if the pool was rebuilt on purpose, write its new uuid into sites.yaml as pool_uuid',
      });
    this.#seenPool = uuid;
    return String(pool);
  }

  #closedError(): PortError {
    return portError('cancelled', this.options.site, {
      code: 'DR-CANCELLED',
      what: 'The connection to the pool is closed',
      next: 'Run the command again',
    });
  }
}

function atHost(error: unknown, link: HostLink): unknown {
  if (
    !(error instanceof PortError) ||
    error instanceof LinkError ||
    error.problem.where?.object !== undefined
  )
    return error;
  return new PortError(
    error.kind,
    { ...error.problem, where: { ...error.problem.where, object: link.endpoint.url } },
    {
      peerParams: error.peerParams,
      cause: error.cause,
      ...(error.peerCode === undefined ? {} : { peerCode: error.peerCode }),
    },
  );
}

function isSessionLoss(error: PortError): boolean {
  return error.peerCode === 'SESSION_INVALID' || error.peerCode === 'HOST_IS_SLAVE';
}

export function sameHost(a: string, b: string): boolean {
  const plain = (text: string): string => text.replace(/^\[|\]$/g, '').toLowerCase();
  return plain(a) === plain(b);
}

export function cancelledError(site: string, what: string): PortError {
  return portError('cancelled', site, {
    code: 'DR-CANCELLED',
    what,
    next: 'Look at the pool before it is repeated: part of the work may have been done',
  });
}

export async function unlessAborted<T>(
  work: Promise<T>,
  signal: AbortSignal | undefined,
  site: string,
): Promise<T> {
  if (signal === undefined) return work;
  if (signal.aborted) {
    work.catch(() => undefined);
    throw cancelledError(site, 'The operation was cancelled');
  }
  manyListeners(signal);
  let abort: () => void = () => undefined;
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(cancelledError(site, 'The operation was cancelled'));
    signal.addEventListener('abort', abort, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/** Places for requests: more than four at once never pay (performance.md 8). */
class Slots {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  readonly #site: string;

  constructor(places: number, site: string) {
    this.#free = Math.max(1, places);
    this.#site = site;
  }

  async run<T>(work: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    await this.#take(signal);
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }

  #take(signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted) return Promise.reject(cancelledError(this.#site, 'The operation was cancelled'));
    if (this.#free > 0) {
      this.#free -= 1;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const enter = (): void => {
        signal?.removeEventListener('abort', leave);
        resolve();
      };
      const leave = (): void => {
        const index = this.#waiting.indexOf(enter);
        if (index >= 0) this.#waiting.splice(index, 1);
        reject(cancelledError(this.#site, 'The operation was cancelled'));
      };
      this.#waiting.push(enter);
      manyListeners(signal);
      signal?.addEventListener('abort', leave, { once: true });
    });
  }
}
