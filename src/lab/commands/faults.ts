/** Faults as `lifeboat lab fault` gives them: of calls to pools, or of an array when the rule names one. */
import { arrayOf, arraysOf } from '../arrays/index.ts';
import type { Lab } from '../core/lab.ts';
import { parseFault } from '../faults/rule.ts';

/** @throws Error that lists every problem of the rule, one line each */
export async function addFault(lab: Lab, given: unknown): Promise<string> {
  if (typeof given !== 'object' || given === null || !('array' in given))
    return lab.faults.add(parseFault(given));
  const { array, ...rule } = given;
  if (typeof array !== 'string') throw new Error('array: must be the name of an array');
  return arrayOf(lab, array).faults.add(rule);
}

export function activeFaults(lab: Lab): readonly unknown[] {
  const ofArrays = [...arraysOf(lab)].flatMap(
    ([
      array,
      {
        array: { faults },
      },
    ]) => faults.active.map((fault) => ({ ...fault, rule: { array, ...fault.rule } })),
  );
  return [...lab.faults.active, ...ofArrays];
}

/** False when no fault has this id. */
export function removeFault(lab: Lab, id: string): boolean {
  const ofArrays = [...arraysOf(lab).values()].map(({ array }) => array.faults);
  return [lab.faults, ...ofArrays].some((faults) => faults.remove(id));
}

export function clearFaults(lab: Lab): void {
  lab.faults.clear();
  for (const { array } of arraysOf(lab).values()) array.faults.clear();
}

/** Cuts or mends the replication links of an array to all its peers; both sides go on answering. */
export function setLinks(lab: Lab, name: string, up: boolean): void {
  const array = arrayOf(lab, name);
  for (const { peer } of array.volumes.values()) if (peer !== null) array.setLink(peer.array, up);
}
