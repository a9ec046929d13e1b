/** Trees for metadata backups, and an image taken apart by e2fsprogs alone, without a line of the product. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Test } from 'tap';
import { openBackupImages } from '../../src/adapters/backup-vdi/open.ts';
import { backupDate } from '../../src/domain/backup-vdi.ts';
import type { BackupImages, BackupToWrite } from '../../src/ports/backup-vdi.ts';

export const mebibyte = 1024 ** 2;
export const pool = '11111111-1111-4111-8111-111111111111';
export const otherPool = '22222222-2222-4222-8222-222222222222';
export const sr = '33333333-3333-4333-8333-333333333333';
export const vdi = '44444444-4444-5444-8444-444444444444';

export const vmUuid = (n: number): string => `55555555-5555-4555-8555-${String(n).padStart(12, '0')}`;
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

export function imagesIn(t: Test): { readonly images: BackupImages; readonly directory: string } {
  const directory = path.join(t.testdir(), 'images');
  return { images: openBackupImages(directory), directory };
}

export interface TreeOptions {
  readonly vms?: number;
  readonly at?: string;
  /** Text that the document of a VM holds; documents of equal texts are equal. */
  readonly textOf?: (vm: number) => string;
  readonly history?: number;
  readonly dumps?: number;
  readonly database?: string | null;
  readonly pool?: string;
  readonly bytes?: number;
}

export function treeOf(options: TreeOptions = {}): BackupToWrite {
  const { vms = 3, at = '2026-11-21T02:30:05Z', textOf = () => 'same', bytes = 3000 } = options;
  const documents = Array.from({ length: vms }, (_, n) => {
    const archive = Buffer.alloc(bytes, `${n} ${textOf(n)} `);
    return { vm: vmUuid(n), sha256: sha256(archive), archive: async () => archive };
  });
  const owner = options.pool ?? pool;
  return {
    vdi,
    pool: owner,
    date: backupDate(at),
    srMeta: Buffer.from(
      `<meta><sr uuid="${sr}" name_label="Süd &amp; 東京" name_description=""></sr></meta>`,
    ),
    documents,
    links: documents.map(({ vm }) => ({ sr, vm })),
    provenance: {
      format: 1,
      by: 'lifeboat',
      pool: { uuid: owner, nameLabel: '東京' },
      group: 'shop',
      pointId: 'shop/20261121T023005Z-0000',
      takenAt: at,
      documents: Object.fromEntries(documents.map(({ vm, sha256 }) => [vm, sha256])),
    },
    database:
      options.database === null
        ? null
        : (async function* () {
            yield Buffer.from(options.database ?? `<database at="${at}"/>`);
          })(),
    history: options.history ?? 12,
    dumps: options.dumps ?? 3,
  };
}

/** What debugfs prints, asked by hand. */
export function debugfs(image: string, ...commands: readonly string[]): string {
  const script = `${image}.asked`;
  writeFileSync(script, `${commands.join('\n')}\n`);
  return execFileSync('/usr/sbin/debugfs', ['-f', script, image], {
    encoding: 'utf8',
    env: { DEBUGFS_PAGER: '__none__', PATH: '/usr/sbin:/usr/bin:/bin' },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
}

/** Exit code 0 of `e2fsck -fn`, or what it said. */
export function fsck(image: string): string {
  try {
    execFileSync('/usr/sbin/e2fsck', ['-fn', image], { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' });
    return 'clean';
  } catch (error) {
    return String((error as { stdout?: string }).stdout ?? error);
  }
}

/** Names in a directory of the image. */
export function names(image: string, directory: string): string[] {
  return debugfs(image, `ls -p ${directory}`)
    .split('\n')
    .flatMap((line) => line.split('/')[5] ?? [])
    .filter((name) => name !== '.' && name !== '..')
    .sort();
}

export function fileOf(image: string, where: string): string {
  return debugfs(image, `cat ${where}`)
    .replace(/^debugfs: .*\n/, '')
    .replace(/debugfs: ?$/, '');
}

/** Where a short link leads. */
export function linkOf(image: string, where: string): string {
  return /Fast link dest: "(.*)"/.exec(debugfs(image, `stat ${where}`))?.[1] ?? 'no link';
}
