/**
 * Tasks: started, awaited, decoded, destroyed (xapi.md 2). One `event.from` on the class `task` serves every running
 * task, since polling costs half a second a step (performance.md 6); it is replaced by polling where the server has no
 * `event.from`. A task that vanished is an unknown outcome.
 */
import { PortError } from '../../domain/errors.ts';
import { cancelledError, type Live, type PoolConnection } from './connection.ts';
import { failureError, outcomeUnknown } from './failures.ts';
import type { XapiRecord, XapiValue } from './values.ts';
import { decodeTaskResult, type XapiParam } from './wire.ts';

const eventTimeoutSeconds = 30;
const defaultTaskTimeoutSeconds = 2 * 3600;
/**
 * How long the pool may be out of reach while a task runs. A broken link says nothing about the work: it goes on in the
 * pool, and beginning it again beside itself is the worst that can be done (two imports of one VM; xapi.md 4.15).
 */
const patienceSeconds = 120;
const pollSeconds = [0.05, 0.1, 0.2, 0.5, 1] as const;

/** What a task has become. */
export interface TaskEnd {
  readonly status: 'success' | 'failure' | 'cancelled';
  readonly result: string;
  readonly errorInfo: readonly string[];
}

export interface WaitOptions {
  readonly signal?: AbortSignal | undefined;
  readonly timeoutSeconds?: number;
}

interface Waiter {
  readonly resolve: (end: TaskEnd) => void;
  readonly reject: (error: PortError) => void;
  /** Batches that arrived since it waits: the first one that says nothing about the task is a reason to ask. */
  silentBatches: number;
}

export class Tasks {
  readonly #pool: PoolConnection;
  readonly #waiters = new Map<string, Waiter>();
  /** Ends of tasks that came before anybody waited for them. */
  readonly #early = new Map<string, TaskEnd>();
  #loop: Promise<void> | null = null;
  #stop: AbortController | null = null;
  #polling = false;

  constructor(pool: PoolConnection) {
    this.#pool = pool;
  }

  /** Runs `Async.<method>`; yields the decoded value of the method, or throws what the task failed with. */
  async run(method: string, params: readonly XapiParam[], options: WaitOptions = {}): Promise<XapiValue> {
    const reference = await this.#pool.call(`Async.${method}`, params, { signal: options.signal });
    const end = await this.wait(String(reference), method, options);
    return this.conclude(end, method);
  }

  /** The decoded result of a task that ended well, else the error that it ended with. */
  conclude(end: TaskEnd, operation: string, method: string = operation): XapiValue {
    if (end.status === 'success') return decodeTaskResult(end.result, method);
    throw this.failure(end, operation);
  }

  failure(end: TaskEnd, operation: string): PortError {
    if (end.errorInfo.length > 0) return failureError(end.errorInfo, this.#pool.context(operation));
    return failureError(
      end.status === 'cancelled'
        ? ['TASK_CANCELLED']
        : ['INTERNAL_ERROR', 'the task failed without a reason'],
      this.#pool.context(operation),
    );
  }

  create(label: string, signal?: AbortSignal): Promise<string> {
    return this.#pool.call('task.create', [label, ''], { unlimited: true, signal }).then(String);
  }

  /** Removes a task of ours that no handler took over: a pending task has to be final first (xapi.md 2.1). */
  async discard(reference: string): Promise<void> {
    for (const [method, params] of [
      ['task.set_status', [reference, 'cancelled']],
      ['task.destroy', [reference]],
    ] as const)
      await this.#quietly(method, params);
  }

  /** Waits until a task is final, then destroys it. */
  async wait(reference: string, operation: string, options: WaitOptions = {}): Promise<TaskEnd> {
    let end: TaskEnd;
    try {
      end = await this.#final(reference, operation, options);
    } catch (error) {
      if (error instanceof PortError && error.kind === 'cancelled') {
        // Whoever cancels does not want to wait for a pool that may be dead.
        await this.#quietly('task.cancel', [reference], 5);
        await this.#quietly('task.destroy', [reference], 5);
      }
      throw error;
    }
    await this.#quietly('task.destroy', [reference]);
    return end;
  }

  async close(): Promise<void> {
    this.#abandon(new Error('the connection was closed'));
    this.#stop?.abort();
    await this.#loop;
  }

  async #quietly(method: string, params: readonly XapiParam[], seconds = 30): Promise<void> {
    try {
      const signal = AbortSignal.timeout(seconds * 1000);
      await this.#pool.call(method, params, { unlimited: true, timeoutSeconds: seconds, signal });
    } catch (error) {
      const outcome = error instanceof PortError ? (error.peerCode ?? error.kind) : String(error);
      this.#pool.options.log?.debug({ site: this.#pool.options.site, method, outcome }, 'task housekeeping');
    }
  }

  #final(reference: string, operation: string, options: WaitOptions): Promise<TaskEnd> {
    const early = this.#early.get(reference);
    if (early !== undefined) {
      this.#early.delete(reference);
      return Promise.resolve(early);
    }
    const { site } = this.#pool.options;
    const seconds = options.timeoutSeconds ?? defaultTaskTimeoutSeconds;
    return new Promise<TaskEnd>((resolve, reject) => {
      const over = new AbortController();
      const leave = (): void => {
        over.abort();
        options.signal?.removeEventListener('abort', abort);
        this.#waiters.delete(reference);
        if (this.#waiters.size === 0) this.#stop?.abort();
      };
      const abort = (): void => {
        leave();
        reject(cancelledError(site, `Waiting for ${operation} was cancelled`));
      };
      this.#pool.options.clock.sleep(seconds, over.signal).then(
        () => {
          leave();
          reject(
            outcomeUnknown(this.#pool.context(operation), [`its task had not ended after ${seconds} s`]),
          );
        },
        // The task ended in time.
        () => undefined,
      );
      if (options.signal?.aborted) {
        abort();
        return;
      }
      options.signal?.addEventListener('abort', abort, { once: true });
      this.#waiters.set(reference, {
        resolve: (end) => {
          leave();
          resolve(end);
        },
        reject: (error) => {
          leave();
          reject(
            error.kind === 'outcome-unknown'
              ? outcomeUnknown(this.#pool.context(operation), error.problem.known ?? [], error)
              : error,
          );
        },
        silentBatches: 0,
      });
      this.#start();
    });
  }

  #start(): void {
    if (this.#loop !== null) return;
    const stop = new AbortController();
    this.#stop = stop;
    this.#loop = this.#watch(stop.signal)
      .catch((error: unknown) => {
        if (!stop.signal.aborted) this.#abandon(error);
      })
      .finally(() => {
        this.#loop = null;
        this.#early.clear();
        // Somebody may have begun to wait while the loop was ending.
        if (this.#waiters.size > 0) this.#start();
      });
  }

  /** Nobody can tell any more how the tasks end. */
  #abandon(error: unknown): void {
    const known =
      error instanceof PortError ? [error.problem.what, ...(error.problem.known ?? [])] : [String(error)];
    for (const waiter of [...this.#waiters.values()])
      waiter.reject(outcomeUnknown(this.#pool.context('the task'), known, error));
  }

  async #watch(stop: AbortSignal): Promise<void> {
    if (this.#polling) return this.#poll(stop);
    const { clock } = this.#pool.options;
    let token = '';
    let generation = -1;
    let silentSince: number | null = null;
    while (this.#waiters.size > 0 && !stop.aborted) {
      let live: Live;
      try {
        live = await this.#pool.live(stop);
      } catch (error) {
        if (stop.aborted) return;
        silentSince ??= clock.monotonicSeconds();
        await this.#bear(error, silentSince, stop);
        continue;
      }
      // A new master means a new series of tokens (xapi.md 2.4).
      if (live.generation !== generation) token = '';
      generation = live.generation;
      let batch: XapiRecord;
      try {
        batch = (await this.#pool.call('event.from', [['task'], token, eventTimeoutSeconds], {
          unlimited: true,
          signal: stop,
          timeoutSeconds: eventTimeoutSeconds + 30,
        })) as XapiRecord;
      } catch (error) {
        if (stop.aborted) return;
        if (!(error instanceof PortError)) throw error;
        if (error.peerCode === 'EVENT_FROM_TOKEN_PARSE_FAILURE' && token !== '') {
          token = '';
          continue;
        }
        if (error.peerCode === 'MESSAGE_METHOD_UNKNOWN' || error.peerCode === 'NOT_IMPLEMENTED') {
          this.#polling = true;
          return this.#poll(stop);
        }
        silentSince ??= clock.monotonicSeconds();
        await this.#bear(error, silentSince, stop);
        continue;
      }
      silentSince = null;
      token = String(batch['token'] ?? '');
      this.#take(batch);
      await this.#askAboutSilent();
    }
  }

  /** Waits a little for a pool that does not answer; throws when it was silent for too long, or said something else. */
  async #bear(error: unknown, sinceSeconds: number, stop: AbortSignal): Promise<void> {
    const { clock } = this.#pool.options;
    if (!isPassing(error) || clock.monotonicSeconds() - sinceSeconds >= patienceSeconds) throw error;
    await clock.sleep(2, stop);
  }

  #take(batch: XapiRecord): void {
    const events = Array.isArray(batch['events']) ? batch['events'] : [];
    const heard = new Set<string>();
    for (const item of events) {
      const event = item as XapiRecord;
      const reference = String(event['ref']);
      heard.add(reference);
      const waiter = this.#waiters.get(reference);
      if (event['operation'] === 'del') {
        this.#early.delete(reference);
        waiter?.reject(this.#vanished());
        continue;
      }
      const end = endOf(event['snapshot']);
      if (end === null) continue;
      if (waiter === undefined) this.#early.set(reference, end);
      else waiter.resolve(end);
    }
    for (const [reference, waiter] of this.#waiters)
      waiter.silentBatches = heard.has(reference) ? 0 : waiter.silentBatches + 1;
  }

  /** A task that came and went between two batches shows no event at all. */
  async #askAboutSilent(): Promise<void> {
    for (const [reference, waiter] of [...this.#waiters])
      if (waiter.silentBatches === 1 || waiter.silentBatches % 20 === 19) await this.#ask(reference, waiter);
  }

  async #ask(reference: string, waiter: Waiter): Promise<void> {
    try {
      const end = endOf(await this.#pool.call('task.get_record', [reference], { unlimited: true }));
      if (end !== null) waiter.resolve(end);
    } catch (error) {
      if (!(error instanceof PortError)) throw error;
      if (!this.#polling && isPassing(error)) {
        // Asked again after the next batch.
        waiter.silentBatches = 0;
        return;
      }
      waiter.reject(
        error.peerCode === 'HANDLE_INVALID'
          ? this.#vanished()
          : outcomeUnknown(
              this.#pool.context('the task'),
              [error.problem.what, ...(error.problem.known ?? [])],
              error,
            ),
      );
    }
  }

  #vanished(): PortError {
    return outcomeUnknown(this.#pool.context('the task'), [
      'its task has vanished: destroyed by somebody, or the coordinator restarted',
    ]);
  }

  async #poll(stop: AbortSignal): Promise<void> {
    for (let round = 0; this.#waiters.size > 0 && !stop.aborted; round += 1) {
      for (const [reference, waiter] of [...this.#waiters]) await this.#ask(reference, waiter);
      if (this.#waiters.size === 0) return;
      const seconds = pollSeconds[Math.min(round, pollSeconds.length - 1)] ?? 1;
      try {
        await this.#pool.options.clock.sleep(seconds, stop);
      } catch (error) {
        if (stop.aborted) return;
        throw error;
      }
    }
  }
}

function isPassing(error: unknown): boolean {
  return error instanceof PortError && (error.kind === 'unreachable' || error.kind === 'busy');
}

function endOf(snapshot: XapiValue | undefined): TaskEnd | null {
  if (typeof snapshot !== 'object' || snapshot === null || Array.isArray(snapshot)) return null;
  const status = snapshot['status'];
  if (status !== 'success' && status !== 'failure' && status !== 'cancelled') return null;
  const info = snapshot['error_info'];
  return {
    status,
    result: String(snapshot['result'] ?? ''),
    errorInfo: Array.isArray(info) ? info.map(String) : [],
  };
}
