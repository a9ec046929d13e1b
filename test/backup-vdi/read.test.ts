/**
 * Reading metadata backups: images as a host's script lays them out, images that are cut, dirty or hostile. All of them are
 * made by e2fsprogs alone, and read without a mount.
 */
import { execFileSync } from 'node:child_process';
import {
  createReadStream,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';
import { openBackupImages } from '../../src/adapters/backup-vdi/open.ts';
import { PortError } from '../../src/domain/errors.ts';
import type { BackupImage, BackupImages } from '../../src/ports/backup-vdi.ts';
import { mebibyte, otherPool, pool, sr, vdi, vmUuid } from './house.ts';

t.setTimeout(240_000);

const dates = Array.from({ length: 12 }, (_, n) => `2026-0${1 + Math.floor(n / 4)}-1${n % 4}-02-30-05`);

/** The tree as xapi.md 5.5 shows it: dates by local time, here nine hours ahead. */
function hostTree(directory: string, vms: number): void {
  const put = (file: string, content: string, at?: string): void => {
    const to = path.join(directory, file);
    mkdirSync(path.dirname(to), { recursive: true });
    writeFileSync(to, content);
    if (at !== undefined) utimesSync(to, new Date(at), new Date(at));
  };
  put('.ctxs-metadata-backup', '1\n');
  put(`conf/${vdi}`, `/var/run/pool-backup-${vdi}/${pool}.db {\n rotate 12\n}\n`);
  for (const [n] of dates.entries()) put(n === 0 ? `${pool}.db` : `${pool}.db.${n}`, `<database n="${n}"/>`);
  put(`${otherPool}.db`, '<database/>');
  put('not-a-uuid.db', 'x');
  for (const date of dates) {
    const at = `${date.slice(0, 10)}T${date.slice(11).replaceAll('-', ':')}+09:00`;
    put(`metadata/${date}/SRMETA.xml`, `<meta><sr uuid="${sr}" name_label="Süd &amp; 東京 🚢"/></meta>`, at);
    for (let n = 0; n < vms; n += 1) {
      put(`metadata/${date}/all/${vmUuid(n)}.vmmeta`, `${date} VM ${n} Ωmega`);
      mkdirSync(path.join(directory, `metadata/${date}/by-sr/${sr}`), { recursive: true });
      symlinkSync(
        `../../all/${vmUuid(n)}.vmmeta`,
        path.join(directory, `metadata/${date}/by-sr/${sr}/${vmUuid(n)}.vmmeta`),
      );
    }
  }
  mkdirSync(path.join(directory, 'metadata/somebody else'), { recursive: true });
}

interface Desk {
  readonly images: BackupImages;
  readonly scratch: string;
  receive(file: string): Promise<BackupImage>;
  /** An ext3 of this tree. */
  make(name: string, fill: (directory: string) => void): string;
}

function deskIn(t: Test): Desk {
  const directory = t.testdir();
  const scratch = path.join(directory, 'scratch');
  const images = openBackupImages(scratch);
  const bytes = 32 * mebibyte;
  return {
    images,
    scratch,
    receive: (file) => images.receive(createReadStream(file), bytes),
    make(name, fill) {
      const tree = path.join(directory, `${name}-tree`);
      mkdirSync(tree);
      fill(tree);
      const image = path.join(directory, name);
      writeFileSync(image, '');
      truncateSync(image, bytes);
      execFileSync('/usr/sbin/mke2fs', ['-q', '-F', '-t', 'ext3', '-d', tree, image]);
      return image;
    },
  };
}

async function failsWith(t: Test, work: Promise<unknown>, code: string): Promise<void> {
  const error = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  t.ok(error instanceof PortError, 'it is refused');
  t.equal(error instanceof PortError ? error.problem.code : String(error), code);
}

async function textOf(content: AsyncIterable<Uint8Array> | null): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const piece of content ?? []) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

const debugfs = (image: string, command: string): void => {
  execFileSync('/usr/sbin/debugfs', ['-w', '-R', command, image], { stdio: 'ignore' });
};

t.test('a backup of the host: twelve dates, other letters, dumps of two pools', async (t) => {
  const desk = deskIn(t);
  const image = await desk.receive(desk.make('image', (tree) => hostTree(tree, 3)));
  const contents = await desk.images.contents(image);
  t.equal(contents.format, '1');
  t.strictSame(
    contents.dates.map(({ name, documents, provenance }) => [name, documents, provenance]),
    dates.map((name) => [name, 3, null]),
    'only dates are dates',
  );
  t.equal(contents.dates[0]?.writtenAt, '2026-01-09T17:30:05.000Z', 'the moment is told in UTC');
  t.strictSame(
    contents.databases.filter((each) => each.pool === pool).map(({ generation }) => generation),
    dates.map((_, n) => n),
  );
  t.strictSame(
    contents.databases.filter((each) => each.pool !== pool).map((each) => each.pool),
    [otherPool],
  );
  t.ok(contents.usedShare > 0 && contents.usedShare < 1);

  const tree = await desk.images.read(image, dates[3] ?? '');
  t.match(Buffer.from(tree.srMeta ?? []).toString(), /Süd &amp; 東京 🚢/);
  t.strictSame(
    tree.documents.map(({ vm, archive }) => [vm, Buffer.from(archive).toString()]),
    [0, 1, 2].map((n) => [vmUuid(n), `${dates[3]} VM ${n} Ωmega`]),
  );
  t.strictSame(
    tree.links,
    [0, 1, 2].map((n) => ({ sr, vm: vmUuid(n) })),
  );
  const dump = await desk.images.readDatabase(image, pool, { generation: 8 });
  t.equal(await textOf(dump), '<database n="8"/>');
  t.equal(await desk.images.readDatabase(image, pool, { generation: 99 }), null);
  await failsWith(t, desk.images.read(image, '2001-01-01-00-00-00'), 'DR-BACKUP-NO-DATE');
  await failsWith(t, desk.images.read(image, '../conf'), 'DR-BACKUP-NO-DATE');
  await desk.images.release(image);
  t.strictSame(readdirSync(desk.scratch), [], 'nothing of it is left');
});

t.test('what is cut, empty, foreign or broken is told apart', async (t) => {
  const desk = deskIn(t);
  const whole = desk.make('whole', (tree) => hostTree(tree, 1));
  await failsWith(
    t,
    desk.images.receive(createReadStream(whole, { end: 16 * mebibyte }), 32 * mebibyte),
    'DR-BACKUP-CUT',
  );
  await failsWith(t, desk.images.receive(createReadStream(whole), 16 * mebibyte), 'DR-BACKUP-CUT');
  await failsWith(t, desk.images.receive(createReadStream(whole), 2 ** 50), 'DR-BACKUP-NOT-A-BACKUP');
  t.strictSame(readdirSync(desk.scratch), [], 'nothing of them is left');

  const zeros = path.join(t.testdirName, 'zeros');
  writeFileSync(zeros, '');
  truncateSync(zeros, 32 * mebibyte);
  const blank = await desk.receive(zeros);
  await failsWith(t, desk.images.contents(blank), 'DR-BACKUP-NOT-A-BACKUP');

  const unmarked = await desk.receive(
    desk.make('unmarked', (tree) => writeFileSync(`${tree}/readme`, 'hello')),
  );
  await failsWith(t, desk.images.contents(unmarked), 'DR-BACKUP-NOT-A-BACKUP');
});

t.test('a replica is cut while the disk is mounted: it is mended on a copy', async (t) => {
  const desk = deskIn(t);
  const file = desk.make('dirty', (tree) => hostTree(tree, 2));
  // As a mounted file system looks: not clean, and its counters behind.
  debugfs(file, 'set_super_value state 0');
  debugfs(file, 'set_super_value free_blocks_count 1');
  const image = await desk.receive(file);
  const contents = await desk.images.contents(image);
  t.equal(contents.dates.length, 12);
  t.equal((await desk.images.read(image, dates[0] ?? '')).documents.length, 2);
});

t.test('what a hostile disk holds leads nowhere on this machine', async (t) => {
  const desk = deskIn(t);
  const secret = path.join(t.testdirName, 'secret');
  writeFileSync(secret, 'the password of this machine');
  const [date = ''] = dates;
  const file = desk.make('hostile', (tree) => {
    hostTree(tree, 1);
    const at = path.join(tree, 'metadata', date);
    symlinkSync(secret, path.join(at, 'all', `${vmUuid(7)}.vmmeta`));
    symlinkSync('/etc', path.join(at, 'by-sr', otherPool));
    symlinkSync('/etc/passwd', path.join(tree, `${otherPool}.db.1`));
    writeFileSync(path.join(at, 'all', `${vmUuid(8)}.vmmeta`), '');
    // Larger than any document, and without a block of its own.
    truncateSync(path.join(at, 'all', `${vmUuid(8)}.vmmeta`), 512 * mebibyte);
    writeFileSync(path.join(at, 'all', '$(touch owned); `touch owned`.vmmeta'), 'x');
    writeFileSync(path.join(at, 'all', 'a name\nof two lines "quoted".vmmeta'), 'x');
    mkdirSync(path.join(at, 'all', `${vmUuid(6)}.vmmeta`));
  });
  const image = await desk.receive(file);
  const contents = await desk.images.contents(image);
  t.strictSame(
    contents.databases.filter(({ pool: of }) => of === otherPool).map(({ generation }) => generation),
    [0],
    'a link is no dump',
  );
  const tree = await desk.images.read(image, date);
  t.strictSame(
    tree.documents.map(({ vm }) => vm),
    [vmUuid(0)],
    'links, directories and what is too large are no documents',
  );
  t.notOk(tree.documents.some(({ archive }) => Buffer.from(archive).includes('password')));
  t.strictSame(tree.links, [{ sr, vm: vmUuid(0) }], 'nor is a link to a directory an SR');
  t.notOk(existsSync('owned'), 'no name is a command');
  await desk.images.release(image);
});

t.test('a name that leads out of its directory spoils the disk', async (t) => {
  const desk = deskIn(t);
  const harmless = 'Z..Z..Z..Z..Ztmp';
  const file = desk.make('slashed', (tree) => {
    hostTree(tree, 1);
    writeFileSync(path.join(tree, 'metadata', dates[0] ?? '', 'all', `${harmless}.vmmeta`), 'x');
  });
  const bytes = readFileSync(file);
  for (let at = bytes.indexOf(harmless); at >= 0; at = bytes.indexOf(harmless, at))
    bytes.write(harmless.replaceAll('Z', '/'), at);
  writeFileSync(file, bytes);
  const image = await desk.receive(file);
  await failsWith(t, desk.images.contents(image), 'DR-BACKUP-DAMAGED');
});

t.test('a marker that is no regular file makes no backup', async (t) => {
  const desk = deskIn(t);
  const image = await desk.receive(
    desk.make('linked', (tree) => {
      mkdirSync(path.join(tree, 'metadata', dates[0] ?? ''), { recursive: true });
      symlinkSync('/etc/hostname', path.join(tree, '.ctxs-metadata-backup'));
    }),
  );
  await failsWith(t, desk.images.contents(image), 'DR-BACKUP-NOT-A-BACKUP');
});
