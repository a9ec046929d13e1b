/** What real pools and sites do in the middle of a failover, and what it must not cost the other VMs. */
import t from 'tap';
import { VirtualClock } from '../../src/adapters/system/virtual-clock.ts';
import { briefs } from '../../src/app/recent-runs.ts';
import { OperatorError, PortError } from '../../src/domain/errors.ts';
import type { Plan } from '../../src/domain/plan.ts';
import { declareLost } from '../../src/execute/decisions.ts';
import { execute, planDigest, resume } from '../../src/execute/executor.ts';
import { handlersOver } from '../../src/execute/interpreter.ts';
import { type FakeState, FakeWorld, fakeVm, named, twoSites } from '../execute/fakes.ts';
import { exportOf, failoverOf, step } from '../execute/plans.ts';
import { countingEntropy, MemoryJournals, MemoryStates, planOf } from '../execute/support.ts';

const lost = [{ by: 'Ada', decision: declareLost, reason: 'the building burns' }];

function house(names: readonly string[], change: (state: FakeState) => void = () => undefined) {
  const state = twoSites(names);
  change(state);
  const clock = new VirtualClock({ auto: true });
  const states = new MemoryStates();
  const world = new FakeWorld(state, clock, states);
  const ports = {
    journals: new MemoryJournals(),
    states,
    clock,
    entropy: countingEntropy(),
    ...handlersOver(world),
  };
  const run = (plan: Plan, decisions = lost) =>
    execute(ports, { plan, planDigest: planDigest(plan), by: 'Ada', version: '1', decisions });
  return { world, state, clock, ports, run };
}

/** Protects the VMs, then Tokyo falls silent. */
async function protectedHouse(names: readonly string[], change?: (state: FakeState) => void) {
  const made = house(names, change);
  await made.run(exportOf(names), []);
  const { tokyo } = made.state.sites;
  if (tokyo !== undefined) tokyo.up = false;
  made.state.deeds.length = 0;
  return made;
}

/** Seconds of the virtual clock that the failover of 40 VMs takes when each start takes five. */
async function secondsOfFortyStarts(
  t: Pick<typeof import('tap').default, 'equal'>,
  made: Awaited<ReturnType<typeof protectedHouse>>,
  names: readonly string[],
): Promise<number> {
  const osaka = made.world.pool('osaka');
  const start = osaka.startVm.bind(osaka);
  osaka.startVm = async (vm: string) => {
    await made.clock.sleep(5);
    await start(vm);
  };
  const before = made.clock.monotonicSeconds();
  const result = await made.run(failoverOf(names));
  t.equal(result.outcome, 'done', result.summary);
  return made.clock.monotonicSeconds() - before;
}

const forty = Array.from({ length: 40 }, (_, index) => `vm${String(index).padStart(2, '0')}`);

t.test('a lost site whose addresses swallow everything is waited for once, not at every start', async (t) => {
  const made = await protectedHouse(forty);
  const tokyo = made.world.pool('tokyo');
  const contact = tokyo.contact.bind(tokyo);
  tokyo.contact = async () => {
    await made.clock.sleep(10);
    return contact();
  };
  // Ten rounds of four starts, and one contact before anything is changed.
  t.ok((await secondsOfFortyStarts(t, made, forty)) < 65);
  t.ok(tokyo.calls.filter((call) => call === 'contact').length > 1, 'it is still looked at, beside the work');
});

t.test('a lost site that takes connections and tells nothing costs one look, not one per VM', async (t) => {
  const made = await protectedHouse(forty);
  const tokyo = made.world.pool('tokyo');
  const { tokyo: site } = made.state.sites;
  if (site !== undefined) site.up = true;
  tokyo.vmStates = async (_vms: readonly string[], signal?: AbortSignal) => {
    await made.clock.sleep(3600, signal);
    throw new Error('nobody waits for so long');
  };
  t.ok((await secondsOfFortyStarts(t, made, forty)) < 120);
});

t.test('invariant 1: HA is not given a VM whose start was refused because its twin runs', async (t) => {
  const made = await protectedHouse(['db', 'web']);
  const { tokyo, osaka } = made.state.sites;
  if (tokyo === undefined || osaka === undefined) throw new Error('the world has two sites');
  tokyo.up = true;
  tokyo.pool.vms = tokyo.pool.vms.map((vm) => (vm.uuid === 'db' ? { ...vm, powerState: 'Halted' } : vm));
  const result = await made.run(failoverOf(['db', 'web']));
  t.match(result.run.steps.get('start-web')?.problem, { code: 'DR-TWIN-RUNNING' });
  t.same(
    osaka.pool.vms.map((vm) => [vm.nameLabel, vm.powerState, vm.haRestartPriority]),
    [
      ['db', 'Running', 'restart'],
      ['web', 'Halted', ''],
    ],
  );
  t.match(result.run.steps.get('ha')?.warnings, [/VM web was not restored: it is halted/]);
});

function fencePlan(names: readonly string[]): Plan {
  const vms = names.map(named);
  return planOf([
    step({
      id: 'fence',
      after: [],
      action: { do: 'fence-vms', site: 'tokyo', vms, reason: 'failed over to osaka' },
      holdsWhen: { is: 'vms-fenced', site: 'tokyo', vms },
    }),
  ]);
}

t.test('a VM that cannot be fenced is named; the others are fenced and the failover goes on', async (t) => {
  const { run, state, world } = house(['bad', 'db', 'web']);
  world.pool('tokyo').before = (call, vm) => {
    if (call === 'block' && vm === 'bad')
      throw new PortError('refused', { code: 'DR-FAKE', what: 'its host is offline', next: 'x' });
  };
  const result = await run(fencePlan(['bad', 'db', 'web']));
  t.equal(result.outcome, 'done-with-warnings');
  t.match(result.run.steps.get('fence'), {
    status: 'succeeded',
    output: { fenced: ['db', 'web'] },
    warnings: [/VM bad could not be blocked: its host is offline/],
  });
  t.equal(state.sites['tokyo']?.pool.vms.filter((vm) => vm.powerState === 'Halted').length, 3);
});

t.test('a site that was declared lost and dies before or while it is fenced holds up nobody', async (t) => {
  for (const when of ['before', 'meanwhile'] as const) {
    const { run, state, world } = house(['a', 'b', 'c', 'd', 'e', 'f']);
    const { tokyo } = state.sites;
    if (tokyo === undefined) throw new Error('the world has a Tokyo');
    if (when === 'before') tokyo.up = false;
    world.pool('tokyo').before = (call, vm) => {
      if (call === 'block' && vm === 'c') {
        tokyo.up = false;
        throw new PortError('unreachable', { code: 'DR-FAKE', what: 'the link broke', next: 'x' });
      }
    };
    const result = await run(fencePlan(['a', 'b', 'c', 'd', 'e', 'f']));
    t.equal(result.run.steps.get('fence')?.status, 'succeeded', `${when}: ${result.summary}`);
    t.match(result.run.steps.get('fence')?.warnings, [
      /site tokyo (does not answer any more|stopped answering)/,
    ]);
  }
});

t.test(
  'a member that does not see the SR, or cannot plug it, is left out; the VMs start elsewhere',
  async (t) => {
    for (const call of ['probe', 'plug'] as const) {
      const made = await protectedHouse(['db']);
      made.world.pool('osaka').before = (asked, host) => {
        if (asked === call && host === 'obb')
          throw new PortError('refused', { code: 'DR-FAKE', what: `no ${call} here`, next: 'x' });
      };
      const result = await made.run(failoverOf(['db']));
      t.equal(result.outcome, 'done-with-warnings', result.summary);
      t.match(result.run.steps.get('attach'), {
        output: { hosts: ['oa'] },
        warnings: [new RegExp(`host obb has no access to SR Data 1.*no ${call} here`)],
      });
      t.equal(result.run.steps.get('start-db')?.status, 'succeeded');
    }
  },
);

t.test(
  'a host that sees another SR in its place stops the attachment: the volume is the wrong one',
  async (t) => {
    const made = await protectedHouse(['db']);
    const osaka = made.world.pool('osaka');
    const probe = osaka.probe.bind(osaka);
    osaka.probe = async (host, type, config) => (host === 'obb' ? ['sr9'] : probe(host, type, config));
    const result = await made.run(failoverOf(['db']));
    t.match(result.run.steps.get('attach')?.problem, {
      code: 'DR-SR-NOT-SEEN',
      known: ['host obb: it finds another SR there (sr9)'],
    });
    t.notOk(made.state.deeds.some((deed) => deed.includes('introduce') || deed.includes('plug')));
  },
);

t.test('a pool whose master changed after the plan gets the SR on its master first', async (t) => {
  const made = await protectedHouse(['db'], (state) => {
    const { osaka } = state.sites;
    if (osaka !== undefined) osaka.pool.masterUuid = 'obb';
  });
  const result = await made.run(failoverOf(['db']));
  t.equal(result.outcome, 'done', result.summary);
  t.ok(made.state.deeds.indexOf('osaka: plug obb') < made.state.deeds.indexOf('osaka: plug oa'));
});

t.test('what a failover left undone is tried again by resuming it, once the reason is removed', async (t) => {
  const made = await protectedHouse(['bad', 'db', 'web']);
  const osaka = made.world.pool('osaka');
  osaka.refuseImport.add('bad');
  osaka.before = (call, host) => {
    if (call === 'probe' && host === 'obb')
      throw new PortError('refused', { code: 'DR-FAKE', what: 'masked', next: 'x' });
  };
  const first = await made.run(failoverOf(['bad', 'db', 'web']));
  t.equal(first.outcome, 'done-with-warnings');
  t.equal(first.run.steps.get('start-bad')?.status, 'failed');
  const again = () => resume(made.ports, { runId: first.run.id, by: 'Bob', version: '1' });
  made.state.deeds.length = 0;
  t.equal((await again()).outcome, 'done-with-warnings', 'nothing is better yet');
  t.notOk(made.state.deeds.some((deed) => /import|: start|plug/.test(deed)));

  osaka.refuseImport.clear();
  osaka.before = () => undefined;
  made.state.deeds.length = 0;
  const second = await again();
  t.equal(second.outcome, 'done', second.summary);
  t.same(made.state.deeds.filter((deed) => /import|: start|plug/.test(deed)).sort(), [
    'osaka: import bad',
    'osaka: plug obb',
    'osaka: start bad',
  ]);
  t.match(await made.ports.states.get('payroll'), { phase: 'failed-over', currentRun: null });
  made.state.deeds.length = 0;
  t.equal((await again()).outcome, 'done');
  t.same(made.state.deeds, [], 'and then there is nothing left to do');

  t.test('unless the group has been moved since', async (t) => {
    const moved = await protectedHouse(['bad', 'db']);
    moved.world.pool('osaka').refuseImport.add('bad');
    const old = await moved.run(failoverOf(['bad', 'db']));
    const state = await moved.ports.states.get('payroll');
    if (state === null) throw new Error('the group has a state');
    moved.ports.states.states.set('payroll', { ...state, generation: state.generation + 1 });
    moved.world.pool('osaka').refuseImport.clear();
    moved.state.deeds.length = 0;
    await resume(moved.ports, { runId: old.run.id, by: 'Bob', version: '1' });
    t.same(moved.state.deeds, []);
  });
});

t.test(
  'invariant 12: a network that was removed or got a namesake after the plan is not imported onto',
  async (t) => {
    for (const change of ['removed', 'doubled'] as const) {
      const made = await protectedHouse(['db'], (state) => {
        const { osaka } = state.sites;
        if (osaka === undefined) return;
        const office = osaka.pool.networks.filter(({ nameLabel }) => nameLabel === 'Office DR');
        osaka.pool.networks = [
          ...osaka.pool.networks.filter(({ nameLabel }) => nameLabel !== 'Office DR'),
          ...(change === 'removed'
            ? []
            : [...office, ...office.map((net) => ({ ...net, uuid: 'namesake' }))]),
        ];
      });
      const result = await made.run(failoverOf(['db']));
      t.match(result.run.steps.get('import')?.problem?.known, [/db: network Office DR is not there, once/]);
      t.notOk(
        made.state.deeds.some((deed) => deed.includes('import')),
        change,
      );
    }
  },
);

t.test('a VM of the right uuid that is not the VM of the point is never started', async (t) => {
  const made = await protectedHouse(['db', 'web'], (state) => {
    const { osaka } = state.sites;
    if (osaka !== undefined)
      osaka.pool.vms = [fakeVm('db', 'net-osaka', { powerState: 'Halted', version: 3, vbds: [] })];
  });
  const result = await made.run(failoverOf(['db', 'web']));
  t.equal(result.outcome, 'done-with-warnings');
  t.match(result.run.steps.get('start-db')?.problem, { code: 'DR-VM-NOT-THERE', known: [/lacks its disk/] });
  t.notOk(made.state.deeds.includes('osaka: start db'));
  t.ok(made.state.deeds.includes('osaka: start web'));
});

t.test('the damaged journal of one run does not hide the other runs', async (t) => {
  const made = await protectedHouse(['db']);
  await made.run(failoverOf(['db']));
  const { journals } = made.ports;
  const all = (await briefs({ journals })).length;
  t.equal(all, 2);
  const [newest] = await journals.list();
  const read = journals.read.bind(journals);
  journals.read = async (id) => {
    if (id === newest) throw new OperatorError({ code: 'DR-JOURNAL-BROKEN', what: 'damaged', next: 'x' });
    return read(id);
  };
  t.equal((await briefs({ journals })).length, 1);
});
