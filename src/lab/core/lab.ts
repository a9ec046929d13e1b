/** A running lab: pools, servers, faults of whole hosts and sites, and the log of what was asked. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { LabCosts } from '../cost/costs.ts';
import { LabFaults } from '../faults/labfaults.ts';
import { type HostServer, hostServer, type Interceptor, type Observer } from '../server/http.ts';
import { type LabClock, realClock } from './clock.ts';
import type { Row } from './database.ts';
import type { CallEntry, Credentials, LabHost, LabPool } from './pool.ts';
import { Registry } from './registry.ts';
import { nullRef } from './values.ts';

export interface LabOptions {
  readonly clock?: LabClock;
  /** Loopback port of every host (each has its own loopback address); 0 takes a free one. */
  readonly port?: number;
  /** Directory of the storage; must exist or be creatable. */
  readonly storage: string;
  readonly credentials?: Credentials;
  /** Everything takes as long as on a real xapi (src/lab/cost). */
  readonly costs?: boolean;
}

export class Lab {
  readonly registry = new Registry();
  readonly pools = new Map<string, LabPool>();
  readonly clock: LabClock;
  /** True when no other clock was given. */
  readonly runsInRealTime: boolean;
  readonly storage: string;
  readonly credentials: Credentials;
  /** Names of the parts that have been added. */
  readonly installed = new Set<string>();
  /** Asked before every request is served (src/lab/faults sets it). */
  intercept: Interceptor | null = null;
  /** Told of every request and of its outcome (src/lab/faults sets it). */
  observe: Observer = () => () => undefined;
  /** Hosts that break off every connection before TLS (src/lab/faults). */
  readonly refusing = new Set<LabHost>();
  readonly faults = new LabFaults(this);
  readonly costs = new LabCosts(this);
  /** Told of every pool before it has a record: the place for `db.onChange`. */
  readonly onPool: ((pool: LabPool) => void)[] = [];
  /** Told when a host has lost its power, and when it answers again. */
  readonly onPower: ((host: LabHost, up: boolean) => void)[] = [];
  /** Told when a whole site has lost its power or has it again: what is no host of a pool, such as arrays. */
  readonly onSite: ((site: string, up: boolean) => void | Promise<void>)[] = [];
  /** Run by `stop`: servers and timers of the parts. */
  readonly onStop: (() => void | Promise<void>)[] = [];
  #port: number;
  readonly #fixed: boolean;
  readonly #servers = new Map<LabHost, HostServer>();
  #log: CallEntry[] = [];
  readonly #counts = new Map<string, number>();

  constructor(options: LabOptions) {
    this.clock = options.clock ?? realClock();
    this.runsInRealTime = options.clock === undefined;
    this.storage = options.storage;
    this.credentials = options.credentials ?? { username: 'root', password: 'lifeboat-lab' };
    this.#port = options.port ?? 0;
    this.#fixed = this.#port !== 0;
    if (options.costs === true) this.costs.enable();
    mkdirSync(this.storage, { recursive: true, mode: 0o700 });
  }

  get port(): number {
    return this.#port;
  }

  pool(name: string): LabPool {
    const pool = this.pools.get(name);
    if (pool === undefined) throw new Error(`the lab has no pool ${name}`);
    return pool;
  }

  host(name: string): LabHost {
    for (const pool of this.pools.values()) {
      const host = pool.hosts.find((h) => h.name === name);
      if (host !== undefined) return host;
    }
    throw new Error(`the lab has no host ${name}`);
  }

  url(host: LabHost): string {
    return `https://${host.address}:${host.port}`;
  }

  /** A directory of the lab's storage, made when missing. */
  directory(...parts: string[]): string {
    const path = join(this.storage, ...parts);
    mkdirSync(path, { recursive: true, mode: 0o700 });
    return path;
  }

  /** Lets every host listen, all on one port. */
  async listen(): Promise<void> {
    const hosts = [...this.pools.values()].flatMap((p) => p.hosts);
    for (let attempt = 0; ; attempt += 1) {
      try {
        for (const host of hosts) await this.#open(host);
        return;
      } catch (error) {
        await this.stop();
        if (this.#fixed || attempt > 20) throw error;
        this.#port = 0;
      }
    }
  }

  async #open(host: LabHost): Promise<void> {
    const made = hostServer(host, {
      log: (entry) => this.#note(entry),
      observe: (given) => this.observe(given),
      accepts: (given, key) => {
        if (this.refusing.has(given)) return false;
        this.costs.connected(key);
        return true;
      },
      first: (key) => this.costs.handshake(key),
      intercept: (given) => this.intercept?.(given) ?? Promise.resolve('go on'),
    });
    await new Promise<void>((resolve, reject) => {
      made.server.once('error', reject);
      made.server.listen(this.#port, host.address, () => {
        made.server.off('error', reject);
        resolve();
      });
    });
    const bound = made.server.address();
    if (bound !== null && typeof bound === 'object') host.port = bound.port;
    this.#port = host.port;
    host.up = true;
    this.#servers.set(host, made);
  }

  #note(entry: CallEntry): void {
    this.#log.push(entry);
    if (this.#log.length > 20_000) this.#log = this.#log.slice(-10_000);
    this.#counts.set(entry.method, (this.#counts.get(entry.method) ?? 0) + 1);
  }

  /** The last requests, oldest first. */
  get calls(): readonly CallEntry[] {
    return this.#log;
  }

  /** How often each call was made since the start or the last `forgetCalls`. */
  get counts(): ReadonlyMap<string, number> {
    return this.#counts;
  }

  forgetCalls(): void {
    this.#log = [];
    this.#counts.clear();
  }

  /**
   * The host's power is cut: connections break, the socket refuses, its guests stop running. The pool's database keeps
   * them as Running on that host, as xapi does, until the host is back or somebody resets their power state.
   */
  async killHost(host: LabHost): Promise<void> {
    const running = this.#servers.get(host);
    if (running === undefined) return;
    this.#servers.delete(host);
    host.up = false;
    host.row.row('metrics', 'host_metrics')?.set({ live: false });
    for (const listener of this.onPower) listener(host, false);
    await running.close();
  }

  /** The host boots again: a master comes up without sessions and tasks, and no guest runs on it any more. */
  async reviveHost(host: LabHost): Promise<void> {
    if (this.#servers.has(host)) return;
    if (host.pool.master === host) this.#forgetRuntime(host.pool);
    host.localSessions.clear();
    for (const vm of host.row.rows('resident_VMs', 'VM')) if (!vm.bool('is_control_domain')) stopped(vm);
    host.row.row('metrics', 'host_metrics')?.set({ live: true, last_updated: host.pool.now() });
    await this.#open(host);
    for (const listener of this.onPower) listener(host, true);
  }

  #forgetRuntime(pool: LabPool): void {
    for (const cls of ['VM', 'VM_appliance', 'SR', 'VDI', 'VBD', 'VIF', 'host', 'pool'])
      for (const row of pool.db.all(cls))
        if (Object.keys(row.map('current_operations')).length > 0) row.set({ current_operations: {} });
    pool.db.wipe('task');
    pool.db.wipe('session');
  }

  /** xapi on one host starts anew: its connections break; on the master all sessions and tasks are lost (xapi.md 2.1). */
  restartToolstack(host: LabHost): void {
    this.#servers.get(host)?.dropConnections();
    host.localSessions.clear();
    if (host.pool.master === host) this.#forgetRuntime(host.pool);
  }

  /** Another host becomes master; sessions and tasks are lost, and the token series of events with them. */
  changeMaster(pool: LabPool, host: LabHost): void {
    if (pool.master === host) return;
    pool.row.set({ master: host.row.ref });
    this.#forgetRuntime(pool);
  }

  /** The same once the answer to the call that asked for it is out. */
  restartToolstackSoon(host: LabHost): void {
    setImmediate(() => this.restartToolstack(host));
  }

  changeMasterSoon(pool: LabPool, host: LabHost): void {
    setImmediate(() => this.changeMaster(pool, host));
  }

  hostsOfSite(site: string): LabHost[] {
    const hosts = [...this.pools.values()].filter((p) => p.site === site).flatMap((p) => p.hosts);
    if (hosts.length === 0) throw new Error(`the lab has no site ${site}`);
    return hosts;
  }

  async killSite(site: string): Promise<void> {
    await Promise.all(this.hostsOfSite(site).map((host) => this.killHost(host)));
    for (const listener of this.onSite) await listener(site, false);
  }

  async reviveSite(site: string): Promise<void> {
    for (const listener of this.onSite) await listener(site, true);
    for (const host of this.hostsOfSite(site)) await this.reviveHost(host);
  }

  /** Ends everything; the storage stays. */
  async stop(): Promise<void> {
    for (const listener of this.onStop.splice(0)) await listener();
    const running = [...this.#servers];
    this.#servers.clear();
    await Promise.all(
      running.map(async ([host, made]) => {
        host.up = false;
        await made.close();
      }),
    );
  }
}

/** A guest whose host lost its power. */
function stopped(vm: Row): void {
  for (const vbd of vm.rows('VBDs', 'VBD'))
    if (vbd.bool('currently_attached')) vbd.set({ currently_attached: false });
  for (const vif of vm.rows('VIFs', 'VIF'))
    if (vif.bool('currently_attached')) vif.set({ currently_attached: false });
  vm.set({ power_state: 'Halted', resident_on: nullRef, domid: -1n, current_operations: {} });
}
