/** What was promised for each group: recovery points in time, the RPO, metadata that fits, a failover that works, drills. */

import type { JobStanding } from '../domain/jobs.ts';
import { formatDuration, secondsBetween } from '../domain/time.ts';
import { metadataBackups } from './backups.ts';
import {
  type Found,
  isOnItsWay,
  isProtected,
  jobOf,
  none,
  notKnown,
  together,
  type WatchedGroup,
  type WatchFacts,
  wrong,
} from './facts.ts';

export function brokenPromises(facts: WatchFacts): Found {
  return together(
    facts.groups.flatMap((watched) => [
      exports(facts, watched),
      rpo(watched),
      skew(facts, watched),
      readiness(facts, watched),
      drills(facts, watched),
      metadataBackups(facts, watched),
    ]),
  );
}

const failedOutcomes: ReadonlySet<string> = new Set(['failed', 'blocked', 'interrupted']);

/** A slot is missed when the next one has come as well. */
export function isOverdue(job: JobStanding | null, now: string): boolean {
  return job !== null && job.nextAt !== null && secondsBetween(job.nextAt, now) > job.intervalSeconds;
}

export function hasFailed(job: JobStanding | null): job is JobStanding {
  return (
    job !== null && job.last !== null && job.last.outcome !== null && failedOutcomes.has(job.last.outcome)
  );
}

/** A frozen group is left alone on purpose; whoever froze it has taken that upon them. */
function exports(facts: WatchFacts, watched: WatchedGroup): Found {
  const { group, status } = watched;
  const key = `export:${group.name}`;
  if (!isProtected(watched) || status.frozen !== null) return isOnItsWay(watched) ? notKnown(key) : none;
  if (facts.observation.gaps.some(({ source }) => source === 'catalog')) return notKnown(key);
  const job = jobOf(facts, 'export', group.name);
  const limit = job === null ? group.rpoSeconds : Math.max(group.rpoSeconds, 2 * job.intervalSeconds);
  const age = status.point?.ageSeconds ?? null;
  const failure = failedExport(job, watched);
  const old = age !== null && age > limit;
  if (!old && failure === null && !isOverdue(job, facts.now)) return none;
  const ageText = age === null ? 'there is none' : `the newest is ${formatDuration(age)} old`;
  return wrong('export', key, {
    severity: old ? 'critical' : 'warning',
    groups: [group.name],
    what:
      failure !== null
        ? `The export of group ${group.name} failed`
        : `No recovery point of group ${group.name} was made in time: ${ageText}`,
    evidence: [
      ...(failure === null ? [] : [failure, `recovery points: ${ageText}`]),
      job === null
        ? `one is expected within the RPO of ${formatDuration(group.rpoSeconds)}`
        : `schedule: ${job.schedule}`,
    ],
    next: `See why: lifeboat run list ${group.name}. Then: lifeboat export ${group.name}`,
  });
}

/** What came of the last one, as a sentence; null when it went well or is not known. */
function failedExport(job: JobStanding | null, { status }: WatchedGroup): string | null {
  if (hasFailed(job))
    return [job.last?.summary ?? `it ended as ${job.last?.outcome}`, runText(job.last?.run)]
      .filter(Boolean)
      .join('; ');
  const { lastRun, point } = status;
  if (lastRun?.operation !== 'export' || lastRun.endedAt === null) return null;
  if (lastRun.outcome !== 'failed' && lastRun.outcome !== 'stuck') return null;
  // A point that was made since then has answered it.
  if (point !== null && point.takenAt > lastRun.endedAt) return null;
  return [lastRun.summary, runText(lastRun.id)].filter(Boolean).join('; ');
}

const runText = (run: string | null | undefined): string => (run == null ? '' : `run ${run}`);

function rpo(watched: WatchedGroup): Found {
  const { group, status } = watched;
  const key = `rpo:${group.name}`;
  if (isOnItsWay(watched)) return notKnown(key);
  if (!isProtected(watched)) return none;
  const loss = status.lossSeconds;
  if (loss === null) return notKnown(key);
  if (loss <= group.rpoSeconds) return none;
  return wrong('rpo', key, {
    severity: 'critical',
    groups: [group.name],
    what: `The RPO of group ${group.name} is broken: ${formatDuration(loss)} would be lost now, ${formatDuration(group.rpoSeconds)} were promised`,
    evidence: status.replicas.map(
      ({ sr, ageSeconds, state }) =>
        `SR ${sr}: ${ageSeconds === null ? 'no complete replica' : `replica ${formatDuration(ageSeconds)} old`}, ${state}`,
    ),
    next: `Look at the replication on the arrays: lifeboat status ${group.name}`,
  });
}

function skew(facts: WatchFacts, watched: WatchedGroup): Found {
  const { group, status } = watched;
  const key = `skew:${group.name}`;
  if (isOnItsWay(watched)) return notKnown(key);
  if (!isProtected(watched)) return none;
  const seconds = status.skewSeconds;
  if (seconds === null) return notKnown(key);
  if (Math.abs(seconds) <= facts.limits.skewSeconds) return none;
  const apart = formatDuration(Math.abs(seconds));
  return wrong('skew', key, {
    severity: 'warning',
    groups: [group.name],
    what:
      seconds > 0
        ? `The metadata of group ${group.name} is ${apart} newer than its replica: VMs made in between would not come up`
        : `The replica of group ${group.name} is ${apart} newer than its metadata: VMs made in between are not known`,
    evidence: [`${formatDuration(facts.limits.skewSeconds)} are allowed`],
    next:
      seconds > 0
        ? `Look at the replication on the arrays: lifeboat status ${group.name}`
        : `Run: lifeboat export ${group.name}`,
  });
}

/** A group that is new waits for its first export; when one is scheduled and has not begun, nothing is wrong yet. */
function readiness(facts: WatchFacts, watched: WatchedGroup): Found {
  const { group, status, view } = watched;
  const key = `readiness:${group.name}`;
  const begins = status.phase === 'unprotected' && waitsForFirst(jobOf(facts, 'export', group.name));
  if (view.readiness === 'unknown' || isOnItsWay(watched) || begins) return notKnown(key);
  if (view.readiness !== 'not-ready') return movedAway(watched, key);
  return wrong('readiness', key, {
    severity: 'critical',
    groups: [group.name],
    what: `Group ${group.name} could not fail over to site ${group.recovery} now`,
    evidence: view.because,
    next: view.next ?? `See what is in the way: lifeboat check ${group.name}`,
  });
}

/** Scheduled, and not ended for the first time. */
const waitsForFirst = (job: JobStanding | null): boolean =>
  job !== null && (job.last === null || job.last.outcome === null) && job.lastGoodAt === null;

function movedAway({ group, status }: WatchedGroup, key: string): Found {
  if (status.phase !== 'failed-over') return none;
  return wrong('readiness', key, {
    severity: 'warning',
    groups: [group.name],
    what: `Nothing protects group ${group.name} where it is now, at site ${status.activeSite}`,
    evidence: status.findings.map(({ what }) => what),
    next: `As soon as the other site is back: lifeboat reprotect ${group.name}`,
  });
}

function drills(facts: WatchFacts, watched: WatchedGroup): Found {
  const { group, status } = watched;
  const key = `drill:${group.name}`;
  const every = facts.limits.drillEverySeconds;
  if (!isProtected(watched) || status.frozen !== null || every === null) return none;
  const last = status.lastDrill;
  const job = jobOf(facts, 'drill', group.name);
  const ended = last?.endedAt ?? null;
  const well = last?.outcome === 'done' || last?.outcome === 'done-with-warnings';
  const goodAt =
    [job?.lastGoodAt ?? null, well ? ended : null]
      .filter((at) => at !== null)
      .sort()
      .at(-1) ?? null;
  const failed = ended !== null && !well && (goodAt === null || goodAt < ended);
  const age = goodAt === null ? null : secondsBetween(goodAt, facts.now);
  if (!failed && !hasFailed(job) && age !== null && age <= every) return none;
  return wrong('drill', key, {
    severity: 'warning',
    groups: [group.name],
    what:
      failed || hasFailed(job)
        ? `The last drill of group ${group.name} did not end well`
        : age === null
          ? `Group ${group.name} was never drilled`
          : `The last drill of group ${group.name} was ${formatDuration(age)} ago`,
    evidence: [
      ...(failed && last !== null ? [[last.summary, runText(last.id)].filter(Boolean).join('; ')] : []),
      ...(hasFailed(job) && job.last?.summary != null ? [job.last.summary] : []),
      age === null ? 'none has ended well' : `the last one that ended well was at ${goodAt}`,
      `one is due every ${formatDuration(every)}`,
    ],
    next: `Run: lifeboat drill ${group.name}`,
  });
}
