/** How the groups stand: phase, RPO promised and actual, skew, readiness, runs. */
import { hasMoved } from '../check/after-failover.ts';
import type { Finding } from '../domain/finding.ts';
import type { GroupState } from '../domain/group.ts';
import type { Observation, PairObservation } from '../domain/observation.ts';
import { linkOf } from '../domain/replication.ts';
import { briefOfRehearsal, type SelfRehearsalBrief } from '../domain/self-rehearsal.ts';
import type { GroupSettings } from '../domain/settings.ts';
import type {
  GroupStatus,
  Readiness,
  ReplicaStatus,
  RunBrief,
  SiteStatus,
  StatusReport,
} from '../domain/status.ts';
import { secondsBetween } from '../domain/time.ts';
import { observe } from '../observe/observe.ts';
import { newestComplete } from '../plan/choose-point.ts';
import { pairsOf } from '../plan/pairs.ts';
import type { Context } from './app.ts';
import { asTheyStand, type GroupAsItStands, groupsNamed, observeRequest } from './groups.ts';
import { poolOf, scopeOf } from './planning/common.ts';
import { failoverFindings } from './planning/failover.ts';
import type { AppPorts } from './ports.ts';
import { recentBriefs } from './recent-runs.ts';

export async function status(
  ports: AppPorts,
  request: { readonly groups: readonly string[] },
  context: Context = {},
): Promise<StatusReport> {
  const groups = await asTheyStand(await ports.states(), groupsNamed(ports.settings, request.groups));
  context.onProgress?.('Looking at the sites, their arrays and the catalog');
  const asked = observeRequest(
    groups.map(({ group }) => group),
    null,
  );
  const observation = await observe(ports, asked, context.signal);
  const runs = await recentBriefs(ports);
  return statusSeen(ports, { groups, observation, runs }, context);
}

/** The same over a world that was looked at already. */
export async function statusSeen(
  ports: AppPorts,
  {
    groups,
    observation,
    runs,
  }: {
    readonly groups: readonly GroupAsItStands[];
    readonly observation: Observation;
    /** Newest first. */
    readonly runs: readonly RunBrief[];
  },
  context: Context = {},
): Promise<StatusReport> {
  const statuses: GroupStatus[] = [];
  for (const { group, state } of groups) {
    const findings = await failoverFindings(ports, {
      group,
      observation,
      state,
      pointId: null,
      decisions: [],
      standing: true,
      context,
    });
    const ofGroup = runs.filter((run) => run.group === group.name);
    statuses.push({
      ...groupStatus(group, observation, state, findings, ofGroup),
      currentRun: await currentRun(ports, ofGroup),
    });
  }
  return {
    takenAt: observation.takenAt,
    sites: ports.settings.sites
      .filter((site) => observation.sites[site.name] !== undefined)
      .map((site) => siteStatus(site.name, site.title, observation)),
    groups: statuses,
    gaps: observation.gaps,
    selfRehearsal: await lastRehearsal(ports),
  };
}

async function currentRun(ports: AppPorts, runs: readonly RunBrief[]): Promise<GroupStatus['currentRun']> {
  const run = runs.find(({ endedAt, outcome }) => endedAt === null || outcome === 'stuck');
  if (run === undefined) return null;
  const isDead = run.outcome === null && !(await (await ports.states()).isCarriedOut(run.id));
  return isDead ? { ...run, brokenOff: true } : run;
}

async function lastRehearsal({ home }: AppPorts): Promise<SelfRehearsalBrief | null> {
  const newest = await (await home.rehearsals()).newest();
  return newest === null ? null : briefOfRehearsal(newest);
}

function siteStatus(site: string, title: string, observation: Observation): SiteStatus {
  const view = observation.sites[site];
  if (view === undefined || !view.reachable) {
    return {
      site,
      title,
      reachable: false,
      pool: null,
      hosts: null,
      hostsLive: null,
      detail: view === undefined ? null : view.problem.what,
    };
  }
  return {
    site,
    title,
    reachable: true,
    pool: view.pool.nameLabel,
    hosts: view.pool.hosts.length,
    hostsLive: view.pool.hosts.filter((host) => host.live).length,
    detail: null,
  };
}

function groupStatus(
  group: GroupSettings,
  observation: Observation,
  state: GroupState | null,
  findings: readonly Finding[],
  runs: readonly RunBrief[],
): Omit<GroupStatus, 'currentRun'> {
  const production = poolOf(observation, group.production);
  const [point] = observation.catalog.points.filter((p) => p.group === group.name);
  const pairs = pairsOf(group, observation);
  const moved = hasMoved(state, group);
  const replicas = pairs.map((pair) => replicaStatus(pair, observation));
  const ages = replicas.map((replica) => replica.ageSeconds);
  const newest = pairs.map((pair) => newestComplete(pair)?.takenAt);
  const oldest = newest.includes(undefined) ? undefined : [...newest].sort()[0];
  return {
    group: group.name,
    production: group.production,
    recovery: group.recovery,
    phase: state?.phase ?? (point === undefined ? 'unprotected' : 'protected'),
    activeSite: state?.activeSite || group.production,
    generation: state?.generation ?? 0,
    frozen: state?.frozen ?? null,
    rpoSeconds: group.rpoSeconds,
    rtoSeconds: group.rtoSeconds,
    point:
      point === undefined
        ? null
        : {
            id: point.id,
            takenAt: point.takenAt,
            ageSeconds: secondsBetween(point.takenAt, observation.takenAt),
            vmCount: point.vms.length,
          },
    replicas,
    // A promoted replica is the original now: its age says nothing.
    lossSeconds:
      moved || ages.length === 0 || ages.includes(null) ? null : Math.max(...ages.map((age) => age ?? 0)),
    skewSeconds:
      moved || point === undefined || oldest === undefined ? null : secondsBetween(oldest, point.takenAt),
    vmCount: production === null ? null : scopeOf(group, production).length,
    readiness: moved ? 'not-ready' : readinessOf(findings, observation, group),
    findings,
    lastRun: runs.find((run) => run.endedAt !== null) ?? null,
    lastDrill: runs.find((run) => run.operation === 'drill' && run.endedAt !== null) ?? null,
    ...lastCanary(runs),
  };
}

function lastCanary(runs: readonly RunBrief[]): Pick<GroupStatus, 'lastCanary'> {
  const found = runs.find((run) => run.operation === 'canary' && run.endedAt !== null);
  return found === undefined ? {} : { lastCanary: found };
}

function replicaStatus(pair: PairObservation, observation: Observation): ReplicaStatus {
  const point = newestComplete(pair);
  const view = pair.target;
  const link = linkOf(pair.source, view);
  return {
    sr: pair.sr,
    point,
    ageSeconds: point === null ? null : secondsBetween(point.takenAt, observation.takenAt),
    state:
      view === null
        ? 'array not reached'
        : view.role === 'promoted'
          ? 'promoted'
          : view.role !== 'target'
            ? view.role
            : link === 'up'
              ? 'replicating'
              : `link ${link}`,
  };
}

/** A problem that only says that production is gone does not make a failover impossible: it is what it is for. */
const aboutProductionOnly = new Set(['DR-SOURCE-UNREACHABLE']);

function readinessOf(
  findings: readonly Finding[],
  observation: Observation,
  group: GroupSettings,
): Readiness {
  const against = findings.filter((finding) => !aboutProductionOnly.has(finding.code));
  if (observation.sites[group.recovery]?.reachable !== true) return 'unknown';
  if (against.some((finding) => finding.severity === 'problem')) return 'not-ready';
  return findings.length > 0 ? 'ready-with-warnings' : 'ready';
}
