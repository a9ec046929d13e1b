/** Trouble in the middle of a failover: interrupts, lost answers, hosts and VMs that do not come along. */
import t from 'tap';
import type { FaultInput } from '../../src/lab/faults/rule.ts';
import { ends, failover, World } from './trouble.ts';

// A child process per command: tens of seconds for some tests on a busy machine.
t.setTimeout(240_000);

const everybody = 24;

t.test('stopped, killed, twice at once: the run goes on where it was', async (t) => {
  t.setTimeout(120_000);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGKILL'] as const) {
    const world = await World.start(t);
    await world.killProduction();
    const slow = await world.fault({
      pool: 'recovery',
      method: 'VM.start',
      nth: 3,
      times: 'always',
      effect: { kind: 'delay', seconds: 10 },
    });
    const first = world.begin(...failover);
    await first.says(/start-db-03|start-db-04/);
    await first.says(/done +start-db/);
    if (signal === 'SIGINT') {
      const second = await world.run(...failover);
      ends(t, 'two at once', second, 11, /is being worked on by run/, /lifeboat run follow/);
    }
    first.kill(signal);
    const result = await first.ended;
    if (signal === 'SIGKILL') t.not(result.code, 0);
    else ends(t, signal, result, 130, /lifeboat run resume/);
    t.not(world.running('recovery').length, everybody, `${signal}: in the middle`);
    world.lab.faults.remove(slow);
    if (signal === 'SIGKILL') {
      ends(
        t,
        'status',
        await world.run('status'),
        3,
        /was broken off/,
        /has not come to its end/,
        /lifeboat run resume/,
      );
      ends(t, 'another failover', await world.run(...failover), 10, /DR-RUN-OPEN/);
    }
    const resumed = await world.run('run', 'resume', 'latest');
    t.ok([0, 3].includes(resumed.code), `${signal}: resumed`, { said: resumed.said });
    t.match(resumed.said, /24 of 24 ready/);
    t.equal(world.running('recovery').length, everybody, signal);
    t.equal((await world.runs()).length, 2, 'one export, one failover');
  }
});

t.test(
  'answers get lost, tasks vanish, the coordinator changes: the world is asked, nothing is done twice',
  async (t) => {
    t.setTimeout(120_000);
    const world = await World.start(t);
    await world.killProduction();
    const faults: readonly FaultInput[] = [
      { method: 'PBD.plug', nth: 2, effect: { kind: 'vanish-task' } },
      { path: '/import_metadata', effect: { kind: 'lose-answer' } },
      { path: '/import_metadata', nth: 2, effect: { kind: 'vanish-task' } },
      { path: '/import_metadata', nth: 3, effect: { kind: 'restart-toolstack' } },
      { method: 'VM.start', nth: 2, effect: { kind: 'lose-answer' } },
      { method: 'VM.start', nth: 6, effect: { kind: 'vanish-task' } },
      { method: 'VM.start', nth: 8, effect: { kind: 'slow-task', seconds: 1 } },
    ];
    for (const fault of faults) await world.fault({ pool: 'recovery', ...fault });
    ends(t, 'the failover', await world.run(...failover), 3, /24 of 24 ready/, /the world shows its effect/);
    t.equal(world.running('recovery').length, everybody);
    t.equal(world.powerStates('recovery').size, everybody, 'no second copy of any VM');
  },
);

t.test('one host without the storage keeps nobody down; the coordinator without it does', async (t) => {
  const world = await World.start(t);
  await world.killProduction();
  await world.fault({ pool: 'recovery', effect: { kind: 'refuse-plug', host: 'reco-1' } });
  ends(
    t,
    'the coordinator',
    await world.run(...failover),
    1,
    /on host reco-1/,
    /0 of 24 ready/,
    /lifeboat run resume/,
  );
  t.equal(world.powerStates('recovery').size, 0);
  world.lab.faults.clear();
  await world.fault({ pool: 'recovery', effect: { kind: 'refuse-plug', host: 'reco-3' } });
  ends(
    t,
    'a member',
    await world.run('run', 'resume', 'latest'),
    3,
    /24 of 24 ready/,
    /Host reco-3 has no access to SR gold storage/,
  );
  t.equal(world.running('recovery').length, everybody);
});

t.test(
  'VMs that do not come up: named, the others run, and a failover of which nothing came up has failed',
  async (t) => {
    t.setTimeout(120_000);
    const world = await World.start(t);
    await world.killProduction();
    const boom: FaultInput['effect'] = {
      kind: 'error',
      code: 'INTERNAL_ERROR',
      params: ['xenopsd: no bootloader'],
    };
    await world.fault({ pool: 'recovery', path: '/import_metadata', times: 'always', effect: boom });
    ends(t, 'no import', await world.run(...failover), 1, /0 of 24 ready/, /None of 4 VMs could be imported/);
    ends(t, 'status', await world.run('status'), 3, /DR-RUN-OPEN/);
    world.lab.faults.clear();
    await world.fault({
      pool: 'recovery',
      method: 'VM.start',
      where: { vm: 'db-02' },
      times: 'always',
      effect: boom,
    });
    ends(
      t,
      'a database',
      await world.run('run', 'resume', 'latest'),
      1,
      /db-02 FAILED/,
      /app-01 (imported, not started|not reached)/,
    );
    t.notOk(
      world.running('recovery').some((name) => name.startsWith('app')),
      'the next tier waits for it',
    );
    world.lab.faults.clear();
    await world.fault({
      pool: 'recovery',
      method: 'VM.start',
      where: { vm: 'web-05' },
      times: 'always',
      effect: boom,
    });
    ends(t, 'a web server', await world.run('run', 'resume', 'latest'), 3, /web-05 FAILED/, /23 of 24 ready/);
    t.equal(world.running('recovery').length, everybody - 1);
    ends(t, 'status names it', await world.run('status'), 3, /DR-VMS-NOT-RUNNING/, /VMs: web-05/);
  },
);
