/**
 * A process is killed behind each line of its journal, and behind each change of the world; another process resumes the
 * run, and the worlds are compared (invariant 8).
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { bringToEnd, nothingTried, type Tally } from './calls.ts';
import { type House, houseIn, readWorld, someVms, writeWorld } from './house.ts';
import { violationsAfter, worldOf } from './oracle.ts';
import { firstState, type ModelState } from './state.ts';
import type { Story } from './stories.ts';

const child = join(import.meta.dirname, 'child.ts');
/** What the children of this process share of their program in compiled form. */
const compiled = mkdtempSync(join(tmpdir(), 'lifeboat-compiled-'));
process.on('exit', () => rmSync(compiled, { recursive: true, force: true }));

interface Point {
  readonly kind: 'line' | 'deed';
  readonly at: number;
}

export interface CrashTally extends Tally {
  /** Lines and changes of the undisturbed run: as many as there are to try. */
  points: number;
}

/** `every`: of how many crash points one is tried; 1 for all. `lanes`: children at once. */
export async function crashEverywhere(
  story: Story,
  vms: number,
  { every, lanes }: { readonly every: number; readonly lanes: number },
): Promise<CrashTally> {
  const root = mkdtempSync(join(tmpdir(), 'lifeboat-sweep-'));
  try {
    const first = join(root, 'first');
    writeWorld(first, firstState(someVms(vms)));
    const { house, close } = houseIn(first, 'b');
    await story.begin(house);
    writeWorld(first, house.world.state);
    close();
    const whole = await undisturbed(root, first, story);
    const points = pointsOf(whole);
    const tally: CrashTally = { ...nothingTried(), points: points.length };
    const queue = points.filter((_, index) => index % every === 0).values();
    const lane = async (): Promise<void> => {
      for (const point of queue) await tryPoint(root, first, story, point, worldOf(whole.state), tally);
    };
    await Promise.all(Array.from({ length: lanes }, lane));
    return tally;
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

interface Whole {
  readonly state: ModelState;
  readonly lines: number;
  readonly deeds: number;
}

async function undisturbed(root: string, first: string, story: Story): Promise<Whole> {
  const directory = join(root, 'whole');
  cpSync(first, directory, { recursive: true });
  const before = readWorld(directory).deeds.length;
  if ((await killAt(directory, story, { kind: 'line', at: 0 })) !== 'finished')
    throw new Error(`${story.name} was not to be killed`);
  const state = readWorld(directory);
  const { house, close } = houseIn(directory, 'w');
  try {
    const id = await runOf(house, story);
    const run = await house.app.runs.read(id);
    const violations = await violationsAfter(house, run);
    if (run.outcome !== 'done' || violations.length > 0)
      throw new Error(`${story.name} ends ${run.outcome}: ${run.summary}; ${violations.join('; ')}`);
    const lines = (await house.journals.read(id)).length;
    return { state, lines, deeds: state.deeds.length - before };
  } finally {
    close();
  }
}

/** By its operation: two runs of one second stand in the order of their names, not of their beginnings. */
async function runOf({ journals }: House, { request: { operation } }: Story): Promise<string> {
  const id = (await journals.list()).find((each) => each.includes(`-${operation}-`));
  if (id === undefined) throw new Error(`no ${operation} was begun`);
  return id;
}

function pointsOf({ lines, deeds }: Whole): Point[] {
  const points = (kind: Point['kind'], count: number): Point[] =>
    Array.from({ length: count }, (_, index) => ({ kind, at: index + 1 }));
  return [...points('line', lines), ...points('deed', deeds)];
}

async function killAt(directory: string, story: Story, { kind, at }: Point): Promise<'killed' | 'finished'> {
  const running = spawn(process.execPath, [child, directory, story.name, kind, String(at)], {
    stdio: 'inherit',
    // Hundreds of children load the same program: compiling it each time would be most of their life.
    env: { ...process.env, NODE_COMPILE_CACHE: compiled },
  });
  const [code, signal] = await once(running, 'exit');
  if (signal === 'SIGKILL') return 'killed';
  if (code !== 0) throw new Error(`the child of ${story.name} at ${kind} ${at} ended with ${code}`);
  return 'finished';
}

async function tryPoint(
  root: string,
  first: string,
  story: Story,
  point: Point,
  world: unknown,
  tally: CrashTally,
): Promise<void> {
  const what = `${story.name}, killed behind ${point.kind} ${point.at}`;
  const directory = join(root, `${point.kind}-${point.at}`);
  cpSync(first, directory, { recursive: true });
  try {
    if ((await killAt(directory, story, point)) !== 'killed') {
      tally.violations.push(`${what}: nobody was killed`);
      return;
    }
    tally.tried += 1;
    tally.violations.push(
      ...(await resumedInto(directory, story, world, tally)).map((each) => `${what}: ${each}`),
    );
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** What is wrong with the world into which this process, which is not the killed one, resumes the run. */
async function resumedInto(directory: string, story: Story, world: unknown, tally: Tally): Promise<string[]> {
  const { house, close } = houseIn(directory, 'r');
  house.world.onChange = () => undefined;
  try {
    const id = await runOf(house, story);
    const run = await bringToEnd(house, await house.resume(id), tally);
    const violations = await violationsAfter(house, run);
    if (run.outcome === 'stuck') tally.stuck += 1;
    else if (run.outcome !== 'done') violations.push(`resumed, and ${run.outcome}: ${run.summary}`);
    else if (
      run.plan.operation === story.request.operation &&
      !isDeepStrictEqual(worldOf(house.world.state), world)
    )
      violations.push('done, in another world');
    return violations;
  } finally {
    close();
  }
}
