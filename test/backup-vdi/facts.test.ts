/** A date of a metadata backup as facts and documents: with the dump of its moment, without it, and with a broken one. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { factsOfBackup } from '../../src/adapters/backup-vdi/read-facts.ts';
import { PortError } from '../../src/domain/errors.ts';
import type { Row } from '../../src/lab/core/database.ts';
import { invoke } from '../../src/lab/core/dispatch.ts';
import { demoOf } from '../../src/lab/demo.ts';
import { startLab } from '../../src/lab/lab.ts';
import { databaseDump } from '../../src/lab/server/xmldbdump.ts';
import { metadataArchive } from '../../src/lab/transfer/export.ts';
import { parseArchive } from '../../src/metadata/document.ts';
import { formatSrMeta } from '../../src/metadata/srmeta.ts';
import type { BackupTree } from '../../src/ports/backup-vdi.ts';

t.setTimeout(120_000);

const directory = mkdtempSync(join(tmpdir(), 'lifeboat-facts-'));
const lab = await startLab({ storage: directory, world: (made) => demoOf(made, { db: 1, app: 1, web: 1 }) });
t.teardown(async () => {
  await lab.stop();
  rmSync(directory, { recursive: true, force: true });
});
const pool = lab.pool('production');
const vms = pool.db.all('VM').filter((vm) => /^(?:db|app|web)-/.test(vm.text('name_label')));
const [db] = vms.filter((vm) => vm.text('name_label') === 'db-01');
if (db === undefined) throw new Error('the world has a database');
const gold = pool.db.byName('SR', 'gold storage')[0]?.uuid ?? '';
await invoke(pool.master, 'VM_appliance.create', {
  name_label: 'Shop',
  name_description: '',
});
const appliance = pool.db.byName('VM_appliance', 'Shop')[0];
if (appliance !== undefined) db.set({ appliance: appliance.ref });

const made = { at: '2026-01-31T02:30:05.000Z', by: 'file' } as const;
const dump = databaseDump(pool);
const archiveOf = (vm: Row): Uint8Array =>
  metadataArchive(pool, { snapshots: false, vhdParents: false, excluded: new Set(), vms: [vm.ref] });

function treeOf(changes: Partial<BackupTree> = {}): BackupTree {
  return {
    date: '2026-01-31-02-30-05',
    srMeta: Buffer.from(
      formatSrMeta([{ uuid: gold, nameLabel: 'Süd 東京', nameDescription: 'by SRMETA', vdis: [] }]),
    ),
    documents: vms.map((vm) => ({ vm: vm.uuid, archive: archiveOf(vm) })),
    links: [],
    provenance: null,
    ...changes,
  };
}

t.test('with the dump of its moment a date knows what an export knows', (t) => {
  const backup = factsOfBackup(treeOf(), dump, made);
  t.equal(backup.kind, 'backup-vdi');
  t.same([...backup.documents.keys()].sort(), vms.map((vm) => vm.uuid).sort());
  t.same(backup.failures, []);
  const sr = backup.pool.srs.find(({ uuid }) => uuid === gold);
  t.match(sr, { nameLabel: 'Süd 東京', nameDescription: 'by SRMETA', type: 'nfs' });
  t.equal(sr?.pbds.length, 3, 'how it was attached');
  t.match(sr?.pbds[0]?.deviceConfig, { server: '127.0.1.100' });
  t.equal(backup.pool.hosts.length, 3);
  t.equal(backup.pool.uuid, pool.row.uuid);
  const vm = backup.pool.vms.find(({ uuid }) => uuid === db.uuid);
  t.equal(vm?.applianceUuid, appliance?.uuid, 'which no document tells');
  t.equal(vm?.powerState, 'Running');
  t.end();
});

t.test('without it a date knows its documents', (t) => {
  const backup = factsOfBackup(treeOf(), null, made);
  t.equal(backup.documents.size, 3);
  t.equal(backup.database, null);
  const sr = backup.pool.srs.find(({ uuid }) => uuid === gold);
  t.match(sr, { nameLabel: 'Süd 東京', type: 'nfs', pbds: [] });
  t.end();
});

t.test('what the script failed to export is made from the dump, and told', (t) => {
  const some = treeOf({ documents: treeOf().documents.filter(({ vm }) => vm !== db.uuid) });
  const backup = factsOfBackup(some, dump, made);
  t.equal(backup.documents.size, 3);
  t.match(backup.remarks.join('\n'), /1 VMs have no document in this date/);
  const document = parseArchive(backup.documents.get(db.uuid) ?? new Uint8Array());
  t.equal(document.vm?.nameLabel, 'db-01');
  const cut = treeOf({
    documents: treeOf().documents.map((each) =>
      each.vm === db.uuid ? { ...each, archive: each.archive.subarray(0, 700) } : each,
    ),
  });
  t.same(factsOfBackup(cut, dump, made).failures, [], 'the dump makes good what is cut');
  t.match(factsOfBackup(cut, null, made).failures, [{ file: `${db.uuid}.vmmeta` }], 'and nothing else does');
  t.end();
});

t.test('a dump of another moment, and a broken one, are not used, and told', async (t) => {
  const text = dump.toString();
  const without = text.replaceAll(db.uuid, '00000000-0000-4000-8000-00000000dead');
  const other = factsOfBackup(treeOf(), Buffer.from(without), made);
  t.equal(other.database, null);
  t.match(other.remarks.join('\n'), /does not know all VMs of this date/);
  const broken = factsOfBackup(treeOf(), Buffer.from(text.slice(0, 5000)), made);
  t.equal(broken.documents.size, 3);
  t.match(broken.remarks.join('\n'), /dump of the pool's database was not used/);
});

t.test('names that cannot be read cost names alone; a date of nothing is refused', (t) => {
  const unnamed = factsOfBackup(treeOf({ srMeta: Buffer.from('<meta') }), null, made);
  t.equal(unnamed.pool.srs.find(({ uuid }) => uuid === gold)?.nameLabel, 'gold storage');
  t.match(unnamed.remarks.join('\n'), /cannot be read/);
  t.match(factsOfBackup(treeOf({ srMeta: null }), null, made).remarks.join('\n'), /SRMETA.xml/);
  const nothing = (): unknown => factsOfBackup(treeOf({ documents: [] }), null, made);
  t.throws(nothing, PortError);
  t.throws(nothing, /holds no document of a VM/);
  t.end();
});
