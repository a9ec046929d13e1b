/**
 * What is due: from the calendars, from how far each of them has been answered, and from the clock. Nothing else is
 * remembered, so a restart, a sleep, a change of clocks and a clock that was wrong are one and the same case.
 */
import type { Calendar } from '../domain/calendar.ts';
import { type Answered, type JobKind, type JobName, jobKey } from '../domain/jobs.ts';
import type { JobSettings } from '../domain/settings.ts';
import type { Instant } from '../domain/time.ts';
import { slotsAfter, slotsBetween } from './slots.ts';

export interface DueTurn extends JobName {
  readonly slot: Instant;
  /** When it fell due: the slot, and the job's share of the spread. */
  readonly dueAt: Instant;
  /** Slots before this one that nobody answered; counted to `countedAtMost`. */
  readonly missed: number;
  readonly firstMissed: Instant | null;
  /** It comes late, or makes up for others. */
  readonly madeUp: boolean;
  /** False: it has passed, and its settings say that it is not to be made up. */
  readonly wanted: boolean;
}

export interface Due {
  /** Oldest first. */
  readonly turns: readonly DueTurn[];
  /** Jobs whose count begins now: seen for the first time, with another calendar, or after the clock was set back. */
  readonly anchors: readonly Anchor[];
}

export interface Anchor extends JobName {
  readonly answered: Answered;
  readonly because: 'new' | 'calendar' | 'clock';
}

/** Later than this is late, beside the spread: a heartbeat is a minute, and a group may be busy for some. */
export const onTimeSeconds = 600;
/** A clock that was years behind must not keep us counting. */
export const countedAtMost = 10_000;

/** `answered` by `jobKey`. */
export function due(
  jobs: readonly JobSettings[],
  answered: ReadonlyMap<string, Answered>,
  now: Instant,
  spreadSeconds: number,
): Due {
  const turns: DueTurn[] = [];
  const anchors: Anchor[] = [];
  for (const job of jobs) {
    const before = answered.get(jobKey(job));
    const because = anchorFor(job, before, now);
    if (because !== null) {
      anchors.push({
        job: job.job,
        group: job.group,
        answered: { calendar: calendarKey(job.calendar), until: now },
        because,
      });
      // Protection begins with the first recovery point, and not with the next quarter of an hour.
      if (because === 'new' && job.job === 'export') turns.push(firstTurn(job, now));
      continue;
    }
    const turn = before === undefined ? null : turnOf(job, before, now, spreadSeconds);
    if (turn !== null) turns.push(turn);
  }
  return { turns: turns.sort(byAge), anchors };
}

/** When a job falls due next, its share of the spread included; in the past when it is due already. */
export function nextDue(
  job: JobSettings,
  answered: Answered | undefined,
  now: Instant,
  spreadSeconds: number,
): Instant | null {
  const begins = anchorFor(job, answered, now);
  if (begins === 'new' && job.job === 'export') return now;
  const from = begins === null && answered !== undefined ? answered.until : now;
  const { value } = slotsAfter(job.calendar, Date.parse(from)).next();
  return value === undefined ? null : iso(value + spreadOf(job, spreadSeconds) * 1000);
}

/** The longest distance of two slots in a row, in seconds, as far as one can see: this month and the next, or thirteen slots. */
export function longestInterval(calendar: Calendar, now: Instant): number {
  const key = `${now.slice(0, 7)} ${calendarKey(calendar)}`;
  const known = intervals.get(key) ?? reckonInterval(calendar, Date.parse(`${now.slice(0, 7)}-01T00:00:00Z`));
  if (intervals.size > intervalsAtMost) intervals.clear();
  intervals.set(key, known);
  return known;
}

/** They cost a month of slots each, and are asked for at every tick. */
const intervals = new Map<string, number>();
const intervalsAtMost = 1000;

function reckonInterval(calendar: Calendar, from: number): number {
  let longest = 0;
  let last: number | null = null;
  let seen = 0;
  for (const moment of slotsAfter(calendar, from)) {
    if (last !== null) longest = Math.max(longest, moment - last);
    last = moment;
    seen += 1;
    if (seen > 13 && moment - from > 62 * 86_400_000) break;
  }
  return longest / 1000;
}

export function calendarKey({ cron, timeZone }: Calendar): string {
  return `${cron} ${timeZone}`;
}

function anchorFor(job: JobSettings, answered: Answered | undefined, now: Instant): Anchor['because'] | null {
  if (answered === undefined) return 'new';
  if (answered.calendar !== calendarKey(job.calendar)) return 'calendar';
  // One slot of the future was answered a moment ago, before the clock was set back a little: it is not answered twice.
  // Two and more come from a clock that was wrong, and would keep the job silent until it is that late again.
  const ahead = slotsBetween(job.calendar, Date.parse(now), Date.parse(answered.until), 2);
  return ahead.count > 1 ? 'clock' : null;
}

function turnOf(job: JobSettings, answered: Answered, now: Instant, spreadSeconds: number): DueTurn | null {
  const share = spreadOf(job, spreadSeconds) * 1000;
  const after = Date.parse(answered.until);
  const until = Date.parse(now) - share;
  const { newest, oldest, count } = slotsBetween(job.calendar, after, until, countedAtMost);
  if (newest === null || oldest === null) return null;
  // Beyond the count, what is answered is the time itself: the slots until now are many, and all are past.
  const slot = count < countedAtMost ? newest : until;
  const missed = count - 1;
  const late = until - slot > onTimeSeconds * 1000;
  return {
    job: job.job,
    group: job.group,
    slot: iso(slot),
    dueAt: iso(slot + share),
    missed,
    firstMissed: missed === 0 ? null : iso(oldest),
    madeUp: late || missed > 0,
    wanted: job.catchUp || !late,
  };
}

function firstTurn({ job, group }: JobSettings, now: Instant): DueTurn {
  return { job, group, slot: now, dueAt: now, missed: 0, firstMissed: null, madeUp: false, wanted: true };
}

/** The same for a job every time, and different from job to job. */
function spreadOf(job: JobSettings, spreadSeconds: number): number {
  if (spreadSeconds <= 0) return 0;
  let hash = 0x811c9dc5;
  // FNV-1a: small, and even enough to keep groups apart.
  for (const character of jobKey(job)) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193);
  return (hash >>> 0) % Math.floor(spreadSeconds + 1);
}

const inOrder: readonly JobKind[] = ['export', 'verify', 'catalog-check', 'drill', 'report', 'rehearsal'];

function byAge(a: DueTurn, b: DueTurn): number {
  return (
    Date.parse(a.dueAt) - Date.parse(b.dueAt) ||
    inOrder.indexOf(a.job) - inOrder.indexOf(b.job) ||
    (jobKey(a) < jobKey(b) ? -1 : 1)
  );
}

function iso(moment: number): Instant {
  return new Date(moment).toISOString();
}
