/**
 * Reading a metadata backup as a host's script lays it out (twelve dates, names in other letters) through /export_raw_vdi,
 * without a mount, against the same bytes taken from the pool and thrown away.
 */
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  openSync,
  readSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { openBackupImages } from '../../src/adapters/backup-vdi/open.ts';
import { factsOfBackup } from '../../src/adapters/backup-vdi/read-facts.ts';
import { systemClock } from '../../src/adapters/system/clock.ts';
import { openHypervisor } from '../../src/adapters/xenapi/hypervisor.ts';
import { addPool } from '../../src/lab/core/build.ts';
import { invoke } from '../../src/lab/core/dispatch.ts';
import type { LabPool } from '../../src/lab/core/pool.ts';
import { populate } from '../../src/lab/core/populate.ts';
import { struct } from '../../src/lab/core/values.ts';
import { type Lab, startLab } from '../../src/lab/lab.ts';
import { databaseDump } from '../../src/lab/server/xmldbdump.ts';
import { backendOf } from '../../src/lab/storage/state.ts';
import { metadataArchive } from '../../src/lab/transfer/export.ts';
import { formatSrMeta } from '../../src/metadata/srmeta.ts';
import type { Hypervisor } from '../../src/ports/hypervisor.ts';
import { atMost, type Bench, type Figure, ratioOf, spread, timed } from './figures.ts';

const imageBytes = 1024 ** 3;
const dates = Array.from({ length: 12 }, (_, n) => `2026-01-${String(n + 1).padStart(2, '0')}-02-30-05`);

export async function measureBackupRead(bench: Bench): Promise<Figure[]> {
  const lab = await startLab({ storage: join(bench.directory, 'backup-read'), world: onePool });
  try {
    const pool = lab.pool('dr');
    const vdi = await backupOn(lab, pool, bench);
    const hypervisor = hypervisorOf(lab, pool);
    try {
      return [await measure(hypervisor, vdi, bench)];
    } finally {
      await hypervisor.close();
    }
  } finally {
    await lab.stop();
  }
}

function onePool(lab: Lab): void {
  const pool = addPool(lab, {
    name: 'dr',
    site: 'dr',
    label: 'dr',
    hosts: [{ name: 'dr', address: '127.0.4.1' }],
  });
  pool.exports.set('/exports/dr', lab.directory('dr'));
}

function hypervisorOf(lab: Lab, pool: LabPool): Hypervisor {
  return openHypervisor({
    site: 'dr',
    pool: {
      hosts: [{ url: lab.url(pool.master), fingerprint: pool.master.certificate.sha256 }],
      username: lab.credentials.username,
      password: { from: 'env', name: 'UNUSED' },
      poolUuid: null,
      caFile: null,
      transport: 'auto',
      maxRequests: 4,
    },
    password: async () => lab.credentials.password,
    clock: systemClock,
  });
}

async function measure(hypervisor: Hypervisor, vdi: string, bench: Bench): Promise<Figure> {
  const images = openBackupImages(join(bench.directory, 'images'));
  const ours: number[] = [];
  const bare: number[] = [];
  let [documents, listed] = [0, 0];
  for (let round = 0; round < bench.repetitions; round += 1) {
    const taken = await timed(async () => drained(await hypervisor.exportRawVdi(vdi)));
    bare.push(taken.seconds);
    const read = await timed(async () => {
      const image = await images.receive(await hypervisor.exportRawVdi(vdi), imageBytes);
      const contents = await images.contents(image);
      const tree = await images.read(image, dates.at(-1) ?? '');
      const [dump] = contents.databases;
      const database = dump === undefined ? null : await images.readDatabase(image, dump.pool);
      const made = { at: '2026-01-12T02:30:05.000Z', by: 'file' } as const;
      const backup = factsOfBackup(tree, database === null ? null : await wholeOf(database), made);
      await images.release(image);
      return { dates: contents.dates.length, documents: backup.documents.size };
    });
    ours.push(read.seconds);
    [documents, listed] = [read.result.documents, read.result.dates];
  }
  if (documents !== bench.vms || listed !== dates.length)
    throw new Error(`${documents} documents of ${listed} dates were read`);
  return atMost(
    `metadata backup of ${bench.vms} VMs read, against taking its bytes from the pool`,
    ratioOf(ours, bare),
    3,
    `${listed} dates listed, the newest with its dump as facts and documents: ${spread(ours)}; 1 GiB taken and thrown away: ${spread(bare)}`,
  );
}

async function drained(content: AsyncIterable<Uint8Array>): Promise<number> {
  let bytes = 0;
  for await (const piece of content) bytes += piece.length;
  return bytes;
}

async function wholeOf(content: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of content) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** A disk of 1 GiB on an SR of the pool, with twelve dates of all VMs of the pool on it. */
async function backupOn(lab: Lab, pool: LabPool, bench: Bench): Promise<string> {
  const { master } = pool;
  const device = struct({ server: '10.0.0.1', serverpath: '/exports/dr' });
  const sr = String(
    await invoke(master, 'SR.create', master.row.ref, device, 0n, 'dr', '', 'nfs', 'user', true, struct()),
  );
  const record = struct({
    name_label: 'Pool Metadata Backup',
    SR: sr,
    virtual_size: BigInt(imageBytes),
    type: 'user',
    sharable: false,
    read_only: false,
    other_config: struct(),
  });
  const vdi = pool.db.row('VDI', String(await invoke(master, 'VDI.create', record)));
  populate(pool, {
    vms: bench.vms,
    fields: (index) => ({ name_label: `Bücherei-東京-${index} 🚢` }),
  });
  const image = join(bench.directory, 'image');
  makeImage(pool, image, join(lab.storage, 'tree'));
  const disk = backendOf(pool, pool.db.row('SR', sr)).open(vdi.text('location'), 'r+');
  const file = openSync(image, 'r');
  const piece = Buffer.alloc(2 ** 20);
  for (let at = 0; at < imageBytes; at += piece.length) {
    readSync(file, piece, 0, piece.length, at);
    if (piece.some((byte) => byte !== 0)) disk.write(at, piece);
  }
  closeSync(file);
  disk.close();
  rmSync(image);
  return vdi.uuid;
}

function makeImage(pool: LabPool, image: string, tree: string): void {
  const vms = pool.db.all('VM').filter((vm) => vm.text('name_label').startsWith('Bücherei'));
  const names = pool.db.all('SR').map((sr) => ({
    uuid: sr.uuid,
    nameLabel: sr.text('name_label'),
    nameDescription: '',
    vdis: sr.rows('VDIs', 'VDI').map((vdi) => ({
      uuid: vdi.uuid,
      nameLabel: vdi.text('name_label'),
      nameDescription: '',
    })),
  }));
  const documents = vms.map((vm) => ({
    uuid: vm.uuid,
    sr: vm.rows('VBDs', 'VBD')[0]?.row('VDI', 'VDI')?.row('SR', 'SR')?.uuid ?? pool.row.uuid,
    archive: metadataArchive(pool, {
      snapshots: false,
      vhdParents: false,
      excluded: new Set(),
      vms: [vm.ref],
    }),
  }));
  mkdirSync(tree, { recursive: true });
  writeFileSync(join(tree, '.ctxs-metadata-backup'), '1');
  writeFileSync(join(tree, `${pool.row.uuid}.db`), databaseDump(pool));
  for (const date of dates) {
    const at = join(tree, 'metadata', date);
    mkdirSync(join(at, 'all'), { recursive: true });
    writeFileSync(join(at, 'SRMETA.xml'), formatSrMeta(names));
    for (const { uuid, sr, archive } of documents) {
      writeFileSync(join(at, 'all', `${uuid}.vmmeta`), archive);
      mkdirSync(join(at, 'by-sr', sr), { recursive: true });
      symlinkSync(`../../all/${uuid}.vmmeta`, join(at, 'by-sr', sr, `${uuid}.vmmeta`));
    }
  }
  writeFileSync(image, '');
  truncateSync(image, imageBytes);
  execFileSync('/usr/sbin/mke2fs', ['-q', '-F', '-t', 'ext3', '-d', tree, image]);
  rmSync(tree, { recursive: true });
}
