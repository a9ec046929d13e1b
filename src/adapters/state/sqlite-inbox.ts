/** Messages of people to runs that another process carries out, in the file that holds the states of the groups. */
import type { Clock, PostedMessage, RunInbox, RunMessage } from '../../ports/system.ts';
import { StateDatabase } from './database.ts';

export class SqliteInbox implements RunInbox {
  readonly #database: StateDatabase;
  readonly #clock: Clock;

  /** `path` of the database file; made, with its directory, when missing. Throws `OperatorError` on a damaged file. */
  constructor(path: string, clock: Clock) {
    this.#database = new StateDatabase(path);
    this.#clock = clock;
  }

  async post(run: string, message: RunMessage): Promise<void> {
    this.#database.transaction(() =>
      this.#database.db
        .prepare('INSERT INTO run_message (run, posted_at, message) VALUES (?, ?, ?)')
        .run(run, this.#clock.now(), JSON.stringify(message)),
    );
  }

  async waiting(run: string): Promise<readonly PostedMessage[]> {
    const rows = this.#database.guard(() =>
      this.#database.db
        .prepare('SELECT id, posted_at, message FROM run_message WHERE run = ? ORDER BY id')
        .all(run),
    );
    return rows.map((row) => ({
      id: Number(row['id']),
      at: String(row['posted_at']),
      message: JSON.parse(String(row['message'])) as RunMessage,
    }));
  }

  async settle(id: number): Promise<void> {
    this.#database.transaction(() =>
      this.#database.db.prepare('DELETE FROM run_message WHERE id = ?').run(id),
    );
  }

  close(): void {
    this.#database.close();
  }
}
