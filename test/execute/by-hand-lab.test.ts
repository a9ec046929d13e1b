/**
 * A failover over an array that a person works, on the lab: the word alone brings nothing up, the deed does. The person
 * is played by the lab's own control of the array.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { openReplication } from '../../src/adapters/replication/open.ts';
import { systemClock } from '../../src/adapters/system/clock.ts';
import type { App, Decision } from '../../src/app/app.ts';
import { promotionConfirmation } from '../../src/domain/replication.ts';
import type { Run, RunEvent } from '../../src/domain/run.ts';
import type { ArraySettings } from '../../src/domain/settings.ts';
import { arrayOf } from '../../src/lab/arrays/index.ts';
import type { Replication } from '../../src/ports/replication.ts';
import { LabHouse } from '../check/lab-app.ts';

t.setTimeout(240_000);

const volumes = ['gold', 'silver'] as const;
const nobody = { addresses: [], iqns: [] };

/** Makes the replica writable and shows it to the hosts, as the person is told. */
async function workTheArray(array: Replication, volume: string, addresses: readonly string[]): Promise<void> {
  const [point] = await array.points(volume);
  if (point === undefined) throw new Error(`no point of ${volume}`);
  const confirm = promotionConfirmation(volume, point.ref);
  await array.promote(volume, { mode: 'unplanned', point: point.ref, confirm });
  await array.expose(volume, { ...nobody, addresses });
}

t.test('a yes without the deed brings nothing up; after the deed the run goes on', async (t) => {
  const house = await LabHouse.start(t);
  await house.save();
  const [production, recovery] = house.settings.arrays;
  if (production === undefined || recovery === undefined) throw new Error('the lab has two arrays');
  const secrets = { resolve: async () => 'unused' };
  const array = openReplication(recovery, { clock: systemClock, secrets, peers: new Map() });
  t.teardown(() => array.close());
  const points = await Promise.all(volumes.map((volume) => array.points(volume)));
  const statements = join(t.testdir({}), 'statements.json');
  const stated = volumes.map((volume, index) => [
    volume,
    { role: 'target', point_taken_at: points[index]?.[0]?.takenAt, by: 'Ana', at: systemClock.now() },
  ]);
  writeFileSync(statements, JSON.stringify({ volumes: Object.fromEntries(stated) }));
  const address = arrayOf(house.lab, 'array-recovery').address;
  const byHand: ArraySettings = {
    ...recovery,
    type: 'manual',
    options: { statements_file: statements, kind: 'nfs', server: address, path: '/volumes/{volume}' },
  };
  const hosts = ['127.0.2.1', '127.0.2.2', '127.0.2.3'];
  await house.lab.killSite('production');

  await house.with({ arrays: [production, byHand] }, async (app) => {
    const decisions: Decision[] = [{ decision: 'declare-lost', by: 'Ana', reason: 'fire' }];
    const planned = await app.plan({ operation: 'failover', group: 'shop', pointId: null, decisions });
    t.same(planned.plan.waitingOn, []);
    const asked: string[] = [];
    let runId = '';
    const onEvent = (event: RunEvent): void => {
      if (event.event === 'RunStarted') runId = event.run;
      if (event.event !== 'StepStarted') return;
      const action = planned.plan.steps.find(({ id }) => id === event.step)?.action;
      if (action?.do !== 'ask') return;
      asked.push(action.question);
      void answer(app, runId, event.step);
    };
    const first = await app.run(planned, { by: 'Ana', onEvent });
    t.equal(first.outcome, 'failed', 'the word is not the proof');
    t.match(codesOf(first).join(), /^DR-SR-NOT-SEEN/);
    t.match(
      asked.sort()[0],
      /volume gold on array array-recovery, make it writable.*reco-1 127.0.2.1, reco-2/,
    );
    t.notOk(
      first.plan.steps.some(
        ({ id, action }) => action.do === 'import-vms' && first.steps.get(id)?.status === 'succeeded',
      ),
      'nothing was imported',
    );

    for (const volume of volumes) await workTheArray(array, volume, hosts);
    const then = await app.runs.resume(first.id, {
      by: 'Ana',
      answers: [],
      onEvent,
    });
    t.match(then.outcome, /^done/, codesOf(then).join());
  });
});

async function answer(app: App, run: string, step: string): Promise<void> {
  await app.runs.tell(run, { says: 'answer', step, answer: 'continue', by: 'Ana', reason: 'it is done' });
}

function codesOf(run: Run): string[] {
  return [...run.steps.values()].flatMap(({ problem }) => (problem == null ? [] : [problem.code]));
}
