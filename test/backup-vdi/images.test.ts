/** Images of metadata backups, built here and taken apart by e2fsprogs alone. */
import { execFileSync } from 'node:child_process';
import {
  chownSync,
  createReadStream,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import t from 'tap';
import { takeOut } from '../../src/adapters/backup-vdi/e2fs.ts';
import { writeWhole } from '../../src/adapters/backup-vdi/sparse.ts';
import { freeFirst } from '../../src/adapters/backup-vdi/write.ts';
import { backupDate, nextBackupDate } from '../../src/domain/backup-vdi.ts';
import type { BackupImage, BackupImages, Extent } from '../../src/ports/backup-vdi.ts';
import {
  debugfs,
  fileOf,
  fsck,
  imagesIn,
  linkOf,
  mebibyte,
  names,
  otherPool,
  pool,
  sr,
  treeOf,
  vdi,
  vmUuid,
} from './house.ts';

t.setTimeout(240_000);

const night = (n: number): string => new Date(Date.UTC(2026, 0, 1 + n, 2, 30, 5)).toISOString();
const sumOf = (extents: readonly Extent[]): number => extents.reduce((sum, { bytes }) => sum + bytes, 0);

async function textOf(images: BackupImages, image: BackupImage, date: string, vm: number): Promise<string> {
  const { documents } = await images.read(image, date);
  const archive = documents.find(({ vm: uuid }) => uuid === vmUuid(vm))?.archive ?? new Uint8Array();
  return Buffer.from(archive).toString('utf8').split(' ')[1] ?? '';
}

t.test(
  'an empty disk becomes a backup that e2fsck and debugfs find as a host would have made it',
  async (t) => {
    const { images, directory } = imagesIn(t);
    const { image, ...figures } = await images.build(32 * mebibyte, treeOf({ vms: 3 }));
    t.equal(fsck(image.path), 'clean');
    t.equal(await images.digestOf(createReadStream(image.path), image.bytes), image.sha256);
    t.match(figures, { documentsWritten: 3, documentsLinked: 0, removedDates: [] });
    t.strictSame(names(image.path, '/'), [
      '.ctxs-metadata-backup',
      `${pool}.db`,
      'conf',
      'lost+found',
      'metadata',
    ]);
    t.equal(fileOf(image.path, '/.ctxs-metadata-backup'), '1\n');
    t.match(fileOf(image.path, `/conf/${vdi}`), `/var/run/pool-backup-${vdi}/${pool}.db {`);
    t.match(fileOf(image.path, `/conf/${vdi}`), /rotate 12\n.*missingok/s);
    const date = '/metadata/2026-11-21-02-30-05';
    t.strictSame(names(image.path, date), ['LIFEBOAT.json', 'SRMETA.xml', 'all', 'by-sr']);
    t.strictSame(
      names(image.path, `${date}/all`),
      [0, 1, 2].map((n) => `${vmUuid(n)}.vmmeta`),
    );
    t.equal(linkOf(image.path, `${date}/by-sr/${sr}/${vmUuid(1)}.vmmeta`), `../../all/${vmUuid(1)}.vmmeta`);
    t.match(fileOf(image.path, `${date}/SRMETA.xml`), 'Süd &amp; 東京', 'names beyond ASCII');
    const features = debugfs(image.path, 'features').split('\n')[1] ?? '';
    t.strictSame(
      features.replace('Filesystem features: ', '').trim().split(' ').sort(),
      ['dir_index', 'ext_attr', 'filetype', 'has_journal', 'large_file', 'sparse_super'],
      'nothing that a kernel 4.19 or an old debugfs does not know',
    );
    await images.release(image);
    t.strictSame(readdirSync(directory), [], 'and nothing is left of it here');
  },
);

t.test('a night adds what has changed, and what goes is ours and old', async (t) => {
  const { images } = imagesIn(t);
  const big = { vms: 20, bytes: 40_000 };
  let { image } = await images.build(
    32 * mebibyte,
    treeOf({ ...big, at: night(0), history: 12, textOf: () => 'night0' }),
  );
  for (let n = 1; n <= 12; n += 1) {
    const textOfVm = (vm: number): string => (vm < n ? `night${vm === n - 1 ? n : vm + 1}` : 'night0');
    const next = await images.append(image, treeOf({ ...big, at: night(n), history: 12, textOf: textOfVm }));
    t.match(next, { documentsWritten: 1, documentsLinked: 19 }, `night ${n}`);
    t.strictSame(next.removedDates, n < 12 ? [] : [backupDate(night(0))]);
    const extents = await images.changes(image, next.image);
    const bytes = sumOf(extents);
    t.ok(bytes < 250_000, `${bytes} bytes are sent of ${20 * 40_000}`);
    await images.release(image);
    image = next.image;
    if (n > 10) t.equal(await images.digestOf(createReadStream(image.path), image.bytes), image.sha256);
  }
  t.equal(fsck(image.path), 'clean');
  const { dates, databases } = await images.contents(image);
  t.equal(dates.length, 12, 'twelve dates');
  t.ok(dates.every(({ documents }) => documents === 20));
  t.strictSame(
    databases.map(({ generation }) => generation),
    [0, 1, 2],
    'three dumps',
  );
  t.match(fileOf(image.path, `/${pool}.db`), night(12));
  t.match(fileOf(image.path, `/${pool}.db.2`), night(10));
  t.equal(await textOf(images, image, backupDate(night(12)), 0), 'night1', 'linked over nights');
  t.equal(await textOf(images, image, backupDate(night(12)), 11), 'night12', 'new that night');
  t.equal(await textOf(images, image, backupDate(night(11)), 11), 'night0', 'an older date has what it had');
});

t.test('what others wrote stays as it was', async (t) => {
  const { images } = imagesIn(t);
  const first = await images.build(
    32 * mebibyte,
    treeOf({ at: night(0), pool: otherPool, database: 'of the other pool' }),
  );
  const script = '/metadata/2026-01-01-11-00-00';
  const own = `${first.image.path}.vmmeta`;
  writeFileSync(own, 'by the script of a host');
  debugfsWrite(
    first.image.path,
    `mkdir ${script}`,
    `mkdir ${script}/all`,
    `write ${own} ${script}/all/${vmUuid(0)}.vmmeta`,
  );
  let image = first.image;
  for (let n = 1; n <= 4; n += 1)
    ({ image } = await images.append(image, treeOf({ at: night(n), history: 2 })));
  t.equal(fsck(image.path), 'clean');
  const { dates, databases } = await images.contents(image);
  t.strictSame(
    dates.map(({ name }) => name),
    [backupDate(night(0)), '2026-01-01-11-00-00', backupDate(night(3)), backupDate(night(4))],
    'two dates of this pool, and all of the others',
  );
  t.equal(fileOf(image.path, `${script}/all/${vmUuid(0)}.vmmeta`), 'by the script of a host');
  t.equal(fileOf(image.path, `/${otherPool}.db`), 'of the other pool');
  t.match(fileOf(image.path, `/conf/${vdi}`), `${otherPool}.db`, 'and the stanza of the first writer');
  t.equal(databases.filter(({ pool: owner }) => owner === pool).length, 3);
  debugfsWrite(image.path, `write ${own} /metadata/${backupDate(night(3))}/note`);
  const after = await images.append(image, treeOf({ at: night(5), history: 1 }));
  t.strictSame(
    after.removedDates,
    [backupDate(night(4))],
    'a date that somebody added to is not only ours any more',
  );
});

t.test('a full disk is told before anything is sent, and is not made worse', async (t) => {
  const { images, directory } = imagesIn(t);
  const { image } = await images.build(16 * mebibyte, treeOf({ at: night(0) }));
  await t.rejects(
    images.append(image, treeOf({ vms: 11, bytes: mebibyte, at: night(1) })),
    /DR-BACKUP-FULL/,
    'above 90 %',
  );
  await t.rejects(
    images.append(image, treeOf({ vms: 30, bytes: mebibyte, at: night(1) })),
    /DR-BACKUP-FULL/,
    'not even that',
  );
  t.equal(readdirSync(directory).length, 1, 'the half-made copies are gone');
  const next = await images.append(image, treeOf({ at: night(1) }));
  t.ok(next.usedShare < 0.9);
});

t.test(
  'a disk that a host left in the middle is mended; one that is broken, or no backup, is left alone',
  async (t) => {
    const { images } = imagesIn(t);
    const { image } = await images.build(16 * mebibyte, treeOf({ at: night(0) }));
    debugfsWrite(image.path, 'set_super_value state 0');
    t.match(
      await images.append(image, treeOf({ at: night(1) })),
      { documentsLinked: 3 },
      'not cleanly unmounted',
    );
    debugfsWrite(image.path, `clri /metadata/${backupDate(night(0))}/all`);
    await t.rejects(images.append(image, treeOf({ at: night(1) })), /DR-BACKUP-DAMAGED/);
    const noise = await images.receive(zerosAndNoise(), 16 * mebibyte);
    await t.rejects(images.append(noise, treeOf()), /DR-BACKUP-NOT-A-BACKUP/);
    await t.rejects(images.receive(zerosAndNoise(), 15 * mebibyte), /DR-BACKUP-CUT/);
    await t.rejects(images.receive(zerosAndNoise(), 17 * mebibyte), /DR-BACKUP-CUT/);
  },
);

t.test('a file system without the marker of a backup is not written to', async (t) => {
  const { images } = imagesIn(t);
  const { image } = await images.build(16 * mebibyte, treeOf({ at: night(0) }));
  debugfsWrite(image.path, 'rm /.ctxs-metadata-backup');
  await t.rejects(images.append(image, treeOf({ at: night(1) })), /DR-BACKUP-NOT-A-BACKUP/);
});

t.test('a half-written disk becomes what it was, from what was kept', async (t) => {
  const { images, directory } = imagesIn(t);
  const { image: from } = await images.build(16 * mebibyte, treeOf({ at: night(0) }));
  const { image: to } = await images.append(from, treeOf({ vms: 8, at: night(1) }));
  const extents = await images.changes(from, to);
  await images.keepUndo(vdi, from, extents);
  t.equal(await images.undone(vdi, from), null, 'a disk as it was needs nothing');
  const half = await images.receive(
    patched(from, images.content(to, extents.slice(0, Math.ceil(extents.length / 2)))),
    from.bytes,
  );
  t.not(half.sha256, from.sha256);
  t.equal((await images.undone(vdi, half))?.sha256, from.sha256);
  const foreign = await images.receive(zerosAndNoise(), 16 * mebibyte);
  t.equal(await images.undone(vdi, foreign), null, 'what somebody else wrote since is not touched');
  const kept = path.join(directory, `undo-${vdi}`);
  writeFileSync(kept, readFileSync(kept).subarray(0, -1));
  t.equal(await images.undone(vdi, half), null, 'a torn record is no record');
  await images.forgetUndo(vdi);
  t.notOk(readdirSync(directory).includes(`undo-${vdi}`));
});

t.test('what was free is written before what is in use', (t) => {
  const block = 4096;
  t.strictSame(
    freeFirst(
      [
        { offset: 0, bytes: 2 * block },
        { offset: 4 * block, bytes: 6 * block },
        { offset: 20 * block, bytes: block },
      ],
      [
        [1, 1],
        [6, 7],
        [15, 30],
      ],
    ),
    [
      { offset: block, bytes: block },
      { offset: 6 * block, bytes: 2 * block },
      { offset: 20 * block, bytes: block },
      { offset: 0, bytes: block },
      { offset: 4 * block, bytes: 2 * block },
      { offset: 8 * block, bytes: 2 * block },
    ],
  );
  t.end();
});

t.test('the name of a date comes after all others, but follows no wrong clock', (t) => {
  const at = '2026-11-21T02:30:05.700Z';
  t.strictSame(nextBackupDate([], at), { date: '2026-11-21-02-30-05', aheadOf: null });
  t.strictSame(nextBackupDate(['2026-11-21-02-30-05'], at), { date: '2026-11-21-02-30-06', aheadOf: null });
  t.strictSame(
    nextBackupDate(['2026-11-20-11-00-00', '2026-11-21-11-30-00', 'lost+found'], at),
    { date: '2026-11-21-11-30-01', aheadOf: null },
    'the host lives nine hours ahead',
  );
  t.strictSame(nextBackupDate(['2031-01-01-00-00-00', '2026-11-21-02-30-05'], at), {
    date: '2026-11-21-02-30-06',
    aheadOf: '2031-01-01-00-00-00',
  });
  t.end();
});

t.test('nobody has to be root', (t) => {
  const directory = mkdtempSync(path.join(tmpdir(), 'lifeboat-nobody-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  if (process.getuid?.() === 0) chownSync(directory, 65534, 65534);
  const said = execFileSync(process.execPath, [path.join(import.meta.dirname, 'nobody.ts'), directory], {
    encoding: 'utf8',
  });
  t.match(JSON.parse(said), {
    uid: process.getuid?.() === 0 ? 65534 : process.getuid?.(),
    dates: 2,
    documents: 5,
  });
  t.end();
});

async function* zerosAndNoise(): AsyncGenerator<Uint8Array> {
  for (let n = 0; n < 16; n += 1) yield Buffer.alloc(mebibyte, n % 2 === 0 ? 0 : 0x5a);
}

async function* patched(
  image: BackupImage,
  pieces: AsyncIterable<{ readonly offset: number; readonly content: Uint8Array }>,
): AsyncGenerator<Uint8Array> {
  const content = readFileSync(image.path);
  for await (const piece of pieces) content.set(piece.content, piece.offset);
  yield content;
}

function debugfsWrite(image: string, ...commands: readonly string[]): void {
  const script = `${image}.changes`;
  writeFileSync(script, `${commands.join('\n')}\n`);
  execFileSync('/usr/sbin/debugfs', ['-w', '-f', script, image], { stdio: 'ignore' });
}

t.test('a full disk of this machine is told as such, and never as damage of the backup', async (t) => {
  const { images, directory } = imagesIn(t);
  const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
  await t.rejects(
    images.receive(
      (async function* () {
        yield Buffer.alloc(4096, 1);
        throw full;
      })(),
      mebibyte,
    ),
    /DR-BACKUP-SCRATCH.*the disk is full|the disk is full.*DR-BACKUP-SCRATCH/s,
  );
  t.strictSame(readdirSync(directory), [], 'and what was begun is gone');
  const { image } = await images.build(16 * mebibyte, treeOf({ vms: 1 }));
  const [, inode = ''] = /^Inode: (\d+)/m.exec(debugfs(image.path, 'stat /.ctxs-metadata-backup')) ?? [];
  const scratch = path.dirname(image.path);
  await t.rejects(
    takeOut(image.path, [{ inode: Number(inode), to: '/dev/full' }], { scratch }),
    /DR-BACKUP-SCRATCH.*No space left|No space left.*DR-BACKUP-SCRATCH/s,
  );
  await images.release(image);
});

t.test('a disk that takes a part of what it is given is given the rest', async (t) => {
  const taken: [offset: number, bytes: number, at: number][] = [];
  const file = {
    write: async (content: Uint8Array, offset: number, bytes: number, at: number) => {
      taken.push([offset, bytes, at]);
      return { bytesWritten: Math.min(bytes, 40), buffer: content };
    },
  } as unknown as Parameters<typeof writeWhole>[0];
  await writeWhole(file, Buffer.alloc(100, 1), 4096);
  t.strictSame(taken, [
    [0, 100, 4096],
    [40, 60, 4136],
    [80, 20, 4176],
  ]);
});
