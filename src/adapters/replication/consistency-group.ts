/** Which volumes of an array sites.yaml keeps together, and what is said where an array cannot do that. */
import { PortError } from '../../domain/errors.ts';
import type { Replication } from '../../ports/replication.ts';

/** What an adapter is told of the other side of a volume. */
export interface Paired {
  readonly volume: string;
  /** Names of the consistency groups that the pair belongs to, at this array and at the other; absent for one that stands alone. */
  readonly consistencyGroup?: { readonly here: string; readonly there: string };
}

/** By volume, all volumes of its consistency group, itself included, in the order of sites.yaml. */
export function companionsOf(peers: ReadonlyMap<string, Paired>): ReadonlyMap<string, readonly string[]> {
  const grouped = [...peers].flatMap(([volume, { consistencyGroup }]) =>
    consistencyGroup === undefined ? [] : [{ volume, group: consistencyGroup.here }],
  );
  const members = Map.groupBy(grouped, ({ group }) => group);
  return new Map(
    grouped.map(({ volume, group }) => [volume, (members.get(group) ?? []).map((one) => one.volume)]),
  );
}

/** By volume of the other array, its consistency group there. */
export function groupsThere(peers: ReadonlyMap<string, Paired>): ReadonlyMap<string, string> {
  return new Map(
    [...peers.values()].flatMap(({ volume, consistencyGroup }): [string, string][] =>
      consistencyGroup === undefined ? [] : [[volume, consistencyGroup.there]],
    ),
  );
}

/** By volume of this array, its consistency group here. */
export function groupsHere(peers: ReadonlyMap<string, Paired>): ReadonlyMap<string, string> {
  return new Map(
    [...peers].flatMap(([volume, { consistencyGroup }]): [string, string][] =>
      consistencyGroup === undefined ? [] : [[volume, consistencyGroup.here]],
    ),
  );
}

/** A group some of whose volumes are where others are not. Nothing was done. */
export function groupHalfWay(array: string, what: string, known: readonly string[]): PortError {
  return new PortError('refused', {
    code: 'DR-CONSISTENCY-GROUP-MEMBERS',
    what,
    where: { object: `array ${array}` },
    known,
    next: 'Compare the volumes of the group on the array with sites.yaml; after a run that broke off, resume it',
  });
}

export function cannotKeepTogether(array: string, volume: string, why: string): PortError {
  return new PortError(
    'refused',
    {
      code: 'DR-CONSISTENCY-GROUP-CANNOT',
      what: `Array ${array} cannot keep volume ${volume} at one moment with others`,
      where: { object: `array ${array}` },
      known: [why],
      next: 'Take consistency_group out of the volume in sites.yaml, and keep all disks of a VM on one SR',
    },
    { peerCode: 'unsupported' },
  );
}

/** Verbs that would make a point, or use one, as if it were the moment of several volumes. */
const groupVerbs: ReadonlySet<PropertyKey> = new Set<keyof Replication>([
  'syncNow',
  'prepare',
  'promote',
  'demote',
  'reverse',
  'restore',
  'drillStart',
]);

/**
 * An adapter that knows no consistency groups: it looks, fences and exposes as ever, and refuses for volumes that sites.yaml
 * keeps together (`grouped`) whatever would have to be done to all of them as one.
 */
export function aloneOnly(adapter: Replication, grouped: ReadonlySet<string>, why: string): Replication {
  if (grouped.size === 0) return adapter;
  return new Proxy(adapter, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== 'function') return value;
      return (...given: readonly unknown[]): unknown => {
        const [volume] = given;
        return groupVerbs.has(key) && typeof volume === 'string' && grouped.has(volume)
          ? Promise.reject(cannotKeepTogether(target.array, volume, why))
          : Reflect.apply(value, target, given);
      };
    },
  });
}
