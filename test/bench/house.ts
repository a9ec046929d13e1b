/** Lifeboat as src/main.ts puts it together, with settings made here and an array that answers at once. */

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { TargetsCatalog } from '../../src/adapters/catalog/catalog.ts';
import { LocalStore } from '../../src/adapters/catalog/local-store.ts';
import { JournalFiles } from '../../src/adapters/journal/journal-files.ts';
import { SqliteInbox } from '../../src/adapters/state/sqlite-inbox.ts';
import { SqliteSchedule } from '../../src/adapters/state/sqlite-schedule.ts';
import { SqliteStates } from '../../src/adapters/state/sqlite-states.ts';
import { SqliteWatch } from '../../src/adapters/state/sqlite-watch.ts';
import { systemClock } from '../../src/adapters/system/clock.ts';
import { systemEntropy } from '../../src/adapters/system/entropy.ts';
import { shelve } from '../../src/adapters/system/reports.ts';
import { openHypervisor } from '../../src/adapters/xenapi/hypervisor.ts';
import type { App } from '../../src/app/app.ts';
import { createApp } from '../../src/app/create-app.ts';
import type { Capabilities, Exposed, PairView, ReplicaPoint } from '../../src/domain/replication.ts';
import type { GroupSettings, ScopeMatch, Settings, TierSettings } from '../../src/domain/settings.ts';
import type { Hypervisor } from '../../src/ports/hypervisor.ts';
import type { Replication } from '../../src/ports/replication.ts';
import type { Clock } from '../../src/ports/system.ts';
import { noGuests } from '../support/guests.ts';
import { noHome } from '../support/home.ts';
import type { PoolAddress } from './lab.ts';
import { networkNames, recoveryNetworkOf, srNames } from './world.ts';

const noMatch: ScopeMatch = { names: [], patterns: [], tags: [], folders: [], srs: [], uuids: [] };

const firstTier: TierSettings = {
  name: 'first',
  vms: { ...noMatch, names: ['first-*'] },
  ready: [{ gate: 'running' }],
  timeoutSeconds: 300,
  onTimeout: 'stop',
};

export interface House {
  readonly app: App;
  readonly catalog: TargetsCatalog;
  readonly group: GroupSettings;
  hypervisor(site: string): Hypervisor;
  close(): Promise<void>;
}

/** Where pools are and how to log in there: a lab, or what another process knows of one. */
export interface Pools {
  readonly username: string;
  readonly password: string;
  readonly pools: Readonly<Record<string, PoolAddress>>;
}

export interface HouseOptions {
  readonly lab: Pools;
  readonly recovery: string;
  readonly stateDirectory: string;
  readonly catalogDirectory: string;
  /** The VMs of each group, by uuid; one group of all VMs when absent. */
  readonly groups?: readonly (readonly string[])[];
  /** Of Lifeboat; the system's when absent. */
  readonly clock?: Clock;
  /** Whether a failover starts the VMs, or leaves all of them halted. */
  readonly starts?: boolean;
}

const groupName = 'everything';

export function openHouse(options: HouseOptions): House {
  const { lab, recovery, stateDirectory, catalogDirectory, starts = true, clock = systemClock } = options;
  mkdirSync(stateDirectory, { recursive: true, mode: 0o700 });
  const group: GroupSettings = {
    name: groupName,
    production: 'production',
    recovery,
    scope: { include: { ...noMatch, names: ['*'] }, exclude: noMatch },
    storage: srNames.map((sr) => ({
      sr,
      source: { array: 'here', volume: sr },
      target: { array: 'there', volume: sr },
    })),
    rpoSeconds: 900,
    rtoSeconds: 3600,
    networks: networkNames.map((production) => ({
      production,
      recovery: recoveryNetworkOf(production),
      drill: null,
      drillAtProduction: null,
    })),
    plan: {
      file: null,
      tiers: starts ? [firstTier] : [],
      others: starts ? 'last' : 'leave-halted',
      honourStartDelay: true,
    },
    retention: { last: 3, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0, maxAgeSeconds: null },
  };
  const site = (name: string): Settings['sites'][number] => {
    const address = lab.pools[name];
    if (address === undefined) throw new Error(`there is no pool ${name}`);
    const { url, fingerprint, uuid } = address;
    return {
      name,
      title: name,
      pool: {
        hosts: [{ url, fingerprint }],
        username: lab.username,
        password: { from: 'env', name: 'UNUSED' },
        poolUuid: uuid,
        caFile: null,
        transport: 'auto',
        maxRequests: 4,
      },
    };
  };
  const settings: Settings = {
    file: 'sites.yaml',
    digest: 'bench',
    stateDirectory,
    sites: ['production', recovery].map(site),
    arrays: [],
    groups: options.groups?.map((uuids, index) => ({
      ...group,
      name: `group-${index}`,
      scope: { include: { ...noMatch, uuids }, exclude: noMatch },
    })) ?? [group],
    catalog: { targets: [], encryption: { passphrase: { from: 'env', name: 'UNUSED' } } },
    secretsFile: join(stateDirectory, 'secrets'),
  };
  const hypervisors = new Map(
    settings.sites.map((site) => [
      site.name,
      openHypervisor({
        site: site.name,
        pool: site.pool,
        password: async () => lab.password,
        clock: systemClock,
      }),
    ]),
  );
  const hypervisor = (site: string): Hypervisor => {
    const found = hypervisors.get(site);
    if (found === undefined) throw new Error(`no site ${site}`);
    return found;
  };
  const catalog = new TargetsCatalog({
    targets: [new LocalStore('near', catalogDirectory)],
    key: async () => ({ from: 'passphrase', passphrase: 'a passphrase of the bench' }),
    now: () => systemClock.now(),
  });
  const states = new SqliteStates(join(stateDirectory, 'state.sqlite'), systemClock, systemEntropy);
  const ledger = new SqliteSchedule(join(stateDirectory, 'state.sqlite'));
  const watch = new SqliteWatch(join(stateDirectory, 'state.sqlite'));
  const inbox = new SqliteInbox(join(stateDirectory, 'state.sqlite'), systemClock);
  const arrays = new Map(['here', 'there'].map((name) => [name, arrayThatAnswersAtOnce(name)]));
  const app = createApp({
    settings,
    version: 'bench',
    clock,
    entropy: systemEntropy,
    journals: new JournalFiles(join(stateDirectory, 'runs')),
    states: async () => states,
    inbox: async () => inbox,
    hypervisor: async (site) => hypervisor(site),
    array: async (name) => {
      const array = arrays.get(name);
      if (array === undefined) throw new Error(`no array ${name}`);
      return array;
    },
    catalog: async () => catalog,
    foreign: { read: () => Promise.reject(new Error('no backup is imported here')) },
    secretStore: { list: async () => [], set: async () => undefined, remove: async () => false },
    probeTcp: async () => true,
    ...noGuests,
    clockwork: { ledger: async () => ledger, shelve },
    watching: {
      store: async () => watch,
      notifier: (channel) => {
        throw new Error(`nobody is told of anything here, on channel ${channel.name} neither`);
      },
    },
    home: noHome,
    close: async () => {
      await Promise.all([...hypervisors.values()].map((open) => open.close()));
      await catalog.close();
      states.close();
      inbox.close();
      ledger.close();
      watch.close();
    },
  });
  return { app, catalog, group, hypervisor, close: () => app.close() };
}

/** Arrays are not what is measured here: this one has a point from the moment at which it was made. */
function arrayThatAnswersAtOnce(name: string): Replication {
  const promoted = new Set<string>();
  const takenAt = systemClock.now();
  const point: ReplicaPoint = {
    ref: `point-${takenAt}`,
    takenAt,
    clock: 'source',
    complete: true,
    consistency: 'crash',
  };
  const view = (volume: string): PairView => ({
    pair: { array: name, volume },
    observedAt: systemClock.now(),
    role: promoted.has(volume) ? 'promoted' : name === 'here' ? 'source' : 'target',
    link: 'up',
    health: { level: 'ok', reasons: [] },
    newestComplete: name === 'there' ? point : null,
    writable: promoted.has(volume) || name === 'here',
    reportedLagSeconds: null,
    raw: null,
  });
  const exposed = (volume: string): Exposed => ({
    kind: 'nfs',
    server: 'storage.production',
    path: `/volumes/${volume}`,
  });
  return {
    array: name,
    identify: async () => ({ vendor: 'bench', model: 'none', serial: '1', clock: systemClock.now() }),
    capabilities: async () => benchCapabilities,
    discover: async () => srNames.map((volume) => ({ volume, role: view(volume).role, peer: null })),
    observe: async (volume) => view(volume),
    observeAll: async (volumes) => new Map(volumes.map((volume) => [volume, view(volume)])),
    points: async () => [point],
    syncNow: async () => point,
    prepare: async () => point,
    unprepare: async () => undefined,
    promote: async (volume) => {
      promoted.add(volume);
    },
    divergence: async () => ({ common: point, pointsLost: 0, bytesLost: 0, says: [] }),
    demote: async () => undefined,
    reverse: async () => point,
    restore: async (volume) => {
      promoted.delete(volume);
    },
    expose: async (volume) => exposed(volume),
    conceal: async () => undefined,
    drillStart: async (volume) => exposed(volume),
    drillStop: async () => undefined,
    drillList: async () => [],
    fence: async () => undefined,
    close: async () => undefined,
  };
}

const benchCapabilities: Capabilities = {
  syncNow: true,
  drill: 'clone',
  drillPausesTransfer: false,
  promoteToPoint: true,
  prepare: true,
  reverse: 'incremental',
  restore: true,
  consistencyGroups: false,
  fence: true,
  expose: 'nfs',
};
