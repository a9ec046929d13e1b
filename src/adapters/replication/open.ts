/** The adapter for an array of the settings, by its `type`. Nobody is contacted before the first call. */
import { exitCodes, OperatorError } from '../../domain/errors.ts';
import type { ArraySettings, Settings, VolumeSettings } from '../../domain/settings.ts';
import type { Replication } from '../../ports/replication.ts';
import type { Clock, Secrets } from '../../ports/system.ts';
import { openBtrfs } from './btrfs/open.ts';
import { openCephArray } from './ceph/ceph-array.ts';
import { openCommandArray } from './command/command-array.ts';
import { aloneOnly, groupsHere, type Paired } from './consistency-group.ts';
import { openDatacoreArray } from './datacore/datacore-array.ts';
import { openLabArray } from './lab/lab-array.ts';
import { openLinstorArray } from './linstor/linstor-array.ts';
import { openManualArray } from './manual/manual-array.ts';
import { openOntap, openOntapCli } from './ontap/open.ts';
import { openPowerStore } from './powerstore/open.ts';
import { openActiveDr } from './pure/activedr/open.ts';
import { openPure } from './pure/open.ts';
import { openTrueNas } from './truenas/open.ts';
import { openZfs } from './zfs/open.ts';

export interface ReplicationSurroundings {
  readonly secrets: Secrets;
  readonly clock: Clock;
  /** The other side of each volume of this array that the settings name. */
  readonly peers: ReadonlyMap<string, Peer>;
}

export interface Peer extends Paired {
  readonly array: ArraySettings;
}

/** The other side of every volume of this array, in either direction. */
export function peersOf(settings: Pick<Settings, 'arrays' | 'groups'>, array: string): Map<string, Peer> {
  const peers = new Map<string, Peer>();
  for (const { source, target } of settings.groups.flatMap((group) => group.storage))
    for (const [own, other] of [
      [source, target],
      [target, source],
    ] as const) {
      const peer = settings.arrays.find(({ name }) => name === other.array);
      if (own.array === array && peer !== undefined)
        peers.set(own.volume, { array: peer, volume: other.volume, ...groupsOf(own, other) });
    }
  return peers;
}

function groupsOf(here: VolumeSettings, there: VolumeSettings): Pick<Peer, 'consistencyGroup'> {
  if (here.consistencyGroup === undefined || there.consistencyGroup === undefined) return {};
  return { consistencyGroup: { here: here.consistencyGroup, there: there.consistencyGroup } };
}

/** Types that know consistency groups, or whose program or release is asked. */
const keepTogether: ReadonlySet<string> = new Set([
  'command',
  'ontap',
  'powerstore',
  'pure',
  'pure-activedr',
]);

const types: Readonly<
  Record<string, (array: ArraySettings, surroundings: ReplicationSurroundings) => Replication>
> = {
  ceph: openCephArray,
  btrfs: openBtrfs,
  command: openCommandArray,
  datacore: openDatacoreArray,
  lab: openLabArray,
  ontap: openOntap,
  'ontap-cli': openOntapCli,
  linstor: openLinstorArray,
  manual: openManualArray,
  powerstore: (array, surroundings) => openPowerStore(array, surroundings),
  'pure-activedr': (array, surroundings) => openActiveDr(array, surroundings),
  pure: (array, surroundings) => openPure(array, surroundings),
  truenas: (array, surroundings) => openTrueNas(array, surroundings),
  zfs: openZfs,
};

export function openReplication(array: ArraySettings, surroundings: ReplicationSurroundings): Replication {
  const open = types[array.type];
  if (open !== undefined)
    return keepTogether.has(array.type)
      ? open(array, surroundings)
      : aloneOnly(
          open(array, surroundings),
          new Set(groupsHere(surroundings.peers).keys()),
          `the adapter of type ${array.type} knows no consistency groups of several volumes`,
        );
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
