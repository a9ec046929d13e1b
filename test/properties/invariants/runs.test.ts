/**
 * Invariants that only a run can break: the real application over the model of two sites (test/faults/sweep), with
 * trouble at any call and a crash at any line.
 */
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import type { PlannedRun } from '../../../src/app/app.ts';
import { drillOfVm } from '../../../src/domain/drill.ts';
import { OperatorError } from '../../../src/domain/errors.ts';
import { foldRun, type Run } from '../../../src/domain/run.ts';
import { ModelArray } from '../../faults/sweep/array.ts';
import { Beginning, undisturbed } from '../../faults/sweep/calls.ts';
import type { House } from '../../faults/sweep/house.ts';
import { drillNetworkName } from '../../faults/sweep/networks.ts';
import { violationsAfter, worldOf } from '../../faults/sweep/oracle.ts';
import { ModelPool } from '../../faults/sweep/pool.ts';
import { type Story, stories } from '../../faults/sweep/stories.ts';
import { everyTrouble, PowerCut, type Trouble } from '../../faults/sweep/trouble.ts';
import { invariant } from './sentence.ts';

const vms = 2;
/** The same worlds each time; `make sweep` and `make sim` go further. */
const some = { numRuns: 15, seed: 20260314 };

const beginnings = new Map<string, Beginning>();
async function beginningOf(story: Story): Promise<Beginning> {
  const known = beginnings.get(story.name) ?? (await Beginning.of(story, vms));
  beginnings.set(story.name, known);
  return known;
}

const worldsAfter = new Map<string, unknown>();
async function worldAfter(story: Story): Promise<unknown> {
  if (!worldsAfter.has(story.name))
    worldsAfter.set(story.name, (await undisturbed(await beginningOf(story), story)).world);
  return worldsAfter.get(story.name);
}

function storyNamed(name: string): Story {
  const found = stories.find((story) => story.name === name);
  if (found === undefined) throw new Error(`no story ${name}`);
  return found;
}

const anyStory = fc.constantFrom(...stories);
const anyTrouble = fc.record({
  call: fc.integer({ min: 1, max: 150 }),
  kind: fc.constantFrom<Trouble>(...everyTrouble),
});

/** The run of a story with this trouble; `watch` sees the house before it begins. */
async function troubled(
  story: Story,
  { call, kind }: { readonly call: number; readonly kind: Trouble },
  watch: (house: House) => void,
): Promise<{ readonly house: House; readonly run: Run }> {
  let begun = Number.POSITIVE_INFINITY;
  const house = (await beginningOf(story)).again((number) => (number === begun + call ? kind : null));
  const planned = await house.plan(story.request);
  begun = house.fate.calls;
  watch(house);
  return { house, run: await house.app.run(planned, { by: 'Ada', onEvent: () => undefined }) };
}

const sites = (house: House) => Object.entries(house.world.state.sites);

t.test(invariant(1), async (t) => {
  let starts = 0;
  const moves = stories.filter(({ name }) => name !== 'drill' && name !== 'reprotect');
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...moves), anyTrouble, async (story, trouble) => {
      const { house } = await troubled(story, trouble, (house) => {
        house.world.onChange = () => {
          const [, site, name] = /^(\w+): start (.+)$/.exec(house.world.state.deeds.at(-1) ?? '') ?? [];
          if (site === undefined) return;
          starts += 1;
          for (const [other, { up, pool }] of sites(house)) {
            if (other === site) continue;
            const twin = pool.vms.find((vm) => vm.nameLabel === name);
            if (up && twin !== undefined && twin.powerState !== 'Halted')
              house.world.violation(`${name} started at ${site} beside its twin`);
            if (!up && story.name !== 'failover') house.world.violation(`${name} started, its twin not seen`);
          }
        };
      });
      if (house.world.state.violations.length > 0) throw new Error(house.world.state.violations.join('; '));
      const [id = ''] = await house.journals.list();
      const { decisions } = foldRun(await house.journals.read(id));
      if (
        story.name === 'failover' &&
        !decisions.some(({ decision, by }) => decision === 'declare-lost' && by === 'Ada')
      )
        throw new Error('a silent site was taken for lost, and nobody said so');
    }),
    some,
  );
  t.ok(starts > 10, `${starts} starts`);
});

/** Roles, points, and what the replicas hold; the VMs of production go on writing to their own side. */
function replicationOf({ world }: House): string {
  return JSON.stringify(
    Object.values(world.state.volumes).map(({ role, points, common, content }) => [
      role,
      points,
      common,
      role === 'source' ? null : content,
    ]),
  );
}

t.test(invariant(3), async (t) => {
  const drill = storyNamed('drill');
  let copies = 0;
  await fc.assert(
    fc.asyncProperty(anyTrouble, async (trouble) => {
      const { house, run } = await troubled(drill, trouble, (house) => {
        const before = replicationOf(house);
        house.world.onChange = () => {
          if (replicationOf(house) !== before)
            house.world.violation('the drill touched production replication');
          for (const [site, { pool }] of sites(house))
            for (const vm of pool.vms.filter((each) => drillOfVm(each) !== null)) {
              copies += 1;
              const networks = vm.vifs.map(
                ({ networkUuid }) => pool.networks.find(({ uuid }) => uuid === networkUuid)?.nameLabel,
              );
              if (networks.some((name) => name !== drillNetworkName))
                house.world.violation(`a copy at ${site} is on ${networks.join(', ')}`);
            }
        };
      });
      const kinds = run.plan.steps.map(({ action }) => action.do);
      for (const kind of ['remove-copies', 'forget-clone', 'stop-clone', 'compare-inventory'] as const)
        if (!kinds.includes(kind)) throw new Error(`the clean-up plans no ${kind}`);
      if (house.world.state.violations.length > 0) throw new Error(house.world.state.violations.join('; '));
    }),
    some,
  );
  t.ok(copies > 10, `${copies} looks at copies`);
});

t.test(invariant(4), async (t) => {
  let promotions = 0;
  await fc.assert(
    fc.asyncProperty(fc.constantFrom('migrate', 'failback'), anyTrouble, async (name, trouble) => {
      // The array of the model says so when the source is not prepared, or the point is not its last one.
      const { house } = await troubled(storyNamed(name), trouble, (house) => {
        house.world.onChange = () => {
          if (house.world.state.deeds.at(-1)?.startsWith('promote') === true) promotions += 1;
        };
      });
      if (house.world.state.violations.length > 0) throw new Error(house.world.state.violations.join('; '));
    }),
    some,
  );
  t.ok(promotions > 5, `${promotions} promotions`);
});

t.test(invariant(6), async (t) => {
  let deeds = 0;
  await fc.assert(
    fc.asyncProperty(anyStory, anyTrouble, async (story, trouble) => {
      let run: string | undefined;
      const { house } = await troubled(story, trouble, (house) => {
        const known = new Set<string>();
        void house.journals.list().then((ids) => ids.forEach((id) => void known.add(id)));
        house.world.onChange = () => {
          deeds += 1;
          const { runs } = house.journals as unknown as { runs: Map<string, Parameters<typeof foldRun>[0]> };
          run = [...runs.keys()].find((id) => !known.has(id));
          const folded = foldRun(runs.get(run ?? '') ?? []);
          const open = folded.plan.steps.filter(({ id }) => folded.steps.get(id)?.status === 'running');
          if (open.length === 0)
            house.world.violation(`${house.world.state.deeds.at(-1)}: no step of the plan is under way`);
        };
      });
      if (house.world.state.violations.length > 0) throw new Error(house.world.state.violations.join('; '));
    }),
    some,
  );
  t.ok(deeds > 100, `${deeds} deeds`);
  for (const story of stories.filter(({ name }) => name !== 'drill')) {
    const house = (await beginningOf(story)).again();
    await house.act(story.request);
    const again = await house.plan(story.request);
    t.same(again.plan.steps, [], `planning the ${story.name} again on the finished world`);
  }
});

t.test(invariant(8), async (t) => {
  let crashes = 0;
  await fc.assert(
    fc.asyncProperty(anyStory, fc.integer({ min: 2, max: 90 }), async (story, line) => {
      const beginning = await beginningOf(story);
      const world = await worldAfter(story);
      const house = beginning.again();
      const journals = house.journals as unknown as { beforeAppend: () => void };
      const planned = await house.plan(story.request);
      let written = 0;
      journals.beforeAppend = () => {
        written += 1;
        if (written < line) return;
        house.fate.dead = true;
        throw new PowerCut('the machine is off');
      };
      const died = await house.app.run(planned, { by: 'Ada', onEvent: () => undefined }).then(
        () => false,
        () => true,
      );
      if (!died) return;
      crashes += 1;
      journals.beforeAppend = () => undefined;
      house.fate.dead = false;
      const [id = ''] = await house.journals.list();
      const run = await house.resume(id);
      const violations = await violationsAfter(house, run);
      if (violations.length > 0) throw new Error(violations.join('; '));
      if (run.outcome !== 'stuck' && !isDeepStrictEqual(worldOf(house.world.state), world))
        throw new Error(`${run.outcome}, in another world: ${run.summary}`);
    }),
    some,
  );
  t.ok(crashes > 5, `${crashes} crashes`);
});

t.test(invariant(9), async (t) => {
  const begun = ['drill', 'migrate'].map(storyNamed);
  for (const older of begun) {
    for (const newer of begun) {
      const house = (await beginningOf(older)).again();
      const old: PlannedRun = await house.plan(older.request);
      await house.act(newer.request);
      const deeds = house.world.state.deeds.length;
      await t.rejects(house.app.run(old, { by: 'Ada', onEvent: () => undefined }), { code: 'DR-PLAN-STALE' });
      t.equal(house.world.state.deeds.length, deeds, `${older.name} after ${newer.name}: nothing was done`);
    }
  }
});

t.test(invariant(10), async (t) => {
  const failover = storyNamed('failover');
  const beginning = await beginningOf(failover);
  const lost: string[] = [];
  const house = beginning.again((_, name) => {
    if (!/^(osaka|filer-osaka)\./.test(name)) return null;
    lost.push(name);
    return 'unreachable';
  });
  const run = await house.act(failover.request);
  t.equal(run.outcome, 'done', run.summary ?? '');
  t.ok(lost.length > 0, 'it was asked, and every question went nowhere');
});

t.test(invariant(11), async (t) => {
  const verbs = [ModelPool, ModelArray].flatMap(({ prototype }) => Object.getOwnPropertyNames(prototype));
  const wiping = verbs.filter((verb) => /destroy|delete|erase|wipe|format|createSr|createVdi/i.test(verb));
  t.same(wiping, ['destroyMarkedVm'], 'the ports know no verb that wipes storage');
  await fc.assert(
    fc.asyncProperty(anyStory, anyTrouble, async (story, trouble) => {
      const { house } = await troubled(story, trouble, () => undefined);
      const disks = new Set(sites(house).flatMap(([, { pool }]) => pool.vdis.map(({ uuid }) => uuid)));
      for (const vm of Object.values(house.world.state.originals))
        for (const { vdiUuid } of vm.vbds)
          if (vdiUuid !== null && !disks.has(vdiUuid)) throw new Error(`disk lost: ${vm.nameLabel}`);
      if (house.world.state.violations.length > 0) throw new Error(house.world.state.violations.join('; '));
    }),
    some,
  );
});

t.test('a refused run says why', async (t) => {
  const house = (await beginningOf(storyNamed('migrate'))).again();
  house.world.kill('tokyo');
  await t.rejects(house.act(storyNamed('migrate').request), OperatorError);
});
