/**
 * What the watch remembers, in the file that holds the states: the ledger of differences, alarms, and the queue of notices.
 * An alarm and the notices that tell of it are written in one transaction, so that no crash can part them.
 */
import type { SQLOutputValue } from 'node:sqlite';
import type { Alarm } from '../../domain/alarm.ts';
import type { LedgerEntry } from '../../domain/drift.ts';
import type { ChannelStanding, Notice, QueuedNotice } from '../../domain/notice.ts';
import type { Readiness } from '../../domain/status.ts';
import { addSeconds, type Instant } from '../../domain/time.ts';
import type { WatchChange, WatchMemory, WatchStore } from '../../ports/watch.ts';
import { StateDatabase } from './database.ts';

type Row = Record<string, SQLOutputValue>;

/** What was closed or delivered is kept for so long: for reports, and for people who ask. */
const keepAlarmsSeconds = 400 * 86_400;
const keepNoticesSeconds = 30 * 86_400;
/** A notice that its channel has refused so often no longer holds up those behind it. */
const attemptsInTurn = 5;

export class SqliteWatch implements WatchStore {
  readonly #database: StateDatabase;

  /** `path` of the database file; made, with its directory, when missing. Throws `OperatorError` on a damaged file. */
  constructor(path: string) {
    this.#database = new StateDatabase(path);
  }

  async read(): Promise<WatchMemory> {
    return this.#database.guard(() => this.#memory());
  }

  async change<T extends WatchChange>(work: (memory: WatchMemory) => T): Promise<T> {
    return this.#database.transaction(() => {
      const before = this.#memory();
      const change = work(before);
      this.#keepLedger(before.ledger, change.ledger);
      this.#keepAlarms(change.alarms);
      this.#keepReadiness(change.readiness);
      if (change.digestOn !== null && change.digestOn !== before.digestOn)
        this.#run(
          'INSERT OR REPLACE INTO watch_fact (name, value) VALUES (?, ?)',
          'digest-on',
          change.digestOn,
        );
      for (const { channel, notice } of change.notices) this.#enqueue(channel, notice);
      for (const { at, group, did, by, reason, detail } of change.audit ?? [])
        this.#run(
          'INSERT INTO audit (at, name, did, by_whom, reason, detail) VALUES (?, ?, ?, ?, ?, ?)',
          at,
          group,
          did,
          by,
          reason,
          detail,
        );
      return change;
    });
  }

  async closedSince(since: Instant): Promise<readonly Alarm[]> {
    return this.#all('SELECT alarm FROM alarm WHERE closed_at >= ? ORDER BY closed_at DESC, id', since).map(
      (row) => parsed<Alarm>(row, 'alarm'),
    );
  }

  async due(now: Instant, mostPerChannel: number): Promise<readonly QueuedNotice[]> {
    // In the order in which they were made: nobody shall hear of an end before the beginning.
    return this.#all(
      `SELECT * FROM (
         SELECT *, row_number() OVER (PARTITION BY channel ORDER BY number) AS place,
                min(CASE WHEN due_at > ?1 AND attempts < ?3 THEN number END) OVER (PARTITION BY channel) AS first_not_due
         FROM notice WHERE delivered_at IS NULL
       ) WHERE place <= ?2 AND (first_not_due IS NULL OR number < first_not_due) ORDER BY number`,
      now,
      mostPerChannel,
      attemptsInTurn,
    ).map(queued);
  }

  async delivered(channel: string, noticeId: string, at: Instant): Promise<void> {
    this.#database.transaction(() => {
      this.#run(
        'UPDATE notice SET delivered_at = ?, problem = NULL WHERE channel = ? AND id = ?',
        at,
        channel,
        noticeId,
      );
      this.#run('DELETE FROM notice WHERE delivered_at < ?', addSeconds(at, -keepNoticesSeconds));
      this.#run('DELETE FROM alarm WHERE closed_at < ?', addSeconds(at, -keepAlarmsSeconds));
    });
  }

  async failed(channel: string, noticeId: string, problem: string, dueAt: Instant): Promise<void> {
    this.#database.transaction(() =>
      this.#run(
        'UPDATE notice SET attempts = attempts + 1, problem = ?, due_at = ? WHERE channel = ? AND id = ?',
        problem,
        dueAt,
        channel,
        noticeId,
      ),
    );
  }

  async standing(): Promise<readonly ChannelStanding[]> {
    return this.#all(
      `SELECT channel, count(*) AS waiting, min(made_at) AS since, max(problem) AS problem
       FROM notice WHERE delivered_at IS NULL GROUP BY channel ORDER BY channel`,
    ).map((row) => ({
      channel: text(row, 'channel'),
      waiting: Number(row['waiting']),
      waitingSince: textOrNull(row, 'since'),
      problem: textOrNull(row, 'problem'),
    }));
  }

  async dropOthers(channels: readonly string[], before: Instant): Promise<number> {
    return this.#database.transaction(() =>
      Number(
        this.#database.db
          .prepare(
            `DELETE FROM notice WHERE delivered_at IS NULL AND made_at < ?
             AND channel NOT IN (SELECT value FROM json_each(?))`,
          )
          .run(before, JSON.stringify(channels)).changes,
      ),
    );
  }

  close(): void {
    this.#database.close();
  }

  #memory(): WatchMemory {
    const { db } = this.#database;
    const fact = db.prepare("SELECT value FROM watch_fact WHERE name = 'digest-on'").get();
    return {
      ledger: db
        .prepare('SELECT entry FROM drift ORDER BY id')
        .all()
        .map((row) => parsed<LedgerEntry>(row, 'entry')),
      alarms: db
        .prepare('SELECT alarm FROM alarm WHERE closed_at IS NULL ORDER BY id')
        .all()
        .map((row) => parsed<Alarm>(row, 'alarm')),
      readiness: db
        .prepare('SELECT * FROM readiness ORDER BY name')
        .all()
        .map((row) => ({
          group: text(row, 'name'),
          readiness: text(row, 'readiness') as Readiness,
          since: text(row, 'since'),
        })),
      digestOn: fact === undefined ? null : text(fact, 'value'),
    };
  }

  #keepLedger(before: readonly LedgerEntry[], after: readonly LedgerEntry[]): void {
    const kept = new Set(after.map(({ id }) => id));
    for (const { id } of before) if (!kept.has(id)) this.#run('DELETE FROM drift WHERE id = ?', id);
    for (const entry of after)
      this.#run('INSERT OR REPLACE INTO drift (id, entry) VALUES (?, ?)', entry.id, JSON.stringify(entry));
  }

  #keepAlarms(alarms: readonly Alarm[]): void {
    for (const alarm of alarms)
      this.#run(
        `INSERT INTO alarm (id, key, closed_at, alarm) VALUES (?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET closed_at = excluded.closed_at, alarm = excluded.alarm`,
        alarm.id,
        alarm.key,
        alarm.closedAt,
        JSON.stringify(alarm),
      );
  }

  #keepReadiness(readiness: WatchMemory['readiness']): void {
    this.#run(
      'DELETE FROM readiness WHERE name NOT IN (SELECT value FROM json_each(?))',
      JSON.stringify(readiness.map(({ group }) => group)),
    );
    for (const { group, readiness: how, since } of readiness)
      this.#run(
        'INSERT OR REPLACE INTO readiness (name, readiness, since) VALUES (?, ?, ?)',
        group,
        how,
        since,
      );
  }

  /** A reminder that has not been sent yet is replaced by the newer one: nobody needs to be reminded twice at once. */
  #enqueue(channel: string, notice: Notice): void {
    const replaces = replacedBy(notice);
    if (replaces !== null)
      this.#run(
        'DELETE FROM notice WHERE channel = ? AND replaces = ? AND delivered_at IS NULL',
        channel,
        replaces,
      );
    this.#run(
      `INSERT INTO notice (channel, id, replaces, made_at, due_at, attempts, problem, delivered_at, notice)
       VALUES (?, ?, ?, ?, ?, 0, NULL, NULL, ?) ON CONFLICT (channel, id) DO NOTHING`,
      channel,
      notice.id,
      replaces,
      notice.at,
      notice.at,
      JSON.stringify(notice),
    );
  }

  #run(sql: string, ...values: readonly (string | number | null)[]): void {
    this.#database.db.prepare(sql).run(...values);
  }

  #all(sql: string, ...values: readonly (string | number | null)[]): Row[] {
    return this.#database.guard(() => this.#database.db.prepare(sql).all(...values));
  }
}

function replacedBy({ event, alarms }: Notice): string | null {
  if (event === 'digest') return 'digest';
  return event === 'reminded' ? `reminded ${alarms.map(({ id }) => id).join(' ')}` : null;
}

function queued(row: Row): QueuedNotice {
  return {
    channel: text(row, 'channel'),
    notice: parsed<Notice>(row, 'notice'),
    attempts: Number(row['attempts']),
    dueAt: text(row, 'due_at'),
    problem: textOrNull(row, 'problem'),
  };
}

/** Written by this class alone. */
function parsed<T>(row: Row, column: string): T {
  return JSON.parse(text(row, column)) as T;
}

function text(row: Row, column: string): string {
  return String(row[column] ?? '');
}

function textOrNull(row: Row, column: string): string | null {
  const value = row[column];
  return value === null || value === undefined ? null : String(value);
}
