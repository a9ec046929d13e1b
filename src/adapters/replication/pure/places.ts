/**
 * Where a volume of sites.yaml lies on a FlashArray. Without `consistency_group` it is a protection group with one member;
 * with it, a member of that protection group, whose snapshots are one moment of all members.
 */
import type { ArraySettings } from '../../../domain/settings.ts';
import type { FilerSurroundings } from '../send-receive/open.ts';
import { pureOptions } from './options.ts';

export interface Place {
  readonly group: string;
  /** Its name as a member; null where the group has only one. */
  readonly member: string | null;
  /** The member's name at the other array, as snapshots that come from there call it. */
  readonly theirs: string | null;
  /** `ARRAY:GROUP`, as what the other array sends is listed here; null for a volume without a pair. */
  readonly incoming: string | null;
}

export type Places = ReadonlyMap<string, Place>;

/** A volume that no pair names: a protection group by its own name. */
export function placeOf(places: Places, volume: string): Place {
  return places.get(volume) ?? { group: volume, member: null, theirs: null, incoming: null };
}

/** The volume of sites.yaml that is this member; null for a member of a shared group that nobody names. */
export function volumeAt(places: Places, group: string, member: string): string | null {
  for (const [volume, place] of places)
    if (place.group === group && (place.member ?? member) === member) return volume;
  return [...places.values()].some((place) => place.group === group) ? null : group;
}

/** The places of one array, which is `own` or one of its peers. */
export function placesAt(
  array: ArraySettings,
  own: ArraySettings,
  { peers }: Pick<FilerSurroundings, 'peers'>,
): Places {
  const places = new Map<string, Place>();
  for (const [volume, { array: other, volume: theirs, consistencyGroup }] of peers) {
    if (other.type !== own.type) continue;
    const here = { array: own, volume, group: consistencyGroup?.here };
    const there = { array: other, volume: theirs, group: consistencyGroup?.there };
    for (const [side, peer] of [
      [here, there],
      [there, here],
    ] as const)
      if (side.array.name === array.name)
        places.set(side.volume, {
          group: side.group ?? side.volume,
          member: side.group === undefined ? null : side.volume,
          theirs: side.group === undefined ? null : peer.volume,
          incoming: `${pureOptions(peer.array).array_name}:${peer.group ?? peer.volume}`,
        });
  }
  return places;
}
