/** The cost model of a lab: one core per pool, prices round every call, a handshake for every connection. */
import { Row } from '../core/database.ts';
import { type Answer, Counter } from '../core/encode.ts';
import type { Lab } from '../core/lab.ts';
import type { LabPool } from '../core/pool.ts';
import type { Call, HttpExchange } from '../core/registry.ts';
import { DateTime } from '../core/values.ts';
import type { Wrap } from '../core/wrap.ts';
import { isDefaultTemplate } from '../transfer/export.ts';
import { optionsOf } from '../transfer/import.ts';
import { sizeOf } from '../transfer/stats.ts';
import { Core, HostWorkers } from './core.ts';
import {
  answerCost,
  type Cost,
  callCost,
  dumpCost,
  exportAllCost,
  exportOneCost,
  figures,
  importCost,
  type PoolSize,
} from './figures.ts';
import { SkippingClock } from './skipping.ts';
import { type SimulatedTime, timeOf } from './time.ts';

/** Calls whose price depends on the disks that are there afterwards. */
const paidAfterwards = new Set(['PBD.plug', 'SR.scan']);
const starts = new Set(['VM.start', 'VM.start_on']);

export class LabCosts {
  readonly #lab: Lab;
  readonly #cores = new Map<LabPool, Core>();
  readonly #accepted = new Map<string, number>();
  readonly #hosts = new WeakMap<Row, HostWorkers>();
  #time: SimulatedTime | null = null;
  /**
   * What a host needs for each start, beside the pool's core; 0 by default, since nobody measured it (performance.md 6:
   * the simulator boots nothing; real starts last seconds, and xenopsd works on four at a time).
   */
  hostStartSeconds = 0;
  #ownMillis = 0;

  constructor(lab: Lab) {
    this.#lab = lab;
  }

  get enabled(): boolean {
    return this.#time !== null;
  }

  /** From now on everything has its price. The lab's clock says how time passes. */
  enable(): void {
    this.#time ??= timeOf(this.#lab.runsInRealTime ? null : this.#lab.clock);
  }

  disable(): void {
    this.#time = null;
    this.#cores.clear();
    this.#accepted.clear();
  }

  /** Simulated seconds since the model was switched on; 0 without it. */
  now(): number {
    return this.#time?.now() ?? 0;
  }

  /** Seconds of work that the pool's core has done for requests. */
  busySeconds(pool: LabPool | string): number {
    return this.#known(pool)?.busySeconds ?? 0;
  }

  /** Seconds by which answers of a pool came later than their price: what the lab adds of its own. */
  lateSeconds(pool: LabPool | string): number {
    return this.#known(pool)?.lateSeconds ?? 0;
  }

  /** Real seconds that the lab's handlers took, waiting for events left out; hidden behind prices where they fit. */
  get ownSeconds(): number {
    return this.#ownMillis / 1000;
  }

  #known(pool: LabPool | string): Core | undefined {
    return this.#cores.get(typeof pool === 'string' ? this.#lab.pool(pool) : pool);
  }

  #core(pool: LabPool, time: SimulatedTime): Core {
    const known = this.#cores.get(pool);
    if (known !== undefined) return known;
    const made = new Core(time);
    this.#cores.set(pool, made);
    return made;
  }

  /** A connection came in: its handshake begins. */
  connected(key: string): void {
    if (this.#time !== null) this.#accepted.set(key, this.#time.now());
  }

  /** The first request of a connection waits for the handshake, which takes place beside the core. */
  async handshake(key: string): Promise<void> {
    const at = this.#accepted.get(key);
    if (at === undefined || this.#time === null) return;
    this.#accepted.delete(key);
    await this.#time.until(at + figures.handshake);
  }

  noteActivity(): void {
    if (this.#lab.clock instanceof SkippingClock) this.#lab.clock.noteActivity();
  }

  /** Stands inside the faults: what a fault stops costs nothing. */
  wrap(): Wrap {
    return {
      message: (call, next) => {
        const time = this.#time;
        return time === null ? next() : this.#message(call, next, time);
      },
      http: (exchange, next) => {
        const time = this.#time;
        return time === null ? next(exchange) : this.#http(exchange, next, time);
      },
    };
  }

  async #message(call: Call, next: () => Promise<Answer>, time: SimulatedTime): Promise<Answer> {
    const { pool, method } = call;
    const core = this.#core(pool, time);
    const arrived = time.now();
    if (!paidAfterwards.has(method))
      await core.pay(callCost(method, sizeOfPool(pool), disksOfSr(call)), arrived);
    const began = performance.now();
    const atHandler = time.now();
    const answer = await next();
    if (method !== 'event.from') this.#ownMillis += performance.now() - began;
    if (starts.has(method)) await this.#onHost(call, time);
    if (paidAfterwards.has(method))
      await core.pay(callCost(method, sizeOfPool(pool), disksOfSr(call)), arrived);
    else await core.pay(priceOfAnswer(answer), method === 'event.from' ? time.now() : atHandler);
    return answer;
  }

  async #onHost({ pool, params }: Call, time: SimulatedTime): Promise<void> {
    const vm = typeof params[0] === 'string' ? pool.db.find('VM', params[0]) : undefined;
    const host = vm?.row('resident_on', 'host');
    if (host === undefined || this.hostStartSeconds === 0) return;
    const workers = this.#hosts.get(host) ?? new HostWorkers();
    this.#hosts.set(host, workers);
    await time.beside(workers.endOf(time.now(), this.hostStartSeconds));
  }

  async #http(
    exchange: HttpExchange,
    next: (exchange: HttpExchange) => Promise<string>,
    time: SimulatedTime,
  ): Promise<string> {
    const { pool, query, path } = exchange;
    const core = this.#core(pool, time);
    const arrived = time.now();
    const before = sizeOfPool(pool);
    const price = (): Cost => {
      const size = sizeOf(exchange.task);
      if (path === '/import_metadata')
        return importCost(before, size ?? { vms: 0, vdis: 0 }, optionsOf(query));
      if (path === '/pool/xmldbdump') return dumpCost(before);
      if (path !== '/export_metadata') return callCost('VM.get_record', before, 0);
      return query.get('all') === 'true' ? exportAllCost(size?.vms ?? 0) : exportOneCost(before);
    };
    let paid = false;
    let ended = false;
    const pay = async (): Promise<void> => {
      if (paid) return;
      paid = true;
      this.#ownMillis += performance.now() - began;
      await core.pay(price(), arrived);
    };
    const given: HttpExchange = {
      pool,
      host: exchange.host,
      method: exchange.method,
      path,
      query,
      headers: exchange.headers,
      cookies: exchange.cookies,
      session: exchange.session,
      task: exchange.task,
      body: exchange.body,
      signal: exchange.signal,
      get started() {
        return exchange.started;
      },
      start: (status, headers) => exchange.start(status, headers),
      write: async (chunk) => {
        await pay();
        await exchange.write(chunk);
      },
      end: () => {
        ended = true;
      },
      cut: () => exchange.cut(),
    };
    const began = performance.now();
    try {
      return await next(given);
    } finally {
      await pay();
      if (ended) exchange.end();
    }
  }
}

function priceOfAnswer(answer: Answer): Cost {
  const { objects, references } = contents(answer);
  return { cpuSeconds: answerCost(objects, references), elsewhereSeconds: 0 };
}

/** Records and events of an answer, and bare references. */
function contents(answer: Answer): { objects: number; references: number } {
  if (answer instanceof Row) return { objects: 1, references: 0 };
  if (Array.isArray(answer)) {
    const objects = answer.filter((item) => typeof item === 'object').length;
    return { objects, references: answer.length - objects };
  }
  if (typeof answer !== 'object' || answer instanceof DateTime || answer instanceof Counter)
    return { objects: 0, references: 0 };
  let objects = 0;
  for (const member of Object.values(answer)) {
    if (member instanceof Row) objects += 1;
    else if (Array.isArray(member)) objects += contents(member).objects;
  }
  return { objects, references: 0 };
}

const sizes = new WeakMap<LabPool, { rows: number; vms: number }>();

function sizeOfPool(pool: LabPool): PoolSize {
  const { db } = pool;
  const rows = db.count('VM');
  const known = sizes.get(pool);
  if (known !== undefined && known.rows === rows) return { vms: known.vms, vdis: db.count('VDI') };
  const vms = db.all('VM').filter((vm) => !isDefaultTemplate(vm)).length;
  sizes.set(pool, { rows, vms });
  return { vms, vdis: db.count('VDI') };
}

/** VDIs of the SR that the first parameter names, directly or through a PBD. */
function disksOfSr(call: Call): number {
  const [first] = call.params;
  if (typeof first !== 'string') return 0;
  const { db } = call.pool;
  const sr = db.find('SR', first) ?? db.find('PBD', first)?.row('SR', 'SR');
  return sr?.texts('VDIs').length ?? 0;
}
