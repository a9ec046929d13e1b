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
  `CREATE TABLE schedule_job (
     job TEXT NOT NULL,
     name TEXT NOT NULL,
     calendar TEXT NOT NULL,
     answered_until TEXT NOT NULL,
     last_turn INTEGER,
     last_good_at TEXT,
     PRIMARY KEY (job, name)
   ) STRICT;
   CREATE TABLE schedule_turn (
     id INTEGER PRIMARY KEY AUTOINCREMENT,
     job TEXT NOT NULL,
     name TEXT NOT NULL,
     slot TEXT NOT NULL,
     started_at TEXT NOT NULL,
     ended_at TEXT,
     outcome TEXT,
     run TEXT,
     summary TEXT,
     missed INTEGER NOT NULL,
     made_up INTEGER NOT NULL
   ) STRICT;
   CREATE INDEX schedule_turn_of_group ON schedule_turn (name, id);
   CREATE INDEX schedule_turn_by_end ON schedule_turn (ended_at);`,
  `CREATE TABLE drift (
     id TEXT PRIMARY KEY,
     entry TEXT NOT NULL
   ) STRICT;
   CREATE TABLE alarm (
     id TEXT PRIMARY KEY,
     key TEXT NOT NULL,
     closed_at TEXT,
     alarm TEXT NOT NULL
   ) STRICT;
   CREATE UNIQUE INDEX alarm_open ON alarm (key) WHERE closed_at IS NULL;
   CREATE INDEX alarm_by_end ON alarm (closed_at);
   CREATE TABLE readiness (
     name TEXT PRIMARY KEY,
     readiness TEXT NOT NULL,
     since TEXT NOT NULL
   ) STRICT;
   CREATE TABLE watch_fact (
     name TEXT PRIMARY KEY,
     value TEXT NOT NULL
   ) STRICT;
   CREATE TABLE notice (
     number INTEGER PRIMARY KEY AUTOINCREMENT,
     channel TEXT NOT NULL,
     id TEXT NOT NULL,
     replaces TEXT,
     made_at TEXT NOT NULL,
     due_at TEXT NOT NULL,
     attempts INTEGER NOT NULL,
     problem TEXT,
     delivered_at TEXT,
     notice TEXT NOT NULL,
     UNIQUE (channel, id)
   ) STRICT;
   CREATE INDEX notice_waiting ON notice (channel, number) WHERE delivered_at IS NULL;`,
];
