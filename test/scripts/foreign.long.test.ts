/**
 * A pool whose only backup was made by other tools: production is gone, there is no recovery point, one foreign backup is
 * left, and the group comes up from it through the real program.
 */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import t, { type Test } from 'tap';
import { arrayOf } from '../../src/lab/arrays/index.ts';
import { demoVolumes } from '../../src/lab/demo.ts';
import { databaseDump } from '../../src/lab/server/xmldbdump.ts';
import { metadataArchive } from '../../src/lab/transfer/export.ts';
import { guestRead, guestWrite } from '../../src/lab/vm/guest.ts';
import { call } from './fake.ts';
import { ends, World } from './trouble.ts';

t.setTimeout(480_000);

const everybody = ['db-01', 'web-01'];

/** Two guests with something written on their disks, in step with the replicas, and nothing in the catalog. */
async function start(t: Test): Promise<World> {
  const world = await World.start(t, { guests: { db: 1, app: 0, web: 1 }, saved: false });
  for (const name of everybody)
    guestWrite(world.lab, 'production', uuidOf(world, name), '0', 4096, Buffer.from(`data of ${name}`));
  for (const volume of demoVolumes) await arrayOf(world.lab, 'array-production').sync(volume, null).done;
  return world;
}

function uuidOf(world: World, name: string): string {
  return world.lab.pool('production').db.byName('VM', name)[0]?.uuid ?? '';
}

/** The archive of one VM, as `xe vm-export metadata=true` of that pool writes it. */
function archiveOf(world: World, name: string): Buffer {
  const pool = world.lab.pool('production');
  const vms = pool.db.byName('VM', name).map((vm) => vm.ref);
  return metadataArchive(pool, { vms, snapshots: false, vhdParents: false, excluded: new Set() });
}

function fileIn(world: World, ...path: readonly string[]): string {
  const file = join(world.directory, 'old', ...path);
  mkdirSync(join(file, '..'), { recursive: true });
  return file;
}

/** Production dies, the point of that id is all there is, and the guests find their data at the other site. */
async function comesUp(t: Test, world: World, imported: string): Promise<string> {
  await world.lab.killSite('production');
  const point = /Recovery point (shop\/\S+)/.exec(imported)?.[1] ?? 'no point';
  const over = await world.run('failover', 'shop', '--point', point, '--yes', 'recovery');
  t.ok([0, 3].includes(over.code), `failover ends with ${over.code}`, { said: over.said });
  t.same(world.running('recovery'), everybody);
  for (const name of everybody)
    t.equal(
      guestRead(world.lab, 'recovery', uuidOf(world, name), '0', 4096, 14).toString().slice(0, 13),
      `data of ${name}`.slice(0, 13),
      `${name} finds its data`,
    );
  return over.said;
}

t.test('numbered files of xe vm-export, one of them compressed, one missing', async (t) => {
  const world = await start(t);
  const first = fileIn(world, 'vms');
  writeFileSync(first, archiveOf(world, 'db-01'));
  writeFileSync(`${first}3`, gzipSync(archiveOf(world, 'web-01')));

  const imported = await world.run('catalog', 'import', 'shop', first, '--at', '2026-01-31T02:30:00+09:00');
  ends(
    t,
    'catalog import',
    imported,
    0,
    /exports of xe vm-export \(vms, vms3\), dated as told/,
    /Taken 2026-01-30 17:30:00 UTC/,
    /vms2 is missing between vms and vms3/,
    /What such a backup does not say - How the SRs were attached/,
  );
  const said = await comesUp(t, world, imported.said);
  t.match(said, /made from a backup of other tools \(vms, vms3\), which knows less than an export/);
});

t.test('the tree of xe-backup-metadata, with links, older dates and a damaged file', async (t) => {
  const world = await start(t);
  const old = fileIn(world, 'metadata', '2026-01-30-02-30-00', 'all', 'x.vmmeta');
  writeFileSync(old, 'of yesterday');
  for (const name of everybody) {
    const file = `${uuidOf(world, name)}.vmmeta`;
    writeFileSync(fileIn(world, 'metadata', '2026-01-31-02-30-00', 'all', file), archiveOf(world, name));
    symlinkSync(
      join('..', '..', 'all', file),
      fileIn(world, 'metadata', '2026-01-31-02-30-00', 'by-sr', 'some-sr', file),
    );
  }
  const tree = join(world.directory, 'old');
  const imported = await world.run('catalog', 'import', 'shop', tree);
  ends(
    t,
    'catalog import',
    imported,
    0,
    /a backup of xe-backup-metadata/,
    /Taken 2026-01-31 02:30:00 UTC/,
    /The newest of 2 dates was taken/,
    /local time of the host that wrote it and was read as UTC/,
  );

  await comesUp(t, world, imported.said);
});

t.test('the database of the pool, as Xen Orchestra keeps it', async (t) => {
  const world = await start(t);
  const folder = join('xo-pool-metadata-backups', 'schedule', 'pool', '20260131T023000Z');
  const data = fileIn(world, folder, 'data');
  writeFileSync(data, databaseDump(world.lab.pool('production')));
  writeFileSync(fileIn(world, folder, 'metadata.json'), '{}');

  const imported = await world.run('catalog', 'import', 'shop', join(data, '..'));
  ends(
    t,
    'catalog import',
    imported,
    0,
    /a database of the pool \(data\), dated by the name of its directory/,
    /Taken 2026-01-31 02:30:00 UTC/,
  );
  t.notMatch(imported.said, /device_config/, 'a database knows how SRs were attached');
  await comesUp(t, world, imported.said);
});

t.test('a time without its zone could be of anywhere', async (t) => {
  for (const at of ['31.1.2026', '2026-01-31', '2026-01-31T02:30', '2026-13-31T02:30:00Z'])
    t.match(await call(['catalog', 'import', 'shop', 'vms', '--at', at]), {
      code: 2,
      err: /is not a moment\. \[DR-FOREIGN-TIME\]\s+Next: Write it with its zone/,
    });
});
