/** The port: files that belong together, read by what they hold and not by what they are called. */
import { basename } from 'node:path';
import { OperatorError } from '../../domain/errors.ts';
import type { ForeignBackup, ForeignBackups } from '../../ports/foreign.ts';
import { type Archive, backupOfArchives } from './archives.ts';
import { contentOf } from './content.ts';
import { backupOfDatabase } from './dump.ts';
import { findFiles, unreadable } from './find.ts';

export const foreignBackups: ForeignBackups = { read };

/** Among other things in a directory, these should be backups of VMs; anything else is passed over. */
const isCalledBackup = /\.(?:vmmeta|xva)\d*$/;

async function read(paths: readonly string[], signal?: AbortSignal): Promise<ForeignBackup> {
  const found = await findFiles(paths);
  const archives: Archive[] = [];
  const databases: Archive[] = [];
  const failures: { file: string; reason: string }[] = [];
  const passedOver: { file: string; reason: string }[] = [];
  for (const file of found.files) {
    signal?.throwIfAborted();
    const content = await contentOf(file, signal).catch((error: unknown) => {
      signal?.throwIfAborted();
      throw unreadable(file, error instanceof Error ? error.message : String(error), error);
    });
    if (content.is === 'archive') archives.push({ file, bytes: content.bytes });
    else if (content.is === 'database') databases.push({ file, bytes: content.bytes });
    else if (found.named.has(file) || isCalledBackup.test(file))
      failures.push({ file, reason: content.reason });
    else passedOver.push({ file, reason: content.reason });
  }
  const [database, ...otherDatabases] = databases;
  assertOne(archives, databases, [...failures, ...passedOver]);
  const remarks = [
    ...found.remarks,
    ...passedOver.map(({ file, reason }) => `${basename(file)} was passed over: ${reason}`),
  ];
  const made =
    found.madeAt === null
      ? ({ at: found.newestFileAt, by: 'file' } as const)
      : ({ at: found.madeAt, by: 'name' } as const);
  const common = { files: found.files, made };
  if (database !== undefined) {
    if (otherDatabases.length > 0) throw mixed(databases, 'several databases');
    const told = backupOfDatabase(database.bytes, made.at);
    return {
      ...common,
      ...told,
      kind: 'database',
      failures,
      database: database.bytes,
      remarks: [...remarks, ...told.remarks],
    };
  }
  const told = backupOfArchives(archives, made.at);
  return {
    ...common,
    ...told,
    kind: archives.every(({ file }) => file.endsWith('.vmmeta')) ? 'vmmeta' : 'vm-export',
    failures: [...failures, ...told.failures],
    secretDeviceConfig: new Map(),
    database: null,
    remarks: [...remarks, ...told.remarks],
  };
}

function assertOne(
  archives: readonly Archive[],
  databases: readonly Archive[],
  failures: ForeignBackup['failures'],
): void {
  if (archives.length > 0 && databases.length > 0)
    throw mixed([...archives.slice(0, 1), ...databases.slice(0, 1)], 'exports of VMs and a database');
  if (archives.length + databases.length > 0) return;
  throw new OperatorError(
    {
      code: 'DR-FOREIGN-NOTHING',
      what: 'Nothing under these paths is a backup that Lifeboat reads',
      known:
        failures.length === 0
          ? ['there is no file']
          : failures.slice(0, 5).map(({ file, reason }) => `${basename(file)}: ${reason}`),
      next: 'Name files of `xe vm-export metadata=true`, a tree of .vmmeta files, or a dump of the database of the pool (docs/foreign-backups.md).',
    },
    { exitCode: 2 },
  );
}

function mixed(files: readonly Archive[], what: string): OperatorError {
  return new OperatorError(
    {
      code: 'DR-FOREIGN-MIXED',
      what: `The paths hold ${what}, and a recovery point is made of one backup`,
      known: files.map(({ file }) => file),
      next: 'Name one of them; import the others as points of their own.',
    },
    { exitCode: 2 },
  );
}
