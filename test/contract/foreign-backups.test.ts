/**
 * Backups of other tools, read as they lie on a disk: what a pool of the lab exports and dumps is the same whichever way
 * it comes, whatever its VMs are called; and what is no backup is refused with a reason.
 */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import t from 'tap';
import { foreignBackups } from '../../src/adapters/foreign/foreign.ts';
import { OperatorError } from '../../src/domain/errors.ts';
import { pointVmsOf } from '../../src/domain/recovery-point.ts';
import { demoOf } from '../../src/lab/demo.ts';
import { type Lab, startLab } from '../../src/lab/lab.ts';
import { databaseDump } from '../../src/lab/server/xmldbdump.ts';
import { metadataArchive } from '../../src/lab/transfer/export.ts';
import { fingerprint } from '../../src/metadata/canonical.ts';
import { parseArchive } from '../../src/metadata/document.ts';
import { packOva } from '../../src/metadata/tar.ts';

t.setTimeout(120_000);

const hostile = ['wéb "01"', "it's <b>&amp;</b>\\'", 'two  spaces %. %% %n\n\ttab', '日本語 (\'x\' "y")'];

let lab: Lab;
const directory = mkdtempSync(join(tmpdir(), 'lifeboat-foreign-'));

t.before(async () => {
  lab = await startLab({
    world: (made) => demoOf(made, { db: 1, app: 1, web: 2 }),
    storage: join(directory, 'lab'),
  });
  const { db } = lab.pool('production');
  for (const [index, vm] of vms().entries()) {
    const name = hostile[index] ?? '';
    vm.set({ name_label: name, name_description: name, tags: [name, 'plain'] });
    vm.put('other_config', 'folder', name);
  }
  const [appliance] = [db.create('VM_appliance', { name_label: 'both', name_description: '' })];
  vms()[0]?.set({ appliance: appliance?.ref ?? '' });
});
t.teardown(async () => {
  await lab.stop();
  rmSync(directory, { recursive: true, force: true });
});

function vms() {
  return lab
    .pool('production')
    .db.all('VM')
    .filter((vm) => !vm.bool('is_control_domain') && !vm.bool('is_a_template'));
}

function archiveOf(ref: string): Buffer {
  return metadataArchive(lab.pool('production'), {
    vms: [ref],
    snapshots: false,
    vhdParents: false,
    excluded: new Set(),
  });
}

let files = 0;
function fileOf(bytes: Uint8Array | string, name = 'file'): string {
  files += 1;
  const folder = join(directory, String(files));
  mkdirSync(folder);
  writeFileSync(join(folder, name), bytes);
  return join(folder, name);
}

async function refusal(...paths: readonly string[]): Promise<string> {
  const error = await foreignBackups.read(paths).then(
    () => null,
    (reason: unknown) => reason,
  );
  return error instanceof OperatorError ? `${error.code}: ${error.message}` : `${String(error)}`;
}

t.test('a database and exports of the same pool make the same VMs', async (t) => {
  const dump = await foreignBackups.read([fileOf(databaseDump(lab.pool('production')))]);
  const exports = await foreignBackups.read(vms().map((vm) => fileOf(archiveOf(vm.ref))));
  t.equal(dump.kind, 'database');
  t.equal(exports.kind, 'vm-export');
  t.same(
    [...exports.documents.keys()].sort(),
    vms()
      .map((vm) => vm.uuid)
      .sort(),
  );
  t.same([...dump.documents.keys()].sort(), [...exports.documents.keys()].sort());
  for (const [uuid, bytes] of exports.documents) {
    const other = dump.documents.get(uuid) ?? new Uint8Array();
    t.equal(fingerprint(parseArchive(other)), fingerprint(parseArchive(bytes)), uuid);
  }
  const told = (backup: typeof dump) =>
    pointVmsOf(backup.pool.vms, backup.pool)
      .map(({ applianceUuid: _known, ...vm }) => vm)
      .sort((a, b) => (a.uuid < b.uuid ? -1 : 1));
  t.same(told(exports), told(dump), 'the facts of the VMs are the same too');
  t.same(
    dump.pool.vms.map((vm) => vm.nameLabel).sort(),
    [...hostile].sort(),
    'names come through white space, quotes and backslashes',
  );
  t.same(dump.remarks, []);
  t.match(dump.pool.srs.find(({ type }) => type === 'nfs')?.pbds[0]?.deviceConfig, {
    serverpath: /^\/volumes\//,
  });
  t.ok(dump.pool.networks.some(({ nameLabel, pifs }) => nameLabel === 'DMZ' && pifs[0]?.vlan === 20));
  t.equal(dump.pool.appliances[0]?.vmUuids.length, 1, 'a database knows the vApps');
  t.same(exports.pool.appliances, [], 'an export does not');
});

t.test('compressed files, an XVA with disks behind its metadata, links', async (t) => {
  const [vm] = vms();
  const archive = archiveOf(vm?.ref ?? '');
  const disks = Buffer.alloc(4 * 1024 * 1024, 7);
  const size = packOva('').length;
  const xva = Buffer.concat([archive.subarray(0, archive.length - size + 512), disks]);
  for (const [what, bytes] of [
    ['gzip', gzipSync(archive)],
    ['zstd', zstdCompressSync(archive)],
    ['an XVA', xva],
    ['an XVA, compressed and cut off in its disks', gzipSync(xva).subarray(0, -2000)],
  ] as const) {
    const backup = await foreignBackups.read([fileOf(bytes)]);
    t.same([...backup.documents.keys()], [vm?.uuid], what);
    t.same(backup.failures, [], what);
  }
  const named = join(directory, 'named');
  symlinkSync(fileOf(archive), named);
  t.same([...(await foreignBackups.read([named])).documents.keys()], [vm?.uuid], 'a link that is named');
  const mixed = join(fileOf(archive, 'a.xva'), '..');
  writeFileSync(join(mixed, 'README.txt'), 'what lies beside it\n');
  const beside = await foreignBackups.read([mixed]);
  t.same(beside.failures, [], 'what lies beside it costs nothing');
  t.match(beside.remarks, [/^README\.txt was passed over/]);
  const folder = join(directory, 'with-a-link');
  mkdirSync(folder);
  symlinkSync(fileOf(archive), join(folder, 'link.xva'));
  t.match(await refusal(folder), /DR-FOREIGN-NOTHING.*there is no file/s, 'a link is not followed');
});

t.test('the same VM twice', async (t) => {
  const [vm] = vms();
  const archive = archiveOf(vm?.ref ?? '');
  const same = await foreignBackups.read([fileOf(archive), fileOf(archive)]);
  t.same(same.failures, [], 'alike it is one');
  vm?.set({ memory_static_max: 12345n });
  const other = await foreignBackups.read([fileOf(archive), fileOf(archiveOf(vm?.ref ?? ''), 'newer')]);
  t.match(other.failures, [{ file: /newer$/, reason: /in another state than/ }]);
});

t.test('what is no backup', async (t) => {
  const [vm] = vms();
  const archive = archiveOf(vm?.ref ?? '');
  const database = databaseDump(lab.pool('production'));
  const entities =
    '<?xml version="1.0"?><!DOCTYPE database [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><database>&b;</database>';
  t.match(await refusal(join(directory, 'gone')), /^DR-FOREIGN-READ/);
  t.match(await refusal(fileOf('notes\n'.repeat(200))), /DR-FOREIGN-NOTHING.*not a tar archive/s);
  t.match(await refusal(fileOf('')), /DR-FOREIGN-NOTHING.*too few for a backup/s);
  t.match(await refusal(fileOf(archive.subarray(0, 3000), 'x.xva')), /DR-FOREIGN-NOTHING.*cut off/s);
  t.match(await refusal(fileOf(gzipSync(archive).subarray(0, 300))), /DR-FOREIGN-NOTHING/);
  t.match(await refusal(fileOf(archive), fileOf(database)), /DR-FOREIGN-MIXED/);
  t.match(await refusal(fileOf(database), fileOf(database)), /DR-FOREIGN-MIXED.*several databases/s);
  t.match(await refusal(fileOf(database.subarray(0, 20_000))), /DR-DATABASE-UNREADABLE/);
  t.match(await refusal(fileOf('<database><manifest/></database>')), /DR-DATABASE-UNREADABLE.*schema/s);
  t.match(await refusal(fileOf(entities)), /DR-DATABASE-UNREADABLE/);
  const half = await foreignBackups.read([fileOf(archive), fileOf(archive.subarray(0, 3000), 'cut.xva')]);
  t.match(half.failures, [{ file: /cut\.xva$/, reason: /cut off/ }], 'a cut file costs its own VM alone');
  const strange = String(database).replace(/memory__static_max="\d+"/, 'memory__static_max="many"');
  const read = await foreignBackups.read([fileOf(strange)]);
  t.same(read.remarks, ['Left out of the database: memory_static_max of a VM is not a whole number']);
});
