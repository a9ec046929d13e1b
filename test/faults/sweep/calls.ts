/** The n-th call of a run fails, is late, or loses its answer, for every n; the run is resumed, and the worlds compared. */
import { isDeepStrictEqual } from 'node:util';
import { VirtualClock } from '../../../src/adapters/system/virtual-clock.ts';
import { OperatorError } from '../../../src/domain/errors.ts';
import type { Run } from '../../../src/domain/run.ts';
import { MemoryJournals, MemoryStates } from '../../execute/support.ts';
import { House, memoryHouse, someVms } from './house.ts';
import { violationsAfter, worldOf } from './oracle.ts';
import type { Story } from './stories.ts';
import { everyTrouble, Fate, PowerCut, type Trouble } from './trouble.ts';

export interface Tally {
  tried: number;
  stuck: number;
  /** Runs that needed a person to resume them. */
  resumed: number;
  readonly violations: string[];
}

export const nothingTried = (): Tally => ({ tried: 0, stuck: 0, resumed: 0, violations: [] });

/** A world that many runs begin in: each gets its own copy. */
export class Beginning {
  readonly #house: House;
  readonly #journals: MemoryJournals;
  readonly #states: MemoryStates;

  private constructor(house: House) {
    this.#house = house;
    this.#journals = house.journals as MemoryJournals;
    this.#states = house.states as MemoryStates;
  }

  static async of(story: Story, vms: number): Promise<Beginning> {
    const house = memoryHouse(someVms(vms));
    await story.begin(house);
    if (house.world.state.violations.length > 0) throw new Error(house.world.state.violations.join('; '));
    return new Beginning(house);
  }

  get house(): House {
    return this.#house;
  }

  again(troubleOf?: (call: number, name: string) => Trouble | null): House {
    const clock = new VirtualClock({ start: this.#house.clock.now(), auto: true });
    const journals = new MemoryJournals();
    for (const [id, events] of this.#journals.runs) journals.runs.set(id, [...events]);
    const states = new MemoryStates();
    for (const [name, state] of this.#states.states) states.states.set(name, state);
    const state = structuredClone(this.#house.world.state);
    return new House({ state, clock, journals, states, fate: new Fate(clock, troubleOf) });
  }
}

/** The calls of the undisturbed run, and the world that it leaves. */
export async function undisturbed(beginning: Beginning, story: Story) {
  let from = 0;
  const house = beginning.again();
  const planned = await house.plan(story.request);
  from = house.fate.calls;
  const run = await house.app.run(planned, { by: 'Ada', onEvent: () => undefined });
  const violations = await violationsAfter(house, run);
  if (run.outcome !== 'done' || violations.length > 0)
    throw new Error(`${story.name} ends ${run.outcome}: ${run.summary}; ${violations.join('; ')}`);
  return {
    calls: house.fate.calls - from,
    names: house.fate.names.slice(from),
    world: worldOf(house.world.state),
  };
}

/** `every`: each how many calls one is spoilt; 1 for all of them. */
export async function spoilCalls(story: Story, vms: number, every: number): Promise<Tally> {
  const beginning = await Beginning.of(story, vms);
  const whole = await undisturbed(beginning, story);
  const tally = nothingTried();
  for (let call = 1; call <= whole.calls; call += every) {
    // A sample meets each trouble in turn; the whole sweep meets all of them at each call.
    const troubles =
      every === 1 ? everyTrouble : [everyTrouble[Math.floor(call / every) % everyTrouble.length] ?? 'busy'];
    for (const trouble of troubles) {
      const what = `${story.name}, call ${call} (${whole.names[call - 1]}): ${trouble}`;
      const spoilt: Disturbance = (number) => (number === call ? trouble : null);
      await disturb(beginning, story, spoilt, whole.world, what, tally);
    }
  }
  return tally;
}

/** What happens at the n-th call of a run; the house may be shaken on the way. */
type Disturbance = (call: number, name: string, house: House) => Trouble | null;

async function disturb(
  beginning: Beginning,
  story: Story,
  disturbance: Disturbance,
  world: unknown,
  what: string,
  tally: Tally,
): Promise<void> {
  let begun = Number.POSITIVE_INFINITY;
  const house: House = beginning.again((number, name) =>
    number > begun ? disturbance(number - begun, name, house) : null,
  );
  const planned = await house.plan(story.request);
  begun = house.fate.calls;
  tally.tried += 1;
  const note = (sentences: readonly string[]): void => {
    tally.violations.push(...sentences.map((sentence) => `${what}: ${sentence}`));
  };
  let run: Run;
  try {
    run = await house.app.run(planned, { by: 'Ada', onEvent: () => undefined });
  } catch (error) {
    if (error instanceof PowerCut) throw error;
    note([`the run did not end: ${error instanceof Error ? error.message : String(error)}`]);
    return;
  }
  note(await violationsAfter(house, run));
  const end = await bringToEnd(house, run, tally);
  note(await violationsAfter(house, end));
  if (end.outcome === 'done' && !isDeepStrictEqual(worldOf(house.world.state), world))
    note(['done, in another world']);
  if (end.outcome === 'stuck') tally.stuck += 1;
  else if (end.outcome !== 'done' && end.outcome !== 'done-with-warnings' && !isBrokenDrill(end))
    note([`resumed three times, and still ${end.outcome}: ${end.summary}`]);
}

/** How many calls a pool misses while its toolstack restarts. */
const restartCalls = 6;

/** At the n-th call the pool to which the group goes gets another master, or its toolstack restarts; for every n. */
export async function shakePools(story: Story, vms: number, every: number): Promise<Tally> {
  const beginning = await Beginning.of(story, vms);
  const whole = await undisturbed(beginning, story);
  const tally = nothingTried();
  const site = story.name === 'failback' || story.name === 'reprotect' ? 'osaka' : 'tokyo';
  const newMaster: (call: number) => Disturbance = (at) => (call, _name, house) => {
    const { pool } = house.world.site(site);
    if (call === at) pool.masterUuid = pool.hosts.at(-1)?.uuid ?? pool.masterUuid;
    return null;
  };
  const restart: (call: number) => Disturbance = (at) => (call, name) =>
    call >= at && call < at + restartCalls && name.startsWith(`${site}.`) ? 'unreachable' : null;
  for (let call = 1; call <= whole.calls; call += every) {
    const what = `${story.name}, call ${call} (${whole.names[call - 1]})`;
    await disturb(beginning, story, newMaster(call), whole.world, `${what}: new master`, tally);
    await disturb(beginning, story, restart(call), whole.world, `${what}: toolstack restart`, tally);
  }
  return tally;
}

/** A person removes the reason and resumes; three times, and then gives up. */
export async function bringToEnd(house: House, first: Run, tally: Tally): Promise<Run> {
  let run = first;
  for (let sitting = 0; sitting < 3 && run.outcome !== 'done'; sitting += 1) {
    if (run.outcome === 'done-with-warnings' && sitting > 0) return run;
    tally.resumed += 1;
    const next = await resumed(house, run);
    if (next === null) break;
    run = next;
  }
  const left = await house.states.get(run.plan.group);
  if (left?.drill !== null && left !== null && isBrokenDrill(run))
    return house.act({ operation: 'drill-cleanup', group: run.plan.group });
  return run;
}

/** Null when there is nothing to go on with: a drill that has cleaned up is over. */
async function resumed(house: House, run: Run): Promise<Run | null> {
  try {
    return await house.resume(run.id);
  } catch (error) {
    if (error instanceof OperatorError && isBrokenDrill(run)) return null;
    throw error;
  }
}

/** A drill whose clean-up has begun is not gone on with: it ends as failed, and leaves nothing. */
export function isBrokenDrill(run: Run): boolean {
  return run.plan.operation === 'drill' && run.outcome === 'failed';
}
