/** Invariant 8: a crash at any journal line, or between an effect and its outcome, then resume, ends in the same world. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { VirtualClock } from '../../src/adapters/system/virtual-clock.ts';
import { execute, planDigest, resume } from '../../src/execute/executor.ts';
import { handlersOver } from '../../src/execute/interpreter.ts';
import { type FakeState, FakeWorld, twoSites } from '../execute/fakes.ts';
import { exportOf } from '../execute/plans.ts';
import { countingEntropy, MemoryJournals, MemoryStates } from '../execute/support.ts';
import { openHouse, readWorld, runId, vmNames, writeWorld } from './journal-crash-house.ts';

const child = join(import.meta.dirname, 'journal-crash-child.ts');

/** A protected group whose site has fallen silent. */
async function prepare(directory: string): Promise<void> {
  const state = twoSites(vmNames);
  const clock = new VirtualClock({ auto: true });
  const states = new MemoryStates();
  const world = new FakeWorld(state, clock, states);
  const plan = exportOf(vmNames);
  await execute(
    { journals: new MemoryJournals(), states, clock, entropy: countingEntropy(), ...handlersOver(world) },
    { plan, planDigest: planDigest(plan), by: 'Ada', version: '1' },
  );
  const tokyo = state.sites['tokyo'];
  if (tokyo !== undefined) tokyo.up = false;
  state.deeds.length = 0;
  writeWorld(directory, state);
}

async function crash(
  directory: string,
  kind: 'line' | 'deed',
  count: number,
): Promise<'killed' | 'finished'> {
  const running = spawn(process.execPath, [child, directory, kind, String(count)], {
    stdio: 'inherit',
    // Dozens of children load the same program: compiling it each time would be most of their life.
    env: {
      ...process.env,
      NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] ?? join(directory, '..', 'compiled'),
    },
  });
  const [code, signal] = await once(running, 'exit');
  if (signal === 'SIGKILL') return 'killed';
  if (code !== 0) throw new Error(`the child ended with ${code}`);
  return 'finished';
}

const outside = ({ deeds: _deeds, ...world }: FakeState) => world;

t.test('a process killed at any point of a failover is resumed into the same world', async (t) => {
  const root = t.testdir();
  const first = join(root, 'first');
  await prepare(first);
  const whole = join(root, 'whole');
  cpSync(first, whole, { recursive: true });
  t.equal(await crash(whole, 'line', 0), 'finished');
  const expected = readWorld(whole);
  const house = openHouse(whole);
  const lines = (await house.journals.read(runId)).length;
  house.states.close();
  t.ok(lines >= 30 && expected.deeds.length > 10, `${lines} journal lines, ${expected.deeds.length} deeds`);

  const points = [
    ...Array.from({ length: lines }, (_, index) => ['line', index + 1] as const),
    ...expected.deeds.map((_, index) => ['deed', index + 1] as const),
  ];
  const tryPoint = async ([kind, count]: readonly ['line' | 'deed', number]): Promise<void> => {
    const directory = join(root, `${kind}-${count}`);
    cpSync(first, directory, { recursive: true });
    t.equal(await crash(directory, kind, count), 'killed');
    const { ports, states } = openHouse(directory);
    const result = await resume(ports, { runId, by: 'Bob', version: '1' });
    t.equal(result.outcome, 'done', `${kind} ${count}: ${result.summary}`);
    const world = readWorld(directory);
    t.same(outside(world), outside(expected), `the world after a crash at ${kind} ${count}`);
    for (const deed of ['promote vol1r', 'osaka: start db', 'osaka: start web', 'osaka: import db+web'])
      t.equal(world.deeds.filter((done) => done === deed).length, 1, `${deed}, once`);
    t.match(await states.get('payroll'), {
      phase: 'failed-over',
      activeSite: 'osaka',
      currentRun: null,
      generation: 1,
    });
    states.close();
  };
  const queue = points.values();
  const lane = async (): Promise<void> => {
    for (const point of queue) await tryPoint(point);
  };
  await Promise.all([lane(), lane()]);
  t.comment(`crash points ${points.length}`);
});
