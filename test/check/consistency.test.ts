/** Consistency groups and disks of several moments: when it is told, and when there is nothing to tell. */
import t from 'tap';
import { checkDrill } from '../../src/check/drill.ts';
import { checkFailover } from '../../src/check/failover.ts';
import { checkMigrate } from '../../src/check/migrate.ts';
import { consistencyGroupsHold, disksAreOfOneMoment } from '../../src/check/rules/consistency.ts';
import type { Capabilities, ReplicaPoint } from '../../src/domain/replication.ts';
import { cloning, filer } from '../plans/drill-world.ts';
import { holding, together } from '../support/kept-together.ts';
import { disaster, now, productionPool, replicaPoint, shop, uuid } from '../support/two-sites.ts';
import { addSeconds, inDisaster, inQuietTimes, point } from './a-context.ts';

/** One VM with a disk on each SR. */
function spread() {
  const seen = point({}, productionPool());
  const [vm] = seen.vms;
  const first = seen.vdis.find(({ srUuid }) => srUuid === uuid('sr', 1));
  const second = seen.vdis.find(({ srUuid }) => srUuid === uuid('sr', 2));
  if (vm === undefined || first === undefined || second === undefined) throw new Error('no such disks');
  const changed = { ...vm, vdiUuids: [first.uuid, second.uuid] };
  return { vm, point: { ...seen, vms: [changed, ...seen.vms.slice(1)] } };
}

const codes = (findings: readonly { readonly code: string }[]): string[] => findings.map(({ code }) => code);
const grouping: Capabilities = { ...cloning, consistencyGroups: true };

t.test('disks of one VM on SRs that are replicated apart are told, with the VM and what may tear', (t) => {
  const { vm, point: torn } = spread();
  const [finding, ...others] = disksAreOfOneMoment(inDisaster({ point: torn }));
  t.match(finding, { code: 'DR-DISKS-APART', severity: 'warning', vms: [vm.nameLabel] });
  t.match(finding?.what, /one VM lie on SRs that are replicated apart \(Tier 1, Tier 2\)/);
  t.match(finding?.evidence.join(' '), /database whose log/);
  t.same(others, []);
  t.same(disksAreOfOneMoment(inDisaster({ point: torn, group: together })), [], 'one group is one moment');
  t.same(disksAreOfOneMoment(inDisaster()), [], 'each VM on one SR');
  t.same(disksAreOfOneMoment(inDisaster({ point: null })), []);
  const lonely = { ...shop, storage: shop.storage.slice(0, 1) };
  t.same(
    disksAreOfOneMoment(inDisaster({ point: torn, group: lonely })),
    [],
    'an SR that is not replicated is told by another rule',
  );
  t.end();
});

t.test('it is told before a failover and a drill, and not before a planned move', (t) => {
  const { point: torn } = spread();
  t.ok(codes(checkFailover(inDisaster({ point: torn }), [])).includes('DR-DISKS-APART'));
  t.ok(codes(checkDrill(inQuietTimes({ point: torn }), [])).includes('DR-DISKS-APART'));
  t.notOk(codes(checkMigrate(inQuietTimes({ point: torn, standing: false }), [])).includes('DR-DISKS-APART'));
  t.end();
});

t.test('an array that cannot keep volumes together is a problem where the settings say it does', (t) => {
  const both = (capabilities: Capabilities) =>
    disaster({
      arrays: [filer({ capabilities })],
      pairs: holding([replicaPoint(now)], [replicaPoint(now)]),
    });
  const cannot = consistencyGroupsHold(inDisaster({ group: together, observation: both(cloning) }));
  t.match(cannot, [{ code: 'DR-CONSISTENCY-GROUP-CANNOT', severity: 'problem', about: 'array' }]);
  t.equal(cannot.length, 1, 'once for the group, not for each volume');
  t.same(consistencyGroupsHold(inDisaster({ group: together, observation: both(grouping) })), []);
  t.same(consistencyGroupsHold(inDisaster({ observation: both(cloning) })), [], 'nobody asks for it');
  t.end();
});

t.test('a group without one point that is whole on all volumes is a problem', (t) => {
  const here = replicaPoint(now);
  const there = replicaPoint(addSeconds(now, -60));
  const look = (...points: readonly (readonly ReplicaPoint[] | null)[]) =>
    consistencyGroupsHold(
      inDisaster({ group: together, observation: disaster({ pairs: holding(...points) }) }),
    );
  t.match(look([here], [there]), [
    { code: 'DR-CONSISTENCY-GROUP-POINT', evidence: [/Tier 1.*1 whole points/, /Tier 2.*1 whole points/] },
  ]);
  t.same(codes(look([here], [{ ...here, complete: false }])), ['DR-CONSISTENCY-GROUP-POINT']);
  t.same(look([here, there], [there]), []);
  t.same(look([here], null), [], 'what could not be seen is told by another rule');
  t.end();
});
