/** What the rehearsals of Lifeboat itself found, in the file that holds the states of the groups. */
import type { SelfRehearsal } from '../../domain/self-rehearsal.ts';
import type { Rehearsals } from '../../ports/home.ts';
import { StateDatabase } from './database.ts';

const kept = 100;

export class SqliteRehearsals implements Rehearsals {
  readonly #database: StateDatabase;

  /** `path` of the database file; made, with its directory, when missing. Throws `OperatorError` on a damaged file. */
  constructor(path: string) {
    this.#database = new StateDatabase(path);
  }

  async save(rehearsal: SelfRehearsal): Promise<void> {
    this.#database.transaction(() => {
      this.#database.db
        .prepare('INSERT INTO self_rehearsal (taken_at, outcome, report) VALUES (?, ?, ?)')
        .run(rehearsal.takenAt, rehearsal.outcome, JSON.stringify(rehearsal));
      this.#database.db
        .prepare(
          'DELETE FROM self_rehearsal WHERE id NOT IN (SELECT id FROM self_rehearsal ORDER BY id DESC LIMIT ?)',
        )
        .run(kept);
    });
  }

  async newest(): Promise<SelfRehearsal | null> {
    const row = this.#database.guard(() =>
      this.#database.db.prepare('SELECT report FROM self_rehearsal ORDER BY id DESC LIMIT 1').get(),
    );
    return row === undefined ? null : (JSON.parse(String(row['report'])) as SelfRehearsal);
  }

  close(): void {
    this.#database.close();
  }
}
