/** A recovery point from a backup of other tools: what is taken, what is doubted, and when nothing is kept. */
import t from 'tap';
import { importForeign } from '../../src/app/foreign.ts';
import type { AppPorts } from '../../src/app/ports.ts';
import { OperatorError } from '../../src/domain/errors.ts';
import type { RecoveryPoint } from '../../src/domain/recovery-point.ts';
import type { ForeignBackup } from '../../src/ports/foreign.ts';
import { settings } from '../scripts/fake.ts';
import { now, productionPool } from '../support/two-sites.ts';

const night = '2026-03-13T02:00:00.000Z';

function backup(changes: Partial<ForeignBackup> = {}): ForeignBackup {
  const pool = { ...productionPool(), uuid: '', nameLabel: '' };
  return {
    kind: 'vm-export',
    files: ['/old/vms', '/old/vms2'],
    made: { at: night, by: 'name' },
    pool,
    documents: new Map(pool.vms.map((vm) => [vm.uuid, Buffer.from(vm.uuid)])),
    failures: [],
    secretDeviceConfig: new Map(),
    database: null,
    remarks: [],
    ...changes,
  };
}

function house(found: ForeignBackup, ok = true) {
  const sealed: RecoveryPoint[] = [];
  let stored = 0;
  const ports = {
    settings,
    clock: { now: () => now },
    entropy: { hex: () => 'abcd' },
    states: async () => ({ get: async () => null }),
    foreign: { read: async () => found },
    catalog: async () => ({
      put: async (bytes: Uint8Array) => {
        stored += 1;
        return { sha256: String(stored), bytes: bytes.length };
      },
      seal: async (point: RecoveryPoint) => {
        sealed.push(point);
        return [{ target: 'here', ok, problem: null }];
      },
    }),
  } as unknown as AppPorts;
  return { ports, sealed, stored: () => stored };
}

const request = { group: 'shop', paths: ['/old'], at: null, dryRun: false };

async function codeOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => null,
    (reason: unknown) => reason,
  );
  return error instanceof OperatorError ? error.code : String(error);
}

t.test('the VMs of the group are taken, with the storage that they need', async (t) => {
  const { ports, sealed } = house(backup());
  const made = await importForeign(ports, request);
  const [point] = sealed;
  t.equal(made.taken.length, 24);
  t.same(made.open, []);
  t.equal(point?.id, 'shop/20260313T020000Z-abcd');
  t.match(point, {
    takenAt: night,
    site: 'osaka',
    poolUuid: '',
    hosts: [],
    database: null,
    foreign: { kind: 'vm-export', files: ['vms', 'vms2'], timeFrom: 'name', importedAt: now },
  });
  t.equal(point?.haEnabled, undefined, 'what an archive does not say is not said');
  t.same(
    point?.srs.map(({ nameLabel }) => nameLabel),
    ['Tier 1', 'Tier 2'],
  );
  t.match(point?.replication, [{ newestPoint: null, gap: /do not look at replicas/ }, { newestPoint: null }]);
});

t.test('what is doubted is told, and a person has the last word on the time', async (t) => {
  const doubtful = backup({
    made: { at: night, by: 'file' },
    failures: [{ file: '/old/00000005-0000-4000-8000-000000000077.vmmeta', reason: 'it is cut off' }],
  });
  const { ports, sealed } = house(doubtful);
  const doubted = await importForeign(ports, request);
  t.match(doubted.open, [/said by the time of its newest file alone/]);
  t.match(sealed[0]?.failures, [{ uuid: /77$/, nameLabel: /\.vmmeta$/, reason: 'it is cut off' }]);
  const told = await importForeign(ports, { ...request, at: '2026-03-01T00:00:00.000Z' });
  t.same(told.open, []);
  t.equal(told.origin.timeFrom, 'person');
  t.equal(told.pointId, 'shop/20260301T000000Z-abcd');
});

t.test('SRs and networks that nobody provided for are told', async (t) => {
  const pool = backup().pool;
  const [first, ...others] = pool.srs;
  const renamed = first === undefined ? [] : [{ ...first, nameLabel: 'Elsewhere' }, ...others];
  const networks = pool.networks.map((network) => ({ ...network, nameLabel: `Old ${network.nameLabel}` }));
  const { ports } = house(backup({ pool: { ...pool, srs: renamed, networks } }));
  const made = await importForeign(ports, { ...request, dryRun: true });
  t.match(made.open, [
    /^SR Tier 1 of the settings is not in the backup/,
    /^SR Elsewhere holds disks and is not replicated/,
    /^Network Old Database is not mapped/,
    /^Network Old Production LAN is not mapped/,
  ]);
});

t.test('a look keeps nothing', async (t) => {
  const { ports, sealed, stored } = house(backup());
  const made = await importForeign(ports, { ...request, dryRun: true });
  t.equal(made.targets, null);
  t.equal(made.taken.length, 24);
  t.same(sealed, []);
  t.equal(stored(), 0);
});

t.test('what cannot become a point', async (t) => {
  const future = house(backup({ made: { at: '2999-01-01T00:00:00.000Z', by: 'file' } }));
  t.equal(await codeOf(importForeign(future.ports, request)), 'DR-FOREIGN-TIME');
  const other = house(backup({ pool: { ...backup().pool, vms: [] } }));
  t.equal(await codeOf(importForeign(other.ports, request)), 'DR-FOREIGN-NO-VM');
  const full = house(backup(), false);
  t.equal(await codeOf(importForeign(full.ports, request)), 'DR-CATALOG-NO-TARGET');
  t.equal(await codeOf(importForeign(house(backup()).ports, { ...request, group: 'x' })), 'DR-GROUP-UNKNOWN');
});
