/** What Lifeboat needs of its own machine, tried one by one: settings, secrets, disk, state and version. */
import { OperatorError } from '../../domain/errors.ts';
import type { TrialSection } from '../../domain/self-rehearsal.ts';
import type { SecretRef, Settings } from '../../domain/settings.ts';
import { formatBytes } from '../../domain/time.ts';
import type { Space } from '../../ports/home.ts';
import { count } from '../../report/paper.ts';
import type { Context } from '../app.ts';
import { readable } from '../journals.ts';
import type { AppPorts } from '../ports.ts';
import { doubtful, ok, type Said, Trials } from '../trials.ts';

/** A failover writes journals of some megabytes; below this, its first step might be its last. */
const leastFreeBytes = 256 * 1024 ** 2;
const comfortableFreeBytes = 1024 ** 3;
const leastFreeFiles = 1000;

/** The settings as they stand in the files now; those that are in use where the files cannot be read. */
export async function settingsTrial(
  ports: AppPorts,
  context: Context,
): Promise<{ readonly section: TrialSection; readonly settings: Settings }> {
  const trials = new Trials('the settings', context);
  const read = await trials.attempt(
    `read ${ports.settings.file}`,
    () => ports.home.readSettings(),
    (settings) =>
      settings.digest === ports.settings.digest
        ? ok(`${count(settings.groups.length, 'group')}, digest ${settings.digest.slice(0, 16)}`)
        : doubtful('the files have changed since this program read them; the rehearsal used the new ones'),
  );
  return { section: { about: 'settings', checks: trials.checks }, settings: read ?? ports.settings };
}

interface NamedSecret {
  readonly what: string;
  readonly ref: SecretRef;
  /** The site that it belongs to; null for the catalog. */
  readonly site: string | null;
}

function secretsOf({ sites, arrays, catalog }: Settings): NamedSecret[] {
  const ofTargets = catalog.targets.flatMap((target) =>
    target.type === 'sftp' && target.password !== null
      ? [
          {
            what: `password of catalog target ${target.name}`,
            ref: target.password,
            site: target.site ?? null,
          },
        ]
      : [],
  );
  return [
    ...sites.map(({ name, pool }) => ({ what: `password of pool ${name}`, ref: pool.password, site: name })),
    ...arrays.flatMap(({ name, site, secret }) =>
      secret === null ? [] : [{ what: `secret of array ${name}`, ref: secret, site }],
    ),
    ...('passphrase' in catalog.encryption
      ? [{ what: 'passphrase of the catalog', ref: catalog.encryption.passphrase, site: null }]
      : []),
    ...ofTargets,
  ];
}

/**
 * Each secret can be had; whether it is right shows where it is used. What only opens a site that is lost anyway is
 * missed after the failover, and not before it.
 */
export async function secretsTrial(
  ports: AppPorts,
  settings: Settings,
  context: Context,
): Promise<TrialSection> {
  const needed = new Set(settings.groups.flatMap(({ recovery, production }) => [recovery, production]));
  const taking = new Set(settings.groups.map(({ recovery }) => recovery));
  const trials = new Trials('the secrets', context);
  for (const { what, ref, site } of secretsOf(settings)) {
    const had = await trials.attempt(
      what,
      async () => (await ports.home.secrets.resolve(ref)) !== '',
      () => ok(sourceOf(ref)),
    );
    const last = trials.checks.at(-1);
    if (had === null && last !== undefined && site !== null && needed.has(site) && !taking.has(site))
      trials.checks[trials.checks.length - 1] = { ...last, outcome: 'warning' };
  }
  return { about: 'secrets', checks: trials.checks };
}

function sourceOf(ref: SecretRef): string {
  switch (ref.from) {
    case 'env':
      return `environment variable ${ref.name}`;
    case 'file':
      return `file ${ref.path}`;
    case 'store':
      return `${ref.name} in the encrypted store`;
    case 'command':
      // Arguments may say more than anybody should read.
      return `program ${ref.argv[0] ?? ''}`;
  }
}

export async function machineTrial(
  ports: AppPorts,
  settings: Settings,
  context: Context,
): Promise<TrialSection> {
  const { stateDirectory, catalog } = settings;
  const { home } = ports;
  const trials = new Trials('this machine', context);
  await trials.attempt(
    'program',
    () => newestWriter(ports),
    (writer) => judgeVersion(ports, writer),
  );
  await trials.attempt(
    `write to ${stateDirectory}`,
    () => home.tryWriting(stateDirectory),
    () => ok('a file was written, synced and read back'),
  );
  const directories = catalog.targets.flatMap((target) => (target.type === 'directory' ? [target.path] : []));
  for (const path of [stateDirectory, ...directories])
    await trials.attempt(`room at ${path}`, async () => enough(await home.space(path), path), judgeSpace);
  await trials.attempt(
    'states of the groups',
    async () => (await ports.states()).all(),
    (states) => ok(`${count(states.length, 'group')} with a state`),
  );
  return { about: 'machine', checks: trials.checks };
}

/** Version of Lifeboat that wrote the newest journal; null where there is none. */
async function newestWriter(ports: AppPorts): Promise<string | null> {
  const [newest] = await ports.journals.list();
  if (newest === undefined) return null;
  const [first] = await readable(ports, newest);
  return first?.event === 'RunStarted' ? first.version : null;
}

function judgeVersion({ version, home }: AppPorts, writer: string | null): Said {
  const says = `Lifeboat ${version} on ${home.runtime}`;
  return writer !== null && olderVersion(version, writer)
    ? doubtful(says, `the newest run was made by Lifeboat ${writer}: an older one may not understand it`)
    : ok(says);
}

/** Numbers of `1.2.3`, compared one by one; what is no number ends the comparison. */
export function olderVersion(mine: string, other: string): boolean {
  const numbers = (version: string): number[] => version.split(/[.+-]/).slice(0, 3).map(Number);
  const [ours, theirs] = [numbers(mine), numbers(other)];
  for (const [at, number] of ours.entries()) {
    const against = theirs[at] ?? 0;
    if (Number.isNaN(number) || Number.isNaN(against)) return false;
    if (number !== against) return number < against;
  }
  return false;
}

function enough(space: Space, path: string): Space {
  const files = space.freeFiles !== null && space.freeFiles < leastFreeFiles;
  if (space.freeBytes >= leastFreeBytes && !files) return space;
  throw new OperatorError({
    code: 'DR-SELF-DISK-FULL',
    what: `There is no room at ${path} for a failover`,
    where: { object: path },
    known: [
      files
        ? `only ${space.freeFiles} files can still be made`
        : `${formatBytes(space.freeBytes)} of ${formatBytes(space.totalBytes)} are free; ${formatBytes(leastFreeBytes)} are needed`,
    ],
    next: 'Make room on that file system',
  });
}

function judgeSpace({ freeBytes, totalBytes }: Space): Said {
  const says = `${formatBytes(freeBytes)} of ${formatBytes(totalBytes)} are free`;
  return freeBytes < comfortableFreeBytes ? doubtful(says, 'that does not last for long') : ok(says);
}
