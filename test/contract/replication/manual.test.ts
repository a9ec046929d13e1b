/** The array that only a person can work: what is stated, what is unknown, and that nothing else is ever claimed. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { openManualArray } from '../../../src/adapters/replication/manual/manual-array.ts';
import { systemClock } from '../../../src/adapters/system/clock.ts';
import { OperatorError, PortError } from '../../../src/domain/errors.ts';
import { promotionConfirmation } from '../../../src/domain/replication.ts';
import type { ArraySettings } from '../../../src/domain/settings.ts';
import type { Replication } from '../../../src/ports/replication.ts';

const nobody = { addresses: [], iqns: [] };

function settingsOf(directory: string, options: ArraySettings['options']): ArraySettings {
  const statements = join(directory, 'statements.json');
  return {
    name: 'old-filer',
    site: 'tokyo',
    type: 'manual',
    options: { statements_file: statements, ...options },
    secret: null,
  };
}

function arrayOf(test: Test, options: ArraySettings['options'] = {}) {
  const directory = test.testdir({});
  const settings = settingsOf(directory, {
    kind: 'nfs',
    server: '10.2.0.5',
    path: '/vol/{volume}',
    ...options,
  });
  const other = { ...settings, name: 'old-filer-osaka', site: 'osaka' };
  const array = openManualArray(settings, {
    clock: systemClock,
    peers: new Map([['shop', { array: other, volume: 'shop-1' }]]),
  });
  const state = (text: unknown): void =>
    writeFileSync(join(directory, 'statements.json'), typeof text === 'string' ? text : JSON.stringify(text));
  return { array, state };
}

t.test('before anybody says anything all is unknown, and nothing is healthy', async (t) => {
  const { array } = arrayOf(t);
  t.match(await array.observe('shop'), {
    role: 'unknown',
    link: 'unknown',
    writable: 'unknown',
    health: { level: 'unknown', reasons: [/nobody has stated/] },
    newestComplete: null,
    reportedLagSeconds: null,
  });
  t.same(await array.points('shop'), []);
  t.match(await array.discover(), [{ volume: 'shop', role: 'unknown', peer: { volume: 'shop-1' } }]);
});

t.test('what is stated is shown as stated: a point, its age, and still no health', async (t) => {
  const { array, state } = arrayOf(t);
  const said = { role: 'target', by: 'Ana', at: '2026-01-31T02:20:00Z' };
  state({ volumes: { shop: { ...said, point_taken_at: '2026-01-31T03:00:00+01:00' } } });
  const [point] = await array.points('shop');
  t.match(point, { takenAt: '2026-01-31T02:00:00.000Z', complete: true, consistency: 'unknown' });
  const view = await array.observe('shop');
  t.match(view, { role: 'target', health: { level: 'unknown', reasons: [/stated by Ana/] } });
  t.equal(view.newestComplete?.ref, point?.ref);
  state({ volumes: { shop: { ...said, point_taken_at: '2026-01-31T04:00:00Z' } } });
  t.not((await array.points('shop'))[0]?.ref, point?.ref, 'another statement is another point');
});

t.test('a file that cannot be understood is an error, and never an absence', async (t) => {
  const { array, state } = arrayOf(t);
  for (const text of ['{', '{"volumes":{"shop":{"role":"healthy","by":"Ana"}}}']) {
    state(text);
    t.match(await refusal(array.points('shop')), {
      kind: 'refused',
      problem: { code: 'DR-ARRAY-STATEMENTS' },
    });
  }
});

t.test('it says where volumes and copies are reached, and hands everything else to a person', async (t) => {
  const { array } = arrayOf(t, {
    drill_path: '/drill/{volume}-{drill}',
    say_promote: 'Call the storage team about {volume}',
  });
  t.same(await array.expose('shop', nobody), { kind: 'nfs', server: '10.2.0.5', path: '/vol/shop' });
  const drill = { drill: 'd1', point: 'p', access: nobody };
  t.same(await array.drillStart('shop', drill), {
    kind: 'nfs',
    server: '10.2.0.5',
    path: '/drill/shop-d1',
  });
  const { handOffs, drill: drills } = await array.capabilities();
  t.equal(drills, 'clone');
  t.match(handOffs, { promote: 'Call the storage team about {volume}', drillStart: /\{drill\}/ });
  const confirm = promotionConfirmation('shop', 'p');
  const verbs: readonly (() => Promise<unknown>)[] = [
    () => array.promote('shop', { mode: 'unplanned', point: 'p', confirm }),
    () => array.syncNow('shop', 'lb-1'),
    () => array.prepare('shop', 'lb-1'),
    () => array.demote('shop', { confirm: '', discard: false }),
    () => array.fence('shop'),
  ];
  for (const verb of verbs) t.equal((await refusal(verb())).peerCode, 'unsupported');
});

async function refusal(work: Promise<unknown>): Promise<PortError> {
  const error = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (error instanceof PortError) return error;
  throw new Error(`it ended with ${String(error)}`);
}

t.test('without a place for copies there are no drills', async (t) => {
  const { array }: { array: Replication } = arrayOf(t);
  t.match(await array.capabilities(), { drill: 'none' });
  const drill = { drill: 'd1', point: 'p', access: nobody };
  t.equal((await refusal(array.drillStart('shop', drill))).peerCode, 'unsupported');
});

t.test('options that hosts could not use are refused', async (t) => {
  const around = { clock: systemClock, peers: new Map() };
  for (const options of [{ kind: 'nfs' }, { kind: 'iscsi', portals: ['10.2.0.5'] }, { kind: 'fc' }])
    t.throws(() => openManualArray(settingsOf(t.testdirName, options), around), OperatorError);
});
