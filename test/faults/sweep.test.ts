/** A sample of `make sweep`: crashes, spoilt calls, rivals and seeds, the same ones each time. */
import t from 'tap';
import { shakePools, spoilCalls } from './sweep/calls.ts';
import { crashEverywhere } from './sweep/crashes.ts';
import { memoryHouse, someVms } from './sweep/house.ts';
import { simulate } from './sweep/months.ts';
import { violationsAfter } from './sweep/oracle.ts';
import { letRivalsLoose } from './sweep/rivals.ts';
import { stories } from './sweep/stories.ts';

t.test(
  'a process killed behind a line or a deed is resumed by another one into the same world',
  async (t) => {
    // The failover has a test of its own, at every point: journal-crash.test.ts.
    for (const story of stories.slice(1, 3)) {
      const tally = await crashEverywhere(story, 2, { every: 31, lanes: 2 });
      t.same(tally.violations, [], story.name);
      t.ok(
        tally.tried >= 1 && tally.stuck === 0,
        `${story.name}: ${tally.tried} of ${tally.points} crash points`,
      );
    }
  },
);

t.test('a call that fails, is late or loses its answer costs nothing but a resume', async (t) => {
  for (const story of stories) {
    const tally = await spoilCalls(story, 2, 23);
    t.same(tally.violations, [], story.name);
    t.ok(tally.tried >= 2, `${story.name}: ${tally.tried} calls`);
  }
});

t.test('a new master or a restart of the toolstack in the middle costs nothing but a resume', async (t) => {
  for (const story of stories) {
    const tally = await shakePools(story, 2, 47);
    t.same(tally.violations, [], story.name);
    t.ok(tally.tried >= 2, `${story.name}: ${tally.tried} tried`);
  }
});

t.test('of two orchestrators one gets through, and the world is as after one', async (t) => {
  for (const story of stories) {
    const tally = await letRivalsLoose(story, 2, 43);
    t.same(tally.violations, [], story.name);
    t.ok(tally.tried >= 2, `${story.name}: ${tally.tried} rivals`);
  }
});

t.test('months of work, deaths, moves and crashes violate nothing', async (t) => {
  let runs = 0;
  let crashes = 0;
  for (let seed = 1; seed <= 10; seed += 1) {
    const tally = await simulate(seed);
    t.same(tally.violations, [], `seed ${seed}`);
    runs += tally.runs;
    crashes += tally.crashes;
  }
  t.ok(runs > 150 && crashes > 5, `${runs} runs, ${crashes} of them died with their machine`);
});

t.test('the oracle sees what it is there for', async (t) => {
  const violated = async (name: string, harm: (house: ReturnType<typeof memoryHouse>) => void) => {
    const story = stories.find((each) => each.name === name);
    if (story === undefined) throw new Error(`no story ${name}`);
    const house = memoryHouse(someVms(2));
    await story.begin(house);
    const run = await house.act(story.request);
    t.same(await violationsAfter(house, run), [], `${name}, unharmed`);
    harm(house);
    return violationsAfter(house, run);
  };
  const vmOf = (house: ReturnType<typeof memoryHouse>, site: string) => {
    const [vm] = house.world.site(site).pool.vms;
    if (vm === undefined) throw new Error(`no VM at ${site}`);
    return vm as { powerState: string };
  };
  const twin = await violated('migrate', (house) =>
    Object.assign(vmOf(house, 'osaka'), { powerState: 'Running' }),
  );
  t.match(twin, [/twin running: db-01 at osaka and tokyo/]);
  const lie = await violated('failover', (house) =>
    Object.assign(vmOf(house, 'tokyo'), { powerState: 'Halted' }),
  );
  t.match(lie, [/lie: db-01 is said to run at tokyo/]);
  const lost = await violated('migrate', (house) => {
    for (const volume of Object.values(house.world.state.volumes)) volume.content = { ...volume.content };
    for (const [key, volume] of Object.entries(house.world.state.volumes))
      if (key.startsWith('filer-tokyo')) for (const vm of Object.keys(volume.content)) volume.content[vm] = 0;
  });
  t.ok(lost.some((each) => each.startsWith('data lost')));
  const left = await violated('drill', (house) => {
    const [volume] = Object.values(house.world.state.volumes);
    if (volume !== undefined) volume.drills['shop-20260314T020000Z-0001'] = {};
  });
  t.match(left, [/drill object left behind: clone of filer-osaka/]);
});
