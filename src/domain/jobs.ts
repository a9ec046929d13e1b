/** What is done on a clock, and how it stands: the ledger of schedules, as values. */
import type { Instant } from './time.ts';

/** `rehearsal` proves Lifeboat itself and belongs to no group; all others are done per group. */
export type JobKind = 'export' | 'verify' | 'drill' | 'catalog-check' | 'report' | 'rehearsal';

/** A job by what it does and for whom. */
export interface JobName {
  readonly job: JobKind;
  /** Null for a job of Lifeboat itself. */
  readonly group: string | null;
}

/** `export shop`, `rehearsal`: names a job where text is needed. */
export function jobKey({ job, group }: JobName): string {
  return group === null ? job : `${job} ${group}`;
}

/** How one turn of a job went. */
export type JobOutcome =
  | 'done'
  | 'warnings'
  | 'failed'
  /** Its checks forbade it, or what it needs was not there: nothing was changed. */
  | 'blocked'
  /** The group was frozen. */
  | 'skipped'
  /** A person stopped its run. */
  | 'stopped'
  /** The daemon died in the middle. */
  | 'interrupted';

/** One turn of a job. `endedAt` and `outcome` are null while it is under way. */
export interface JobTurn {
  /** The time in the calendar that it answers. */
  readonly slot: Instant;
  readonly startedAt: Instant;
  readonly endedAt: Instant | null;
  readonly outcome: JobOutcome | null;
  /** The run whose journal tells the details; null where none was started. */
  readonly run: string | null;
  /** One sentence: what came of it, or why nothing did. */
  readonly summary: string | null;
  /** Slots before this one for which nothing was done; this turn makes up for them, once. */
  readonly missed: number;
  /** It began later than its slot allows, or makes up for missed ones. */
  readonly madeUp: boolean;
}

/** A turn as the ledger keeps it. */
export type LedgerTurn = JobTurn & JobName & { readonly id: number };

/** How far a job has been answered. */
export interface Answered {
  /** The calendar of that time (`calendarKey`): another one begins anew. */
  readonly calendar: string;
  /** Every slot until this moment was answered, or was before the job was known. */
  readonly until: Instant;
}

/** One job, now. */
export interface JobStanding extends JobName {
  /** In words: `every 15 min`, `daily at 02:30 (Europe/Zurich)`. */
  readonly schedule: string;
  /** The longest distance between two slots in a row, in seconds: nothing done for longer means that something is wrong. */
  readonly intervalSeconds: number;
  /** When it is due next, spread included; in the past when it waits for its turn. */
  readonly nextAt: Instant | null;
  /** The newest turn, whatever came of it. */
  readonly last: JobTurn | null;
  /** End of the newest turn that was done, with or without warnings. */
  readonly lastGoodAt: Instant | null;
}
