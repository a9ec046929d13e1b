/** `doctor` over the lab: it asks everything that only looks, changes nothing, and names what does not hold. */
import t from 'tap';
import type { Doctor } from '../../src/domain/doctor.ts';
import { LabHouse } from '../check/lab-app.ts';

t.setTimeout(300_000);

const trials = ({ sections }: Doctor): Map<string, string> =>
  new Map(
    sections.flatMap(({ about, checks }) =>
      checks.map(({ verb, outcome, problem }): [string, string] => [
        `${about}: ${verb}`,
        problem === null ? outcome : `${outcome} ${problem.code}`,
      ]),
    ),
  );

t.test('over the lab', async (t) => {
  const house = await LabHouse.start(t);
  await house.save();
  const { ledger } = house.lab.faults;

  t.test('everything answers, and nothing is changed', async (t) => {
    ledger.forget();
    const found = trials(await house.with({}, (app) => app.doctor()));
    t.strictSame(
      [...found].filter(([, how]) => how !== 'ok'),
      [],
    );
    for (const trial of [
      'site production: metadata of VM db-01',
      'site production: database of the pool',
      'site recovery: a VM that does not exist',
      'array array-recovery: points gold',
      'catalog: newest point of group shop',
    ])
      t.ok(found.has(trial), trial);
    const asked = ledger.counts.map(({ call }) => call);
    t.ok(
      asked.includes('GET /export_metadata') && asked.includes('GET /pool/xmldbdump'),
      'both pools were read',
    );
    const acts = asked.filter(
      (call) =>
        /^(PUT|POST) \/(?!jsonrpc|$)|\.(create|destroy|set_|add_|remove_|start|clean_|hard_|plug|unplug|scan|forget|introduce)/.test(
          call,
        ) && !/^(session|task)\./.test(call),
    );
    t.strictSame(acts, [], 'no call that changes anything');
  });

  t.test('what does not hold is told by its name', async (t) => {
    await house.lab.faults.add({
      path: '/export_metadata',
      times: 'always',
      effect: { kind: 'error', code: 'INTERNAL_ERROR', params: ['no'] },
    });
    const broken = trials(await house.with({}, (app) => app.doctor()));
    t.match(broken.get('site production: metadata of VM db-01'), /^failed DR-/);
    t.equal(broken.get('site production: database of the pool'), 'ok', 'and the rest goes on');
    await house.lab.faults.clear();

    const [production, recovery] = house.settings.sites;
    if (production === undefined || recovery === undefined) throw new Error('the house has two sites');
    const unnamed = {
      ...production,
      pool: { ...production.pool, poolUuid: null, hosts: production.pool.hosts.slice(0, 1) },
    };
    const report = await house.with({ sites: [unnamed, recovery] }, (app) => app.doctor());
    t.equal(trials(report).get('site production: look at the pool'), 'warning');
    const says = report.sections.flatMap(({ checks }) => checks.flatMap((check) => check.says)).join('\n');
    t.match(says, /sites\.yaml names 1 of 3 hosts/);
    t.match(says, new RegExp(`write pool_uuid: ${production.pool.poolUuid}`));

    await house.lab.killSite('recovery');
    const dark = trials(await house.with({}, (app) => app.doctor()));
    t.equal(dark.get('site recovery: addresses'), 'warning');
    t.match(dark.get('site recovery: look at the pool'), /^failed DR-POOL-/);
    t.equal(dark.get('site production: look at the pool'), 'ok');
  });
});
