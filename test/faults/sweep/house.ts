/** The real application over the model, in memory or in a directory that outlives the process. */

import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { JournalFiles } from '../../../src/adapters/journal/journal-files.ts';
import { SqliteStates } from '../../../src/adapters/state/sqlite-states.ts';
import { systemClock } from '../../../src/adapters/system/clock.ts';
import { VirtualClock } from '../../../src/adapters/system/virtual-clock.ts';
import type { App, PlannedRun, PlanRequest } from '../../../src/app/app.ts';
import { createApp } from '../../../src/app/create-app.ts';
import type { Run, RunEvent } from '../../../src/domain/run.ts';
import type { GroupSettings } from '../../../src/domain/settings.ts';
import type { Clock, Entropy, GroupStates, Journals, RunInbox } from '../../../src/ports/system.ts';
import { MemoryJournals, MemoryStates } from '../../execute/support.ts';
import { settings } from '../../scripts/fake.ts';
import { noClockwork } from '../../support/clock.ts';
import { noHome } from '../../support/home.ts';
import { now, shop, vmNames } from '../../support/two-sites.ts';
import { noWatching } from '../../support/watching.ts';
import { ModelArray } from './array.ts';
import { ModelCatalog } from './catalog.ts';
import { drillNetworkName } from './networks.ts';
import { ModelPool } from './pool.ts';
import { firstState, type ModelState, ModelWorld } from './state.ts';
import { Fate } from './trouble.ts';

export const group: GroupSettings = {
  ...shop,
  networks: shop.networks.map((mapping) => ({
    ...mapping,
    drill: drillNetworkName,
    drillAtProduction: drillNetworkName,
  })),
};

/** One of each tier, and so on in the order in which the tiers start. */
export function someVms(count: number): readonly string[] {
  const kinds = ['db', 'app', 'web'].map((kind) => vmNames.filter((name) => name.startsWith(kind)));
  const turns = Array.from({ length: 12 }, (_, turn) => kinds.flatMap((names) => names[turn] ?? []));
  return turns.flat().slice(0, count);
}

const nobody: RunInbox = {
  post: async () => undefined,
  waiting: async () => [],
  settle: async () => undefined,
};

export interface HouseParts {
  readonly state: ModelState;
  readonly clock: Clock;
  readonly journals: Journals;
  readonly states: GroupStates;
  readonly fate?: Fate;
  /** Tells apart what several processes make up by chance. */
  readonly salt?: string;
}

export class House {
  readonly world: ModelWorld;
  readonly clock: Clock;
  readonly states: GroupStates;
  readonly journals: Journals;
  readonly fate: Fate;
  readonly app: App;

  constructor({ state, clock, journals, states, fate = new Fate(clock), salt = '0' }: HouseParts) {
    const world = new ModelWorld(state, () => clock.now());
    this.world = world;
    this.clock = clock;
    this.states = states;
    this.journals = journals;
    this.fate = fate;
    const none = async (): Promise<never> => {
      throw new Error('nothing in these plans asks for it');
    };
    const pools = new Map(
      Object.keys(state.sites).map((site) => [site, fate.over(new ModelPool(world, site), site)]),
    );
    const names = new Set(Object.values(state.volumes).map(({ array }) => array));
    const arrays = new Map(
      [...names].map((array) => [array, fate.over(new ModelArray(world, array), array)]),
    );
    const catalog = fate.over(new ModelCatalog(world), 'catalog');
    const known = <T>(found: T | undefined, name: string): T => {
      if (found === undefined) throw new Error(`nobody knows ${name}`);
      return found;
    };
    this.app = createApp({
      settings: { ...settings, groups: [group] },
      ...{ version: 'sweep', clock, journals, entropy: entropyOf(world, salt) },
      states: async () => states,
      inbox: async () => nobody,
      hypervisor: async (site) => known(pools.get(site), site),
      array: async (name) => known(arrays.get(name), name),
      catalog: async () => catalog,
      foreign: { read: none },
      secretStore: { list: none, set: none, remove: none },
      ...{ probeTcp: async () => true, probeHttp: none, runInGuest: none, runProgram: none },
      home: noHome,
      ...noClockwork,
      ...noWatching,
      close: async () => undefined,
    });
  }

  async plan(request: PlanRequest): Promise<PlannedRun> {
    return this.app.plan(request);
  }

  /** Plans and does it; throws what hinders the run from beginning. */
  async act(request: PlanRequest, onEvent: (event: RunEvent) => void = () => undefined): Promise<Run> {
    return this.app.run(await this.plan(request), { by: 'Ada', onEvent });
  }

  async resume(run: string, onEvent: (event: RunEvent) => void = () => undefined): Promise<Run> {
    return this.app.runs.resume(run, { by: 'Bob', onEvent, answers: [] });
  }
}

/** Not chance but a count that the world keeps: no two are equal, and a repetition is the same to the letter. */
function entropyOf(world: ModelWorld, salt: string): Entropy {
  const hex = (bytes: number): string =>
    `${salt}${world.next().toString(16)}`.padStart(bytes * 2, '0').slice(-bytes * 2);
  return { hex, uuid: () => `00000000-0000-4000-8000-${hex(6)}` };
}

export function memoryHouse(
  names: readonly string[],
  troubleOf?: ConstructorParameters<typeof Fate>[1],
): House {
  const clock = new VirtualClock({ start: now, auto: true });
  const fate = new Fate(clock, troubleOf);
  const state = firstState(names);
  return new House({ state, clock, journals: new MemoryJournals(), states: new MemoryStates(), fate });
}

/** The world as it was written down last; a process that dies in between leaves the one before. */
export function readWorld(directory: string): ModelState {
  return JSON.parse(readFileSync(join(directory, 'world.json'), 'utf8')) as ModelState;
}

export function writeWorld(directory: string, state: ModelState): void {
  mkdirSync(directory, { recursive: true });
  const file = join(directory, 'world.json');
  writeFileSync(`${file}.new`, JSON.stringify(state));
  renameSync(`${file}.new`, file);
}

/** The house of a directory: what it does to the world is on the disk before it goes on. */
export function houseIn(
  directory: string,
  salt: string,
): { readonly house: House; readonly close: () => void } {
  // Journals on a disk: a virtual clock takes the wait for it for rest, and would jump over every deadline.
  const clock = systemClock;
  const entropy: Entropy = {
    hex: (bytes) => salt.padStart(bytes * 2, '0'),
    uuid: () => `lock-${salt}-${process.pid}`,
  };
  const states = new SqliteStates(join(directory, 'state.sqlite'), clock, entropy);
  const journals = new JournalFiles(join(directory, 'runs'));
  const house = new House({ state: readWorld(directory), clock, journals, states, salt });
  house.world.onChange = () => writeWorld(directory, house.world.state);
  return { house, close: () => states.close() };
}
