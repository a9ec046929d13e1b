/**
 * `lifeboat doctor`: what the contract of each port promises of its verbs that only look, tried on the real pools, arrays
 * and catalog. It finds what differs from what Lifeboat was built against before an export or a failover trips over it.
 */
import type { Doctor } from '../domain/doctor.ts';
import { OperatorError, PortError } from '../domain/errors.ts';
import type { PoolFacts, VmFacts } from '../domain/pool.ts';
import type { TrialSection } from '../domain/self-rehearsal.ts';
import type { SiteSettings } from '../domain/settings.ts';
import { formatBytes, formatDuration } from '../domain/time.ts';
import { parseArchive } from '../metadata/document.ts';
import { gapOf } from '../observe/observe.ts';
import type { Hypervisor } from '../ports/hypervisor.ts';
import { count } from '../report/paper.ts';
import type { Context } from './app.ts';
import type { AppPorts } from './ports.ts';
import { machineTrial, secretsTrial, settingsTrial } from './self/own-trials.ts';
import { testArray } from './test-array.ts';
import { doubtful, ok, type Said, Trials } from './trials.ts';

const clockOffsetSeconds = 60;
/** No pool holds it, and every read must say so at once. */
const absentVm = '00000000-dead-4bee-8000-000000000000';
/** VMs that are asked one by one: enough to see that the answers hold, in any pool. */
const vmsToAsk = 3;

export async function doctor(ports: AppPorts, context: Context = {}): Promise<Doctor> {
  const { section, settings } = await settingsTrial(ports, context);
  const sections: TrialSection[] = [
    section,
    await machineTrial(ports, settings, context),
    await secretsTrial(ports, settings, context),
  ];
  for (const site of ports.settings.sites) sections.push(await siteSection(ports, site, context));
  for (const { name } of ports.settings.arrays) sections.push(await arraySection(ports, name, context));
  sections.push(await catalogSection(ports, context));
  return { takenAt: ports.clock.now(), sections };
}

async function siteSection(ports: AppPorts, site: SiteSettings, context: Context): Promise<TrialSection> {
  const about = `site ${site.name}`;
  const trials = new Trials(about, context);
  const { signal } = context;
  const hypervisor = await trials.attempt(
    'addresses',
    async () => {
      const opened = await ports.hypervisor(site.name);
      return { opened, endpoints: await opened.contact(signal) };
    },
    ({ endpoints }) => {
      const says = endpoints.map(({ url, detail }) => `${url}: ${detail}`);
      return endpoints.every(({ answered }) => answered) ? ok(...says) : doubtful(...says);
    },
  );
  if (hypervisor === null) return { about, checks: trials.checks };
  const pool = await trials.attempt(
    'look at the pool',
    () => hypervisor.opened.observe(signal),
    (facts) => judgePool(facts, site),
  );
  if (pool !== null) await askPool(trials, hypervisor.opened, pool, signal);
  return { about, checks: trials.checks };
}

function judgePool(pool: PoolFacts, site: SiteSettings): Said {
  const live = pool.hosts.filter((host) => host.live && host.enabled).length;
  const says = [
    `pool ${pool.nameLabel}, ${pool.productBrand} ${pool.productVersion}, xapi ${pool.xapiBuild.text}`,
    `${live} of ${pool.hosts.length} hosts can take VMs; ${pool.vms.filter(isVm).length} VMs, ${pool.srs.length} SRs, ${pool.networks.length} networks`,
  ];
  const addresses = new Set(site.pool.hosts.map(({ url }) => URL.parse(url)?.hostname));
  const unnamed = pool.hosts
    .filter(({ address }) => !addresses.has(address))
    .map(({ nameLabel }) => nameLabel);
  const named = site.pool.hosts.length >= pool.hosts.length || unnamed.length === 0;
  const doubts = [
    ...(live < pool.hosts.length ? ['not every host can take VMs'] : []),
    ...(named
      ? []
      : [
          `sites.yaml names ${site.pool.hosts.length} of ${pool.hosts.length} hosts: the pool is not found when another one is its coordinator`,
        ]),
    ...(site.pool.poolUuid === null
      ? [`write pool_uuid: ${pool.uuid}, so that no other pool can be taken for it`]
      : []),
    ...clockDoubt(pool.clockOffsetSeconds ?? 0),
    ...danglingDoubt(pool),
  ];
  return doubts.length === 0 ? ok(...says) : doubtful(...says, ...doubts);
}

function clockDoubt(offsetSeconds: number): string[] {
  if (Math.abs(offsetSeconds) <= clockOffsetSeconds) return [];
  const how = `${formatDuration(Math.abs(offsetSeconds))} ${offsetSeconds < 0 ? 'behind' : 'ahead of'}`;
  return [`its clock is ${how} ours: every age is wrong by as much`];
}

/** A bulk read is one picture only if what it names is in it. */
function danglingDoubt({ vms, vdis, networks }: PoolFacts): string[] {
  const disks = new Set(vdis.map(({ uuid }) => uuid));
  const nets = new Set(networks.map(({ uuid }) => uuid));
  const dangling = vms.filter(
    (vm) =>
      vm.vbds.some(({ vdiUuid }) => vdiUuid !== null && !disks.has(vdiUuid)) ||
      vm.vifs.some(({ networkUuid }) => !nets.has(networkUuid)),
  );
  return dangling.length === 0
    ? []
    : [
        `${dangling.length} VMs name disks or networks that the pool does not show, such as ${dangling[0]?.nameLabel}`,
      ];
}

async function askPool(
  trials: Trials,
  hypervisor: Hypervisor,
  pool: PoolFacts,
  signal: AbortSignal | undefined,
): Promise<void> {
  const some = pool.vms.filter(isVm).slice(0, vmsToAsk);
  const uuids = some.map(({ uuid }) => uuid);
  if (some.length > 0)
    await trials.attempt(
      'states of VMs',
      () => hypervisor.vmStates(uuids, signal),
      (states) => {
        const missing = some.filter(({ uuid }) => !states.has(uuid)).map(({ nameLabel }) => nameLabel);
        return missing.length === 0
          ? ok(`${count(some.length, 'VM')} answered`)
          : doubtful(`nothing is said of ${missing.join(', ')}`);
      },
    );
  for (const vm of some) await askVm(trials, hypervisor, vm, signal);
  await trials.attempt(
    'a VM that does not exist',
    () => exportOfAbsent(hypervisor, signal),
    (refused) =>
      refused
        ? ok('it is refused, as it must be')
        : doubtful('a document was sent for a VM that cannot be there'),
  );
  await trials.attempt(
    'database of the pool',
    async () => {
      let bytes = 0;
      for await (const chunk of await hypervisor.dumpDatabase(signal)) bytes += chunk.length;
      return bytes;
    },
    (bytes) => (bytes > 0 ? ok(`${formatBytes(bytes)}: the user is a pool-admin`) : doubtful('it is empty')),
  );
}

/** The document of a VM is what a recovery point is made of: it must parse, and be about that VM. */
async function askVm(
  trials: Trials,
  hypervisor: Hypervisor,
  { uuid, nameLabel }: VmFacts,
  signal: AbortSignal | undefined,
): Promise<void> {
  await trials.attempt(
    `metadata of VM ${nameLabel}`,
    async () => {
      const archive = await hypervisor.exportMetadata(uuid, { snapshots: false }, signal);
      const { vm } = parseArchive(archive);
      if (vm?.uuid !== uuid)
        throw new OperatorError({
          code: 'DR-DOCTOR-DOCUMENT',
          what: `The metadata document of VM ${nameLabel} is not about that VM`,
          known: [`it is about ${vm?.uuid ?? 'none'}, and ${uuid} was asked for`],
          next: 'Report this as a defect, with the version of the pool: its exports cannot be relied on',
        });
      return archive.length;
    },
    (bytes) => ok(`${formatBytes(bytes)}, read and understood`),
  );
}

/** True when the pool refuses, as xapi does with an unknown uuid (xapi.md 3.1). */
async function exportOfAbsent(hypervisor: Hypervisor, signal: AbortSignal | undefined): Promise<boolean> {
  try {
    await hypervisor.exportMetadata(absentVm, { snapshots: false }, signal);
    return false;
  } catch (error) {
    if (error instanceof PortError && error.kind === 'refused') return true;
    throw error;
  }
}

const isVm = (vm: VmFacts): boolean => !vm.isTemplate && !vm.isSnapshot;

async function arraySection(ports: AppPorts, array: string, context: Context): Promise<TrialSection> {
  const about = `array ${array}`;
  try {
    return { about, checks: (await testArray(ports, array, context)).checks };
  } catch (error) {
    context.signal?.throwIfAborted();
    const trials = new Trials(about, context);
    trials.fail('open', gapOf(error, `Cannot ask array ${array}`));
    return { about, checks: trials.checks };
  }
}

async function catalogSection(ports: AppPorts, context: Context): Promise<TrialSection> {
  const trials = new Trials('the catalog', context);
  const { signal } = context;
  const listed = await trials.attempt(
    'targets',
    async () => {
      const catalog = await ports.catalog();
      return { catalog, listing: await catalog.list(null, signal) };
    },
    ({ listing: { points, damaged, targets } }) => {
      const says = [
        count(points.length, 'point'),
        ...targets.map(
          ({ target, ok: works, problem }) =>
            `target ${target}: ${works ? 'answers' : (problem?.what ?? 'cannot be read')}`,
        ),
        ...damaged.map(({ id, target, reason }) => `point ${id} in target ${target}: ${reason}`),
      ];
      return damaged.length === 0 && targets.every((target) => target.ok) ? ok(...says) : doubtful(...says);
    },
  );
  for (const { name } of listed === null ? [] : ports.settings.groups) {
    const newest = listed?.listing.points.find((point) => point.group === name);
    if (newest === undefined) continue;
    await trials.attempt(
      `newest point of group ${name}`,
      async () => listed?.catalog.verify({ pointId: newest.id }, signal),
      (result) =>
        result === undefined || result.damage.length > 0
          ? doubtful(
              ...(result?.damage ?? []).map(({ target, file, what }) => `target ${target}, ${file}: ${what}`),
            )
          : ok(`${newest.id}: ${result.objectsChecked} objects were read, decrypted and hashed`),
    );
  }
  return { about: 'catalog', checks: trials.checks };
}
