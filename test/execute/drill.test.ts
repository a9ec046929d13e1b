/** Drills of the fake world: observed, planned, carried out; broken and crashed at every point, and cleaned up again. */
import t from 'tap';
import { VirtualClock } from '../../src/adapters/system/virtual-clock.ts';
import { drillMark } from '../../src/domain/drill.ts';
import { PortError } from '../../src/domain/errors.ts';
import type { GroupState } from '../../src/domain/group.ts';
import type { Plan } from '../../src/domain/plan.ts';
import { foldRun } from '../../src/domain/run.ts';
import type { GroupSettings } from '../../src/domain/settings.ts';
import { declareLost } from '../../src/execute/decisions.ts';
import { execute, planDigest, type RunResult, resume } from '../../src/execute/executor.ts';
import { handlersOver } from '../../src/execute/interpreter.ts';
import { observe } from '../../src/observe/observe.ts';
import { type DrillRequest, planDrill } from '../../src/plan/drill.ts';
import { planDrillCleanup } from '../../src/plan/drill-cleanup.ts';
import { planFailover } from '../../src/plan/failover.ts';
import { evidenceOf } from '../../src/report/evidence.ts';
import { counting } from '../plans/drill-world.ts';
import { shop } from '../support/two-sites.ts';
import { FakeWorld, fakeVm, pair, twoSites } from './fakes.ts';
import { exportOf } from './plans.ts';
import { countingEntropy, MemoryJournals, MemoryStates } from './support.ts';

const drillId = 'payroll-20260101T000000Z-0001';
const names = ['db', 'web'];

const payroll: GroupSettings = {
  ...shop,
  name: 'payroll',
  production: 'tokyo',
  recovery: 'osaka',
  storage: [pair],
  networks: [{ production: 'Office', recovery: 'Office DR', drill: 'Drill', drillAtProduction: null }],
  plan: { ...shop.plan, tiers: shop.plan.tiers.slice(0, 0), others: 'last' },
};

/** Two protected VMs at Tokyo, Osaka with a drill network and a VM of its own. */
async function house() {
  const state = twoSites(names);
  const osaka = state.sites['osaka'];
  if (osaka === undefined) throw new Error('no Osaka');
  const [office] = osaka.pool.networks;
  if (office === undefined) throw new Error('no network');
  osaka.pool.networks = [
    ...osaka.pool.networks,
    { ...office, uuid: 'net-drill', nameLabel: 'Drill', bridge: 'xapi9' },
  ];
  osaka.pool.vms = [fakeVm('own', 'net-osaka', { powerState: 'Running' })];
  const replica = osaka.exports['filer-b:/vol1r'];
  if (replica === undefined) throw new Error('no replica');
  osaka.exports[`filer-b:/drills/${drillId}/vol1r`] = replica;
  const clock = new VirtualClock({ auto: true });
  const states = new MemoryStates();
  const journals = new MemoryJournals();
  const world = new FakeWorld(state, clock, states);
  const ports = { journals, states, clock, entropy: countingEntropy(), ...handlersOver(world) };
  const run = (plan: Plan, decisions: Parameters<typeof execute>[1]['decisions'] = []) =>
    execute(ports, { plan, planDigest: planDigest(plan), by: 'Ada', version: '1', decisions });
  await run(exportOf(names));
  state.deeds.length = 0;

  const groupState = async (): Promise<GroupState> => {
    const found = await states.get('payroll');
    if (found === null) throw new Error('no state');
    return found;
  };
  const look = () =>
    observe(
      {
        hypervisor: (s) => world.hypervisor(s),
        array: (a) => world.array(a),
        catalog: () => world.catalog(),
        clock,
        entropy: ports.entropy,
      },
      {
        sites: ['tokyo', 'osaka'],
        pairs: payroll.storage,
        groups: ['payroll'],
        pointsPerGroup: 8,
        pointId: null,
      },
    );
  const common = async () => ({
    planId: 'plan',
    group: payroll,
    configDigest: 'c1',
    generation: (await groupState()).generation,
    observation: await look(),
  });
  const planned = async (changes: Partial<DrillRequest> = {}): Promise<Plan> =>
    planDrill({
      ...(await common()),
      drillId,
      pointId: null,
      keep: false,
      vms: [],
      freshUuid: counting(),
      ...changes,
    });
  const cleanup = async (): Promise<RunResult> => {
    const open = (await groupState()).drill;
    return run(planDrillCleanup({ ...(await common()), open, before: null }));
  };
  const failover = async (): Promise<RunResult> => {
    const plan = planFailover({
      ...(await common()),
      pointId: null,
      declaredLost: true,
      openDrill: (await groupState()).drill,
    });
    return run(plan, [{ by: 'Ada', decision: declareLost, reason: 'it burns' }]);
  };
  return { state, world, journals, ports, states, run, planned, cleanup, failover, groupState, osaka, look };
}
type House = Awaited<ReturnType<typeof house>>;

/** All of the world that a drill must leave as it was: everything but what was done. */
function picture({ state }: House): unknown {
  const { deeds: _, objects: __, points: ___, ...rest } = structuredClone(state);
  for (const volume of Object.values(rest.volumes)) volume.drills ??= [];
  return rest;
}

t.test('a drill proves its VMs on a clone, and leaves both sites as they were', async (t) => {
  const made = await house();
  const before = picture(made);
  let copies = 0;
  made.world.onChange = (state) => {
    const vms = state.sites['osaka']?.pool.vms ?? [];
    const marked = vms.filter((vm) => vm.otherConfig[drillMark] === drillId);
    copies = Math.max(copies, marked.filter((vm) => vm.powerState === 'Running').length);
    for (const vm of marked) {
      t.ok(
        vm.vifs.every((vif) => vif.networkUuid === 'net-drill'),
        'only the isolated network',
      );
      t.notOk(names.includes(vm.uuid), 'never under the uuid of the original');
      t.ok(vm.tags.includes('lifeboat-drill'));
    }
  };
  const result = await made.run(await made.planned());
  t.equal(result.outcome, 'done', result.summary);
  t.equal(copies, 2, 'both copies ran');
  t.strictSame(picture(made), before);
  for (const deed of made.state.deeds)
    t.notMatch(
      deed,
      /promote|demote|fence|sync|prepare|expose|reverse/,
      `${deed} does not touch replication`,
    );
  t.match(await made.groupState(), { phase: 'protected', drill: null, currentRun: null });

  const evidence = evidenceOf(result.run, 'the hash');
  t.match(evidence, {
    drill: drillId,
    site: 'osaka',
    inventory: 'equal',
    cleanedUp: 'yes',
    by: 'Ada',
    journalHash: 'the hash',
    replicas: [{ sr: 'sr1', ref: 'snap-7' }],
    vms: [
      {
        original: 'db',
        nameLabel: 'drill: db',
        proven: true,
        disks: [{ uuid: 'disk-db' }],
        networks: ['Drill'],
      },
      { original: 'web', nameLabel: 'drill: web', proven: true },
    ],
  });
  const deeds = made.state.deeds.length;
  const again = await resume(made.ports, { runId: result.run.id, by: 'Ada', version: '1' });
  t.equal(again.outcome, 'done');
  t.equal(made.state.deeds.length, deeds, 'a drill that is over is not done again');
});

t.test('a drill whose VMs do not all come up says so, and cleans up', async (t) => {
  const made = await house();
  const before = picture(made);
  made.world.pool('osaka').refuseImport.add('drill: db');
  const result = await made.run(await made.planned());
  t.equal(result.outcome, 'done-with-warnings', result.summary);
  t.strictSame(picture(made), before);
  t.match(evidenceOf(result.run)?.vms, [{ proven: false, reason: /not in the pool/ }, { proven: true }]);
  const again = await resume(made.ports, { runId: result.run.id, by: 'Ada', version: '1' });
  t.equal(again.outcome, 'done-with-warnings');
  t.strictSame(picture(made), before, 'a cleaned-up drill is not gone on with');
});

t.test('a drill that proves nothing has failed, and is cleaned up', async (t) => {
  const made = await house();
  const before = picture(made);
  made.world.pool('osaka').before = (call) => {
    if (call === 'start') throw new PortError('refused', { code: 'DR-FAKE', what: 'no memory', next: 'x' });
  };
  const result = await made.run(await made.planned());
  t.equal(result.outcome, 'failed', result.summary);
  t.strictSame(picture(made), before);
  t.match(await made.groupState(), { phase: 'protected', drill: null, currentRun: null });
  t.match(evidenceOf(result.run), {
    cleanedUp: 'yes',
    inventory: 'equal',
    vms: [{ proven: false }, { proven: false }],
  });
});

t.test('whichever call fails, the drill is cleaned up, by itself or by the clean-up', async (t) => {
  const calls = await countCalls();
  t.ok(calls > 20, `${calls} calls`);
  let byItself = 0;
  let later = 0;
  for (let fatal = 1; fatal <= calls; fatal += 1) {
    const made = await house();
    const before = picture(made);
    const plan = await made.planned();
    const stop = failing(made, fatal);
    const result = await made.run(plan);
    stop();
    const state = await made.groupState();
    if (state.drill === null) {
      byItself += 1;
      t.strictSame(picture(made), before, `call ${fatal}: ${result.summary}`);
      t.not(state.phase, 'drilling');
      continue;
    }
    later += 1;
    t.not(result.outcome, 'done', `call ${fatal}`);
    t.equal(state.phase, 'drilling', `call ${fatal}`);
    const cleaned = await made.cleanup();
    t.equal(cleaned.outcome, 'done', `call ${fatal}: ${cleaned.summary}`);
    t.strictSame(picture(made), before, `call ${fatal}, after the clean-up`);
    t.match(await made.groupState(), { phase: 'protected', drill: null });
  }
  t.comment(`${byItself} cleaned up by themselves, ${later} by the clean-up`);
  t.ok(byItself > later);
  t.ok(later > 0, 'some failures are those of the clean-up itself');
});

async function countCalls(): Promise<number> {
  const made = await house();
  const plan = await made.planned();
  let count = 0;
  made.world.pool('osaka').before = () => {
    count += 1;
  };
  await made.run(plan);
  return count;
}

/** The n-th call to the pool from now on, and every repetition of it, is refused. */
function failing({ world }: House, fatal: number): () => void {
  const pool = world.pool('osaka');
  let count = 0;
  let victim: string | null = null;
  pool.before = (call, subject) => {
    count += 1;
    if (count === fatal) victim = `${call} ${subject}`;
    // A look at the pool fails once: it stands before everything else, the clean-up included.
    if (count === fatal || (victim === `${call} ${subject}` && call !== 'observe'))
      throw new PortError('refused', { code: 'DR-FAKE', what: `${victim} fails`, next: 'x' });
  };
  return () => {
    pool.before = () => undefined;
  };
}

t.test('a crash at any line of the journal: the clean-up, or resuming, leaves nothing behind', async (t) => {
  const whole = await house();
  const { run } = await whole.run(await whole.planned());
  const lines = whole.journals.runs.get(run.id)?.length ?? 0;
  t.ok(lines > 20);
  for (let line = 2; line <= lines; line += 1) {
    for (const way of ['cleanup', 'resume'] as const) {
      const made = await house();
      const before = picture(made);
      const plan = await made.planned();
      made.journals.beforeAppend = (_event, events) => {
        if (events.length >= line - 1) throw new Error('the power is cut');
      };
      await t.rejects(made.run(plan));
      made.journals.beforeAppend = () => undefined;
      const at = `${way} after line ${line - 1}`;
      if (way === 'cleanup') {
        const result = await cleanUpIfNeeded(made);
        if (result !== null) t.equal(result.outcome, 'done', `${at}: ${result.summary}`);
      } else {
        const [runId] = await made.journals.list();
        const result = await resume(made.ports, { runId: runId ?? '', by: 'Ada', version: '1' });
        t.equal(result.outcome, 'done', `${at}: ${result.summary}`);
      }
      t.strictSame(picture(made), before, at);
      t.match(await made.groupState(), { drill: null, phase: 'protected' }, at);
    }
  }
});

/** Null when there is nothing to clean up: the crash came before anything was claimed. */
async function cleanUpIfNeeded(made: House): Promise<RunResult | null> {
  return (await made.groupState()).drill === null ? null : made.cleanup();
}

t.test('an array that refuses, loses an answer, or cannot remove its clone', async (t) => {
  const refused = () => new PortError('refused', { code: 'DR-FAKE', what: 'no space', next: 'x' });
  const full = await house();
  const before = picture(full);
  full.world.filer.drillStart = async () => {
    throw refused();
  };
  const none = await full.run(await full.planned());
  t.equal(none.outcome, 'failed', none.summary);
  t.strictSame(picture(full), before);
  t.match(await full.groupState(), { phase: 'protected', drill: null });

  const silent = await house();
  const drillStart = silent.world.filer.drillStart.bind(silent.world.filer);
  let lost = false;
  silent.world.filer.drillStart = async (volume, options) => {
    const exposed = await drillStart(volume, options);
    if (lost) return exposed;
    lost = true;
    throw new PortError('outcome-unknown', { code: 'DR-FAKE', what: 'no answer', next: 'x' });
  };
  const done = await silent.run(await silent.planned());
  t.match(done.outcome, /^done/, done.summary);
  t.ok(lost);
  t.strictSame(picture(silent), before, 'one clone, and it is gone');

  const stuck = await house();
  const drillStop = stuck.world.filer.drillStop.bind(stuck.world.filer);
  stuck.world.filer.drillStop = async () => {
    throw refused();
  };
  const left = await stuck.run(await stuck.planned());
  t.equal(left.outcome, 'failed', left.summary);
  t.match(await stuck.groupState(), { phase: 'drilling', drill: { id: drillId } });
  t.match(evidenceOf(left.run), { cleanedUp: 'no', vms: [{ proven: true }, { proven: true }] });
  stuck.world.filer.drillStop = drillStop;
  t.equal((await stuck.cleanup()).outcome, 'done');
  t.strictSame(picture(stuck), before);
});

t.test('a kept drill stands until its clean-up, even when its journal is gone', async (t) => {
  const made = await house();
  const before = picture(made);
  const result = await made.run(await made.planned({ keep: true }));
  t.equal(result.outcome, 'done', result.summary);
  t.match(await made.groupState(), { phase: 'drilling', drill: { id: drillId }, currentRun: null });
  t.equal(evidenceOf(result.run)?.cleanedUp, 'kept on purpose');
  t.equal(made.osaka.pool.vms.filter((vm) => vm.otherConfig[drillMark] === drillId).length, 2);
  made.journals.runs.delete(result.run.id);
  const cleaned = await made.cleanup();
  t.equal(cleaned.outcome, 'done', cleaned.summary);
  t.strictSame(picture(made), before);
  t.match(await made.groupState(), { phase: 'protected', drill: null });
  const again = planDrillCleanup({
    planId: 'again',
    group: payroll,
    configDigest: 'c1',
    generation: 9,
    observation: await made.look(),
    open: null,
    before: null,
  });
  t.strictSame(again.steps, [], 'a finished world needs no plan');
});

t.test('the clean-up keeps its hands off what the drill did not make', async (t) => {
  const made = await house();
  await made.run(await made.planned({ keep: true }));
  const copy = made.osaka.pool.vms.find((vm) => vm.nameLabel === 'drill: db');
  if (copy === undefined) throw new Error('no copy');
  made.osaka.pool.vms = [
    ...made.osaka.pool.vms,
    { ...copy, uuid: 'mine', nameLabel: 'mine', otherConfig: {} },
  ];
  const result = await made.cleanup();
  t.equal(result.outcome, 'failed');
  t.match(JSON.stringify([...result.run.steps.values()]), /DR-DRILL-SR-USED/);
  t.ok(
    made.osaka.pool.vms.some((vm) => vm.uuid === 'mine'),
    'it stands',
  );
  t.ok(
    made.osaka.pool.srs.some((sr) => sr.uuid === 'sr1'),
    'and so does its SR',
  );
  t.match(await made.groupState(), { phase: 'drilling', drill: { id: drillId } });
  made.osaka.pool.vms = made.osaka.pool.vms.filter((vm) => vm.uuid !== 'mine');
  t.equal((await made.cleanup()).outcome, 'done');
});

t.test('a failover while a drill is open takes it away first', async (t) => {
  const made = await house();
  await made.run(await made.planned({ keep: true }));
  const tokyo = made.state.sites['tokyo'];
  if (tokyo !== undefined) tokyo.up = false;
  const result = await made.failover();
  t.match(result.outcome, /done/, result.summary);
  const vms = made.osaka.pool.vms;
  t.notOk(vms.some((vm) => vm.otherConfig[drillMark] !== undefined));
  t.strictSame(
    vms
      .filter((vm) => vm.powerState === 'Running')
      .map((vm) => vm.uuid)
      .sort(),
    ['db', 'own', 'web'],
  );
  t.strictSame(made.state.volumes['vol1r']?.drills, []);
  t.equal(made.state.volumes['vol1r']?.role, 'promoted');
  t.match(await made.groupState(), { phase: 'failed-over', drill: null });
});

t.test('a clone that cannot be removed does not hold up a failover', async (t) => {
  const made = await house();
  await made.run(await made.planned({ keep: true }));
  const tokyo = made.state.sites['tokyo'];
  if (tokyo !== undefined) tokyo.up = false;
  made.world.filer.drillStop = async () => {
    throw new PortError('refused', { code: 'DR-FAKE', what: 'the clone is busy', next: 'x' });
  };
  const result = await made.failover();
  t.equal(result.outcome, 'done-with-warnings', result.summary);
  t.match(await made.groupState(), { phase: 'failed-over', drill: { id: drillId } }, 'it is remembered');
  t.equal(made.state.volumes['vol1r']?.role, 'promoted');
  const running = made.osaka.pool.vms.filter((vm) => vm.powerState === 'Running').map((vm) => vm.uuid);
  t.strictSame(running.sort(), ['db', 'own', 'web']);
});

t.test('a clean-up after the group has moved leaves the phase alone', async (t) => {
  const made = await house();
  await made.run(await made.planned({ keep: true }));
  const tokyo = made.state.sites['tokyo'];
  if (tokyo !== undefined) tokyo.up = false;
  const { drillStop } = made.world.filer;
  made.world.filer.drillStop = async () => {
    throw new PortError('refused', { code: 'DR-FAKE', what: 'the clone is busy', next: 'x' });
  };
  await made.failover();
  made.world.filer.drillStop = drillStop;
  const cleaned = await made.cleanup();
  t.equal(cleaned.outcome, 'done', cleaned.summary);
  t.match(await made.groupState(), { phase: 'failed-over', drill: null });
  t.strictSame(made.state.volumes['vol1r']?.drills, []);
});

t.test('an SR that came under the uuid after the plan was made is not taken for the clone', async (t) => {
  const made = await house();
  const plan = await made.planned();
  const real = made.state.sites['tokyo']?.pool.srs[0];
  if (real === undefined) throw new Error('no SR');
  made.osaka.pool.srs = [...made.osaka.pool.srs, { ...real, pbds: [] }];
  const result = await made.run(plan);
  t.equal(result.outcome, 'failed');
  t.match(JSON.stringify([...result.run.steps.values()]), /DR-SR-OTHER/);
  t.match(
    made.osaka.pool.srs,
    [{ uuid: 'sr1', nameLabel: 'Data 1' }],
    'its name and record are as they were',
  );
  t.match(foldRun(made.journals.runs.get(result.run.id) ?? []).outcome, 'failed');
});
