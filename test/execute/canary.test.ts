/** The canary on the lab, over real adapters: what it measures, that nothing is left of it, and what it finds out. */
import t, { type Test } from 'tap';
import { systemClock } from '../../src/adapters/system/clock.ts';
import { openHypervisor } from '../../src/adapters/xenapi/hypervisor.ts';
import type { App } from '../../src/app/app.ts';
import { canaryBytes, canaryMark } from '../../src/domain/actions/canary.ts';
import { OperatorError, PortError } from '../../src/domain/errors.ts';
import type { Plan } from '../../src/domain/plan.ts';
import type { Run } from '../../src/domain/run.ts';
import { awaitCanary, findCanary } from '../../src/execute/actions/canary.ts';
import type { World } from '../../src/execute/actions/world.ts';
import type { ActionOf, StepContext } from '../../src/execute/handlers.ts';
import type { Hypervisor } from '../../src/ports/hypervisor.ts';
import { plainPaper } from '../../src/report/paper.ts';
import { statusText } from '../../src/report/status.ts';
import { LabHouse } from '../check/lab-app.ts';

t.setTimeout(240_000);

const request = { operation: 'canary', group: 'shop', decisions: [] } as const;

async function canary(t: Test, app: App): Promise<Run> {
  const planned = await app.plan(request);
  t.same(planned.plan.waitingOn, []);
  t.match(planned.confirm, { site: 'recovery', alsoChanges: 'production' }, 'a person is asked');
  return app.run(planned, { by: 'test', onEvent: () => undefined });
}

function poolOf(house: LabHouse, site: string): Hypervisor {
  const settings = house.settings.sites.find(({ name }) => name === site);
  if (settings === undefined) throw new Error(`no site ${site}`);
  const password = async (): Promise<string> => house.lab.credentials.password;
  return openHypervisor({ site, pool: settings.pool, password, clock: systemClock });
}

t.test('a canary is written, arrives, is read back, and leaves nothing behind', async (t) => {
  const house = await LabHouse.start(t);
  await house.save();
  const [production, recovery] = [poolOf(house, 'production'), poolOf(house, 'recovery')];
  t.teardown(() => Promise.all([production.close(), recovery.close()]));
  const before = [await production.observe(), await recovery.observe()] as const;
  const srs = before[0].srs.filter(({ nameLabel }) => /gold|silver/.test(nameLabel));

  // What an earlier canary of the group left behind, and two disks that are somebody else's.
  const [gold] = srs;
  if (gold === undefined) throw new Error('the lab has no gold storage');
  const make = (value: string, key = canaryMark): Promise<string> =>
    production.createMarkedVdi(gold.uuid, {
      nameLabel: 'left over',
      bytes: canaryBytes,
      mark: { key, value },
    });
  await make('shop-20260101T000000Z-0001');
  const others = [await make('payroll-20260101T000000Z-0001'), await make('x', 'somebody:else')];

  await house.with({}, async (app) => {
    const run = await canary(t, app);
    const failed = [...run.steps].filter(([, step]) => step.status !== 'succeeded');
    t.same(
      failed.map(([id, { status, problem }]) => ({ id, status, problem })),
      [],
    );
    t.equal(run.outcome, 'done');
    const { groups } = await app.status({ groups: ['shop'] });
    const [group] = groups;
    t.equal(group?.phase, 'protected');
    t.same(
      group?.replicas.map(({ state }) => state),
      ['replicating', 'replicating'],
      'the replicas are what they were',
    );
    t.equal(group?.lastDrill, null, 'a canary is no drill');
    t.equal(group?.lastCanary?.id, run.id);
    const lag = group?.lastCanary?.measuredLagSeconds;
    t.ok(lag !== undefined && lag >= 0, `it measured ${lag} s`);
    t.match(statusText(await app.status({ groups: ['shop'] }), plainPaper), /Canary +arrived after/);
  });

  const disks = (await production.observe()).vdis.map(({ uuid }) => uuid);
  t.same(
    new Set(disks),
    new Set([...before[0].vdis.map(({ uuid }) => uuid), ...others]),
    'our disks are gone, those of others are not',
  );
  const after = await recovery.observe();
  t.same(after.srs.map(({ uuid }) => uuid).sort(), before[1].srs.map(({ uuid }) => uuid).sort());

  const [other = ''] = others;
  const refused = await production.destroyMarkedVdi(other, { key: canaryMark, value: 'shop-1' }).then(
    () => null,
    (error: unknown) => error,
  );
  t.ok(refused instanceof PortError && refused.problem.code === 'DR-VDI-NOT-OURS');
  await production.destroyMarkedVdi('00000000-0000-4000-8000-000000000000', { key: 'x', value: 'y' });
});

t.test('without a way to clone, or with the source dark, no canary is planned', async (t) => {
  const house = await LabHouse.start(t);
  await house.save();
  await house.lab.killSite('production');
  await house.with({}, async (app) => {
    const { plan } = await app.plan(request);
    t.same(plan.steps, []);
    t.match(plan.waitingOn.join(), /the pool of site production/);
  });
});

const written = { vdi: 'vdi-1', writtenAt: '2026-03-14T02:00:00.000Z' };
const arrival = {
  point: { ref: 'p1', takenAt: '2026-03-14T02:00:10.000Z', complete: true },
  arrivedAt: '2026-03-14T02:00:42.000Z',
};
const action: ActionOf<'find-canary'> = {
  do: 'find-canary',
  site: 'tokyo',
  srUuid: 'sr-1',
  sr: 'Tier 1',
  canary: 'shop-20260314T020000Z-0001',
  writtenBy: 'write',
  arrivedBy: 'await',
};
const context = {
  signal: new AbortController().signal,
  plan: {} as Plan,
  output: (step: string) => (step === 'write' ? written : arrival),
} as unknown as StepContext;

/** A site that holds this content under the canary's uuid; null: it holds no such disk. */
function siteWith(content: Uint8Array | null): World {
  const vdis = content === null ? [] : [{ srUuid: 'sr-1', uuid: 'vdi-1', missing: false }];
  const hypervisor = {
    observe: async () => ({ vdis }),
    exportRawVdi: async () =>
      (async function* () {
        for (let at = 0; at < (content?.length ?? 0); at += 100_000)
          yield content?.subarray(at, at + 100_000) ?? new Uint8Array();
      })(),
  };
  return { hypervisor: async () => hypervisor } as unknown as World;
}

function trueContent(): Uint8Array {
  const blockBytes = 64 * 1024;
  const blocks = Array.from({ length: canaryBytes / blockBytes }, (_, block) =>
    Buffer.alloc(blockBytes, `${canaryMark} ${action.canary} ${action.srUuid} ${block}\n`),
  );
  return Buffer.concat(blocks);
}

const problemOf = async (world: World): Promise<string> => {
  const error = await findCanary(world, action, context).then(
    () => null,
    (thrown: unknown) => thrown,
  );
  return error instanceof OperatorError ? error.code : String(error);
};

t.test('the lag is from the write to the arrival; a larger disk is the same disk', async (t) => {
  const { output } = await findCanary(siteWith(trueContent()), action, context);
  t.match(output, { lagSeconds: 42, point: 'p1' });
  const rounded = Buffer.concat([trueContent(), Buffer.alloc(2 * 1024 * 1024)]);
  t.match((await findCanary(siteWith(rounded), action, context)).output, { lagSeconds: 42 });
});

t.test('what is not there, foreign, old or spoilt by one bit is told', async (t) => {
  t.equal(await problemOf(siteWith(null)), 'DR-CANARY-ABSENT');
  t.equal(await problemOf(siteWith(Buffer.alloc(canaryBytes))), 'DR-CANARY-CONTENT', 'never written there');
  t.equal(await problemOf(siteWith(trueContent().subarray(0, canaryBytes / 2))), 'DR-CANARY-CONTENT', 'half');
  const spoilt = trueContent();
  spoilt[canaryBytes - 1] = (spoilt[canaryBytes - 1] ?? 0) ^ 1;
  t.equal(await problemOf(siteWith(spoilt)), 'DR-CANARY-CONTENT', 'one bit');
});

t.test(
  'an array that sends by its own schedule is waited for, until a point younger than the write is whole',
  async (t) => {
    const old = { ref: 'old', takenAt: '2026-03-14T01:59:59.000Z', complete: true };
    const half = { ref: 'p1', takenAt: '2026-03-14T02:00:10.000Z', complete: false };
    const whole = { ...half, complete: true };
    const younger = { ref: 'p2', takenAt: '2026-03-14T02:05:10.000Z', complete: true };
    const looks = [[old], [half, old], [younger, whole, old]];
    let slept = 0;
    const array = {
      points: async () => looks[slept] ?? [],
      syncNow: async () => {
        throw new Error('nobody asked for a point');
      },
    };
    const world = {
      array: async () => array,
      clock: {
        now: () => `2026-03-14T02:00:${30 + slept}.000Z`,
        sleep: async () => {
          slept += 1;
        },
      },
    } as unknown as World;
    const volume = { array: 'a', volume: 'v' };
    const awaited: ActionOf<'await-canary'> = {
      do: 'await-canary',
      pair: { sr: 'Tier 1', source: volume, target: volume },
      tag: 'tag',
      onRequest: false,
      writtenBy: 'write',
    };
    const { output } = await awaitCanary(world, awaited, context);
    t.match(output, { point: { ref: 'p1', complete: true }, arrivedAt: '2026-03-14T02:00:32.000Z' });
  },
);
