import t from 'tap';
import { pointIsOfThisPool } from '../../src/check/rules/identity.ts';
import { addSeconds } from '../../src/domain/time.ts';
import { choosePoint, pointsToChooseFrom } from '../../src/plan/choose-point.ts';
import { inQuietTimes } from '../check/a-context.ts';
import { now, pointOf, productionPool, vdi, vm } from '../support/two-sites.ts';

/** The pool with one more VM, whose disk did not exist before. */
function grown() {
  const facts = productionPool();
  const [lan] = facts.networks;
  const [, tier2] = facts.srs;
  return {
    ...facts,
    vms: [...facts.vms, vm(99, 'web-99', lan?.uuid ?? '')],
    vdis: [...facts.vdis, vdi(99, tier2?.uuid ?? '')],
  };
}

const before = pointOf(productionPool(), addSeconds(now, -600), 1);
const afterSame = pointOf(productionPool(), addSeconds(now, -60), 2);
const afterGrown = pointOf(grown(), addSeconds(now, -60), 3);
const replica = addSeconds(now, -240);

t.test('the newest point fits when all its disks are older than the replica', (t) => {
  const choice = choosePoint([afterSame, before], replica, null);
  t.equal(choice?.point.id, afterSame.id);
  t.same(choice?.tooYoung, []);
  t.equal(choice?.skewSeconds, 180, 'the metadata is three minutes newer than the replica');
  t.end();
});

t.test('a VM that was created after the replica sends the choice to an older point, and is named', (t) => {
  const choice = choosePoint([afterGrown, before], replica, null);
  t.equal(choice?.point.id, before.id);
  t.same(
    choice?.tooYoung.map((v) => v.nameLabel),
    ['web-99'],
  );
  t.end();
});

t.test('a point that was asked for is taken, and says who will not come up', (t) => {
  const choice = choosePoint([afterGrown, before], replica, afterGrown.id);
  t.equal(choice?.point.id, afterGrown.id);
  t.same(
    choice?.tooYoung.map((v) => v.nameLabel),
    ['web-99'],
  );
  t.equal(choosePoint([before], replica, 'shop/none'), null);
  t.end();
});

t.test(
  'without any point from before the replica nobody is left behind on suspicion: the disks will tell',
  (t) => {
    const choice = choosePoint([afterGrown], replica, null);
    t.equal(choice?.point.id, afterGrown.id);
    t.same(choice?.tooYoung, []);
    t.end();
  },
);

t.test('an unknown replica is no reason to refuse a look at the newest point', (t) => {
  const choice = choosePoint([afterSame, before], null, null);
  t.equal(choice?.point.id, afterSame.id);
  t.equal(choice?.skewSeconds, null);
  t.equal(choosePoint([], replica, null), null);
  t.end();
});

t.test('points of the other direction are taken only where nothing else is left, or by name', (t) => {
  const group = { name: 'shop', production: 'osaka' };
  const here = { ...before, group: 'shop', site: 'osaka' };
  const there = { ...afterSame, group: 'shop', site: 'tokyo' };
  const among = (points: readonly (typeof here)[], wanted: string | null = null): string[] =>
    pointsToChooseFrom(group, { catalog: { observedAt: now, points, damaged: [] } }, wanted).map(
      ({ id }) => id,
    );
  t.same(among([there, here]), [here.id], 'although the other one is newer');
  t.same(among([there, { ...here, group: 'payroll' }]), [there.id]);
  t.same(among([there, here], there.id), [there.id, here.id]);
  const told = pointIsOfThisPool(inQuietTimes({ point: there }));
  t.match(told, [{ code: 'DR-POINT-OTHER-SITE', severity: 'problem', next: /lifeboat export shop/ }]);
  t.end();
});
