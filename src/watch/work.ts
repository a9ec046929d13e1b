/** Lifeboat's own work: runs that wait for a person, jobs that fail or are late, its settings, its notices. */

import { describePlace } from '../domain/errors.ts';
import type { JobStanding } from '../domain/jobs.ts';
import type { RunBrief } from '../domain/status.ts';
import { formatDuration, secondsBetween } from '../domain/time.ts';
import { type Found, none, together, type WatchFacts, wrong } from './facts.ts';
import { hasFailed, isOverdue } from './promises.ts';

export function troubledWork(facts: WatchFacts): Found {
  return together([...runs(facts), ...jobs(facts), rehearsal(facts), config(facts), ...channels(facts)]);
}

function runs({ groups, interrupted, jobs: standings }: WatchFacts): Found[] {
  const stuck = groups.flatMap(({ status }) =>
    status.currentRun !== null && status.currentRun.outcome === 'stuck' ? [status.currentRun] : [],
  );
  const brokenOff = interrupted.filter(
    (run) => !stuck.some(({ id }) => run.id === id) && !isSuperseded(run, groups, standings),
  );
  return [
    ...stuck.map((run) => waiting(run, 'is stuck: a person must answer a question')),
    ...brokenOff.map((run) => waiting(run, 'broke off, and nobody goes on with it')),
  ];
}

/** An export or a verification that went well since then has done the work of the one that broke off. */
function isSuperseded(
  run: RunBrief,
  groups: WatchFacts['groups'],
  standings: readonly JobStanding[],
): boolean {
  if (!changesNothing.has(run.operation)) return false;
  const point = groups.find(({ group }) => group.name === run.group)?.status.point ?? null;
  const goodAt =
    standings.find(({ job, group }) => job === run.operation && group === run.group)?.lastGoodAt ?? null;
  return (
    (run.operation === 'export' && point !== null && point.takenAt > run.startedAt) ||
    (goodAt !== null && goodAt > run.startedAt)
  );
}

const changesNothing = new Set(['export', 'verify']);

function waiting(run: RunBrief, how: string): Found {
  return wrong('run', `run:${run.id}`, {
    severity: changesNothing.has(run.operation) ? 'warning' : 'critical',
    groups: [run.group],
    what: `The ${run.operation} of group ${run.group} ${how}`,
    evidence: [
      `run ${run.id}, begun at ${run.startedAt} by ${run.by}`,
      ...(run.summary === null ? [] : [run.summary]),
    ],
    next: `See what it asks: lifeboat run show ${run.id}. Then go on: lifeboat run resume ${run.id}`,
  });
}

const ownKinds = new Set(['export', 'drill']);

/** Exports and drills are judged by what they promise (promises.ts). */
function jobs(facts: WatchFacts): Found[] {
  return facts.jobs.filter(({ job }) => !ownKinds.has(job)).map((standing) => jobTrouble(facts, standing));
}

function jobTrouble({ now, groups, rehearsal: newest }: WatchFacts, standing: JobStanding): Found {
  const { job, group, last } = standing;
  // What a rehearsal found is told by itself.
  const failed = hasFailed(standing) && !(job === 'rehearsal' && newest?.outcome === 'unable');
  const frozen = groups.some(({ status }) => status.group === group && status.frozen !== null);
  const late = isOverdue(standing, now);
  if (frozen || (!failed && !late)) return none;
  const name =
    group === null
      ? job === 'rehearsal'
        ? 'The rehearsal of Lifeboat itself'
        : `Job ${job}`
      : `Job ${job} of group ${group}`;
  return wrong(job === 'rehearsal' ? 'rehearsal' : 'job', `job:${job}:${group ?? ''}`, {
    severity: job === 'rehearsal' ? 'critical' : 'warning',
    groups: group === null ? [] : [group],
    what: failed ? `${name} did not go well` : `${name} was not done in time`,
    evidence: [
      ...(last === null
        ? ['it was never done']
        : [`last turn ${last.startedAt}: ${last.summary ?? last.outcome ?? 'under way'}`]),
      ...(late && standing.nextAt !== null
        ? [`due since ${formatDuration(secondsBetween(standing.nextAt, now))}`]
        : []),
      `schedule: ${standing.schedule}`,
    ],
    next:
      last?.run == null
        ? `See how the clock stands: lifeboat schedule${group === null ? '' : ` ${group}`}`
        : `See why: lifeboat run show ${last.run}`,
  });
}

function config({ configProblems }: WatchFacts): Found {
  const [first] = configProblems;
  if (first === undefined) return none;
  return wrong('config', 'config', {
    severity: 'warning',
    groups: [],
    what: 'The new configuration was refused; the one before is still in force',
    evidence: configProblems.map(({ where, what }) =>
      [describePlace(where), what].filter(Boolean).join(': '),
    ),
    next: first.next,
  });
}

/** Able to act, or not, when production is gone: the newest rehearsal says. */
function rehearsal({ rehearsal: newest }: WatchFacts): Found {
  if (newest === null || newest.outcome !== 'unable') return none;
  const failed = newest.sections.flatMap(({ about, checks }) =>
    checks
      .filter(({ outcome }) => outcome === 'failed')
      .map(({ verb, problem, says }) => `${about}, ${verb}: ${problem?.what ?? says.join('; ')}`),
  );
  const notReady = newest.groups.filter(({ outcome }) => outcome === 'not-ready').map(({ group }) => group);
  return wrong('rehearsal', 'rehearsal', {
    severity: 'critical',
    groups: notReady,
    what: 'Lifeboat could not act now if production were gone',
    evidence: [
      ...failed,
      ...notReady.map((group) => `the failover of group ${group} is not ready`),
      `rehearsed at ${newest.takenAt}`,
    ],
    next: 'Mend what failed, then try again: lifeboat rehearse',
  });
}

/** A channel that nobody hears is no channel. Told through the others, and through itself when it works again. */
const deafAfterSeconds = 900;

function channels({ channels: standing, now }: WatchFacts): Found[] {
  return standing
    .filter(
      ({ waitingSince, problem }) =>
        problem !== null && waitingSince !== null && secondsBetween(waitingSince, now) > deafAfterSeconds,
    )
    .map(({ channel, waiting: number, waitingSince, problem }) =>
      wrong('channel', `channel:${channel}`, {
        severity: 'warning',
        groups: [],
        what: `Notices do not arrive through channel ${channel}`,
        evidence: [problem ?? '', `${number} wait, the oldest since ${waitingSince}`],
        next: `Try it: lifeboat notify test ${channel}`,
      }),
    );
}
