/**
 * Group states and locks in one SQLite file (WAL, synchronous=FULL): phases, generations, tombstones, and who works on
 * which group. Every change is one immediate transaction, so that several processes on the machine see one order.
 */
import type { SQLOutputValue } from 'node:sqlite';
import { exitCodes, OperatorError } from '../../domain/errors.ts';
import { type GroupState, mayMove, type Phase } from '../../domain/group.ts';
import type { AuditEntry, AuditedBy, Clock, Entropy, GroupLock, GroupStates } from '../../ports/system.ts';
import { StateDatabase, unusable } from './database.ts';
import { livenessOf, type ProcessMark, thisProcess } from './process.ts';

type Row = Record<string, SQLOutputValue>;

export class SqliteStates implements GroupStates {
  readonly #path: string;
  readonly #database: StateDatabase;
  readonly #clock: Clock;
  readonly #entropy: Entropy;

  /** `path` of the database file; made, with its directory, when missing. Throws `OperatorError` on a damaged file. */
  constructor(path: string, clock: Clock, entropy: Entropy) {
    this.#path = path;
    this.#clock = clock;
    this.#entropy = entropy;
    this.#database = new StateDatabase(path);
  }

  async get(group: string): Promise<GroupState | null> {
    const row = this.#database.guard(() =>
      this.#database.db.prepare('SELECT * FROM group_state WHERE name = ?').get(group),
    );
    return row === undefined ? null : this.#state(row);
  }

  async all(): Promise<readonly GroupState[]> {
    const rows = this.#database.guard(() =>
      this.#database.db.prepare('SELECT * FROM group_state ORDER BY name').all(),
    );
    return rows.map((row) => this.#state(row));
  }

  async change(group: string, expectedGeneration: number, next: GroupState): Promise<boolean> {
    if (next.group !== group) throw new Error(`the state of ${next.group} was offered for ${group}`);
    if (next.generation < expectedGeneration) throw new Error('a generation never falls');
    return this.#database.transaction(() => {
      const row = this.#database.db.prepare('SELECT * FROM group_state WHERE name = ?').get(group);
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
      this.#write(next);
      return true;
    });
  }

  async lock(group: string, run: string): Promise<GroupLock> {
    const token = this.#entropy.uuid();
    const me = thisProcess();
    this.#database.transaction(() => {
      const row = this.#database.db.prepare('SELECT * FROM group_lock WHERE name = ?').get(group);
      if (row !== undefined) this.#refuseUnlessDead(group, row);
      this.#database.db
        .prepare(
          `INSERT OR REPLACE INTO group_lock (name, run, host, pid, process_start, token, taken_at)
           VALUES (?, ?, ?, ?, ?, ?, ?)`,
        )
        .run(group, run, me.host, me.pid, me.start, token, this.#clock.now());
    });
    return {
      assertHeld: async () => {
        const row = this.#database.guard(() =>
          this.#database.db.prepare('SELECT * FROM group_lock WHERE name = ?').get(group),
        );
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
        this.#database.guard(() =>
          this.#database.db.prepare('DELETE FROM group_lock WHERE name = ? AND token = ?').run(group, token),
        );
      },
    };
  }

  async isCarriedOut(run: string): Promise<boolean> {
    const rows = this.#database.guard(() =>
      this.#database.db.prepare('SELECT * FROM group_lock WHERE run = ?').all(run),
    );
    return rows.some((row) => livenessOf(markOf(row)) !== 'dead');
  }

  async setFrozen(
    group: string,
    frozen: GroupState['frozen'],
    by: AuditedBy,
    initial: GroupState,
  ): Promise<void> {
    this.#database.transaction(() => {
      const { changes } = this.#database.db
        .prepare('UPDATE group_state SET frozen = ? WHERE name = ?')
        .run(frozen === null ? null : JSON.stringify(frozen), group);
      if (changes === 0) this.#write({ ...initial, frozen });
      this.#record(group, frozen === null ? 'unfreeze' : 'freeze', by, '');
    });
  }

  async breakLock(group: string, by: AuditedBy): Promise<readonly string[]> {
    return this.#database.transaction(() => {
      const rows = this.#database.db
        .prepare("SELECT * FROM group_lock WHERE name = ?1 OR name GLOB ?1 || ' (*)' ORDER BY name")
        .all(group);
      for (const row of rows) {
        const mark = markOf(row);
        if (livenessOf(mark) === 'alive') this.#refuseUnlessDead(group, row);
        this.#database.db.prepare('DELETE FROM group_lock WHERE name = ?').run(text(row, 'name'));
        const since = text(row, 'taken_at');
        this.#record(
          group,
          'break-lock',
          by,
          `run ${text(row, 'run')} of ${mark.host} held it since ${since}`,
        );
      }
      return rows.map((row) => text(row, 'run'));
    });
  }

  async audit(group: string | null): Promise<readonly AuditEntry[]> {
    const rows = this.#database.guard(() =>
      this.#database.db
        .prepare('SELECT * FROM audit WHERE ?1 IS NULL OR name = ?1 ORDER BY id DESC')
        .all(group),
    );
    return rows.map((row) => ({
      at: text(row, 'at'),
      group: text(row, 'name'),
      did: text(row, 'did') as AuditEntry['did'],
      by: text(row, 'by_whom'),
      reason: text(row, 'reason'),
      detail: text(row, 'detail'),
    }));
  }

  close(): void {
    this.#database.close();
  }

  /** A freeze is set by `setFrozen` alone: a run that knows an older state must not lift it. */
  #write(next: GroupState): void {
    this.#database.db
      .prepare(
        `INSERT INTO group_state (name, phase, generation, active_site, roles, current_run, changed_at, frozen, tombstone, drill)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (name) DO UPDATE SET phase = excluded.phase, generation = excluded.generation,
           active_site = excluded.active_site, roles = excluded.roles, current_run = excluded.current_run,
           changed_at = excluded.changed_at, tombstone = excluded.tombstone, drill = excluded.drill`,
      )
      .run(
        next.group,
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
  }

  #record(group: string, did: AuditEntry['did'], { by, reason }: AuditedBy, detail: string): void {
    this.#database.db
      .prepare('INSERT INTO audit (at, name, did, by_whom, reason, detail) VALUES (?, ?, ?, ?, ?, ?)')
      .run(this.#clock.now(), group, did, by, reason, detail);
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
            ? `Make sure that nothing runs on ${mark.host} any more, then break the lock: \`lifeboat run break-lock ${group} --reason "…"\`; or wait for that run`
            : `Wait for it, follow it with \`lifeboat run follow ${text(row, 'run')}\`, or stop it with \`lifeboat run stop ${text(row, 'run')} --reason "…"\``,
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
