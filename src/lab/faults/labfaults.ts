/** The faults of a lab: rules, lasting troubles of the world, and the ledger of what was asked. */
import type { Row } from '../core/database.ts';
import { fail, XenFailure } from '../core/failure.ts';
import type { Lab } from '../core/lab.ts';
import type { LabHost, LabPool } from '../core/pool.ts';
import type { Call } from '../core/registry.ts';
import type { Wrap } from '../core/wrap.ts';
import { forgetIds } from '../transfer/selection.ts';
import { type ActiveFault, FaultEngine, hostFits } from './engine.ts';
import { CallLedger } from './record.ts';
import { type FaultAction, type FaultInput, fits } from './rule.ts';
import { faultWrap } from './wrap.ts';

interface PlugRefusal {
  readonly host: string;
  readonly sr: string | undefined;
  readonly code: string;
  readonly params: readonly string[];
}

export class LabFaults {
  readonly #lab: Lab;
  readonly #engine: FaultEngine;
  /** Every request with its outcome, and counts. */
  readonly ledger = new CallLedger();
  /** SRs without room: the reference and what was used before. */
  readonly #full = new Map<Row, bigint>();
  #refusals: PlugRefusal[] = [];

  constructor(lab: Lab) {
    this.#lab = lab;
    this.#engine = new FaultEngine({
      world: (action, pool) => this.#changeWorld(action, pool),
      poolNamed: (name) => lab.pool(name),
    });
  }

  /**
   * Puts a fault in force (JSON form: rule.ts) and returns its id.
   *
   * @throws Error that lists every problem of the rule, one line each
   */
  add(fault: FaultInput): Promise<string> {
    return this.#engine.add(fault);
  }

  /** False when no fault has this id. */
  remove(id: string): boolean {
    return this.#engine.remove(id);
  }

  /** Takes all rules and lasting troubles back; what burnt stays burnt. */
  clear(): void {
    this.#engine.clear();
    this.#refusals = [];
    this.#lab.refusing.clear();
    for (const [sr, used] of this.#full) if (sr.alive) sr.set({ physical_utilisation: used });
    this.#full.clear();
  }

  /** Rules in force, with how often each was met. */
  get active(): readonly ActiveFault[] {
    return this.#engine.active;
  }

  /** Rules first, then the lasting troubles. */
  wraps(): readonly Wrap[] {
    return [
      faultWrap(this.#engine),
      {
        message: (call, next) => {
          this.#assertRoom(call);
          this.#assertPluggable(call);
          return next();
        },
      },
    ];
  }

  #assertRoom(call: Call): void {
    if (this.#full.size === 0) return;
    for (const sr of allocatesIn(call))
      if (this.#full.has(sr)) fail('SR_BACKEND_FAILURE_44', '', 'There is insufficient space', '');
  }

  #assertPluggable(call: Call): void {
    if (this.#refusals.length === 0 || call.method !== 'PBD.plug') return;
    const pbd = call.pool.db.find('PBD', call.text(0));
    const host = pbd === undefined ? undefined : call.pool.hostOf(pbd.text('host'));
    const sr = pbd?.row('SR', 'SR');
    for (const refusal of this.#refusals) {
      const here = host !== undefined && hostFits(refusal.host, host);
      if (here && (refusal.sr === undefined || (sr !== undefined && named(sr, refusal.sr))))
        throw new XenFailure(refusal.code, refusal.params);
    }
  }

  async #changeWorld(action: FaultAction, pool: LabPool | null): Promise<void> {
    switch (action.kind) {
      case 'change-master':
        return this.#changeMaster(needed(pool, action.kind), action.to);
      case 'restart-toolstack':
        return this.#restart(needed(pool, action.kind));
      case 'kill-site':
        return this.#lab.killSite(needed(pool, action.kind).site);
      case 'fill-sr':
        return this.#fill(pool, action.sr);
      case 'refuse-plug':
        this.#refusals.push({
          host: action.host,
          sr: action.sr,
          code: action.code,
          params: action.params,
        });
        return;
      case 'refuse-tls':
        for (const host of this.#hosts(pool, action.host)) this.#lab.refusing.add(host);
        return;
      default:
        return;
    }
  }

  /** Sessions, tasks and the numbering of exports are gone, and connections break; guests run on. */
  #restart(pool: LabPool): void {
    this.#lab.restartToolstack(pool.master);
    this.#forget(pool);
  }

  #changeMaster(pool: LabPool, to: string | undefined): void {
    const old = pool.master;
    const next = pool.hosts.find((h) => h !== old && h.up && (to === undefined || hostFits(to, h)));
    if (next === undefined)
      throw new Error(`pool ${pool.name} has no other living host${to ? ` ${to}` : ''}`);
    this.#lab.changeMaster(pool, next);
    this.#lab.restartToolstack(old);
    this.#forget(pool);
  }

  #forget(pool: LabPool): void {
    pool.db.wipe('session');
    pool.db.wipe('task');
    forgetIds(pool);
  }

  #fill(pool: LabPool | null, name: string): void {
    const pools = pool === null ? [...this.#lab.pools.values()] : [pool];
    const srs = pools.flatMap((p) => p.db.all('SR')).filter((sr) => named(sr, name));
    if (srs.length === 0) throw new Error(`no SR is called ${name}`);
    for (const sr of srs) {
      if (this.#full.has(sr)) continue;
      this.#full.set(sr, sr.int('physical_utilisation'));
      sr.set({ physical_utilisation: sr.int('physical_size') });
    }
  }

  #hosts(pool: LabPool | null, name: string | undefined): LabHost[] {
    const pools = pool === null ? [...this.#lab.pools.values()] : [pool];
    const hosts = pools.flatMap((p) => p.hosts).filter((h) => name === undefined || hostFits(name, h));
    if (hosts.length === 0) throw new Error(`no host is called ${name ?? ''}`);
    return hosts;
  }
}

function needed(pool: LabPool | null, what: string): LabPool {
  if (pool === null) throw new Error(`fault: ${what} needs a pool`);
  return pool;
}

function named(row: Row, pattern: string): boolean {
  return fits(pattern, row.uuid) || fits(pattern, row.text('name_label'));
}

/** SRs in which a call would take room. */
function allocatesIn(call: Call): Row[] {
  const { db } = call.pool;
  const srOf = (vdi: string): Row | undefined => db.find('VDI', vdi)?.row('SR', 'SR');
  const found: (Row | undefined)[] = [];
  switch (call.method) {
    case 'VDI.create': {
      const sr = call.struct(0)['SR'];
      found.push(typeof sr === 'string' ? db.find('SR', sr) : undefined);
      break;
    }
    case 'VDI.copy':
      found.push(db.find('SR', call.text(1)) ?? srOf(call.text(0)));
      break;
    case 'VDI.snapshot':
    case 'VDI.clone':
    case 'VDI.resize':
      found.push(srOf(call.text(0)));
      break;
    case 'VM.snapshot':
    case 'VM.checkpoint':
    case 'VM.clone':
    case 'VM.copy':
    case 'VM.provision':
      for (const vbd of db.find('VM', call.text(0))?.rows('VBDs', 'VBD') ?? []) {
        if (vbd.text('type') === 'Disk') found.push(srOf(vbd.text('VDI')));
      }
      break;
    default:
  }
  return found.filter((sr) => sr !== undefined);
}
