/** Drills as an operator types them, on the lab: the whole way, kept, killed in the middle, and in the way of a failover. */
import t, { type Test } from 'tap';
import { drillMark, drillPrefix } from '../../src/domain/drill.ts';
import { arrayOf, arraysOf } from '../../src/lab/arrays/index.ts';
import { guestRead, guestWrite, ledgerOf } from '../../src/lab/vm/guest.ts';
import { evidenceOf } from '../../src/report/evidence.ts';
import { ends, failover, World } from './trouble.ts';

t.setTimeout(240_000);

const guests = { db: 2, app: 1, web: 1 };
const everybody = ['app-01', 'db-01', 'db-02', 'web-01'];
const drill = ['drill', 'shop', '--yes', 'recovery'] as const;
const text = 'written at production before the point';

/** A world whose database has written something that has arrived at the recovery array, and that is exported. */
async function protectedWorld(t: Test): Promise<World> {
  const world = await World.start(t, { guests, saved: false });
  guestWrite(world.lab, 'production', vmOf(world, 'production', 'db-01').uuid, '0', 4096, Buffer.from(text));
  await arrayOf(world.lab, 'array-production').transfers.sync('gold', null).done;
  ends(t, 'export', await world.run('export', 'shop'), 0);
  return world;
}

function vmOf(world: World, pool: 'production' | 'recovery', name: string) {
  const vm = world.lab.pool(pool).db.byName('VM', name)[0];
  if (vm === undefined) throw new Error(`no VM ${name} in ${pool}`);
  return vm;
}

/** What a drill must leave as it was: everything in the recovery pool, and the state of every volume. */
function inventory(world: World): unknown {
  const { db } = world.lab.pool('recovery');
  const names = (kind: 'VM' | 'SR' | 'VDI' | 'PBD' | 'VBD' | 'VIF' | 'network' | 'VM_appliance'): string[] =>
    db
      .all(kind)
      .map((row) => row.uuid)
      .sort();
  return {
    vms: names('VM'),
    srs: names('SR'),
    vdis: names('VDI'),
    pbds: names('PBD'),
    vbds: names('VBD'),
    vifs: names('VIF'),
    networks: names('network'),
    appliances: names('VM_appliance'),
    volumes: [...arraysOf(world.lab).values()].flatMap(({ array }) =>
      [...array.volumes.values()].map(({ name, state, drills }) => [
        array.name,
        name,
        state,
        [...drills.keys()],
      ]),
    ),
  };
}

/** The verbs that change something, as the arrays were asked for them. */
function verbs(world: World): string[] {
  return [...arraysOf(world.lab).values()]
    .flatMap((server) => server.log)
    .filter((line) => !line.startsWith('GET '))
    .map((line) => line.replace(/^\S+ \S*\//, ''));
}

// One world for all: what a step leaves behind would show in the next one.
t.test('drilled, kept, killed in the middle, and in the way of a failover', async (t) => {
  const world = await protectedWorld(t);
  const before = inventory(world);
  const cleanup = () => world.run('drill', 'cleanup', 'shop', '--yes', 'recovery');

  const done = await world.run(...drill);
  ends(t, 'the drill', done, 0, /4 of 4 VMs at site recovery/, /the same before and after/, /Cleaned up yes/);
  t.strictSame(inventory(world), before, 'before equals after');
  t.strictSame(world.running('production'), everybody, 'production runs on');
  const asked = verbs(world);
  t.ok(asked.length > 0);
  for (const verb of asked) t.match(verb, /drill/i, `${verb}: of replication only clones were asked`);
  const last = (await world.runs()).at(-1);
  t.match(last === undefined ? null : evidenceOf(last), {
    inventory: 'equal',
    cleanedUp: 'yes',
    planDigest: last?.planDigest,
    vms: [{ proven: true }, { proven: true }, { proven: true }, { proven: true }],
  });

  ends(t, 'kept', await world.run(...drill, '--keep', '--vm', 'db-01'), 0, /drill cleanup shop/);
  const copy = vmOf(world, 'recovery', `${drillPrefix}db-01`);
  t.equal(copy.text('power_state'), 'Running');
  t.ok(copy.map('other_config')[drillMark]);
  t.equal(readText(world, copy.uuid), text, 'what production wrote is on the disk of the copy');
  ends(t, 'cleanup', await cleanup(), 0, /Clean-up of a drill of group shop: done/);
  t.strictSame(inventory(world), before, 'before equals after');

  await killInTheMiddle(world);
  t.notSame(inventory(world), before, 'something stands');
  ends(t, 'status', await world.run('status', 'shop'), 3, /drill under way/, /lifeboat drill cleanup shop/);
  ends(t, 'cleanup after the kill', await cleanup(), 0);
  t.strictSame(inventory(world), before, 'before equals after');

  await killInTheMiddle(world);
  guestWrite(
    world.lab,
    'recovery',
    vmOf(world, 'recovery', `${drillPrefix}db-01`).uuid,
    '0',
    4096,
    Buffer.from('of the drill'),
  );
  t.strictSame(ledgerOf(world.lab).violations, []);
  await world.killProduction();
  const taken = await world.run(...failover);
  t.ok([0, 3].includes(taken.code), 'the failover', { said: taken.said });
  t.match(taken.said, /DR-DRILL-LEFTOVER/, 'the plan tells what it takes away first');
  t.strictSame(world.running('recovery'), everybody, 'the real ones run, and no copy is left');
  t.notOk([...world.powerStates('recovery').keys()].some((name) => name.startsWith(drillPrefix)));
  t.equal(
    readText(world, vmOf(world, 'recovery', 'db-01').uuid),
    text,
    'what a copy wrote went with its clone',
  );
  t.strictSame(ledgerOf(world.lab).violations, []);
});

/** The disks are there and the first copies run when the program is gone. */
async function killInTheMiddle(world: World): Promise<void> {
  const slow = await world.fault({
    pool: 'recovery',
    method: 'VM.start',
    nth: 2,
    times: 'always',
    // Longer than it takes to kill the program; the lab waits for it at its end.
    effect: { kind: 'delay', seconds: 10 },
  });
  const running = world.begin(...drill);
  await running.says(/done +start-db-01/);
  running.kill('SIGKILL');
  await running.ended;
  world.lab.faults.remove(slow);
}

function readText(world: World, vm: string): string {
  return guestRead(world.lab, 'recovery', vm, '0', 4096, text.length).toString();
}
