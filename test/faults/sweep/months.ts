/**
 * Months of two sites in one seed: work, exports, drills, deaths, failovers, returns, migrations, and a Lifeboat that dies
 * at any call and any journal line. Chance comes from the seed alone, so that one line brings a failure back.
 */
import { VirtualClock } from '../../../src/adapters/system/virtual-clock.ts';
import type { PlanRequest } from '../../../src/app/app.ts';
import { drillOfVm } from '../../../src/domain/drill.ts';
import { OperatorError } from '../../../src/domain/errors.ts';
import { isQuarantined } from '../../../src/domain/quarantine.ts';
import type { Run } from '../../../src/domain/run.ts';
import { MemoryJournals, MemoryStates } from '../../execute/support.ts';
import { now } from '../../support/two-sites.ts';
import { nothingTried, type Tally } from './calls.ts';
import { House, someVms } from './house.ts';
import { drillObjects, violationsAfter } from './oracle.ts';
import { firstState } from './state.ts';
import { everyTrouble, Fate, PowerCut, type Trouble } from './trouble.ts';

/** A small generator with a period of 2³²: enough for one story, and the same on every machine (mulberry32). */
export function dice(seed: number): (sides: number) => number {
  let state = seed >>> 0;
  return (sides) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % sides;
  };
}

export interface SimulationTally extends Tally {
  runs: number;
  crashes: number;
}

const daysPerSeed = 60;
const group = 'shop';

class Months {
  readonly #roll: (sides: number) => number;
  readonly #tally: SimulationTally;
  readonly #tell: (sentence: string) => void;
  readonly #clock = new VirtualClock({ start: now, auto: true });
  readonly #journals = new MemoryJournals();
  readonly #states = new MemoryStates();
  readonly #state = firstState(someVms(2));
  #house: House;
  #sittings = 0;

  constructor(seed: number, tally: SimulationTally, tell: (sentence: string) => void) {
    this.#roll = dice(seed);
    this.#tally = tally;
    this.#tell = tell;
    this.#house = this.#open(() => null);
  }

  /** A new process over the same world; what it is going to meet is decided by the seed. */
  #open(troubleOf: (call: number, name: string) => Trouble | null): House {
    this.#sittings += 1;
    return new House({
      ...{ state: this.#state, clock: this.#clock, journals: this.#journals, states: this.#states },
      ...{ fate: new Fate(this.#clock, troubleOf), salt: this.#sittings.toString(16) },
    });
  }

  async live(): Promise<void> {
    for (let day = 1; day <= daysPerSeed; day += 1) {
      await this.#clock.advance(86_400 - (this.#clock.monotonicSeconds() % 86_400));
      this.#house.world.write();
      if (this.#roll(10) > 0) this.#house.world.replicate();
      const event = this.#roll(12);
      if (event === 0) this.#strike(day);
      else if (event === 1) this.#recover(day);
      else if (event < 8) await this.#work(day);
      if (this.#tally.violations.length > 0) return;
    }
    await this.#settle();
  }

  /** One of the sites loses its power. */
  #strike(day: number): void {
    const site = this.#roll(2) === 0 ? 'osaka' : 'tokyo';
    if (Object.values(this.#state.sites).some(({ up }) => !up)) return;
    this.#tell(`day ${day}: ${site} dies`);
    this.#house.world.kill(site);
  }

  #recover(day: number): void {
    for (const [site, { up }] of Object.entries(this.#state.sites)) {
      if (up) continue;
      this.#tell(`day ${day}: ${site} is back`);
      this.#house.world.revive(site);
    }
  }

  /** The on-call engineer does what the state of the group asks for, or what is due. */
  async #work(day: number): Promise<void> {
    const state = await this.#states.get(group);
    const open = state?.currentRun ?? null;
    if (open !== null && this.#roll(4) > 0)
      await this.#do(day, `resume ${open}`, (house) => house.resume(open));
    else if (open !== null) await this.#giveUp(day, open);
    else {
      const request = await this.#request();
      if (request !== null) await this.#do(day, request.operation, (house) => house.act(request));
    }
  }

  /** Taken back where it can be, and given up where it cannot. */
  async #giveUp(day: number, run: string): Promise<void> {
    const by = { by: 'Bob', reason: 'it takes too long' };
    if (this.#roll(2) === 0)
      await this.#do(day, `undo ${run}`, (house) =>
        house.app.runs.undo(run, { ...by, onEvent: () => undefined }),
      );
    else await this.#do(day, `abandon ${run}`, (house) => house.app.runs.abandon(run, by));
  }

  async #request(): Promise<PlanRequest | null> {
    const state = await this.#states.get(group);
    const away = state?.roles === 'swapped';
    const production = away ? 'tokyo' : 'osaka';
    const isUp = (site: string): boolean => this.#state.sites[site]?.up === true;
    if (state?.phase === 'failed-over')
      return {
        ...{ operation: 'reprotect', group, quarantineOnly: this.#roll(4) === 0 },
        decisions: [
          { decision: 'discard-changes', by: 'Ada', reason: 'told' },
          { decision: 'stop-old', by: 'Ada', reason: 'told' },
        ],
      };
    const lost = { decision: 'accept-loss' as const, by: 'Ada', reason: 'nothing newer is left' };
    if (isUp(production) && this.#nothingServes(production))
      return {
        ...{ operation: 'failover', group, pointId: null },
        decisions: [
          lost,
          { decision: 'declare-lost', by: 'Ada', reason: 'only copies in quarantine are there' },
        ],
      };
    if (!isUp(production))
      return { operation: 'failover', group, pointId: null, decisions: this.#roll(2) === 0 ? [] : [lost] };
    if (state?.drill != null) return { operation: 'drill-cleanup', group };
    const what = this.#roll(10);
    if (what < 5) return { operation: 'export', group };
    if (what < 7)
      return { operation: 'drill', group, pointId: null, vms: [], keep: this.#roll(3) === 0, decisions: [] };
    if (what < 8) return { operation: 'verify', group };
    return { operation: away ? 'failback' : 'migrate', group, decisions: [] };
  }

  /** A move was given up between the quarantine and the imports: what is left at either site are copies. */
  #nothingServes(site: string): boolean {
    const vms = this.#state.sites[site]?.pool.vms.filter((vm) => drillOfVm(vm) === null) ?? [];
    return vms.length > 0 && vms.every(isQuarantined);
  }

  /** In three of ten cases a call meets trouble, in one the machine of Lifeboat dies behind a journal line. */
  async #do(day: number, what: string, work: (house: House) => Promise<Run>): Promise<void> {
    const fate = this.#roll(10);
    const at = 1 + this.#roll(150);
    const trouble = everyTrouble[this.#roll(everyTrouble.length)] ?? 'busy';
    const line = 1 + this.#roll(60);
    this.#house = this.#open((call) =>
      fate < 3 && call === at ? trouble : fate === 3 && call === at ? 'crash' : null,
    );
    let written = 0;
    this.#journals.beforeAppend = () => {
      if (this.#house.fate.dead) throw new PowerCut('the machine is off');
      written += 1;
      if (fate !== 4 || written !== line) return;
      this.#house.fate.dead = true;
      throw new PowerCut('the machine is off');
    };
    this.#tally.runs += 1;
    try {
      const run = await work(this.#house);
      this.#tell(`day ${day}: ${what} ends ${run.outcome}: ${run.summary}`);
      if (run.outcome === 'stuck') this.#tally.stuck += 1;
      this.#tally.violations.push(...(await violationsAfter(this.#house, run)));
    } catch (error) {
      this.#afterError(day, what, error);
    } finally {
      this.#journals.beforeAppend = () => undefined;
      this.#house = this.#open(() => null);
      this.#states.breakAllLocks();
    }
  }

  #afterError(day: number, what: string, error: unknown): void {
    const dead = this.#house.fate.dead;
    if (dead) this.#tally.crashes += 1;
    const refused = error instanceof OperatorError;
    this.#tell(
      `day ${day}: ${what} ${dead ? 'dies with its machine' : `is refused: ${error instanceof Error ? error.message.split('\n')[0] : String(error)}`}`,
    );
    if (!dead && !refused)
      this.#tally.violations.push(
        `${what} broke: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
      );
    this.#house.world.judge();
    this.#tally.violations.push(...this.#state.violations);
  }

  /** In the end all is up, and what is open is brought to its end: the group runs somewhere, once, and nothing is left. */
  async #settle(): Promise<void> {
    this.#recover(daysPerSeed);
    for (let round = 0; round < 8; round += 1) {
      const state = await this.#states.get(group);
      const open = state?.currentRun ?? null;
      const request: PlanRequest | null = state?.drill != null ? { operation: 'drill-cleanup', group } : null;
      if (open !== null) await this.#calm(`resume ${open}`, (house) => house.resume(open));
      else if (request !== null) await this.#calm('drill-cleanup', (house) => house.act(request));
      else break;
    }
    const state = await this.#states.get(group);
    if (state?.drill == null && drillObjects(this.#state).length > 0)
      this.#tally.violations.push(
        ...drillObjects(this.#state).map((what) => `drill object left behind: ${what}`),
      );
  }

  async #calm(what: string, work: (house: House) => Promise<Run>): Promise<void> {
    try {
      const run = await work(this.#house);
      this.#tell(`in the end: ${what} ends ${run.outcome}: ${run.summary}`);
      this.#tally.violations.push(...(await violationsAfter(this.#house, run)));
    } catch (error) {
      this.#afterError(daysPerSeed, what, error);
    }
  }
}

/** One seed; returns what it found. `tell` hears every day. */
export async function simulate(
  seed: number,
  tell: (sentence: string) => void = () => undefined,
): Promise<SimulationTally> {
  const tally: SimulationTally = { ...nothingTried(), runs: 0, crashes: 0 };
  await new Months(seed, tally, tell).live();
  tally.tried = 1;
  return {
    ...tally,
    violations: [...new Set(tally.violations)].map((what) => `${what} (replay: make sim SEED=${seed})`),
  };
}
