/** What the clock needs beside the application: its ledger, and a shelf for reports. */
import type { Answered, JobName, JobOutcome, JobTurn, LedgerTurn } from '../domain/jobs.ts';
import type { Instant } from '../domain/time.ts';

export interface Clockwork {
  /** Opened on first use. */
  ledger(): Promise<ScheduleLedger>;
  /** Writes a report, whole or not at all; makes its directory. `OperatorError` when it cannot. */
  shelve(path: string, text: string): Promise<void>;
}

/** Turns of jobs, durable before a call returns: what several machines would have to share (design 8). */
export interface ScheduleLedger {
  /** How far each job was answered, by `jobKey`. */
  answered(): Promise<ReadonlyMap<string, Answered>>;
  /** From here on the job is counted. */
  anchor(name: JobName, answered: Answered): Promise<void>;
  /**
   * Takes a slot and everything before it, and writes the turn down, in one transaction: null when somebody else has
   * answered the job since `from` was read. Returns the number of the turn.
   */
  begin(turn: NewTurn, from: Answered, to: Answered): Promise<number | null>;
  /** The run that the turn began. */
  noteRun(turn: number, run: string): Promise<void>;
  end(turn: number, end: TurnEnd): Promise<void>;
  /** Newest turn and newest good end of each job, by `jobKey`. */
  newest(): Promise<ReadonlyMap<string, NewestTurns>>;
  /** Turns that have not ended, oldest first. */
  open(): Promise<readonly LedgerTurn[]>;
  /** Newest first; of one group, or of everything. */
  turns(request: { readonly group: string | null; readonly limit: number }): Promise<readonly LedgerTurn[]>;
  /** Lets go of turns that ended before; the newest of each job stays. */
  forget(before: Instant): Promise<void>;
}

export type NewTurn = JobName & Pick<JobTurn, 'slot' | 'startedAt' | 'missed' | 'madeUp'>;

export interface TurnEnd {
  readonly at: Instant;
  readonly outcome: JobOutcome;
  readonly summary: string;
  /** Nothing came of the turn: the slot is open again, and is made up for. */
  readonly again?: Answered;
}

export interface NewestTurns {
  readonly last: JobTurn | null;
  readonly lastGoodAt: Instant | null;
}
