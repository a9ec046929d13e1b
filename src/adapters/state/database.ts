/**
 * The SQLite file that several processes of one machine share (WAL, synchronous=FULL): opened with a check, brought to
 * the newest schema, and used in immediate transactions, so that all of them see one order.
 */
import { chmodSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { OperatorError } from '../../domain/errors.ts';
import { migrations } from './schema.ts';

export class StateDatabase {
  readonly db: DatabaseSync;
  readonly #path: string;

  /** `path` of the file; made, with its directory, when missing. Throws `OperatorError` on a damaged file. */
  constructor(path: string) {
    this.#path = path;
    this.db = openDatabase(path);
  }

  transaction<T>(work: () => T): T {
    return this.guard(() => {
      this.db.exec('BEGIN IMMEDIATE');
      try {
        const result = work();
        this.db.exec('COMMIT');
        return result;
      } catch (error) {
        // A full disk has rolled it back already; the first error is the one to tell.
        if (this.db.isTransaction) this.db.exec('ROLLBACK');
        throw error;
      }
    });
  }

  guard<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      if (error instanceof OperatorError) throw error;
      throw unusable(this.#path, error);
    }
  }

  close(): void {
    this.db.close();
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

export function unusable(path: string, error: unknown): OperatorError {
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
