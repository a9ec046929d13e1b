/** The fake world of test/execute, kept in files, so that it outlives the process that works on it. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { JournalFiles } from '../../src/adapters/journal/journal-files.ts';
import { SqliteStates } from '../../src/adapters/state/sqlite-states.ts';
import { systemClock } from '../../src/adapters/system/clock.ts';
import { systemEntropy } from '../../src/adapters/system/entropy.ts';
import type { ExecutorPorts } from '../../src/execute/executor.ts';
import { handlersOver } from '../../src/execute/interpreter.ts';
import { type FakeState, FakeWorld } from '../execute/fakes.ts';

export const vmNames: readonly string[] = ['db', 'web'];
export const runId = 'r1';

export function writeWorld(directory: string, state: FakeState): void {
  mkdirSync(directory, { recursive: true });
  const file = join(directory, 'world.json');
  writeFileSync(`${file}.new`, JSON.stringify(state));
  renameSync(`${file}.new`, file);
}

export function readWorld(directory: string): FakeState {
  return JSON.parse(readFileSync(join(directory, 'world.json'), 'utf8')) as FakeState;
}

export function openHouse(
  directory: string,
  onDeed: () => void = () => undefined,
): { readonly ports: ExecutorPorts; readonly states: SqliteStates; readonly journals: JournalFiles } {
  const states = new SqliteStates(join(directory, 'state.db'), systemClock, systemEntropy);
  const journals = new JournalFiles(join(directory, 'runs'));
  const world = new FakeWorld(readWorld(directory), systemClock, states);
  world.onChange = (state) => {
    writeWorld(directory, state);
    onDeed();
  };
  return {
    ports: { journals, states, clock: systemClock, entropy: systemEntropy, ...handlersOver(world) },
    states,
    journals,
  };
}
