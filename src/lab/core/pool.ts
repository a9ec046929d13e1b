/** One pool of the lab: its database, its hosts, its sessions and the registry of what it can be asked. */
import { randomUUID } from 'node:crypto';
import type { Certificate } from '../server/certificate.ts';
import type { LabClock } from './clock.ts';
import { Database, type Row } from './database.ts';
import { fail } from './failure.ts';
import { type Product, productNamed } from './product.ts';
import type { Registry } from './registry.ts';
import { DateTime } from './values.ts';

/** A host with a socket of its own. */
export interface LabHost {
  readonly name: string;
  readonly pool: LabPool;
  readonly row: Row;
  /** What the pool believes its address is (HOST_IS_SLAVE names it). */
  readonly address: string;
  readonly certificate: Certificate;
  /** Loopback port, 0 before it listens. */
  port: number;
  /** False after kill: the socket refuses. */
  up: boolean;
  /** Local sessions, which have no row in the database. */
  readonly localSessions: Set<string>;
}

/** What the call log keeps of one request. */
export interface CallEntry {
  readonly at: number;
  readonly host: string;
  readonly method: string;
  readonly bytesIn: number;
}

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

class CallIds {
  readonly #ids = new WeakMap<object, string>();
  idOf(call: object): string {
    const known = this.#ids.get(call);
    if (known !== undefined) return known;
    const made = randomUUID();
    this.#ids.set(call, made);
    return made;
  }
}

export interface LockOptions {
  /** Operations (values of current_operations) that this one may run beside. */
  readonly beside?: readonly string[];
  /** Wait for the others to end, at most so long; without it a conflict fails at once. */
  readonly waitSeconds?: number;
}

export class LabPool {
  readonly name: string;
  /** The site it stands at, for `kill site`. */
  readonly site: string;
  readonly product: Product;
  readonly db: Database;
  readonly clock: LabClock;
  readonly registry: Registry;
  readonly credentials: Credentials;
  readonly hosts: LabHost[] = [];
  readonly callIds = new CallIds();
  /** Directories of the site's storage by NFS export path: `/exports/prod1`. Other storage lives in src/lab/storage. */
  readonly exports = new Map<string, string>();
  /** Calls that take this long more (cost model); installed by src/lab/cost. Runs before the handler. */
  beforeCall: ((method: string, host: LabHost) => Promise<void>) | null = null;
  readonly #waiters = new Set<() => void>();

  constructor(given: {
    name: string;
    site: string;
    clock: LabClock;
    registry: Registry;
    credentials: Credentials;
    product?: Product;
  }) {
    this.name = given.name;
    this.site = given.site;
    this.clock = given.clock;
    this.registry = given.registry;
    this.credentials = given.credentials;
    this.product = given.product ?? productNamed('current');
    this.db = new Database(this.product.name === 'current' ? null : this.product);
    this.db.onChange(() => {
      if (this.#waiters.size === 0) return;
      const waiters = [...this.#waiters];
      this.#waiters.clear();
      for (const wake of waiters) wake();
    });
  }

  now(): DateTime {
    return DateTime.ofMillis(this.clock.now());
  }

  /** The pool's own row. */
  get row(): Row {
    return this.db.all('pool')[0] ?? fail('INTERNAL_ERROR', 'Not_found');
  }

  get master(): LabHost {
    const ref = this.row.text('master');
    return this.hosts.find((h) => h.row.ref === ref) ?? fail('INTERNAL_ERROR', 'Not_found');
  }

  hostOf(ref: string): LabHost | undefined {
    return this.hosts.find((h) => h.row.ref === ref);
  }

  /** Resolves at the next change of the database; a signal ends the wait quietly. */
  nextChange(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        signal?.removeEventListener('abort', wake);
        this.#waiters.delete(wake);
        resolve();
      };
      if (signal?.aborted === true) {
        resolve();
        return;
      }
      this.#waiters.add(wake);
      signal?.addEventListener('abort', wake, { once: true });
    });
  }

  /** Waits until something holds; false when it did not within the time. */
  async until(holds: () => boolean, seconds: number, signal?: AbortSignal): Promise<boolean> {
    if (holds()) return true;
    const over = new AbortController();
    let late = false;
    const timer = this.clock
      .sleep(seconds, over.signal)
      .then(() => {
        late = true;
      })
      .catch(() => {
        late = true;
      });
    const expired = timer.then(() => undefined);
    try {
      while (!holds()) {
        if (late || signal?.aborted === true) return false;
        await Promise.race([this.nextChange(signal), expired]);
      }
      return true;
    } finally {
      over.abort();
    }
  }

  /**
   * Runs work while `operation` stands in the object's current_operations (xapi.md 2.3). A conflict raises
   * `OTHER_OPERATION_IN_PROGRESS [class, object, operation, operation ref]`, at once or after waiting.
   */
  async lock<T>(
    row: Row,
    operation: string,
    operationRef: string,
    work: () => T | Promise<T>,
    options: LockOptions = {},
  ): Promise<T> {
    const beside = new Set(options.beside ?? []);
    const conflict = (): [string, string] | undefined =>
      row.alive ? Object.entries(row.map('current_operations')).find(([, op]) => !beside.has(op)) : undefined;
    if (conflict() !== undefined && options.waitSeconds !== undefined)
      await this.until(() => conflict() === undefined, options.waitSeconds);
    const other = conflict();
    if (other !== undefined) fail('OTHER_OPERATION_IN_PROGRESS', row.cls, row.ref, other[1], other[0]);
    row.put('current_operations', operationRef, operation);
    try {
      return await work();
    } finally {
      if (row.alive) row.drop('current_operations', operationRef);
    }
  }

  /** A message in the pool's database, as xapi writes them about objects (xapi.md 8.8). */
  message(name: string, priority: bigint, cls: string, objectUuid: string, body: string): Row {
    return this.db.create('message', {
      name,
      priority,
      cls,
      obj_uuid: objectUuid,
      body,
      timestamp: this.now(),
    });
  }

  /** A pending task. */
  newTask(label: string, description: string, session: Row | null, host: LabHost): Row {
    const task = this.db.create('task', {
      name_label: label,
      name_description: description,
      created: this.now(),
      status: 'pending',
      resident_on: host.row.ref,
      type: '<none/>',
    });
    if (session?.alive === true) session.set({ tasks: [...session.texts('tasks'), task.ref] });
    return task;
  }

  /** Ends a task: with a result, or with a failure's code and parameters. A vanished task is left alone. */
  finishTask(
    task: Row,
    outcome: { readonly result: string } | { readonly error: readonly string[] } | 'cancelled',
  ): void {
    if (!task.alive) return;
    const destroyed = Object.values(task.map('current_operations')).includes('destroy');
    const finished = { finished: this.now(), allowed_operations: [] };
    if (outcome === 'cancelled')
      task.set({ ...finished, status: 'cancelled', progress: 1, error_info: ['TASK_CANCELLED', task.ref] });
    else if ('result' in outcome)
      task.set({ ...finished, status: 'success', progress: 1, result: outcome.result });
    else task.set({ ...finished, status: 'failure', progress: 1, error_info: [...outcome.error] });
    if (destroyed) task.destroy();
  }

  /** Was the task asked to stop? Long work looks now and then and raises TASK_CANCELLED. */
  checkCancelled(task: Row | null): void {
    if (task?.alive === true && Object.values(task.map('current_operations')).includes('cancel'))
      fail('TASK_CANCELLED', task.ref);
  }
}
