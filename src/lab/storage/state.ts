/** What the storage part remembers of a pool beside its database: attached backends and pretended shortages. */
import type { Row } from '../core/database.ts';
import { fail } from '../core/failure.ts';
import type { LabHost, LabPool } from '../core/pool.ts';
import { struct } from '../core/values.ts';
import type { Backend, Context, Driver } from './driver.ts';
import { drivers } from './drivers.ts';

export interface StorageState {
  /** By PBD reference. */
  readonly attached: Map<string, Backend>;
  /** References of SRs that pretend to have no room. */
  readonly full: Set<string>;
  /** Seconds between runs of the collector and the background scanner (xapi.md 7.2, 7.9: about 30). */
  collectorSeconds: number;
  /** SR types whose storage managers the hosts have. */
  readonly types: Set<string>;
}

const states = new WeakMap<LabPool, StorageState>();

export function storageState(pool: LabPool): StorageState {
  const known = states.get(pool);
  if (known !== undefined) return known;
  const made: StorageState = {
    attached: new Map(),
    full: new Set(),
    collectorSeconds: 30,
    types: new Set(),
  };
  states.set(pool, made);
  return made;
}

/** `SR_UNKNOWN_DRIVER [type]` for a type without driver in this pool. */
export function driverOf(pool: LabPool, type: string): Driver {
  const name = type.toLowerCase();
  const driver = storageState(pool).types.has(name) ? drivers.get(name) : undefined;
  return driver ?? fail('SR_UNKNOWN_DRIVER', name);
}

/** The host of a PBD or a probe, alive; `HOST_OFFLINE [host]` otherwise. */
export function liveHost(pool: LabPool, ref: string): LabHost {
  const host = pool.hostOf(ref);
  if (host === undefined || !hasPower(host)) fail('HOST_OFFLINE', ref);
  return host;
}

/** A host that was not killed; it need not listen yet. */
export function hasPower(host: LabHost): boolean {
  return host.row.row('metrics', 'host_metrics')?.bool('live') === true;
}

/** A device_config with the clear texts of its secrets, as a driver needs it. */
export function contextOf(
  pool: LabPool,
  host: LabHost,
  deviceConfig: Readonly<Record<string, string>>,
  smConfig: Readonly<Record<string, string>>,
): Context {
  const clear = struct(deviceConfig) as Record<string, string>;
  for (const [key, value] of Object.entries(deviceConfig)) {
    if (!key.endsWith('_secret')) continue;
    clear[key.slice(0, -'_secret'.length)] = pool.db.byUuid('secret', value).text('value');
    delete clear[key];
  }
  return { pool, host, deviceConfig: clear, smConfig };
}

/** Plugged PBDs of an SR, the master's first. */
export function pluggedPbds(pool: LabPool, sr: Row): Row[] {
  const master = pool.row.text('master');
  return sr
    .rows('PBDs', 'PBD')
    .filter((pbd) => pbd.bool('currently_attached'))
    .sort((a, b) => Number(b.text('host') === master) - Number(a.text('host') === master));
}

/** The attached backend of an SR; `SR_HAS_NO_PBDS [sr]` when it is plugged nowhere. */
export function backendOf(pool: LabPool, sr: Row): Backend {
  const { attached } = storageState(pool);
  for (const pbd of pluggedPbds(pool, sr)) {
    const backend = attached.get(pbd.ref);
    const host = pool.hostOf(pbd.text('host'));
    if (backend !== undefined && host !== undefined && hasPower(host)) return backend;
  }
  fail('SR_HAS_NO_PBDS', sr.ref);
}

/** The backend through which one host reaches an SR. */
export function backendOn(pool: LabPool, sr: Row, hostRef: string): Backend | null {
  const pbd = sr.rows('PBDs', 'PBD').find((row) => row.text('host') === hostRef);
  if (pbd === undefined || !pbd.bool('currently_attached')) return null;
  return storageState(pool).attached.get(pbd.ref) ?? null;
}

/** From now on the SR has no room, or has again. */
export function pretendFull(pool: LabPool, sr: Row, full: boolean): void {
  const { full: set } = storageState(pool);
  if (full) set.add(sr.ref);
  else set.delete(sr.ref);
}

/** A plugged SR of records only, as benches make them: nothing lies behind it. */
export function isBare(pool: LabPool, sr: Row): boolean {
  const { attached } = storageState(pool);
  const plugged = pluggedPbds(pool, sr);
  return plugged.length > 0 && plugged.every((pbd) => !attached.has(pbd.ref));
}
