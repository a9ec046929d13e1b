/** The schema as a list of steps; `user_version` of the file says how many were taken. Only ever append. */
export const migrations: readonly string[] = [
  `CREATE TABLE group_state (
     name TEXT PRIMARY KEY,
     phase TEXT NOT NULL,
     generation INTEGER NOT NULL,
     active_site TEXT NOT NULL,
     current_run TEXT,
     changed_at TEXT NOT NULL,
     frozen TEXT,
     tombstone TEXT
   ) STRICT;
   CREATE TABLE group_lock (
     name TEXT PRIMARY KEY,
     run TEXT NOT NULL,
     host TEXT NOT NULL,
     pid INTEGER NOT NULL,
     process_start TEXT NOT NULL,
     token TEXT NOT NULL,
     taken_at TEXT NOT NULL
   ) STRICT;`,
  `ALTER TABLE group_state ADD COLUMN roles TEXT NOT NULL DEFAULT 'as-configured';
   ALTER TABLE group_state ADD COLUMN drill TEXT;`,
  `CREATE TABLE run_message (
     id INTEGER PRIMARY KEY AUTOINCREMENT,
     run TEXT NOT NULL,
     posted_at TEXT NOT NULL,
     message TEXT NOT NULL
   ) STRICT;`,
  `CREATE TABLE audit (
     id INTEGER PRIMARY KEY AUTOINCREMENT,
     at TEXT NOT NULL,
     name TEXT NOT NULL,
     did TEXT NOT NULL,
     by_whom TEXT NOT NULL,
     reason TEXT NOT NULL,
     detail TEXT NOT NULL
   ) STRICT;`,
  `CREATE TABLE self_rehearsal (
     id INTEGER PRIMARY KEY AUTOINCREMENT,
     taken_at TEXT NOT NULL,
     outcome TEXT NOT NULL,
     report TEXT NOT NULL
   ) STRICT;`,
];
