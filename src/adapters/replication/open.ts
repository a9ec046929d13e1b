/** The adapter for an array of the settings, by its `type`. Nobody is contacted before the first call. */
import { exitCodes, OperatorError } from '../../domain/errors.ts';
import type { ArraySettings } from '../../domain/settings.ts';
import type { Replication } from '../../ports/replication.ts';
import type { Clock, Secrets } from '../../ports/system.ts';
import { openLabArray } from './lab/lab-array.ts';

export interface ReplicationSurroundings {
  readonly secrets: Secrets;
  readonly clock: Clock;
}

const types: Readonly<
  Record<string, (array: ArraySettings, surroundings: ReplicationSurroundings) => Replication>
> = {
  lab: openLabArray,
};

export function openReplication(array: ArraySettings, surroundings: ReplicationSurroundings): Replication {
  const open = types[array.type];
  if (open !== undefined) return open(array, surroundings);
  throw new OperatorError(
    {
      code: 'DR-ARRAY-TYPE',
      what: `Array ${array.name} is of type ${array.type}, for which there is no adapter`,
      known: [`there are adapters for ${Object.keys(types).sort().join(', ')}`],
      next: 'Correct the type of the array in the settings.',
    },
    { exitCode: exitCodes.usage },
  );
}
