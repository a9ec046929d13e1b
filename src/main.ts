/** Where adapters meet the application, and the only place where they do. Nothing is contacted before a verb needs it. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Logger, pino } from 'pino';
import { openBackupImages } from './adapters/backup-vdi/open.ts';
import { factsOfBackup } from './adapters/backup-vdi/read-facts.ts';
import { openCatalog } from './adapters/catalog/open.ts';
import { openDom0 } from './adapters/dom0/open.ts';
import { foreignBackups } from './adapters/foreign/foreign.ts';
import { JournalFiles } from './adapters/journal/journal-files.ts';
import { openNotifier } from './adapters/notify/open.ts';
import { openReplication, peersOf } from './adapters/replication/open.ts';
import { generateKeyFile, readKeyFile } from './adapters/secrets/key-file.ts';
import { Redactor } from './adapters/secrets/redactor.ts';
import { SecretResolver } from './adapters/secrets/resolver.ts';
import { SecretStore, type StoreKey } from './adapters/secrets/store.ts';
import { runInGuest } from './adapters/ssh/guest.ts';
import { SqliteInbox } from './adapters/state/sqlite-inbox.ts';
import { SqliteRehearsals } from './adapters/state/sqlite-rehearsals.ts';
import { SqliteSchedule } from './adapters/state/sqlite-schedule.ts';
import { SqliteStates } from './adapters/state/sqlite-states.ts';
import { SqliteWatch } from './adapters/state/sqlite-watch.ts';
import { systemClock } from './adapters/system/clock.ts';
import { spaceAt, tryWriting } from './adapters/system/disk.ts';
import { systemEntropy } from './adapters/system/entropy.ts';
import { probeHttp } from './adapters/system/http.ts';
import { programRunner } from './adapters/system/programs.ts';
import { shelve } from './adapters/system/reports.ts';
import { probeTcp } from './adapters/system/tcp.ts';
import { certificateAt, coordinatorOf, surveyPool } from './adapters/xenapi/first-contact.ts';
import { openHypervisor } from './adapters/xenapi/hypervisor.ts';
import type { App, Programme } from './app/app.ts';
import { createApp } from './app/create-app.ts';
import { loadSettings } from './config/load.ts';
import { exitCodes, OperatorError } from './domain/errors.ts';
import type { SecretRef, Settings } from './domain/settings.ts';
import { runCli } from './faces/cli/cli.ts';
import { nodeTerminal } from './faces/cli/terminal.ts';
import type { Machine } from './faces/daemon/machine.ts';
import { labCommand } from './lab/commands/index.ts';
import type { Outside } from './ports/home.ts';
import type { Hypervisor } from './ports/hypervisor.ts';
import type { Replication } from './ports/replication.ts';
import type { Setup } from './ports/setup.ts';

const version = (
  JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
).version;

/** Of the process: what one application has resolved must not stand in a line of the next one. */
const redactor = new Redactor();
let log: Logger = pino(
  { name: 'lifeboat', level: process.env['LIFEBOAT_LOG'] ?? 'silent' },
  // Synchronous: a log that a kill -9 swallows is of no use for finding out why.
  { write: (line: string) => process.stderr.write(redactor.redact(line)) },
);

const programme: Programme = {
  version,
  procedures: async () => {
    // Beside dist/ in a package as beside src/ in a checkout.
    const folder = fileURLToPath(new URL('../runbooks', import.meta.url));
    return readdirSync(folder)
      .filter((file) => file.endsWith('.md') && file !== 'README.md')
      .sort()
      .map((file) => ({ file, text: readFileSync(join(folder, file), 'utf8') }));
  },
  validate: async (configFile) => settingsOf(configFile),
  open: async (configFile) => openApp(settingsOf(configFile)),
  setup: (configFile) => setupFor(resolve(configFile)),
  lab: async (words, { json }) => {
    const code = await labCommand(words, {
      json,
      out: (text) => process.stdout.write(text),
      err: (text) => process.stderr.write(`${text}\n`),
    });
    return code === 0 ? exitCodes.done : code === 2 ? exitCodes.usage : exitCodes.failed;
  },
};

function settingsOf(configFile: string): Settings {
  return loadSettings(resolve(configFile), (file) => readFileSync(file, 'utf8'));
}

function openApp(settings: Settings): App {
  const store = new SecretStore(settings.secretsFile, () => storeKey(settings));
  const secrets = new SecretResolver({
    environment: process.env,
    store,
    redactor,
    directory: dirname(settings.file),
  });
  const outside = openOutside(settings, { secrets, log });
  const stateFile = join(settings.stateDirectory, 'state.sqlite');
  const states = once(async () => new SqliteStates(stateFile, systemClock, systemEntropy));
  const inbox = once(async () => new SqliteInbox(stateFile, systemClock));
  const rehearsals = once(async () => new SqliteRehearsals(stateFile));
  const ledger = once(async () => new SqliteSchedule(stateFile));
  const runProgram = programRunner({
    directory: dirname(settings.file),
    environment: process.env,
    redact: (text) => redactor.redact(text),
  });
  const watchStore = once(async () => new SqliteWatch(stateFile));

  const backupImages = openBackupImages(join(settings.stateDirectory, 'backup-vdi'));
  const dom0 = openDom0(settings, { secrets });

  return createApp({
    settings,
    version,
    clock: systemClock,
    entropy: systemEntropy,
    journals: new JournalFiles(join(settings.stateDirectory, 'runs')),
    states: states.get,
    inbox: inbox.get,
    hypervisor: outside.hypervisor,
    array: outside.array,
    catalog: outside.catalog,
    foreign: foreignBackups,
    metadataBackups: {
      images: backupImages,
      factsOf: factsOfBackup,
    },
    backupImages,
    dom0,
    clockwork: { ledger: ledger.get, shelve },
    watching: {
      store: watchStore.get,
      notifier: (channel) => openNotifier(channel, { secrets, clock: systemClock, runProgram }),
    },
    secretStore: store,
    probeTcp,
    probeHttp,
    runInGuest,
    runProgram,
    home: {
      runtime: `Node ${process.versions.node}`,
      secrets,
      readSettings: async () => settingsOf(settings.file),
      openAnew: (anew) => openOutside(anew, { secrets, log }),
      space: spaceAt,
      tryWriting,
      rehearsals: rehearsals.get,
    },
    close: async () => {
      await Promise.all([outside.close(), dom0.close()]);
      await closeAll([states, inbox, rehearsals, ledger, watchStore]);
    },
  });
}

/** Pools, arrays and catalog of these settings; each is opened at the first call. */
function openOutside(
  settings: Settings,
  { secrets, log }: { readonly secrets: SecretResolver; readonly log: Logger },
): Outside {
  const catalog = once(async () => openCatalog(settings.catalog, { secrets, clock: systemClock }));
  const hypervisors = new Map<string, Hypervisor>();
  const arrays = new Map<string, Replication>();
  return {
    hypervisor: async (name) => {
      const site = settings.sites.find((candidate) => candidate.name === name);
      if (site === undefined) throw notConfigured(settings, `site ${name}`);
      const open =
        hypervisors.get(name) ??
        openHypervisor({
          site: name,
          pool: site.pool,
          password: () => secrets.resolve(site.pool.password),
          clock: systemClock,
          log: { debug: (fields, message) => log.debug({ site: name, ...fields }, message) },
        });
      hypervisors.set(name, open);
      return open;
    },
    array: async (name) => {
      const known = settings.arrays.find((candidate) => candidate.name === name);
      if (known === undefined) throw notConfigured(settings, `array ${name}`);
      const open =
        arrays.get(name) ??
        openReplication(known, { secrets, clock: systemClock, peers: peersOf(settings, name) });
      arrays.set(name, open);
      return open;
    },
    catalog: catalog.get,
    close: async () => {
      await Promise.allSettled([...hypervisors.values(), ...arrays.values()].map((open) => open.close()));
      await closeAll([catalog]);
    },
  };
}

/** What was opened is closed; what fails at that has nobody to tell. */
async function closeAll(
  things: readonly { opened(): Promise<{ close(): unknown } | undefined> }[],
): Promise<void> {
  const opened = await Promise.allSettled(things.map((thing) => thing.opened()));
  await Promise.allSettled(
    opened.map((result) => (result.status === 'fulfilled' ? result.value?.close() : undefined)),
  );
}

/** What `init` asks, before there are settings: with the store that the settings will have. */
function setupFor(file: string): Setup {
  const directory = dirname(file);
  const stateDirectory = join(directory, '.lifeboat');
  const secretsFile = join(stateDirectory, 'secrets');
  const store = new SecretStore(secretsFile, () => storeKey({ stateDirectory, secretsFile }));
  const redactor = new Redactor();
  const secrets = new SecretResolver({ environment: process.env, store, redactor, directory });
  const resolveSecret = (ref: SecretRef): Promise<string> =>
    secrets.resolve(ref.from === 'file' ? { ...ref, path: resolve(directory, ref.path) } : ref);
  const arrays: Replication[] = [];
  return {
    certificateAt,
    coordinatorOf,
    survey: (site, pool, signal) =>
      surveyPool({ site, pool, password: () => resolveSecret(pool.password), clock: systemClock }, signal),
    array: async (array) => {
      const open = openReplication(array, { secrets, clock: systemClock, peers: new Map() });
      arrays.push(open);
      return open;
    },
    storeSecret: (name, value) => store.set(name, value),
    makeKey: async (path) => {
      if (existsSync(path)) return false;
      await generateKeyFile(path);
      return true;
    },
    trySecret: async (ref) => {
      await resolveSecret(ref);
    },
    readText: (path) => readFileSync(path, 'utf8'),
    exists: existsSync,
    schemaFile: fileURLToPath(new URL('../docs/sites.schema.json', import.meta.url)),
    close: async () => {
      await Promise.allSettled(arrays.map((open) => open.close()));
    },
  };
}

/** The store's key: a passphrase from the environment for those who keep it elsewhere, else a key file beside the state. */
async function storeKey(settings: Pick<Settings, 'stateDirectory' | 'secretsFile'>): Promise<StoreKey> {
  const passphrase = process.env['LIFEBOAT_SECRETS_PASSPHRASE'];
  if (passphrase !== undefined && passphrase !== '') return { from: 'passphrase', passphrase };
  const path = process.env['LIFEBOAT_SECRETS_KEY_FILE'] ?? join(settings.stateDirectory, 'secrets.key');
  if (!existsSync(path) && !existsSync(settings.secretsFile)) await generateKeyFile(path);
  return { from: 'key-file', key: await readKeyFile(path) };
}

function notConfigured(settings: Settings, what: string): OperatorError {
  return new OperatorError({
    code: 'DR-CONFIG-MISSING',
    what: `The settings know no ${what}`,
    where: { file: settings.file },
    next: 'Put it back, or make a new plan.',
  });
}

/** Opens at the first call, and tells what was opened without opening it. */
function once<T>(open: () => Promise<T>): { get(): Promise<T>; opened(): Promise<T | undefined> } {
  let opened: Promise<T> | undefined;
  return {
    get: () => {
      opened ??= open();
      return opened;
    },
    opened: async () => opened,
  };
}

/** What a daemon runs on. Loaded for it alone: no other verb beats, watches files, or logs to the standard output. */
async function daemonMachine(): Promise<Machine> {
  const [{ daemonLog }, { heartbeat }, { serviceManager }, { watchFiles }, { giveMemoryBack }] =
    await Promise.all([
      import('./adapters/system/log.ts'),
      import('./adapters/system/heartbeat.ts'),
      import('./adapters/system/service-manager.ts'),
      import('./adapters/system/files-watch.ts'),
      import('./adapters/system/memory.ts'),
    ]);
  const { logger, within } = daemonLog({
    level: process.env['LIFEBOAT_LOG'] ?? 'info',
    redact: (line) => redactor.redact(line),
  });
  log = logger;
  const { tell } = serviceManager(process.env, (reason) =>
    logger.warn({ reason }, 'the service manager cannot be told: is systemd-notify there?'),
  );
  return {
    ...systemClock,
    heartbeat: (beat, onSilence) =>
      heartbeat({ beat, onSilence, monotonicSeconds: systemClock.monotonicSeconds }),
    tell,
    onReload: (listener) => {
      process.on('SIGHUP', listener);
      return () => process.off('SIGHUP', listener);
    },
    watchFiles,
    rest: giveMemoryBack,
    log: logger,
    within,
  };
}

process.exitCode = await runCli(
  process.argv.slice(2),
  nodeTerminal(
    {
      now: () => systemClock.now(),
      every: (seconds, action) => {
        const timer = setInterval(action, seconds * 1000);
        return () => clearInterval(timer);
      },
    },
    daemonMachine,
  ),
  programme,
);
