/** The arrays that hold replicas: what they can do, and which clones of drills they hold. */
import type { ArrayView } from '../domain/observation.ts';
import type { Capabilities, DrillLeftover } from '../domain/replication.ts';
import type { Replication } from '../ports/replication.ts';
import { gapOf } from './gap.ts';

/** Two small questions to each array; one that does not answer is no gap of its own: its volumes have told already. */
export async function observeArrays(
  array: (name: string) => Promise<Replication>,
  names: readonly string[],
  signal?: AbortSignal,
): Promise<ArrayView[]> {
  return Promise.all([...new Set(names)].sort().map((name) => observeArray(array, name, signal)));
}

/** What they can do alone: the clones of drills are at the other side. */
export async function observeSources(
  open: (name: string) => Promise<Replication>,
  names: readonly string[],
  signal?: AbortSignal,
): Promise<Pick<ArrayView, 'array' | 'capabilities'>[]> {
  return Promise.all(
    [...new Set(names)].sort().map(async (name) => {
      try {
        return { array: name, capabilities: await (await open(name)).capabilities(signal) };
      } catch {
        // Its volumes have told already that it does not answer.
        return { array: name, capabilities: null };
      }
    }),
  );
}

async function observeArray(
  open: (name: string) => Promise<Replication>,
  name: string,
  signal: AbortSignal | undefined,
): Promise<ArrayView> {
  let capabilities: Capabilities | null = null;
  let drills: readonly DrillLeftover[] | null = null;
  try {
    const array = await open(name);
    capabilities = await array.capabilities(signal);
    drills = await array.drillList(signal);
    return { array: name, capabilities, drills, problem: null };
  } catch (error) {
    return {
      array: name,
      capabilities,
      drills,
      problem: gapOf(error, `Cannot ask array ${name} what it can do`),
    };
  }
}
