/** What acts upon runs and groups from another terminal, as a person sees it. */
import t from 'tap';
import type { Finding } from '../../src/domain/finding.ts';
import { call, interruptHere } from './fake.ts';

const because = ['--reason', 'the site is back', '--by', 'Ada'];

t.test('a run is stopped, a step cancelled, a run taken back: each with a name and a reason', async (t) => {
  const stop = await call(['run', 'stop', 'latest', ...because]);
  t.match(stop.asked, [
    'open sites.yaml',
    'tell latest {"says":"stop","by":"Ada","reason":"the site is back"}',
    'follow latest',
  ]);
  t.match(stop.out, /was told to stop/);
  const cancel = await call(['run', 'cancel', 'run-0042', 'ready-db-01', '--reason', 'no agent in it']);
  t.equal(cancel.code, 0);
  t.match(cancel.asked[1], /tell run-0042 .*"cancel-step","step":"ready-db-01","by":"night-shift"/);
  t.match(cancel.out, /was told to give up/);
  const undo = await call(['run', 'undo', 'run-0042', '--reason', 'wrong group']);
  t.equal(undo.code, 0, 'what was asked for was done');
  t.match(undo.out, /undone.*tombstone-osaka/);
  t.match(undo.out, /taken back/);
  for (const verb of [
    ['stop', 'r'],
    ['undo', 'r'],
    ['cancel', 'r', 's'],
    ['break-lock', 'shop'],
  ]) {
    const called = await call(['run', ...verb]);
    t.equal(called.code, 2, `${verb[0]} needs its reason`);
    t.same(called.asked, []);
    const empty = await call(['run', ...verb, '--reason', ' ']);
    t.equal(empty.code, 2);
    t.match(empty.err, /DR-DECISION-REASON/);
    t.notOk(empty.asked.some((asked) => /tell|undo|break/.test(asked)));
  }
});

t.test('freeze, unfreeze, break-lock and audit', async (t) => {
  const freeze = await call(['freeze', 'shop', ...because]);
  t.same(freeze.asked, ['open sites.yaml', 'freeze shop by Ada: the site is back', 'close']);
  t.match(freeze, { code: 0, out: /nothing is done for it automatically/ });
  t.match(await call(['unfreeze', 'shop', ...because]), { code: 0, out: /not frozen any more/ });
  t.match(await call(['run', 'break-lock', 'shop', ...because]), { code: 0, out: /taken from run-0041/ });
  t.match(await call(['audit', 'shop']), { code: 0, out: /freeze +shop +Ada +works on the filer/ });
  const json = await call(['--json', 'audit']);
  t.match(JSON.parse(json.out), { audit: [{ did: 'freeze', group: 'shop' }] });
});

t.test('what a clock calls says so, and a frozen group can refuse it', async (t) => {
  const asked = async (...words: string[]) =>
    (await call(words)).asked.filter((line) => line.startsWith('run '));
  t.same(await asked('export', 'shop', '--unattended'), ['run export by night-shift, unattended']);
  t.same(await asked('export', 'shop'), ['run export by night-shift']);
});

t.test('a plan is written, reviewed and run from its file', async (t) => {
  const written = await call(['plan', 'failover', 'shop', '--json']);
  t.match(JSON.parse(written.out), { planFile: 1, silentSites: ['osaka'], seal: /^[0-9a-f]{64}$/ });
  const files = new Map([['plan.json', written.out]]);
  for (const words of [
    ['run', 'plan.json', '--yes', 'tokyo'],
    ['run', 'file', 'plan.json', '--yes', 'tokyo'],
  ]) {
    const called = await call(words, {}, { files });
    t.equal(called.code, 0, called.err);
    t.same(called.asked, ['open sites.yaml', 'open plan plan.json', 'run failover by night-shift', 'close']);
  }
  const piped = await call(
    ['run', '-', '--yes', 'tokyo', '--accept-age', 'reviewed last night'],
    {},
    { piped: written.out },
  );
  t.match(piped.asked, ['open sites.yaml', 'open plan - although old: reviewed last night', /^run failover/]);
  const unconfirmed = await call(['run', 'plan.json'], {}, { files });
  t.equal(unconfirmed.code, 2);
  t.match(unconfirmed.err, /DR-CONFIRM-NEEDED/);
  t.notOk(unconfirmed.asked.some((asked) => asked.startsWith('run ')));
  const missing = await call(['run', 'failover-plan'], {}, { files });
  t.match(missing, { code: 2, err: /Cannot read failover-plan.*lifeboat run/s });
});

t.test('several groups are shown, confirmed at once, and carried out in turn', async (t) => {
  const both = ['failover', 'payroll', 'shop'];
  const done = await call(both, {}, { answers: ['tokyo'] });
  t.equal(done.code, 0, done.err);
  t.match(done.asked, [
    'open sites.yaml',
    /^plan .*"payroll"/,
    /^plan .*"shop"/,
    'run failover by night-shift',
    'run failover by night-shift',
    'close',
  ]);
  t.match(done.out, /2 groups, one after the other: .*checked for each group by itself/s);
  t.equal(done.out.match(/Type the name of the site/g)?.length, 1);
  const once = await call(['failover', 'shop', 'shop'], {}, { answers: ['tokyo'] });
  t.equal(once.asked.filter((asked) => asked.startsWith('run ')).length, 1, 'twice the same is once');
  const unsure = await call(both, {}, { answers: ['osaka'] });
  t.equal(unsure.code, 2);
  t.notOk(unsure.asked.some((asked) => asked.startsWith('run ')));
  const interrupted = await call(both, { duringRun: interruptHere }, { answers: ['tokyo'] });
  t.equal(interrupted.code, 130);
  t.equal(interrupted.asked.filter((asked) => asked.startsWith('run ')).length, 1, 'a stop stops them all');
  for (const flag of ['--point', '--vm']) t.equal((await call([...both, flag, 'x'])).code, 2, flag);
  const problem: Finding = {
    severity: 'problem',
    code: 'DR-NETWORK-MISSING',
    about: 'network',
    name: 'Tokyo LAN',
    what: 'There is no network Tokyo LAN at site tokyo',
    evidence: [],
    vms: [],
    next: 'Create it.',
  };
  const blocked = await call(both, { findings: [problem] }, { answers: [] });
  t.equal(blocked.code, 10);
  t.match(blocked.out, /blocked for shop, shop.*Nothing was changed, for no group/s);
});

t.test('some VMs of a group', async (t) => {
  const some = await call(['failover', 'shop', '--vm', 'db-01', '--vm', 'db-02', '--yes', 'tokyo']);
  t.equal(some.code, 0);
  t.match(some.asked[1], /"vms":\["db-01","db-02"\]/);
});

t.test('a failover stops a drill first, where a person says so', async (t) => {
  const done = await call(['failover', 'shop', '--stop-drill', 'this is no exercise', '--yes', 'tokyo']);
  t.equal(done.code, 0, done.err);
  t.equal(done.asked[1], 'stop drill of shop by night-shift: this is no exercise');
  t.match(done.asked[2], /^plan ."operation":"failover"/, 'the plan is made after it');
  t.match(done.out, /drill of group shop was stopped: run run-0040/);
  const none = await call(['failover', 'payroll', '--stop-drill', 'perhaps', '--yes', 'tokyo']);
  t.match(none.out, /No drill of group payroll is under way/);
  const unsaid = await call(['failover', 'shop', '--stop-drill', ' ', '--yes', 'tokyo']);
  t.match(unsaid, { code: 2, err: /DR-DECISION-REASON/ });
  t.notOk(unsaid.asked.some((asked) => /stop drill|^run /.test(asked)));
});

t.test(
  'what a person takes upon them when a run is resumed stands in the journal with a reason',
  async (t) => {
    const resumed = await call([
      ...['run', 'resume', 'latest', '--force-shutdown', 'the guest hangs'],
      ...['--declare-lost', 'it burns', '--by', 'Ada'],
    ]);
    t.match(resumed.asked, [
      'open sites.yaml',
      'read latest',
      /by Ada \[\] declare-lost: it burns force-shutdown: the guest hangs$/,
    ]);
    const unsaid = await call(['run', 'resume', 'latest', '--force-shutdown', '']);
    t.match(unsaid, { code: 2, err: /DR-DECISION-REASON/ });
  },
);
