/** The ledger of the clock: which jobs were answered how far, and every turn, in the file that holds the states. */
import type { SQLOutputValue } from 'node:sqlite';
import {
  type Answered,
  type JobKind,
  type JobName,
  type JobOutcome,
  type JobTurn,
  jobKey,
  type LedgerTurn,
} from '../../domain/jobs.ts';
import type { Instant } from '../../domain/time.ts';
import type { NewestTurns, NewTurn, ScheduleLedger, TurnEnd } from '../../ports/schedule.ts';
import { StateDatabase } from './database.ts';

type Row = Record<string, SQLOutputValue>;

/** Names of groups are never empty: this is Lifeboat itself. */
const itself = '';

export class SqliteSchedule implements ScheduleLedger {
  readonly #database: StateDatabase;

  /** `path` of the database file; made, with its directory, when missing. Throws `OperatorError` on a damaged file. */
  constructor(path: string) {
    this.#database = new StateDatabase(path);
  }

  async answered(): Promise<ReadonlyMap<string, Answered>> {
    const rows = this.#all('SELECT * FROM schedule_job');
    return new Map(
      rows.map((row) => [
        keyOf(row),
        { calendar: text(row, 'calendar'), until: text(row, 'answered_until') },
      ]),
    );
  }

  async anchor(name: JobName, answered: Answered): Promise<void> {
    this.#database.transaction(() =>
      this.#database.db
        .prepare(
          `INSERT INTO schedule_job (job, name, calendar, answered_until) VALUES (?, ?, ?, ?)
           ON CONFLICT (job, name) DO UPDATE
             SET calendar = excluded.calendar, answered_until = excluded.answered_until`,
        )
        .run(name.job, name.group ?? itself, answered.calendar, answered.until),
    );
  }

  async begin(turn: NewTurn, from: Answered, to: Answered): Promise<number | null> {
    const name = turn.group ?? itself;
    return this.#database.transaction(() => {
      const { changes } = this.#database.db
        .prepare(
          `UPDATE schedule_job SET calendar = ?, answered_until = ?
           WHERE job = ? AND name = ? AND calendar = ? AND answered_until = ?`,
        )
        .run(to.calendar, to.until, turn.job, name, from.calendar, from.until);
      if (changes === 0) return null;
      const { lastInsertRowid } = this.#database.db
        .prepare(
          `INSERT INTO schedule_turn (job, name, slot, started_at, missed, made_up) VALUES (?, ?, ?, ?, ?, ?)`,
        )
        .run(turn.job, name, turn.slot, turn.startedAt, turn.missed, turn.madeUp ? 1 : 0);
      const id = Number(lastInsertRowid);
      this.#database.db
        .prepare('UPDATE schedule_job SET last_turn = ? WHERE job = ? AND name = ?')
        .run(id, turn.job, name);
      return id;
    });
  }

  async noteRun(turn: number, run: string): Promise<void> {
    this.#database.transaction(() =>
      this.#database.db.prepare('UPDATE schedule_turn SET run = ? WHERE id = ?').run(run, turn),
    );
  }

  async end(turn: number, { at, outcome, summary, again }: TurnEnd): Promise<void> {
    this.#database.transaction(() => {
      const row = this.#database.db
        .prepare(
          `UPDATE schedule_turn SET ended_at = ?, outcome = ?, summary = ? WHERE id = ? RETURNING job, name`,
        )
        .get(at, outcome, summary, turn);
      if (row === undefined) throw new Error(`there is no turn ${turn}`);
      const of = [text(row, 'job'), text(row, 'name')] as const;
      if (outcome === 'done' || outcome === 'warnings')
        this.#database.db
          .prepare('UPDATE schedule_job SET last_good_at = ? WHERE job = ? AND name = ?')
          .run(at, ...of);
      if (again !== undefined)
        this.#database.db
          .prepare('UPDATE schedule_job SET calendar = ?, answered_until = ? WHERE job = ? AND name = ?')
          .run(again.calendar, again.until, ...of);
    });
  }

  async newest(): Promise<ReadonlyMap<string, NewestTurns>> {
    const rows = this.#all(
      `SELECT schedule_turn.*, schedule_job.job AS job, schedule_job.name AS name, last_good_at
       FROM schedule_job LEFT JOIN schedule_turn ON schedule_turn.id = last_turn`,
    );
    return new Map(
      rows.map((row) => [
        keyOf(row),
        {
          last: row['id'] === null ? null : turnOf(row),
          lastGoodAt: textOrNull(row, 'last_good_at'),
        },
      ]),
    );
  }

  async open(): Promise<readonly LedgerTurn[]> {
    return this.#all('SELECT * FROM schedule_turn WHERE ended_at IS NULL ORDER BY id').map(ledgerTurnOf);
  }

  async turns({
    group,
    limit,
  }: {
    readonly group: string | null;
    readonly limit: number;
  }): Promise<readonly LedgerTurn[]> {
    const rows =
      group === null
        ? this.#all('SELECT * FROM schedule_turn ORDER BY id DESC LIMIT ?', limit)
        : this.#all('SELECT * FROM schedule_turn WHERE name = ? ORDER BY id DESC LIMIT ?', group, limit);
    return rows.map(ledgerTurnOf);
  }

  async forget(before: Instant): Promise<void> {
    this.#database.transaction(() =>
      this.#database.db
        .prepare(
          `DELETE FROM schedule_turn WHERE ended_at < ?
           AND id NOT IN (SELECT last_turn FROM schedule_job WHERE last_turn IS NOT NULL)`,
        )
        .run(before),
    );
  }

  close(): void {
    this.#database.close();
  }

  #all(statement: string, ...values: readonly (string | number)[]): readonly Row[] {
    return this.#database.guard(() => this.#database.db.prepare(statement).all(...values));
  }
}

function keyOf(row: Row): string {
  return jobKey(nameOf(row));
}

function nameOf(row: Row): JobName {
  const name = text(row, 'name');
  return { job: text(row, 'job') as JobKind, group: name === itself ? null : name };
}

function ledgerTurnOf(row: Row): LedgerTurn {
  return { id: Number(row['id']), ...nameOf(row), ...turnOf(row) };
}

function turnOf(row: Row): JobTurn {
  return {
    slot: text(row, 'slot'),
    startedAt: text(row, 'started_at'),
    endedAt: textOrNull(row, 'ended_at'),
    outcome: textOrNull(row, 'outcome') as JobOutcome | null,
    run: textOrNull(row, 'run'),
    summary: textOrNull(row, 'summary'),
    missed: Number(row['missed']),
    madeUp: row['made_up'] === 1,
  };
}

function text(row: Row, column: string): string {
  return String(row[column] ?? '');
}

function textOrNull(row: Row, column: string): string | null {
  const value = row[column];
  return value === null || value === undefined ? null : String(value);
}
