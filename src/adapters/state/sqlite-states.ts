/**
 * Group states and locks in one SQLite file (WAL, synchronous=FULL): phases, generations, tombstones, and who works on
 * which group. Every change is one immediate transaction, so that several processes on the machine see one order.
 */
import { chmodSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type SQLOutputValue } from 'node:sqlite';
import { exitCodes, OperatorError } from '../../domain/errors.ts';
import { type GroupState, mayMove, type Phase } from '../../domain/group.ts';
import type { Clock, Entropy, GroupLock, GroupStates } from '../../ports/system.ts';
import { livenessOf, type ProcessMark, thisProcess } from './process.ts';
import { migrations } from './schema.ts';

type Row = Record<string, SQLOutputValue>;

export class SqliteStates implements GroupStates {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #entropy: Entropy;
  readonly #db: DatabaseSync;

  /** `path` of the database file; made, with its directory, when missing. Throws `OperatorError` on a damaged file. */
  constructor(path: string, clock: Clock, entropy: Entropy) {
    this.#path = path;
    this.#clock = clock;
    this.#entropy = entropy;
    this.#db = openDatabase(path);
  }

  async get(group: string): Promise<GroupState | null> {
    const row = this.#guard(() => this.#db.prepare('SELECT * FROM group_state WHERE name = ?').get(group));
    return row === undefined ? null : this.#state(row);
  }

  async all(): Promise<readonly GroupState[]> {
    const rows = this.#guard(() => this.#db.prepare('SELECT * FROM group_state ORDER BY name').all());
    return rows.map((row) => this.#state(row));
  }

  async change(group: string, expectedGeneration: number, next: GroupState): Promise<boolean> {
    if (next.group !== group) throw new Error(`the state of ${next.group} was offered for ${group}`);
    if (next.generation < expectedGeneration) throw new Error('a generation never falls');
    return this.#transaction(() => {
      const row = this.#db.prepare('SELECT * FROM group_state WHERE name = ?').get(group);
      if (row === undefined) {
        if (expectedGeneration !== 0) return false;
      } else {
        const now = this.#state(row);
        if (now.generation !== expectedGeneration) return false;
        if (!mayMove(now.phase, next.phase)) {
          throw new OperatorError({
            code: 'DR-GROUP-PHASE',
            what: `Group ${group} is ${now.phase} and cannot become ${next.phase}`,
            next: `Look at \`lifeboat status ${group}\` and finish or abandon the run that is open`,
          });
        }
      }
      this.#db
        .prepare(
          `INSERT INTO group_state (name, phase, generation, active_site, roles, current_run, changed_at, frozen, tombstone, drill)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
           ON CONFLICT (name) DO UPDATE SET phase = excluded.phase, generation = excluded.generation,
             active_site = excluded.active_site, roles = excluded.roles, current_run = excluded.current_run,
             changed_at = excluded.changed_at, frozen = excluded.frozen, tombstone = excluded.tombstone,
             drill = excluded.drill`,
        )
        .run(
          group,
          next.phase,
          next.generation,
          next.activeSite,
          next.roles,
          next.currentRun,
          next.changedAt,
          next.frozen === null ? null : JSON.stringify(next.frozen),
          next.tombstone === null ? null : JSON.stringify(next.tombstone),
          next.drill === null ? null : JSON.stringify(next.drill),
        );
      return true;
    });
  }

  async lock(group: string, run: string): Promise<GroupLock> {
    const token = this.#entropy.uuid();
    const me = thisProcess();
    this.#transaction(() => {
      const row = this.#db.prepare('SELECT * FROM group_lock WHERE name = ?').get(group);
      if (row !== undefined) this.#refuseUnlessDead(group, row);
      this.#db
        .prepare(
          `INSERT OR REPLACE INTO group_lock (name, run, host, pid, process_start, token, taken_at)
           VALUES (?, ?, ?, ?, ?, ?, ?)`,
        )
        .run(group, run, me.host, me.pid, me.start, token, this.#clock.now());
    });
    return {
      assertHeld: async () => {
        const row = this.#guard(() => this.#db.prepare('SELECT * FROM group_lock WHERE name = ?').get(group));
        if (row?.['token'] === token) return;
        throw new OperatorError(
          {
            code: 'DR-LOCK-LOST',
            what: `Run ${run} has lost the lock of group ${group}`,
            known: [
              row === undefined ? 'the lock was released' : `it belongs to run ${text(row, 'run')} now`,
            ],
            next: `Look at \`lifeboat status ${group}\`; nothing more was done by this run`,
          },
          { exitCode: exitCodes.locked },
        );
      },
      release: async () => {
        this.#guard(() =>
          this.#db.prepare('DELETE FROM group_lock WHERE name = ? AND token = ?').run(group, token),
        );
      },
    };
  }

  async isCarriedOut(run: string): Promise<boolean> {
    const rows = this.#guard(() => this.#db.prepare('SELECT * FROM group_lock WHERE run = ?').all(run));
    return rows.some((row) => livenessOf(markOf(row)) !== 'dead');
  }

  /** Removes the lock of a holder on another machine that a person knows to be dead. False when there was none. */
  async breakLock(group: string): Promise<boolean> {
    return this.#transaction(() => {
      const row = this.#db.prepare('SELECT * FROM group_lock WHERE name = ?').get(group);
      if (row === undefined) return false;
      if (livenessOf(markOf(row)) === 'alive') this.#refuseUnlessDead(group, row);
      this.#db.prepare('DELETE FROM group_lock WHERE name = ?').run(group);
      return true;
    });
  }

  close(): void {
    this.#db.close();
  }

  #refuseUnlessDead(group: string, row: Row): void {
    const mark = markOf(row);
    const liveness = livenessOf(mark);
    if (liveness === 'dead') return;
    throw new OperatorError(
      {
        code: 'DR-LOCK-HELD',
        what: `Group ${group} is being worked on by run ${text(row, 'run')}`,
        known: [
          `process ${mark.pid} on ${mark.host} holds the lock since ${text(row, 'taken_at')}`,
          ...(liveness === 'elsewhere'
            ? ['that is another machine: whether the process lives cannot be seen here']
            : []),
        ],
        next:
          liveness === 'elsewhere'
            ? `Make sure that nothing runs on ${mark.host} any more, then break the lock; or wait for that run`
            : `Wait for it, or follow it with \`lifeboat run follow ${text(row, 'run')}\``,
      },
      { exitCode: exitCodes.locked },
    );
  }

  #state(row: Row): GroupState {
    const name = text(row, 'name');
    return {
      group: name,
      phase: phaseOf(text(row, 'phase'), this.#path),
      generation: Number(row['generation']),
      activeSite: text(row, 'active_site'),
      roles: text(row, 'roles') === 'swapped' ? 'swapped' : 'as-configured',
      currentRun: textOrNull(row, 'current_run'),
      changedAt: text(row, 'changed_at'),
      frozen: parsed<NonNullable<GroupState['frozen']>>(row, 'frozen', this.#path),
      tombstone: parsed<NonNullable<GroupState['tombstone']>>(row, 'tombstone', this.#path),
      drill: parsed<NonNullable<GroupState['drill']>>(row, 'drill', this.#path),
    };
  }

  #transaction<T>(work: () => T): T {
    return this.#guard(() => {
      this.#db.exec('BEGIN IMMEDIATE');
      try {
        const result = work();
        this.#db.exec('COMMIT');
        return result;
      } catch (error) {
        // A full disk has rolled it back already; the first error is the one to tell.
        if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
        throw error;
      }
    });
  }

  #guard<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      if (error instanceof OperatorError) throw error;
      throw unusable(this.#path, error);
    }
  }
}

function openDatabase(path: string): DatabaseSync {
  let db: DatabaseSync | null = null;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    db = new DatabaseSync(path, { timeout: 5000 });
    chmodSync(path, 0o600);
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;');
    const [check] = Object.values(db.prepare('PRAGMA quick_check(1)').get() ?? {});
    if (check !== 'ok') throw new Error(`quick_check says: ${String(check)}`);
    migrate(db);
    return db;
  } catch (error) {
    db?.close();
    throw unusable(path, error);
  }
}

function migrate(db: DatabaseSync): void {
  db.exec('BEGIN IMMEDIATE');
  try {
    const version = Number(Object.values(db.prepare('PRAGMA user_version').get() ?? {})[0] ?? 0);
    if (version > migrations.length)
      throw new Error(`its schema has version ${version}, this program knows ${migrations.length}`);
    for (const statement of migrations.slice(version)) db.exec(statement);
    db.exec(`PRAGMA user_version = ${migrations.length}`);
    db.exec('COMMIT');
  } catch (error) {
    db.exec('ROLLBACK');
    throw error;
  }
}

function unusable(path: string, error: unknown): OperatorError {
  const reason = error instanceof Error ? error.message : String(error);
  return new OperatorError(
    {
      code: 'DR-STATE-UNUSABLE',
      what: 'Cannot use the database with the states of the groups',
      where: { file: path },
      known: [reason],
      next: 'Check space and rights of the directory. A damaged file is moved away and put back from a backup; the journals beside it tell the phase of each group',
    },
    { cause: error },
  );
}

const phases: readonly Phase[] = [
  'unprotected',
  'protected',
  'drilling',
  'migrating',
  'failing-over',
  'failed-over',
  'reprotecting',
  'stuck',
];

function phaseOf(value: string, path: string): Phase {
  const phase = phases.find((known) => known === value);
  if (phase === undefined) throw unusable(path, new Error(`"${value}" is not a phase`));
  return phase;
}

function markOf(row: Row): ProcessMark {
  return { host: text(row, 'host'), pid: Number(row['pid']), start: text(row, 'process_start') };
}

function text(row: Row, column: string): string {
  return String(row[column] ?? '');
}

function textOrNull(row: Row, column: string): string | null {
  const value = row[column];
  return value === null || value === undefined ? null : String(value);
}

function parsed<T>(row: Row, column: string, path: string): T | null {
  const value = textOrNull(row, column);
  if (value === null) return null;
  try {
    return JSON.parse(value) as T;
  } catch (error) {
    throw unusable(path, error);
  }
}
