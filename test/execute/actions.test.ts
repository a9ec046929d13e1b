import t from 'tap';
import { VirtualClock } from '../../src/adapters/system/virtual-clock.ts';
import { PortError } from '../../src/domain/errors.ts';
import type { Plan, Step } from '../../src/domain/plan.ts';
import type { VmFacts } from '../../src/domain/pool.ts';
import { quarantineKey } from '../../src/domain/quarantine.ts';
import { deviceConfigAt } from '../../src/execute/actions/device-config.ts';
import { isInSubnet } from '../../src/execute/actions/gates.ts';
import { declareLost } from '../../src/execute/decisions.ts';
import { execute, planDigest, resume } from '../../src/execute/executor.ts';
import { handlersOver } from '../../src/execute/interpreter.ts';
import { parseArchive } from '../../src/metadata/document.ts';
import { type FakeState, FakeWorld, fakeDisk, fakeVm, named, replicaPoint, twoSites } from './fakes.ts';
import { exportOf, failoverOf, step } from './plans.ts';
import { countingEntropy, MemoryJournals, MemoryStates, planOf } from './support.ts';

const lost = [{ by: 'Ada', decision: declareLost, reason: 'the building burns' }];

function house(names: readonly string[], change: (state: FakeState) => void = () => undefined) {
  const state = twoSites(names);
  change(state);
  const clock = new VirtualClock({ auto: true });
  const states = new MemoryStates();
  const journals = new MemoryJournals();
  const world = new FakeWorld(state, clock, states);
  const ports = { journals, states, clock, entropy: countingEntropy(), ...handlersOver(world) };
  const run = (plan: Plan, decisions = lost) =>
    execute(ports, { plan, planDigest: planDigest(plan), by: 'Ada', version: '1', decisions });
  return { world, state, clock, states, journals, ports, run };
}

/** Protects the VMs, then Tokyo falls silent. */
async function protectedHouse(names: readonly string[], change?: (state: FakeState) => void) {
  const made = house(names, change);
  await made.run(exportOf(names), []);
  const tokyo = made.state.sites['tokyo'];
  if (tokyo !== undefined) tokyo.up = false;
  made.state.deeds.length = 0;
  return made;
}

t.test('an export saves documents, the pool with its secrets, and the state of the replica', async (t) => {
  const { run, state, journals } = house(['db', 'web']);
  const result = await run(exportOf(['db', 'web']));
  t.equal(result.outcome, 'done');
  const [point] = Object.values(state.points);
  t.match(point, {
    group: 'payroll',
    site: 'tokyo',
    vms: [
      { nameLabel: 'db', vdiUuids: ['disk-db'], srUuids: ['sr1'], networkNames: ['Office'] },
      { nameLabel: 'web' },
    ],
    failures: [],
    srs: [{ uuid: 'sr1', secretDeviceConfig: { password: 'text of secret-1' } }],
    replication: [{ srUuid: 'sr1', newestPoint: { ref: 'snap-7' }, gap: null }],
  });
  t.notMatch(JSON.stringify([...journals.runs.values()]), /text of secret-1/, 'no secret in the journal');
  const document = Buffer.from(state.objects[point?.vms[0]?.document.sha256 ?? ''] ?? '', 'base64');
  t.equal(parseArchive(document).vms[0]?.uuid, 'db');
});

t.test('one large request yields the very documents that single ones do', async (t) => {
  const singles = house(['db', 'web', 'app']);
  const all = house(['db', 'web', 'app']);
  await singles.run(exportOf(['db', 'web', 'app'], 'singles'));
  await all.run(exportOf(['db', 'web', 'app'], 'all'));
  const documents = (state: FakeState) => Object.values(state.points)[0]?.vms.map((vm) => vm.document.sha256);
  t.same(documents(all.state), documents(singles.state));
  t.notOk(all.world.pool('tokyo').calls.some((call) => call.startsWith('export ')));
});

t.test('one VM that cannot be exported is named and costs the others nothing', async (t) => {
  const { run, state, world } = house(['bad', 'db']);
  world.pool('tokyo').before = (call, subject) => {
    if (call === 'export-all' || (call === 'export' && subject === 'bad'))
      throw new PortError('refused', { code: 'DR-FAKE', what: 'the export failed inside', next: 'x' });
  };
  const result = await run(exportOf(['bad', 'db'], 'all'));
  t.equal(result.outcome, 'done-with-warnings');
  t.match(Object.values(state.points)[0], {
    vms: [{ nameLabel: 'db' }],
    failures: [{ nameLabel: 'bad', reason: 'the export failed inside' }],
  });
  t.match(result.run.steps.get('documents')?.warnings, [/all VMs at once failed/, /VM bad has no document/]);
});

t.test('a catalog that takes no documents ends the step; the VMs are not blamed for it', async (t) => {
  for (const strategy of ['all', 'singles'] as const) {
    const { run, world } = house(['db', 'web']);
    const { store } = world;
    const put = store.put.bind(store);
    store.put = async (bytes) => {
      if (Buffer.from(bytes).includes('ova.xml'))
        throw new PortError('refused', { code: 'DR-FAKE', what: 'no space in target near', next: 'x' });
      return put(bytes);
    };
    const result = await run(exportOf(['db', 'web'], strategy));
    t.match(result.run.steps.get('documents')?.problem, { what: 'no space in target near' }, strategy);
  }
});

t.test('a failing target is loud and loses nothing; when all fail the step fails', async (t) => {
  const one = house(['db']);
  one.world.store.failing = ['far'];
  const result = await one.run(exportOf(['db']));
  t.match(result.run.steps.get('seal'), {
    status: 'succeeded',
    warnings: ['target far did not take the point: far is full'],
  });
  t.match(result.run.steps.get('seal')?.output, { targets: ['near'] });

  const none = house(['db']);
  none.world.store.failing = ['near', 'far'];
  t.equal((await none.run(exportOf(['db']))).outcome, 'failed');

  const damaged = house(['db']);
  damaged.world.store.damagedIn = ['near', 'far'];
  const unread = await damaged.run(exportOf(['db']));
  t.match(unread.run.steps.get('read-back')?.problem, {
    code: 'DR-POINT-DAMAGED',
    known: [/near.*hash differs/, /far/],
  });
});

t.test(
  'a failover promotes, attaches, imports and starts, and restores what an import forgets',
  async (t) => {
    const { run, state, states, world } = await protectedHouse(['db', 'web'], (state) => {
      const pool = state.sites['tokyo']?.pool;
      if (pool !== undefined)
        pool.vms = pool.vms.map((vm) => ({ ...vm, haAlwaysRun: true, haRestartPriority: 'restart' }));
    });
    const result = await run(failoverOf(['db', 'web']));
    t.equal(result.outcome, 'done', result.summary);
    const [config] = state.deeds.filter((deed) => deed.includes('pbd oa '));
    t.match(config, '"server":"filer-b"');
    t.match(config, '"serverpath":"/vol1r"');
    t.match(config, '"options":"hard"');
    t.match(config, '"password":"text of secret-1"');
    t.ok(state.deeds.indexOf('osaka: plug oa') < state.deeds.indexOf('osaka: plug obb'), 'the master first');
    t.notOk(state.deeds.includes('osaka: scan sr1'), 'the plug of an NFS SR has scanned');
    t.same(world.filer.confirms, ['vol1r@snap-7']);
    const pool = state.sites['osaka']?.pool;
    t.match(
      pool?.vms.map((vm) => [
        vm.nameLabel,
        vm.powerState,
        vm.haRestartPriority,
        vm.vifs[0]?.networkUuid,
        vm.vbds[0]?.vdiUuid,
      ]),
      [
        ['db', 'Running', 'restart', 'net-osaka', 'disk-db'],
        ['web', 'Running', 'restart', 'net-osaka', 'disk-web'],
      ],
    );
    t.match(pool?.appliances, [{ nameLabel: 'App', vmUuids: ['db', 'web'] }]);
    t.equal(pool?.vdis.find((vdi) => vdi.uuid === 'disk-db')?.nameLabel, 'db root');
    t.match(result.run.steps.get('import')?.output, {
      parked: [{ uuid: 'db', haRestartPriority: 'restart', haAlwaysRun: true }, {}],
    });
    t.match(await states.get('payroll'), {
      phase: 'failed-over',
      activeSite: 'osaka',
      tombstone: { site: 'tokyo' },
    });

    t.test('on the finished world the same plan does nothing', async (t) => {
      state.deeds.length = 0;
      const again = await run(failoverOf(['db', 'web'], { generation: 1 }));
      t.equal(again.outcome, 'done', again.summary);
      t.same(state.deeds, []);
    });
  },
);

t.test('one VM that the pool refuses never holds up the others', async (t) => {
  const names = ['a', 'b', 'bad', 'c', 'd'];
  const { run, state, world } = await protectedHouse(names);
  world.pool('osaka').refuseImport.add('bad');
  const result = await run(failoverOf(names));
  t.equal(result.outcome, 'done-with-warnings');
  t.match(result.run.steps.get('import')?.warnings, [/VM bad was not imported: the pool refuses bad/]);
  t.match(result.run.steps.get('start-bad'), {
    status: 'failed',
    problem: { code: 'DR-VM-NOT-THERE', known: [/refuses bad/] },
  });
  t.same(state.sites['osaka']?.pool.vms.map((vm) => `${vm.nameLabel} ${vm.powerState}`).sort(), [
    'a Running',
    'b Running',
    'c Running',
    'd Running',
  ]);
});

t.test('a disk that the replica lacks costs its VM alone; another size is told', async (t) => {
  const { run } = await protectedHouse(['db', 'small', 'web'], (state) => {
    const replica = state.sites['osaka']?.exports['filer-b:/vol1r'];
    if (replica !== undefined) replica.disks = [fakeDisk('db'), fakeDisk('small', { virtualSize: 512 })];
  });
  const result = await run(failoverOf(['db', 'small', 'web']));
  t.match(result.run.steps.get('compare')?.warnings, [
    /disk web root of web is not on the replica/,
    /disk small root of small has 512 B .* recovery point says 1 KiB/,
  ]);
  t.equal(result.run.steps.get('start-small')?.status, 'succeeded', 'it was resized after the replica');
  t.equal(result.run.steps.get('start-db')?.status, 'succeeded');
  t.match(result.run.steps.get('start-web')?.problem?.known, [/disk web root is not on the replica/]);

  const nothing = await protectedHouse(['db'], (state) => {
    const replica = state.sites['osaka']?.exports['filer-b:/vol1r'];
    if (replica !== undefined) replica.disks = [];
  });
  const stopped = await nothing.run(failoverOf(['db']));
  t.equal(stopped.outcome, 'failed');
  t.match(stopped.run.steps.get('compare')?.problem, { code: 'DR-DISKS-MISSING' });
});

t.test('invariant 1: no start while the twin runs, nor while nobody knows', async (t) => {
  const unknown = await protectedHouse(['db']);
  const refused = await unknown.run(failoverOf(['db']), []);
  t.match(refused.run.steps.get('evidence')?.problem, {
    code: 'DR-TWIN-UNKNOWN',
    known: ['https://tokyo: no answer in 10 s', 'nobody has declared the site lost'],
  });
  t.same(unknown.state.deeds, [], 'and nothing was changed before that was clear');
  const said = await resume(unknown.ports, {
    runId: refused.run.id,
    by: 'Bob',
    version: '1',
    decisions: lost,
  });
  t.equal(said.run.steps.get('start-db')?.status, 'succeeded', 'a named person may say so later');

  const late = await protectedHouse(['db']);
  const dying = late.state.sites['tokyo'];
  if (dying !== undefined) dying.up = true;
  late.world.pool('osaka').before = (call) => {
    if (call === 'import' && dying !== undefined) dying.up = false;
  };
  const during = await late.run({ ...failoverOf(['db']), operation: 'failover' }, []);
  t.equal(during.run.steps.get('start-db')?.status, 'failed', 'a site that falls silent on the way');
  t.notOk(late.state.deeds.includes('osaka: start db'));

  const running = await protectedHouse(['db']);
  const tokyo = running.state.sites['tokyo'];
  if (tokyo !== undefined) tokyo.up = true;
  const twin = await running.run(failoverOf(['db']));
  t.match(
    twin.run.steps.get('start-db')?.problem,
    { code: 'DR-TWIN-RUNNING' },
    'a declaration does not help against the eyes',
  );
  t.notOk(running.state.deeds.includes('osaka: start db'));

  const halted = await protectedHouse(['db']);
  const site = halted.state.sites['tokyo'];
  if (site !== undefined) {
    site.up = true;
    site.pool.vms = site.pool.vms.map((vm) => ({ ...vm, powerState: 'Halted' }));
  }
  t.equal((await halted.run(failoverOf(['db']), [])).run.steps.get('start-db')?.status, 'succeeded');
});

t.test('invariant 2: nothing is promoted before its point is recorded', async (t) => {
  const { run, state } = await protectedHouse(['db']);
  const plan = failoverOf(['db']);
  const hasty = {
    ...plan,
    steps: plan.steps
      .filter(({ id }) => id !== 'record')
      .map((s) => ({ ...s, after: s.after.filter((id) => id !== 'record') })),
  };
  const result = await run(hasty);
  t.match(result.run.steps.get('promote')?.problem, { code: 'DR-REPLICA-UNRECORDED' });
  t.notOk(state.deeds.includes('promote vol1r'));

  const gone = await protectedHouse(['db'], (state) => {
    state.volumes = { vol1r: { role: 'target', points: [{ ...replicaPoint, complete: false }] } };
  });
  t.match((await gone.run(failoverOf(['db']))).run.steps.get('record')?.problem, {
    code: 'DR-REPLICA-POINT',
    what: /no longer complete/,
  });
});

t.test('invariant 12: a network that the plan does not map is never guessed', async (t) => {
  const { run, state } = await protectedHouse(['db', 'web'], (state) => {
    const pool = state.sites['tokyo']?.pool;
    if (pool === undefined) return;
    pool.networks = [
      ...pool.networks,
      { ...pool.networks[0], uuid: 'net-lab', nameLabel: 'Lab' } as (typeof pool.networks)[number],
    ];
    pool.vms = pool.vms.map((vm) => (vm.uuid === 'web' ? fakeVm('web', 'net-lab') : vm));
  });
  const result = await run(failoverOf(['db', 'web']));
  t.match(result.run.steps.get('import')?.warnings, [
    /VM web was not imported: the plan maps no network for Lab/,
  ]);
  t.same(
    state.sites['osaka']?.pool.vms.map((vm) => vm.nameLabel),
    ['db'],
  );
});

t.test(
  'an SR that a host does not see, or that is another one, is told before anything is introduced',
  async (t) => {
    const blind = await protectedHouse(['db'], (state) => {
      const osaka = state.sites['osaka'];
      if (osaka !== undefined) osaka.exports = {};
    });
    const result = await blind.run(failoverOf(['db']));
    t.match(result.run.steps.get('attach')?.problem, {
      code: 'DR-SR-NOT-SEEN',
      known: ['host oa: it finds no SR there', 'host obb: it finds no SR there'],
    });
    t.notOk(blind.state.deeds.includes('osaka: introduce sr1'));

    const other = await protectedHouse(['db'], (state) => {
      const osaka = state.sites['osaka'];
      const sr = state.sites['tokyo']?.pool.srs[0];
      if (osaka === undefined || sr === undefined) return;
      osaka.pool.srs = [
        {
          ...sr,
          pbds: [
            {
              uuid: 'p',
              hostUuid: 'oa',
              attached: true,
              deviceConfig: { server: 'filer-a', serverpath: '/vol1' },
            },
          ],
        },
      ];
    });
    const known = await other.run(failoverOf(['db']));
    t.match(known.run.steps.get('attach')?.problem, { code: 'DR-SR-OTHER', known: [/filer-a.*filer-b/] });
  },
);

t.test(
  'a start_delay that is not honoured is taken off for the start, and put back whatever happens',
  async (t) => {
    const skipping = (): Plan => {
      const plan = failoverOf(['db']);
      const skippedDelaySeconds = 120;
      return {
        ...plan,
        steps: plan.steps.map((step) =>
          step.action.do === 'start-vm' && step.holdsWhen?.is === 'vm-running'
            ? {
                ...step,
                action: { ...step.action, skippedDelaySeconds },
                holdsWhen: { ...step.holdsWhen, skippedDelaySeconds },
              }
            : step,
        ),
      };
    };
    const ofStart = (deeds: readonly string[]) => deeds.filter((deed) => / start /.test(deed));
    const quiet = await protectedHouse(['db']);
    const done = await quiet.run(skipping());
    t.equal(done.run.steps.get('start-db')?.status, 'succeeded');
    const story = ['osaka: start delay 0 of db', 'osaka: start db', 'osaka: start delay 120 of db'];
    t.same(ofStart(quiet.state.deeds), story);

    const refusing = await protectedHouse(['db']);
    refusing.world.pool('osaka').before = (call) => {
      if (call === 'start')
        throw new PortError('refused', { code: 'DR-FAKE', what: 'no', next: 'x' }, { peerCode: 'NO' });
    };
    const refused = await refusing.run(skipping());
    t.equal(refused.run.steps.get('start-db')?.status, 'failed');
    t.same(ofStart(refusing.state.deeds), story.toSpliced(1, 1), 'what was not started is as it was');

    const broken = await protectedHouse(['db']);
    let lost = 0;
    broken.world.pool('osaka').before = (call) => {
      if (call !== 'start-delay' || !broken.state.deeds.includes('osaka: start db') || lost > 0) return;
      lost += 1;
      throw new PortError('unreachable', { code: 'DR-FAKE', what: 'the link broke', next: 'x' });
    };
    const mended = await broken.run(skipping());
    t.equal(lost, 1);
    t.equal(mended.run.steps.get('start-db')?.status, 'succeeded', 'the delay counts as part of the effect');
    t.same(ofStart(broken.state.deeds), story, 'and the VM is not started again for it');
  },
);

t.test('a VM that no host takes is explained host by host', async (t) => {
  const { run, world } = await protectedHouse(['db']);
  world.pool('osaka').before = (call) => {
    if (call === 'start')
      throw new PortError(
        'refused',
        { code: 'DR-FAKE', what: 'no hosts', next: 'x' },
        { peerCode: 'NO_HOSTS_AVAILABLE' },
      );
  };
  const result = await run(failoverOf(['db']));
  t.match(result.run.steps.get('start-db')?.problem, {
    code: 'DR-VM-NO-HOST',
    known: ['oa: not enough memory', 'obb: disabled'],
  });
});

t.test('an import whose answer is lost after the effect is not sent twice', async (t) => {
  const { run, state, world } = await protectedHouse(['db', 'web']);
  const osaka = world.pool('osaka');
  const sent = osaka.importMetadata.bind(osaka);
  osaka.importMetadata = async (archive) => {
    await sent(archive);
    throw new PortError('outcome-unknown', { code: 'DR-FAKE', what: 'the task vanished', next: 'x' });
  };
  const result = await run(failoverOf(['db', 'web']));
  t.equal(result.run.steps.get('import')?.status, 'succeeded');
  t.equal(state.deeds.filter((deed) => deed.includes('import')).length, 1);
});

t.test('an import is judged by one look at the whole pool, taken after it', async (t) => {
  const { run, world } = await protectedHouse(['db', 'web']);
  const osaka = world.pool('osaka');
  osaka.calls = [];
  const plan = failoverOf(['db', 'web']);
  // Rebuilding the appliance takes looks of its own.
  const steps = plan.steps
    .filter((step) => step.id !== 'appliance')
    .map((step) => ({ ...step, after: step.after.filter((id) => id !== 'appliance') }));
  const result = await run({ ...plan, steps });
  t.equal(result.outcome, 'done', result.summary);
  const sent = osaka.calls.findIndex((call) => call.startsWith('import '));
  const started = osaka.calls.findIndex((call) => call.startsWith('start '));
  t.ok(sent >= 0 && started > sent);
  t.equal(osaka.calls.slice(sent, started).filter((call) => call === 'observe').length, 1);
});

t.test('an SR that is attached after the first import is seen by the next one', async (t) => {
  const names = ['db', 'web'];
  const { run, state, world } = await protectedHouse(names, (state) => {
    const replica = state.sites['osaka']?.exports['filer-b:/vol1r'];
    if (replica !== undefined) replica.disks = [fakeDisk('db')];
  });
  const osaka = world.pool('osaka');
  const observe = osaka.observe.bind(osaka);
  osaka.observe = async () => {
    const seen = await observe();
    const pool = state.sites['osaka']?.pool;
    const isImported = osaka.calls.some((call) => call.startsWith('import '));
    if (pool !== undefined && isImported && !pool.vdis.some(({ uuid }) => uuid === fakeDisk('web').uuid))
      pool.vdis = [...pool.vdis, fakeDisk('web')];
    return seen;
  };
  const plan = failoverOf(names);
  const steps = plan.steps.flatMap((each) => {
    if (each.id === 'start-web') return [{ ...each, after: [...each.after, 'import-web'] }];
    if (each.action.do !== 'import-vms') return [each];
    const { action } = each;
    const only = (id: string, name: string, after: readonly string[]): Step => {
      const vms = action.vms.filter(({ nameLabel }) => nameLabel === name);
      const { site, networks } = action;
      return {
        ...each,
        id,
        after,
        action: { ...action, vms },
        holdsWhen: { is: 'vms-imported', site, vms, networks },
      };
    };
    return [only('import', 'db', each.after), only('import-web', 'web', ['import'])];
  });
  const result = await run({ ...plan, steps });
  t.equal(result.run.steps.get('import-web')?.status, 'succeeded', result.summary);
  t.equal(result.run.steps.get('start-web')?.status, 'succeeded');
});

t.test('an older halted copy is replaced; a newer one is left alone', async (t) => {
  const copies = async (version: number) => {
    const made = await protectedHouse(['db'], (state) => {
      const { tokyo, osaka } = state.sites;
      if (tokyo === undefined || osaka === undefined) return;
      tokyo.pool.vms = tokyo.pool.vms.map((vm) => ({ ...vm, version: 2 }));
      osaka.pool.vms = [fakeVm('db', 'net-osaka', { powerState: 'Halted', version, tags: ['old'] })];
    });
    const result = await made.run(failoverOf(['db']));
    const [vm] = made.state.sites['osaka']?.pool.vms ?? [];
    return {
      version: vm?.version,
      powerState: vm?.powerState,
      import: result.run.steps.get('import')?.changed,
    };
  };
  t.same(await copies(1), { version: 3, powerState: 'Running', import: true });
  t.same(await copies(3), { version: 3, powerState: 'Running', import: false });
});

t.test('fencing blocks first, then stops, and a guest that does not stop is switched off', async (t) => {
  const { run, state, world, clock } = house(['db', 'web']);
  world.pool('tokyo').cleanShutdownVm = async (vm: string, signal?: AbortSignal) => {
    if (vm === 'web') await clock.sleep(10_000, signal);
    else await world.pool('tokyo').hardShutdownVm(vm);
  };
  const vms = ['db', 'web'].map(named);
  const plan = planOf([
    step({
      id: 'fence',
      after: [],
      action: { do: 'fence-vms', site: 'tokyo', vms, reason: 'failed over to osaka' },
      holdsWhen: { is: 'vms-fenced', site: 'tokyo', vms },
    }),
  ]);
  const result = await run(plan);
  t.equal(result.run.steps.get('fence')?.status, 'succeeded');
  t.match(result.run.steps.get('fence')?.warnings, [/VM web did not shut down by itself.*switched off/]);
  const first = state.deeds.findIndex((deed) => deed.includes('switch-off'));
  t.ok(state.deeds.findLastIndex((deed) => deed.includes('block')) < first);
  t.match(state.sites['tokyo']?.pool.vms[0]?.blockedOperations, {
    start_on: 'failed over to osaka',
    migrate_send: /osaka/,
  });
});

t.test(
  'readiness: agent, address in its subnet, port; all VMs of a site in one call per round',
  async (t) => {
    const names = ['a', 'b', 'c'];
    const { run, state, world, clock } = house(names);
    const gates = [
      { gate: 'guest-agent' },
      { gate: 'address', subnets: ['10.1.0.0/16'] },
      { gate: 'tcp', port: 5432 },
    ] as const;
    const plan = planOf(
      names.map((name) =>
        step({
          id: `ready-${name}`,
          after: [],
          action: { do: 'await-ready', site: 'tokyo', vm: named(name), gates },
          holdsWhen: { is: 'vm-ready', site: 'tokyo', vm: named(name), gates },
          uses: ['ready:tokyo'],
          timeoutSeconds: 120,
          onFailure: 'continue',
        }),
      ),
    );
    const tokyo = state.sites['tokyo'];
    const report = (networks: Record<string, string>) => {
      if (tokyo === undefined) return;
      tokyo.pool.vms = tokyo.pool.vms.map((vm) =>
        vm.uuid === 'c' ? vm : { ...vm, guest: { networks, driversDetected: true, live: true } },
      );
    };
    void clock.sleep(20).then(() => report({ '0/ip': '169.254.1.1', '0/ipv6/0': 'fe80::1' }));
    void clock.sleep(40).then(() => report({ '0/ipv4/0': '10.1.2.3' }));
    void clock.sleep(60).then(() => world.openPorts.add('10.1.2.3:5432'));
    const result = await run(plan);
    t.match(result.run.steps.get('ready-a'), { status: 'succeeded', output: { addresses: ['10.1.2.3'] } });
    t.match(result.run.steps.get('ready-c'), {
      status: 'failed',
      problem: { code: 'DR-STEP-TIMEOUT', known: ['VM c is running, but its guest agent has not reported'] },
    });
    const rounds = world.pool('tokyo').calls.filter((call) => call.startsWith('states ')).length;
    t.ok(rounds < 70, `${rounds} calls for three VMs in two minutes`);
    t.equal(result.outcome, 'done-with-warnings');
  },
);

t.test('a stopped import is resumed where it was, by a new process', async (t) => {
  const { state, ports, journals } = await protectedHouse(['db', 'web']);
  const plan = failoverOf(['db', 'web']);
  const options = {
    plan,
    planDigest: planDigest(plan),
    by: 'Ada',
    version: '1',
    decisions: lost,
    runId: 'r2',
  };
  const dead = new Error('the machine lost power');
  journals.beforeAppend = (event) => {
    if (event.event === 'StepSucceeded' && event.step === 'import') throw dead;
  };
  await t.rejects(execute(ports, options), dead);
  journals.beforeAppend = () => undefined;
  const result = await resume(ports, { runId: 'r2', by: 'Bob', version: '1' });
  t.equal(result.outcome, 'done', result.summary);
  t.equal(state.deeds.filter((deed) => deed.includes('import')).length, 1);
});

t.test('the address of a volume in the words of each SR type', async (t) => {
  const iscsi = {
    kind: 'iscsi',
    portals: ['10.9.0.5:3260', '10.9.1.5:3260'],
    iqn: 'iqn.x',
    scsiId: '3600',
  } as const;
  t.same(
    deviceConfigAt(
      'lvmoiscsi',
      { target: 'old', targetIQN: 'old', SCSIid: 'old', chapuser: 'u', multihomed: 'true' },
      iscsi,
    ),
    {
      chapuser: 'u',
      multihomed: 'true',
      target: '10.9.0.5,10.9.1.5',
      targetIQN: 'iqn.x',
      SCSIid: '3600',
      port: '3260',
    },
  );
  t.same(deviceConfigAt('lvmohba', { SCSIid: 'old' }, { kind: 'fc', scsiId: '3601' }), { SCSIid: '3601' });
  t.same(
    deviceConfigAt(
      'smb',
      { server: '\\\\a\\b', username: 'u' },
      { kind: 'file', server: 'filer', path: '/share/x' },
    ),
    {
      username: 'u',
      server: '\\\\filer\\share\\x',
    },
  );
  t.throws(() => deviceConfigAt('nfs', {}, { kind: 'nfs', server: 'filer' }), {
    code: 'DR-EXPOSE-INCOMPLETE',
  });
  t.throws(() => deviceConfigAt('linstor', {}, { kind: 'file' }), { code: 'DR-SR-TYPE' });
  t.ok(isInSubnet('fd00::5', 'fd00::/64'));
  t.notOk(isInSubnet('10.2.0.1', '10.1.0.0/16'));
  t.notOk(isInSubnet('10.2.0.1', 'fd00::/64'));
});

t.test(
  'a point knows the SRs of its group that no VM uses: by name, by uuid, and nobody else’s',
  async (t) => {
    const made = house(['db'], (state) => {
      const tokyo = state.sites['tokyo'];
      const used = tokyo?.pool.srs[0];
      if (tokyo === undefined || used === undefined) throw new Error('the house has a pool with an SR');
      const others = ['spare', 'images', 'foreign'].map((name) => ({
        ...used,
        uuid: name,
        nameLabel: `${name} SR`,
      }));
      tokyo.pool = { ...tokyo.pool, srs: [...tokyo.pool.srs, ...others] };
    });
    const plan = exportOf(['db']);
    const steps = plan.steps.map(
      (each): Step =>
        each.action.do === 'capture-pool'
          ? { ...each, action: { ...each.action, groupSrs: ['spare', 'images SR'] } }
          : each,
    );
    await made.run({ ...plan, steps });
    const [saved] = Object.values(made.state.points);
    t.same(saved?.srs.map((sr) => sr.nameLabel).slice(1), ['spare SR', 'images SR']);
  },
);

t.test('a copy in quarantine is never saved as the VM: the point says that it lacks it', async (t) => {
  const putAway = (only: readonly string[]) =>
    house(['db', 'web'], (state) => {
      const tokyo = state.sites['tokyo'];
      if (tokyo === undefined) throw new Error('the house has a site tokyo');
      const marked = (vm: VmFacts): VmFacts =>
        only.includes(vm.uuid)
          ? { ...vm, otherConfig: { ...vm.otherConfig, [quarantineKey]: 'moved to site osaka' } }
          : vm;
      tokyo.pool = { ...tokyo.pool, vms: tokyo.pool.vms.map(marked) };
    });
  const one = putAway(['web']);
  await one.run(exportOf(['db', 'web']));
  const [point] = Object.values(one.state.points);
  t.same(
    point?.vms.map((vm) => vm.nameLabel),
    ['db'],
  );
  t.match(point?.failures, [{ nameLabel: 'web', reason: /copy in quarantine/ }]);

  const all = putAway(['db', 'web']);
  const run = await all.run(exportOf(['db', 'web']));
  t.equal(run.outcome, 'failed');
  t.same(all.state.points, {}, 'no point at all is better than one that passes for good');
});

t.test('a kept document is looked at once more before a point rests upon it', async (t) => {
  const names = ['db', 'web', 'app'];
  const prepared = async () => {
    const made = house(names, (state) => {
      const tokyo = state.sites['tokyo'];
      if (tokyo !== undefined)
        tokyo.pool = { ...tokyo.pool, vms: tokyo.pool.vms.map((vm) => ({ ...vm, digest: vm.uuid })) };
    });
    await made.run(exportOf(names));
    const [first] = Object.values(made.state.points);
    const kept = (first?.vms ?? []).map(({ uuid, nameLabel, document, digest = '' }) => ({
      ...{ uuid, nameLabel, document, digest },
      from: { pointId: 'payroll/first', takenAt: '2026-01-01T00:00:00.000Z' },
    }));
    const plan = exportOf([]);
    const pointId = 'payroll/20260101T001500Z-0002';
    const steps = plan.steps.map((each): Step => {
      if (each.action.do === 'seal-point')
        return { ...each, action: { ...each.action, pointId }, holdsWhen: { is: 'point-sealed', pointId } };
      if (each.action.do === 'verify-point') return { ...each, action: { ...each.action, pointId } };
      if (each.action.do === 'capture-pool') return { ...each, action: { ...each.action, vms: names } };
      if (each.action.do === 'save-documents')
        return { ...each, action: { ...each.action, kept, vmsInPool: 3 } };
      return each;
    });
    const calls = made.world.pool('tokyo').calls;
    const fetched = () => calls.filter((call) => call.startsWith('export'));
    calls.length = 0;
    const second = { ...plan, id: 'export-2', steps };
    return {
      ...made,
      kept,
      fetched,
      again: () => made.run(second),
      vms: () => made.state.points[pointId]?.vms,
    };
  };

  const same = await prepared();
  t.equal((await same.again()).outcome, 'done');
  t.same(same.fetched(), []);
  t.match(same.vms(), [
    { nameLabel: 'app', digest: 'app', documentFrom: { pointId: 'payroll/first' } },
    { nameLabel: 'db' },
    { nameLabel: 'web' },
  ]);

  const changed = await prepared();
  const tokyo = changed.state.sites['tokyo'];
  if (tokyo !== undefined)
    tokyo.pool = {
      ...tokyo.pool,
      vms: tokyo.pool.vms.map((vm) => (vm.uuid === 'web' ? { ...vm, digest: 'changed since' } : vm)),
    };
  t.equal((await changed.again()).outcome, 'done');
  t.same(changed.fetched(), ['export web'], 'it changed between plan and capture');
  const web = changed.vms()?.find((vm) => vm.uuid === 'web');
  t.match(web, { digest: 'changed since', documentFrom: undefined });

  const gone = await prepared();
  delete gone.state.objects[gone.kept.find((vm) => vm.uuid === 'db')?.document.sha256 ?? ''];
  const result = await gone.again();
  t.same(gone.fetched(), ['export db']);
  t.match(result.run.steps.get('documents')?.warnings, [/lost documents .* fetched again for db/]);
  t.equal(gone.vms()?.length, 3);
});
