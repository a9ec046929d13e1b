/** The metadata backup's disk: built and proven, against copying the same files; and what a night sends of it. */
import { createHash, randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openBackupImages } from '../../src/adapters/backup-vdi/open.ts';
import { backupDate, backupVdiBytes } from '../../src/domain/backup-vdi.ts';
import type { BackupToWrite } from '../../src/ports/backup-vdi.ts';
import { atMost, type Bench, type Figure, median, number, ratioOf, spread, timed } from './figures.ts';

/** As documents of VMs with two disks are (performance.md 2). */
const documentBytes = 48 * 1024;
const dumpBytesPerVm = 10 * 1024;
const changedShare = 0.02;
const pool = '11111111-1111-4111-8111-111111111111';
const sr = '22222222-2222-4222-8222-222222222222';
const uuidOf = (n: number): string => `55555555-5555-4555-8555-${String(n).padStart(12, '0')}`;

export async function measureBackup(bench: Bench): Promise<Figure[]> {
  const source = join(bench.directory, 'documents');
  mkdirSync(source);
  for (let n = 0; n < bench.vms; n += 1) writeFileSync(join(source, uuidOf(n)), randomBytes(documentBytes));
  writeFileSync(join(source, 'dump'), randomBytes(dumpBytesPerVm * bench.vms));
  const images = openBackupImages(join(bench.directory, 'images'));
  const [building, copying, nights, shares]: [number[], number[], number[], number[]] = [[], [], [], []];
  for (let round = -1; round < bench.repetitions; round += 1) {
    const copied = join(bench.directory, 'copied');
    const copy = await timed(async () => {
      mkdirSync(copied);
      for (const name of [...Array.from({ length: bench.vms }, (_, n) => uuidOf(n)), 'dump'])
        copyFileSync(join(source, name), join(copied, name));
    });
    rmSync(copied, { recursive: true });
    const tree = treeOf(source, bench.vms, 0);
    const first = await timed(() => images.build(backupVdiBytes, tree));
    const { image } = first.result;
    for (let n = 0; n < bench.vms * changedShare; n += 1)
      writeFileSync(join(source, uuidOf(n)), randomBytes(documentBytes));
    const next = treeOf(source, bench.vms, 1);
    const night = await timed(() => images.append(image, next));
    const extents = await images.changes(image, night.result.image);
    const sent = extents.reduce((sum, { bytes }) => sum + bytes, 0);
    await images.release(image);
    await images.release(night.result.image);
    if (night.result.documentsWritten !== Math.ceil(bench.vms * changedShare))
      throw new Error(`${night.result.documentsWritten} documents were written`);
    if (round < 0) continue;
    building.push(first.seconds);
    copying.push(copy.seconds);
    nights.push(night.seconds);
    shares.push(sent / night.result.bytesNew);
  }
  const megabytes = (bench.vms * (documentBytes + dumpBytesPerVm)) / 1e6;
  return [
    atMost(
      `image of ${bench.vms} VMs built and proven, against copying the same files`,
      ratioOf(building, copying),
      3,
      `built and proven ${spread(building)}, copied ${spread(copying)}; ${number(megabytes)} MB, disk of 1 GiB; a night adds a date in ${spread(nights)}`,
    ),
    atMost(
      'bytes that a night sends, against bytes that are new',
      median(shares),
      1.2,
      `${changedShare * 100} % of the VMs and the dump are new`,
    ),
  ];
}

function treeOf(source: string, vms: number, night: number): BackupToWrite {
  const at = new Date(Date.UTC(2026, 0, 1 + night, 2, 30)).toISOString();
  const documents = Array.from({ length: vms }, (_, n) => {
    const vm = uuidOf(n);
    const sha256 = createHash('sha256')
      .update(readFileSync(join(source, vm)))
      .digest('hex');
    return { vm, sha256, archive: async () => readFileSync(join(source, vm)) };
  });
  return {
    vdi: '33333333-3333-5333-8333-333333333333',
    pool,
    date: backupDate(at),
    srMeta: new TextEncoder().encode('<meta></meta>'),
    documents,
    links: documents.map(({ vm }) => ({ sr, vm })),
    provenance: {
      format: 1,
      by: 'lifeboat',
      pool: { uuid: pool, nameLabel: 'bench' },
      group: 'bench',
      pointId: `bench/${night}`,
      takenAt: at,
      documents: Object.fromEntries(documents.map(({ vm, sha256 }) => [vm, sha256])),
    },
    database: (async function* () {
      yield readFileSync(join(source, 'dump'));
    })(),
    history: 25,
    dumps: 25,
  };
}
