/**
 * A recovery point as plain files, for people and for xe: `01-NAME.xva` per VM (`xe vm-import metadata=true`), `point.json`
 * and `pool-database.xml`. They hold what the catalog encrypts: directories get mode 0700, files 0600.
 */
import { mkdir, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { OperatorError } from '../../domain/errors.ts';
import type { RecoveryPoint } from '../../domain/recovery-point.ts';
import type { Catalog } from '../../ports/catalog.ts';

export interface Extracted {
  readonly directory: string;
  readonly files: readonly string[];
}

/** `directory` must be empty or not exist. `vms` (names or UUIDs) narrows; null takes all. */
export async function extractPoint(
  catalog: Pick<Catalog, 'read' | 'get'>,
  pointId: string,
  directory: string,
  vms: readonly string[] | null = null,
  signal?: AbortSignal,
): Promise<Extracted> {
  const point = await catalog.read(pointId, signal);
  const wanted = chosen(point, vms);
  await emptyDirectory(directory);
  const digits = Math.max(2, String(wanted.length).length);
  const files: string[] = [];
  const write = async (name: string, bytes: Uint8Array): Promise<void> => {
    const file = await open(join(directory, name), 'wx', 0o600);
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    files.push(name);
  };
  try {
    await write('point.json', Buffer.from(`${JSON.stringify(point, null, 2)}\n`));
    if (point.database !== null) await write('pool-database.xml', await catalog.get(point.database, signal));
    for (const [index, vm] of wanted.entries()) {
      const name = `${String(index + 1).padStart(digits, '0')}-${fileName(vm.nameLabel)}.xva`;
      await write(name, await catalog.get(vm.document, signal));
    }
  } catch (error) {
    if (
      error instanceof Error &&
      'code' in error &&
      typeof error.code === 'string' &&
      !(error instanceof OperatorError)
    )
      throw cannotWrite(directory, error.code, error);
    throw error;
  }
  return { directory, files };
}

function chosen(point: RecoveryPoint, vms: readonly string[] | null): RecoveryPoint['vms'] {
  if (vms === null) return point.vms;
  const unknown = vms.filter((word) => !point.vms.some((vm) => vm.uuid === word || vm.nameLabel === word));
  if (unknown.length > 0) {
    throw new OperatorError(
      {
        code: 'DR-VM-UNKNOWN',
        what: `Recovery point ${point.id} has no VM ${unknown.map((word) => JSON.stringify(word)).join(', ')}`,
        next: `Choose VMs that \`lifeboat catalog show ${point.id}\` lists`,
      },
      { exitCode: 2 },
    );
  }
  return point.vms.filter((vm) => vms.includes(vm.uuid) || vms.includes(vm.nameLabel));
}

async function emptyDirectory(directory: string): Promise<void> {
  let entries: string[];
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    entries = await readdir(directory);
  } catch (error) {
    throw cannotWrite(directory, error instanceof Error && 'code' in error ? String(error.code) : '', error);
  }
  if (entries.length > 0) {
    throw new OperatorError(
      {
        code: 'DR-EXTRACT-TARGET',
        what: 'The directory to extract into is not empty',
        where: { object: directory },
        next: 'Name an empty directory, or one that does not exist yet',
      },
      { exitCode: 2 },
    );
  }
}

function cannotWrite(directory: string, code: string, cause: unknown): OperatorError {
  const words: Record<string, string> = {
    ENOSPC: 'the disk is full',
    EACCES: 'permission denied',
    EROFS: 'the file system is mounted read-only',
    ENOTDIR: 'a part of the path is not a directory',
    EEXIST: 'a file of that name exists',
  };
  return new OperatorError(
    {
      code: 'DR-EXTRACT-TARGET',
      what: 'Cannot write the extracted files',
      where: { object: directory },
      known: [words[code] ?? `the system says ${code}`],
      next: 'Name another directory; the recovery point itself is untouched',
    },
    { cause },
  );
}

/** Letters, digits, `-`, `_` and `.` stay; everything else becomes `_`, so that no name leaves the directory. */
function fileName(nameLabel: string): string {
  return (
    nameLabel
      .replace(/[^\p{L}\p{N}._-]/gu, '_')
      .replace(/^\.+/, '_')
      .slice(0, 80) || 'vm'
  );
}
