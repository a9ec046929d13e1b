/** A verification carried out on the fake world: what it promises, it has looked at; what is broken, it says. */
import t from 'tap';
import { VirtualClock } from '../../src/adapters/system/virtual-clock.ts';
import { verificationHistory } from '../../src/app/journals.ts';
import { driftBetween } from '../../src/check/drift.ts';
import { PortError } from '../../src/domain/errors.ts';
import type { Finding } from '../../src/domain/finding.ts';
import type { GroupSettings } from '../../src/domain/settings.ts';
import type { SitesLook } from '../../src/domain/site-look.ts';
import { addSeconds } from '../../src/domain/time.ts';
import { execute, planDigest } from '../../src/execute/executor.ts';
import { handlersOver } from '../../src/execute/interpreter.ts';
import { observe } from '../../src/observe/observe.ts';
import { planVerify } from '../../src/plan/verify.ts';
import { shop } from '../support/two-sites.ts';
import { at } from './fake-sites.ts';
import { FakeWorld, pair, twoSites } from './fakes.ts';
import { exportOf } from './plans.ts';
import { countingEntropy, MemoryJournals, MemoryStates } from './support.ts';

const payroll: GroupSettings = {
  ...shop,
  name: 'payroll',
  production: 'tokyo',
  recovery: 'osaka',
  storage: [pair],
  networks: [{ production: 'Office', recovery: 'Office DR', drill: null, drillAtProduction: null }],
};

/** An exported group, an hour after which nothing but its replica was looked at. */
async function house(t: Tap) {
  const state = twoSites(['db', 'web']);
  const clock = new VirtualClock({ auto: true, start: at });
  const states = new MemoryStates();
  const journals = new MemoryJournals();
  const world = new FakeWorld(state, clock, states);
  const against: Finding[] = [];
  const verifier = {
    readiness: async () => against,
    drift: (group: GroupSettings, before: SitesLook, now: SitesLook, point: { vms: [] } | null) =>
      driftBetween({ group, before, now, vms: point?.vms ?? [], srTypes: new Map() }),
  };
  Object.assign(world, { groups: [payroll], verifier });
  const ports = { journals, states, clock, entropy: countingEntropy(), ...handlersOver(world) };
  const exported = exportOf(['db', 'web']);
  await execute(ports, {
    plan: exported,
    planDigest: planDigest(exported),
    by: 'Ada',
    version: '1',
    decisions: [],
  });
  state.deeds.length = 0;
  let number = 0;
  const verify = async (asked: { readonly sync?: boolean } = {}) => {
    number += 1;
    const observation = await observe(
      {
        clock,
        entropy: countingEntropy(),
        hypervisor: (site) => world.hypervisor(site),
        array: (name) => world.array(name),
        catalog: () => world.catalog(),
      },
      {
        sites: ['tokyo', 'osaka'],
        pairs: payroll.storage,
        groups: ['payroll'],
        pointsPerGroup: 8,
        pointId: null,
      },
    );
    const plan = planVerify({
      planId: `verify-${number}`,
      group: payroll,
      configDigest: 'c1',
      generation: 0,
      observation,
      point: observation.catalog.points[0] ?? null,
      since: (await verificationHistory(ports, 'payroll')).looked,
      frozen: false,
      sync: asked.sync === true,
      deep: false,
      syncNow: new Map([[pair.source.array, true]]),
    });
    const { run } = await execute(ports, {
      plan,
      planDigest: planDigest(plan),
      by: 'Ada',
      version: '1',
      decisions: [],
    });
    return run;
  };
  t.equal(Object.keys(state.points).length, 1, 'a point to verify');
  return { state, world, verify, against, journals, clock };
}

type Tap = Pick<typeof t, 'equal'>;

t.test('every promise holds', async (t) => {
  const { verify, state } = await house(t);
  const run = await verify();
  t.equal(run.exitCode, 0, run.summary ?? '');
  t.same(state.deeds, [], 'nothing was changed');
  t.match(run.steps.get('replication-sr1')?.output, {
    role: 'target',
    newestPoint: 'snap-7',
    rpoSeconds: 900,
  });
  t.match(run.steps.get('read-back')?.output, { wholeIn: ['near', 'far'] });
});

t.test('a new point is sent on request, whole at the other side before it is judged', async (t) => {
  const { verify, state } = await house(t);
  const run = await verify({ sync: true });
  t.equal(run.exitCode, 0, run.summary ?? '');
  t.same(state.deeds, [`sync ${pair.source.volume}`]);
  t.match(run.steps.get('replication-sr1')?.output, { newestPoint: 'snap-verify-1' });
});

t.test(
  'a replica that is older than the RPO breaks the promise; the rest is looked at all the same',
  async (t) => {
    const { verify, state, clock, world } = await house(t);
    world.array = async () => Object.assign(world.filer, { syncNow: async () => Promise.reject(refusal) });
    await clock.sleep(3600);
    const run = await verify();
    t.equal(run.exitCode, 1, run.summary ?? '');
    t.match(run.steps.get('replication-sr1')?.problem, {
      code: 'DR-REPLICA-OLD',
      what: 'The replica of SR sr1 is 1 h old, the RPO is 15 min',
    });
    for (const id of ['catalog', 'read-back', 'compare-sites', 'readiness'])
      t.equal(run.steps.get(id)?.status, 'succeeded', id);
    t.same(state.deeds, []);
  },
);

const refusal = new PortError('refused', { code: 'DR-FAKE', what: 'the array is busy', next: 'Wait' });

t.test('a link that is down is told at once, and not when the step has run out of time', async (t) => {
  const { verify, world, clock } = await house(t);
  let asked = 0;
  Object.assign(await world.array(pair.source.array), {
    syncNow: async () => {
      asked += 1;
      throw new PortError('unreachable', { code: 'DR-ARRAY-LINK', what: 'The link is down', next: 'Look' });
    },
  });
  const began = clock.monotonicSeconds();
  const run = await verify({ sync: true });
  t.equal(run.exitCode, 1, run.summary ?? '');
  t.match(run.steps.get('sync-sr1')?.problem, { code: 'DR-ARRAY-LINK' });
  t.equal(asked, 1);
  t.equal(clock.monotonicSeconds(), began, 'nobody has waited');
});

t.test('a volume that is no replica any more, or that holds nothing whole', async (t) => {
  const promoted = await house(t);
  const target = promoted.state.volumes[pair.target.volume];
  if (target !== undefined) target.role = 'promoted';
  const run = await promoted.verify({ sync: true });
  t.equal(run.exitCode, 1);
  t.match(run.steps.get('replication-sr1')?.problem, { code: 'DR-REPLICA-ROLE' });
  t.same(promoted.state.deeds, [], 'nothing is sent there');

  const empty = await house(t);
  const volume = empty.state.volumes[pair.target.volume];
  if (volume !== undefined) volume.points = [];
  const source = empty.state.volumes[pair.source.volume];
  if (source !== undefined) source.role = 'unknown';
  const none = await empty.verify();
  t.match(none.steps.get('replication-sr1')?.problem, { code: 'DR-REPLICA-NONE' });
});

t.test('a source in the wrong role is worth a warning', async (t) => {
  const { verify, state } = await house(t);
  const source = state.volumes[pair.source.volume];
  if (source !== undefined) source.role = 'split';
  const run = await verify();
  t.equal(run.exitCode, 3, run.summary ?? '');
  t.match(run.steps.get('replication-sr1')?.warnings, [/volume vol1 of array filer-a is split/]);
});

t.test('a replica that cannot see its link is no worry while the source says that it is up', async (t) => {
  const { verify, world } = await house(t);
  const sides = { source: await world.array(pair.source.array), target: world.filer };
  const views = {
    source: await sides.source.observe(pair.source.volume),
    target: await sides.target.observe(pair.target.volume),
  };
  const seen = (link: 'up' | 'down' | 'unknown') => {
    sides.source.observe = async () => ({ ...views.source, link });
    sides.target.observe = async () => ({ ...views.target, link: 'unknown' });
  };
  seen('up');
  t.equal((await verify()).exitCode, 0);
  for (const link of ['down', 'unknown'] as const) {
    seen(link);
    const run = await verify();
    t.equal(run.exitCode, 3, run.summary ?? '');
    t.match(run.steps.get('replication-sr1')?.warnings, [`the replication link of SR sr1 is ${link}`]);
  }
});

t.test('a replica that is not there yet is made by the first point', async (t) => {
  const { verify, world, state } = await house(t);
  const gone = new PortError('refused', { code: 'DR-ARRAY-VOLUME', what: 'There is none', next: 'Look' });
  const { observe, points } = world.filer;
  const isThere = (): boolean => state.deeds.length > 0;
  world.filer.observe = async (volume) => {
    if (volume === pair.target.volume && !isThere()) throw gone;
    return observe.call(world.filer, volume);
  };
  world.filer.points = async (volume) => {
    if (!isThere()) throw gone;
    return points.call(world.filer, volume);
  };
  const without = await verify();
  t.equal(without.exitCode, 1);
  t.match(without.steps.get('replication-sr1')?.problem, { code: 'DR-ARRAY-VOLUME' });
  const run = await verify({ sync: true });
  t.equal(run.exitCode, 0, run.summary ?? '');
  t.same(state.deeds, [`sync ${pair.source.volume}`]);
});

t.test('an array whose clock is wrong tells ages wrong', async (t) => {
  const { verify, world, clock } = await house(t);
  const identity = await world.filer.identify();
  world.filer.identify = async () => ({ ...identity, clock: addSeconds(clock.now(), 120) });
  const ahead = await verify();
  t.equal(ahead.exitCode, 3, ahead.summary ?? '');
  t.match(ahead.steps.get('replication-sr1')?.warnings, [/clock of array filer-b is 2 min ahead/]);
  world.filer.identify = async () => ({ ...identity, clock: addSeconds(clock.now(), -7200) });
  t.match((await verify()).steps.get('replication-sr1')?.warnings, [/filer-b is 2 h behind/]);
  world.filer.identify = async () => ({ ...identity, clock: '' });
  t.same((await verify()).steps.get('replication-sr1')?.warnings, []);
});

t.test('damage in one target is told, damage in all breaks the promise', async (t) => {
  const { verify, world } = await house(t);
  world.store.damagedIn = ['far'];
  const one = await verify();
  t.equal(one.exitCode, 3, one.summary ?? '');
  t.match(one.steps.get('catalog')?.warnings, [/target far: objects\/aa: its hash differs/]);
  world.store.damagedIn = ['near', 'far'];
  const all = await verify();
  t.equal(all.exitCode, 1);
  t.match(all.steps.get('read-back')?.problem, { code: 'DR-POINT-DAMAGED' });
});

t.test('what changed since the last verification is told with the VMs that it touches', async (t) => {
  const { verify, state } = await house(t);
  const first = await verify();
  t.equal(first.exitCode, 0, 'nobody looked before');
  const osaka = state.sites['osaka'];
  if (osaka !== undefined)
    osaka.pool.networks = osaka.pool.networks.map((network) => ({ ...network, mtu: 9000 }));
  const second = await verify();
  t.equal(second.exitCode, 3, second.summary ?? '');
  t.match(second.steps.get('compare-sites')?.warnings, [
    /^Network Office DR of site osaka has changed \(VMs: db, web\)/,
  ]);
  const third = await verify();
  t.equal(third.exitCode, 0, 'it is told once');
});

t.test(
  'a site that does not answer is no difference; the next look compares with what was seen of it',
  async (t) => {
    const { verify, state } = await house(t);
    await verify();
    const osaka = state.sites['osaka'];
    if (osaka === undefined) throw new Error('osaka is a site');
    osaka.up = false;
    const dark = await verify();
    t.equal(dark.exitCode, 3, dark.summary ?? '');
    t.match(dark.steps.get('compare-sites')?.warnings, [/^site osaka could not be looked at/]);
    osaka.up = true;
    osaka.pool.networks = [];
    const back = await verify();
    t.match(back.steps.get('compare-sites')?.warnings, [/^Network Office DR is gone from site osaka/]);
  },
);

t.test('a failover that would be blocked breaks the promise, with every reason', async (t) => {
  const { verify, against } = await house(t);
  const finding = (severity: Finding['severity'], code: Finding['code'], what: string): Finding => ({
    severity,
    code,
    about: 'pool',
    name: 'osaka',
    what,
    evidence: [],
    vms: [],
    next: 'Mend it.',
  });
  against.push(finding('warning', 'DR-HOST-OUT', 'Host oa is disabled'));
  const warned = await verify();
  t.equal(warned.exitCode, 3, warned.summary ?? '');
  t.same(warned.steps.get('readiness')?.warnings, ['Host oa is disabled [DR-HOST-OUT]. Next: Mend it.']);
  against.push(finding('problem', 'DR-MEMORY', '2 VMs find no host'));
  const blocked = await verify();
  t.equal(blocked.exitCode, 1);
  t.match(blocked.steps.get('readiness')?.problem, {
    code: 'DR-VERIFY-NOT-READY',
    known: ['2 VMs find no host [DR-MEMORY]'],
    next: /lifeboat check payroll/,
  });
});

t.test('history: since when nobody has verified', async (t) => {
  const { verify, journals, clock } = await house(t);
  const before = await verificationHistory({ journals }, 'payroll');
  t.equal(before.unverifiedSince, [...journals.runs.values()][0]?.[0]?.at, 'the first export');
  t.equal(before.looked, null);
  await clock.sleep(60);
  await verify();
  const after = await verificationHistory({ journals }, 'payroll');
  t.ok((after.unverifiedSince ?? '') > (before.unverifiedSince ?? ''));
  t.match(after.looked, { by: /verify-payroll/, looks: { production: { poolName: 'tokyo' } } });
  t.equal((await verificationHistory({ journals }, 'shop')).looked, null, 'of another group');
});
