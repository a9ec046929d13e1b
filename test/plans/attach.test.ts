/** What a plan says of how an SR is attached, out of what the hosts of production said. */
import t from 'tap';
import type { SrFacts } from '../../src/domain/pool.ts';
import { addSeconds } from '../../src/domain/time.ts';
import { planFailover } from '../../src/plan/failover.ts';
import {
  alive,
  disaster,
  now,
  pairs,
  pointOf,
  productionPool,
  recoveryPool,
  shop,
} from '../support/two-sites.ts';

/** The device_config of the first SR in the plan, after a change of its PBDs at production. */
function planned(change: (sr: SrFacts) => SrFacts['pbds']): Readonly<Record<string, string>> | null {
  const pool = productionPool();
  const srs = pool.srs.map((sr, index) => (index === 0 ? { ...sr, pbds: change(sr) } : sr));
  const points = [pointOf({ ...pool, srs }, addSeconds(now, -600))];
  const plan = planFailover({
    planId: 'f1',
    group: shop,
    configDigest: 'c'.repeat(64),
    generation: 1,
    observation: disaster({ catalog: { observedAt: now, points, damaged: [] } }),
    pointId: null,
    declaredLost: true,
  });
  const uuid = srs[0]?.uuid;
  for (const { action } of plan.steps)
    if (action.do === 'attach-sr' && action.sr.uuid === uuid) return action.sr.deviceConfig;
  return null;
}

t.test('a host of production that was set apart is no model for the hosts here', async (t) => {
  const apart = { options: 'soft,timeo=1' };
  const config = planned(({ pbds }) =>
    pbds.map((pbd, index) => ({
      ...pbd,
      deviceConfig:
        index === 0 ? { ...pbd.deviceConfig, ...apart } : { ...pbd.deviceConfig, options: 'hard' },
    })),
  );
  t.match(config, { options: 'hard' });
});

t.test('no password, no secret of a lost pool, and no SR without PBDs in the way', async (t) => {
  const secret = { chapuser: 'u', chappassword_secret: 'dead-uuid', SRmaster: 'true' };
  const config = planned(({ pbds }) =>
    pbds.map((pbd) => ({ ...pbd, deviceConfig: { ...pbd.deviceConfig, ...secret } })),
  );
  t.same(Object.keys(config ?? {}).sort(), ['chapuser', 'server', 'serverpath']);
  t.same(
    planned(() => []),
    {},
  );
});

t.test(
  'storage that was promoted before, and has no point any more, waits for the fence all the same',
  (t) => {
    const observation = disaster({
      sites: {
        osaka: alive(productionPool(), 'osaka'),
        tokyo: alive(recoveryPool(), 'tokyo'),
      },
      pairs: pairs([]).map((pair) => ({
        ...pair,
        target: pair.target === null ? null : { ...pair.target, role: 'promoted' as const },
      })),
    });
    const plan = planFailover({
      planId: 'f1',
      group: shop,
      configDigest: 'c'.repeat(64),
      generation: 1,
      observation,
      pointId: null,
      declaredLost: true,
    });
    t.same(plan.waitingOn, []);
    const fence = plan.steps.find(({ action }) => action.do === 'fence-vms');
    const shown = plan.steps.filter(({ action }) => action.do === 'expose');
    t.equal(shown.length, shop.storage.length);
    for (const step of shown) t.same(step.after, [fence?.id], `${step.id} after the fence`);
    t.end();
  },
);
