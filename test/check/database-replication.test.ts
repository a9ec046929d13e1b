/** XenServer's own disaster recovery beside ours: seen at the pool, or in the recovery point when the pool is gone. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { databaseReplicationIsKnown } from '../../src/check/rules/database-replication.ts';
import { addArray, addLun, arrayOf } from '../../src/lab/arrays/index.ts';
import { addPool } from '../../src/lab/core/build.ts';
import { invoke } from '../../src/lab/core/dispatch.ts';
import { struct } from '../../src/lab/core/values.ts';
import { startLab } from '../../src/lab/lab.ts';
import { productionPool, sr as srFacts, vdi } from '../support/two-sites.ts';
import { inDisaster, inQuietTimes, osaka, point } from './a-context.ts';

const facts = productionPool();
const [first] = facts.srs;
if (first === undefined) throw new Error('production has SRs');
const disk = {
  ...vdi(99, first.uuid),
  type: 'metadata',
  nameLabel: 'Metadata for DR',
  virtualSize: 3_988_783_104,
};

t.test('the SR is named, and what Lifeboat does about it', (t) => {
  t.same(databaseReplicationIsKnown(inQuietTimes()), [], 'nothing of the kind');
  const [finding, ...more] = databaseReplicationIsKnown(
    inQuietTimes({ production: osaka({ vdis: [...facts.vdis, disk] }) }),
  );
  t.same(more, [], 'once');
  t.match(finding, {
    severity: 'warning',
    code: 'DR-DATABASE-REPLICATION',
    name: 'Tier 1',
    what: /SR Tier 1 carries the database replication/,
    next: new RegExp(`xe sr-disable-database-replication uuid=${first.uuid}`),
  });
  t.match(finding?.evidence.join('\n'), /Metadata for DR .* of 3804 MiB has type metadata/);
  t.match(finding?.evidence.join('\n'), /leaves the disk alone/);
  t.end();
});

t.test('when production is gone, the recovery point still knows', (t) => {
  const known = point({ vdis: [...facts.vdis, disk] });
  t.match(databaseReplicationIsKnown(inDisaster({ point: known })), [{ code: 'DR-DATABASE-REPLICATION' }]);
  t.same(databaseReplicationIsKnown(inDisaster({ point: null })), [], 'and without one nobody does');
  t.end();
});

t.test("an SR of another group, and other disks of the product, are nobody's business here", (t) => {
  const elsewhere = srFacts(7, 'Somebody else', facts.hosts);
  const others = [
    { ...disk, srUuid: elsewhere.uuid },
    { ...vdi(98, first.uuid), type: 'redo_log' },
    { ...vdi(97, first.uuid), type: 'ha_statefile' },
  ];
  const production = osaka({ srs: [...facts.srs, elsewhere], vdis: [...facts.vdis, ...others] });
  t.same(databaseReplicationIsKnown(inQuietTimes({ production })), []);
  t.end();
});

t.test(
  'the lab plays the disk: on SRs with a metadata volume, once, and gone when it is disabled',
  async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'lifeboat-redo-'));
    const lab = await startLab({
      storage: directory,
      world: async (made) => {
        const pool = addPool(made, {
          name: 'prod',
          site: 'prod',
          label: 'prod',
          hosts: [{ name: 'prod', address: '127.0.3.1' }],
        });
        const array = await addArray(made, {
          name: 'array',
          site: 'prod',
          address: '127.0.3.100',
          port: made.port,
        });
        addLun(array, 'lun', [pool], { kind: 'fc', sizeBytes: 16 * 2 ** 30, admitted: ['127.0.3.1'] });
        pool.exports.set('/exports/one', made.directory('one'));
      },
    });
    t.teardown(async () => {
      await lab.stop();
      rmSync(directory, { recursive: true, force: true });
    });
    const { master, db } = lab.pool('prod');
    const make = async (type: string, device: Record<string, string>): Promise<string> =>
      String(
        await invoke(
          master,
          'SR.create',
          master.row.ref,
          struct(device),
          0n,
          type,
          '',
          type,
          'user',
          true,
          struct(),
        ),
      );
    const failing = async (method: string, ref: string): Promise<string> =>
      invoke(master, method, ref).then(
        () => 'done',
        (error: Error) => error.message.split(' ')[0] ?? '',
      );
    const nfs = await make('nfs', { server: '10.0.0.1', serverpath: '/exports/one' });
    t.equal(await failing('SR.enable_database_replication', nfs), 'SR_OPERATION_NOT_SUPPORTED');
    const volume = arrayOf(lab, 'array').volume('lun');
    const { scsiId = '' } = volume.offer(volume.exportPath);
    const lvm = await make('lvmohba', { SCSIid: scsiId });
    await invoke(master, 'SR.enable_database_replication', lvm);
    await invoke(master, 'SR.enable_database_replication', lvm);
    const disks = db.row('SR', lvm).rows('VDIs', 'VDI');
    t.same(
      disks.map((row) => [
        row.text('type'),
        row.text('name_label'),
        row.int('virtual_size') >= 3_988_783_104n,
      ]),
      [['metadata', 'Metadata for DR', true]],
    );
    await invoke(master, 'SR.disable_database_replication', lvm);
    t.same(db.row('SR', lvm).rows('VDIs', 'VDI'), []);
  },
);
