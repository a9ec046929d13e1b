/** The application in this process, over real adapters, on a lab with few guests: as src/main.ts puts it together. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { openBackupImages } from '../../src/adapters/backup-vdi/open.ts';
import { factsOfBackup } from '../../src/adapters/backup-vdi/read-facts.ts';
import { TargetsCatalog } from '../../src/adapters/catalog/catalog.ts';
import { LocalStore } from '../../src/adapters/catalog/local-store.ts';
import { openDom0 } from '../../src/adapters/dom0/open.ts';
import { JournalFiles } from '../../src/adapters/journal/journal-files.ts';
import { openReplication } from '../../src/adapters/replication/open.ts';
import { SqliteInbox } from '../../src/adapters/state/sqlite-inbox.ts';
import { SqliteRehearsals } from '../../src/adapters/state/sqlite-rehearsals.ts';
import { SqliteSchedule } from '../../src/adapters/state/sqlite-schedule.ts';
import { SqliteStates } from '../../src/adapters/state/sqlite-states.ts';
import { SqliteWatch } from '../../src/adapters/state/sqlite-watch.ts';
import { systemClock } from '../../src/adapters/system/clock.ts';
import { spaceAt, tryWriting } from '../../src/adapters/system/disk.ts';
import { systemEntropy } from '../../src/adapters/system/entropy.ts';
import { shelve } from '../../src/adapters/system/reports.ts';
import { openHypervisor } from '../../src/adapters/xenapi/hypervisor.ts';
import type { App, PlanRequest } from '../../src/app/app.ts';
import { createApp } from '../../src/app/create-app.ts';
import type { Run } from '../../src/domain/run.ts';
import { nothing } from '../../src/domain/scope.ts';
import type { GroupSettings, Settings } from '../../src/domain/settings.ts';
import { writeArrayAccess } from '../../src/lab/arrays/index.ts';
import { demoOf } from '../../src/lab/demo.ts';
import { type Lab, startLab } from '../../src/lab/lab.ts';
import type { Home, Outside } from '../../src/ports/home.ts';
import type { Hypervisor } from '../../src/ports/hypervisor.ts';
import type { Replication } from '../../src/ports/replication.ts';
import type { Watching } from '../../src/ports/watch.ts';
import { noGuests } from '../support/guests.ts';
import { noWatching } from '../support/watching.ts';

const group: GroupSettings = {
  name: 'shop',
  production: 'production',
  recovery: 'recovery',
  scope: { include: { ...nothing, names: ['db-*', 'app-*', 'web-*'] }, exclude: nothing },
  storage: ['gold', 'silver'].map((volume) => ({
    sr: `${volume} storage`,
    source: { array: 'array-production', volume },
    target: { array: 'array-recovery', volume },
  })),
  rpoSeconds: 900,
  rtoSeconds: 3600,
  networks: ['LAN', 'DMZ', 'Database'].map((name) => ({
    production: name === 'LAN' ? 'Production LAN' : name,
    recovery: `Recovery ${name}`,
    drill: `Drill ${name}`,
    drillAtProduction: null,
  })),
  plan: { file: null, tiers: [], others: 'by-order', honourStartDelay: false },
  retention: { last: 3, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0, maxAgeSeconds: null },
};

export class LabHouse {
  readonly lab: Lab;
  readonly #t: Test;
  readonly #directory: string;

  private constructor(t: Test, lab: Lab, directory: string) {
    this.#t = t;
    this.lab = lab;
    this.#directory = directory;
  }

  static async start(t: Test): Promise<LabHouse> {
    const directory = mkdtempSync(join(tmpdir(), 'lifeboat-check-'));
    const lab = await startLab({
      world: (made) => demoOf(made, { db: 1, app: 1, web: 1 }),
      storage: join(directory, 'lab'),
    });
    t.teardown(async () => {
      await lab.stop();
      rmSync(directory, { recursive: true, force: true });
    });
    mkdirSync(join(directory, 'access'));
    await writeArrayAccess(lab, join(directory, 'access'));
    return new LabHouse(t, lab, directory);
  }

  get settings(): Settings {
    const { lab } = this;
    return {
      file: 'sites.yaml',
      digest: 'c'.repeat(64),
      stateDirectory: this.#directory,
      sites: ['production', 'recovery'].map((name) => ({
        name,
        title: name,
        pool: {
          hosts: lab
            .pool(name)
            .hosts.map((host) => ({ url: lab.url(host), fingerprint: host.certificate.sha256 })),
          username: lab.credentials.username,
          password: { from: 'env', name: 'PASSWORD' },
          poolUuid: lab.pool(name).row.uuid,
          caFile: null,
          transport: 'auto',
          maxRequests: 4,
        },
      })),
      arrays: ['production', 'recovery'].map((site) => ({
        name: `array-${site}`,
        site,
        type: 'lab',
        options: { directory: join(this.#directory, 'access') },
        secret: null,
      })),
      groups: [group],
      catalog: { targets: [], encryption: { passphrase: { from: 'env', name: 'UNUSED' } } },
      secretsFile: join(this.#directory, 'secrets'),
    };
  }

  /** Opened anew with settings of its own; state, journals and catalog stay. */
  async with<T>(
    changes: Partial<Settings>,
    work: (app: App) => Promise<T>,
    password?: string,
    home: Partial<Home> = {},
    watching: Partial<Watching> = {},
  ): Promise<T> {
    const settings = { ...this.settings, ...changes };
    const outside = this.#outside(settings, password);
    const stateFile = join(this.#directory, 'state.sqlite');
    const states = new SqliteStates(stateFile, systemClock, systemEntropy);
    const inbox = new SqliteInbox(stateFile, systemClock);
    const rehearsals = new SqliteRehearsals(stateFile);
    const ledger = new SqliteSchedule(stateFile);
    const watchStore = new SqliteWatch(stateFile);
    const dom0 = openDom0(settings, {
      secrets: { resolve: async () => this.lab.credentials.password },
    });
    const backupImages = openBackupImages(join(this.#directory, 'backup-vdi'));
    const app = createApp({
      settings,
      version: 'test',
      clock: systemClock,
      entropy: systemEntropy,
      journals: new JournalFiles(join(this.#directory, 'runs')),
      states: async () => states,
      inbox: async () => inbox,
      hypervisor: outside.hypervisor,
      array: outside.array,
      catalog: outside.catalog,
      backupImages,
      metadataBackups: { images: backupImages, factsOf: factsOfBackup },
      dom0,
      foreign: { read: () => Promise.reject(new Error('no backup is imported here')) },
      home: {
        runtime: 'Node of the test',
        secrets: { resolve: async () => 'a secret of the test' },
        readSettings: async () => settings,
        openAnew: (anew) => this.#outside(anew, password),
        space: spaceAt,
        tryWriting,
        rehearsals: async () => rehearsals,
        ...home,
      },
      clockwork: { ledger: async () => ledger, shelve },
      watching: { store: async () => watchStore, notifier: noWatching.watching.notifier, ...watching },
      secretStore: { list: async () => [], set: async () => undefined, remove: async () => false },
      probeTcp: async () => true,
      ...noGuests,
      close: async () => {
        await Promise.all([outside.close(), dom0.close()]);
        rehearsals.close();
        ledger.close();
        watchStore.close();
        inbox.close();
        states.close();
      },
    });
    try {
      return await work(app);
    } finally {
      await app.close();
    }
  }

  /** Pools, arrays and catalog of these settings, as src/main.ts opens them. */
  #outside(settings: Settings, password: string | undefined): Outside {
    const { lab } = this;
    const catalog = new TargetsCatalog({
      targets: [new LocalStore('here', join(this.#directory, 'catalog'))],
      key: async () => ({ from: 'passphrase', passphrase: 'a passphrase of the test' }),
      now: () => systemClock.now(),
    });
    const pools = new Map<string, Hypervisor>();
    const arrays = new Map<string, Replication>();
    return {
      hypervisor: async (name) => {
        const site = settings.sites.find((each) => each.name === name);
        if (site === undefined) throw new Error(`no site ${name}`);
        const open =
          pools.get(name) ??
          openHypervisor({
            site: name,
            pool: site.pool,
            password: async () =>
              name === 'recovery' ? (password ?? lab.credentials.password) : lab.credentials.password,
            clock: systemClock,
          });
        pools.set(name, open);
        return open;
      },
      array: async (name) => {
        const known = settings.arrays.find((each) => each.name === name);
        if (known === undefined) throw new Error(`no array ${name}`);
        const open =
          arrays.get(name) ??
          openReplication(known, {
            clock: systemClock,
            secrets: { resolve: async () => 'unused' },
            peers: new Map(),
          });
        arrays.set(name, open);
        return open;
      },
      catalog: async () => catalog,
      close: async () => {
        await Promise.all([...pools.values(), ...arrays.values()].map((open) => open.close()));
        await catalog.close();
      },
    };
  }

  async run(request: PlanRequest, changes: Partial<Settings> = {}): Promise<Run> {
    return this.with(changes, async (app) =>
      app.run(await app.plan(request), { by: 'test', onEvent: () => undefined }),
    );
  }

  /** A recovery point, sealed and read back. */
  /** The memory of the watch, as another process would open it. */
  async watchStore(): Promise<SqliteWatch> {
    return new SqliteWatch(join(this.#directory, 'state.sqlite'));
  }

  async save(): Promise<void> {
    const run = await this.run({ operation: 'export', group: 'shop' });
    this.#t.equal(run.outcome, 'done', run.summary ?? '');
  }
}
