/** From uuids, which the port speaks, to references, which the pool wants; and the ways of calling that all verbs share. */
import { PortError } from '../../domain/errors.ts';
import type { Uuid } from '../../domain/pool.ts';
import { type PoolConnection, unlessAborted } from './connection.ts';
import { withRetry } from './retry.ts';
import type { Tasks, WaitOptions } from './tasks.ts';
import type { XapiRecord, XapiValue } from './values.ts';
import type { XapiParam } from './wire.ts';

export type ClassName = 'VM' | 'SR' | 'host' | 'VDI' | 'secret' | 'VM_appliance';

/** Names of parameters in the failure table whose references have a name to show. */
const namedClasses: Readonly<Record<string, string>> = {
  vm: 'VM',
  sr: 'SR',
  vdi: 'VDI',
  host: 'host',
  network: 'network',
  appliance: 'VM_appliance',
};

export class Objects {
  readonly pool: PoolConnection;
  readonly tasks: Tasks;
  readonly #refs = new Map<string, string>();

  constructor(pool: PoolConnection, tasks: Tasks) {
    this.pool = pool;
    this.tasks = tasks;
  }

  /** A call, repeated while the pool says that it is busy. */
  call(method: string, params: readonly XapiParam[], signal?: AbortSignal): Promise<XapiValue> {
    return this.named(
      withRetry(() => this.pool.call(method, params, { signal }), this.pool.options.clock, signal),
    );
  }

  /** All records of a class, by reference; only the fields named. */
  async all(className: string, fields: ReadonlySet<string>, signal?: AbortSignal): Promise<XapiRecord> {
    const { clock } = this.pool.options;
    const read = () => this.pool.call(`${className}.get_all_records`, [], { signal, fields });
    return (await this.named(withRetry(read, clock, signal))) as XapiRecord;
  }

  async record(method: string, ref: string, signal?: AbortSignal): Promise<XapiRecord> {
    return (await this.call(method, [ref], signal)) as XapiRecord;
  }

  /** A long call as a task. */
  run(method: string, params: readonly XapiParam[], options: WaitOptions): Promise<XapiValue> {
    return this.named(
      withRetry(() => this.tasks.run(method, params, options), this.pool.options.clock, options.signal),
    );
  }

  /** Says in an error of `work` which objects its references mean. */
  async named<T>(work: Promise<T>, except: readonly string[] = []): Promise<T> {
    try {
      return await work;
    } catch (error) {
      throw error instanceof PortError && error.peerCode !== undefined
        ? await this.#withNames(error, except)
        : error;
    }
  }

  async #withNames(error: PortError, except: readonly string[]): Promise<PortError> {
    const known: string[] = [];
    let found = false;
    for (const text of error.problem.known ?? []) {
      const match = /^([a-z]+): (OpaqueRef:[-0-9a-f]{36})$/.exec(text);
      const parameter = match?.[1] ?? '';
      const className = except.includes(parameter) ? undefined : namedClasses[parameter];
      const name = className === undefined ? null : await this.#nameOf(className, match?.[2] ?? '');
      found ||= name !== null;
      known.push(name === null ? text : `${match?.[1]}: ${name}`);
    }
    if (!found) return error;
    return new PortError(
      error.kind,
      { ...error.problem, known },
      {
        peerParams: error.peerParams,
        cause: error,
        ...(error.peerCode === undefined ? {} : { peerCode: error.peerCode }),
      },
    );
  }

  async #nameOf(className: string, ref: string): Promise<string | null> {
    try {
      const read = (field: string): Promise<XapiValue> =>
        this.pool.call(`${className}.get_${field}`, [ref], { unlimited: true, timeoutSeconds: 30 });
      return `${await read('name_label')} (${await read('uuid')})`;
    } catch (error) {
      this.pool.options.log?.debug({ className, error: String(error) }, 'no name for a reference');
      return null;
    }
  }

  async ref(className: ClassName, uuid: Uuid, signal?: AbortSignal): Promise<string> {
    const key = `${className}:${uuid}`;
    const known = this.#refs.get(key);
    if (known !== undefined) return known;
    const ref = String(await this.call(`${className}.get_by_uuid`, [uuid], signal));
    this.#refs.set(key, ref);
    return ref;
  }

  /**
   * Runs `work` with the object's reference. A reference that no longer holds is looked up again once: the object may
   * have been replaced under its uuid, as an import with `restore` does.
   */
  async on<T>(
    className: ClassName,
    uuid: Uuid,
    signal: AbortSignal | undefined,
    work: (ref: string) => Promise<T>,
  ): Promise<T> {
    const cached = this.#refs.has(`${className}:${uuid}`);
    const ref = await this.ref(className, uuid, signal);
    try {
      return await work(ref);
    } catch (error) {
      const gone =
        error instanceof PortError && error.peerCode === 'HANDLE_INVALID' && error.peerParams.includes(ref);
      if (!gone) throw error;
      this.#refs.delete(`${className}:${uuid}`);
      if (!cached) throw error;
      return work(await this.ref(className, uuid, signal));
    }
  }

  remember(className: ClassName, uuid: Uuid, ref: string): void {
    this.#refs.set(`${className}:${uuid}`, ref);
  }

  /** Runs a job for each item, as many at once as requests are allowed. */
  async each<T, R>(items: readonly T[], job: (item: T) => Promise<R>, signal?: AbortSignal): Promise<R[]> {
    return unlessAborted(Promise.all(items.map(job)), signal, this.pool.options.site);
  }
}

/** True for this code of the pool. */
export function isPeer(error: unknown, ...codes: readonly string[]): error is PortError {
  return error instanceof PortError && codes.includes(error.peerCode ?? '');
}
