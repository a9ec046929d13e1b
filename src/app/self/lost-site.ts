/** One site taken for lost: what is left is logged in to, asked and read, and every group of the site is planned. */
import { hasMoved } from '../../check/after-failover.ts';
import { OperatorError } from '../../domain/errors.ts';
import type { Finding } from '../../domain/finding.ts';
import type { Observation } from '../../domain/observation.ts';
import type { RehearsedGroup, TrialSection } from '../../domain/self-rehearsal.ts';
import { formatDuration, secondsBetween } from '../../domain/time.ts';
import { parseArchive } from '../../metadata/document.ts';
import { gapOf, observe } from '../../observe/observe.ts';
import type { Catalog } from '../../ports/catalog.ts';
import type { Outside } from '../../ports/home.ts';
import { count } from '../../report/paper.ts';
import type { Context } from '../app.ts';
import { type GroupAsItStands, observeRequest } from '../groups.ts';
import { planSeen } from '../plan-run.ts';
import type { AppPorts } from '../ports.ts';
import { testArray } from '../test-array.ts';
import { doubtful, ok, type Said, Trials } from '../trials.ts';

/** Clocks that differ by more make every age wrong by as much. */
const clockOffsetSeconds = 60;

export interface LostSite {
  /** With settings, pools, arrays and catalog as they are without the site. */
  readonly ports: AppPorts;
  readonly outside: Outside;
  readonly lost: string;
  readonly groups: readonly GroupAsItStands[];
  readonly context: Context;
}

export interface LostSiteResult {
  readonly sections: readonly TrialSection[];
  readonly groups: readonly RehearsedGroup[];
}

export async function rehearseLostSite(lost: LostSite): Promise<LostSiteResult> {
  const { ports, groups, context } = lost;
  const sites = [...new Set(groups.map(({ group }) => group.recovery))];
  const arrays = [...new Set(groups.flatMap(({ group }) => group.storage.map(({ target }) => target.array)))];
  const sections: TrialSection[] = [];
  for (const site of sites) sections.push(await siteTrial(lost, site));
  for (const array of arrays) sections.push(await arrayTrial(lost, array));
  sections.push(await catalogTrial(lost));
  context.onProgress?.(`Looking at what is left without site ${lost.lost}`);
  const asked = observeRequest(
    groups.map(({ group }) => group),
    null,
  );
  const observation = await observe(ports, asked, context.signal);
  const rehearsed: RehearsedGroup[] = [];
  for (const standing of groups) rehearsed.push(await groupRehearsal(lost, standing, observation));
  return { sections, groups: rehearsed };
}

async function siteTrial({ outside, ports, context }: LostSite, site: string): Promise<TrialSection> {
  const trials = new Trials(`site ${site}`, context);
  const { signal } = context;
  const pool = await trials.attempt(
    'log in',
    async () => {
      const hypervisor = await outside.hypervisor(site);
      return { hypervisor, time: await hypervisor.serverTime(signal) };
    },
    ({ time }) => judgeClock(secondsBetween(ports.clock.now(), time)),
  );
  if (pool === null) return { about: `site ${site}`, checks: trials.checks };
  await trials.attempt(
    'look at the pool',
    () => pool.hypervisor.observe(signal),
    ({ hosts, nameLabel, productBrand, productVersion }) => {
      const live = hosts.filter((host) => host.live && host.enabled).length;
      const says = `pool ${nameLabel}, ${productBrand} ${productVersion}, ${live} of ${hosts.length} hosts can take VMs`;
      return live === hosts.length ? ok(says) : doubtful(says);
    },
  );
  return { about: `site ${site}`, checks: trials.checks };
}

function judgeClock(offBySeconds: number): Said {
  return Math.abs(offBySeconds) <= clockOffsetSeconds
    ? ok('the password is right')
    : doubtful(
        'the password is right',
        `its clock is ${formatDuration(Math.abs(offBySeconds))} ${offBySeconds < 0 ? 'behind' : 'ahead of'} ours`,
      );
}

async function arrayTrial({ ports, context, lost }: LostSite, array: string): Promise<TrialSection> {
  const about = `array ${array}`;
  try {
    const { checks } = await testArray(ports, array, context);
    return { about, checks };
  } catch (error) {
    context.signal?.throwIfAborted();
    const trials = new Trials(about, context);
    trials.fail('open', gapOf(error, `Cannot ask array ${array} while site ${lost} is lost`));
    return { about, checks: trials.checks };
  }
}

/** A point of each group is decrypted and its first document read: with the own key, and from what is left. */
async function catalogTrial({ ports, outside, groups, lost, context }: LostSite): Promise<TrialSection> {
  const trials = new Trials('the catalog', context);
  const { signal } = context;
  const { targets } = ports.settings.catalog;
  const opened = await trials.attempt(
    'targets',
    async () => {
      if (targets.length === 0) throw allTargetsAt(lost);
      const catalog = await outside.catalog();
      return { catalog, listing: await catalog.list(null, signal) };
    },
    ({ listing }) => {
      const dead = listing.targets.filter((target) => !target.ok);
      const says = [
        `${count(listing.points.length, 'point')} in ${listing.targets.length - dead.length} of ${count(listing.targets.length, 'target')}`,
        ...dead.map(({ target, problem }) => `target ${target}: ${problem?.what ?? 'cannot be read'}`),
        ...(targets.every(({ site }) => site === undefined)
          ? [
              'where the targets stand is not known: write `site` to them, and those of a lost site are left out',
            ]
          : []),
      ];
      return dead.length === 0 ? ok(...says) : doubtful(...says);
    },
  );
  if (opened === null) return { about: 'catalog', checks: trials.checks };
  for (const { group } of groups) {
    const newest = opened.listing.points.find((point) => point.group === group.name && point.good);
    await trials.attempt(
      `point of group ${group.name}`,
      () => readPoint(opened.catalog, group.name, newest?.id ?? null, signal),
      (says) => ok(says),
    );
  }
  return { about: 'catalog', checks: trials.checks };
}

async function readPoint(
  catalog: Catalog,
  group: string,
  id: string | null,
  signal: AbortSignal | undefined,
): Promise<string> {
  if (id === null)
    throw new OperatorError({
      code: 'DR-SELF-NO-POINT',
      what: `Without production there is no good recovery point of group ${group}`,
      next: `Save one, and see where it goes: lifeboat export ${group}`,
    });
  const point = await catalog.read(id, signal);
  const [vm] = point.vms;
  if (vm === undefined) return `${id} was decrypted; it holds no VM`;
  const read = parseArchive(await catalog.get(vm.document, signal)).vm;
  if (read?.uuid !== vm.uuid)
    throw new OperatorError({
      code: 'DR-SELF-POINT-WRONG',
      what: `A document of recovery point ${id} is not about the VM that it is kept for`,
      known: [`it is about ${read?.nameLabel ?? 'none'}, and is kept for ${vm.nameLabel}`],
      next: `Read the whole point back: lifeboat catalog verify ${group} --point ${id}`,
    });
  return `${id} was decrypted, and the document of ${vm.nameLabel} read`;
}

function allTargetsAt(lost: string): OperatorError {
  return new OperatorError({
    code: 'DR-SELF-CATALOG-LOST',
    what: `Every catalog target stands at site ${lost}: the recovery points would be lost with it`,
    next: 'Add a target at another site to sites.yaml; the next export fills it',
  });
}

async function groupRehearsal(
  { ports, lost, context }: LostSite,
  { group, state }: GroupAsItStands,
  observation: Observation,
): Promise<RehearsedGroup> {
  const empty: RehearsedGroup = {
    group: group.name,
    lostSite: lost,
    recovery: group.recovery,
    outcome: 'not-ready',
    steps: 0,
    pointId: null,
    lossSeconds: null,
    rpoSeconds: group.rpoSeconds,
    forecastSeconds: null,
    rtoSeconds: group.rtoSeconds,
    findings: [],
  };
  if (hasMoved(state, group)) return { ...empty, lostSite: null, outcome: 'moved' };
  try {
    const { plan, findings } = await planSeen(
      ports,
      { group, state, observation, context },
      { operation: 'failover', group: group.name, pointId: null, decisions: [] },
    );
    const waits = plan.waitingOn.map((what) => waitFinding(group.name, what));
    const against = [...findings, ...waits];
    return {
      ...empty,
      outcome: against.some(({ severity }) => severity === 'problem')
        ? 'not-ready'
        : against.length > 0
          ? 'ready-with-warnings'
          : 'ready',
      steps: plan.steps.length,
      pointId: plan.expects.pointId,
      lossSeconds: plan.expects.lossSeconds,
      forecastSeconds: plan.steps.length === 0 ? null : plan.expects.forecastSeconds,
      findings: against,
    };
  } catch (error) {
    context.signal?.throwIfAborted();
    const problem = gapOf(error, `A failover of group ${group.name} cannot be planned`);
    const busy = problem.code === 'DR-LOCK-HELD';
    return {
      ...empty,
      outcome: busy ? 'busy' : 'not-ready',
      findings: [
        {
          severity: busy ? 'warning' : 'problem',
          code: problem.code,
          about: 'group',
          name: group.name,
          what: problem.what,
          evidence: problem.known ?? [],
          vms: [],
          next: problem.next,
        },
      ],
    };
  }
}

function waitFinding(group: string, what: string): Finding {
  return {
    severity: 'problem',
    code: 'DR-PLAN-WAITS',
    about: 'group',
    name: group,
    what: `The failover of group ${group} cannot be run without ${what}`,
    evidence: [],
    vms: [],
    next: 'Mend that, and rehearse again: lifeboat rehearse',
  };
}
