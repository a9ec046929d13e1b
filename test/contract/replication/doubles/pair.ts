/** What the rigs of doubles share: the settings of two arrays, adapters between them, and wrong ones. */
import { systemClock } from '../../../../src/adapters/system/clock.ts';
import type { ArraySettings } from '../../../../src/domain/settings.ts';
import type { Replication } from '../../../../src/ports/replication.ts';
import type { Clock, Secrets } from '../../../../src/ports/system.ts';
import type { Mishaps, Rig, Side } from '../rig.ts';

export const sides: readonly Side[] = ['source', 'target'];
export const otherOf = (side: Side): Side => (side === 'source' ? 'target' : 'source');
/** Looks follow each other at once: a double needs no time. */
export const quickPace = { firstSeconds: 0.005, longestSeconds: 0.02, patienceSeconds: 20 };

/** A volume by its name on each side, and the consistency group that it shares there. */
export interface NamedPair {
  readonly volumes: Readonly<Record<Side, string>>;
  readonly groups?: Readonly<Record<Side, string>>;
}

interface Surroundings {
  readonly clock: Clock;
  readonly secrets: Secrets;
  readonly peers: ReadonlyMap<
    string,
    {
      readonly array: ArraySettings;
      readonly volume: string;
      readonly consistencyGroup?: { readonly here: string; readonly there: string };
    }
  >;
}

export interface Changes {
  /** Password, key or token that is sent instead of the right one. */
  readonly secret?: string;
  /** SHA-256 that is pinned instead of the right one. */
  readonly fingerprint?: string;
}

export interface Doubles {
  readonly type: string;
  /** Of each array, without type and secret. */
  readonly arrays: Readonly<
    Record<Side, { readonly name: string; readonly options: ArraySettings['options'] }>
  >;
  /** What each array accepts. */
  readonly secrets: Readonly<Record<Side, string>>;
  open(settings: ArraySettings, surroundings: Surroundings): Replication;
}

export function peersOf(
  side: Side,
  array: ArraySettings,
  pairs: readonly NamedPair[],
): Surroundings['peers'] {
  const other = otherOf(side);
  return new Map(
    pairs.map(({ volumes, groups }) => [
      volumes[side],
      {
        array,
        volume: volumes[other],
        ...(groups === undefined ? {} : { consistencyGroup: { here: groups[side], there: groups[other] } }),
      },
    ]),
  );
}

export class PairOfArrays {
  readonly #doubles: Doubles;
  readonly #opened: Replication[] = [];

  constructor(doubles: Doubles) {
    this.#doubles = doubles;
  }

  settings(side: Side, changes: Partial<ArraySettings['options']> = {}): ArraySettings {
    const { type, arrays } = this.#doubles;
    const { name, options } = arrays[side];
    return {
      name,
      site: side,
      type,
      options: { ...options, ...changes } as ArraySettings['options'],
      secret: { from: 'env', name: side },
    };
  }

  adapter(side: Side, pairs: readonly NamedPair[], { secret, fingerprint }: Changes = {}): Replication {
    const other = otherOf(side);
    const accepted = { ...this.#doubles.secrets, ...(secret === undefined ? {} : { [side]: secret }) };
    const adapter = this.#doubles.open(
      this.settings(side, fingerprint === undefined ? {} : { fingerprint }),
      {
        clock: systemClock,
        secrets: {
          resolve: async (ref) => accepted['name' in ref && ref.name === 'target' ? 'target' : 'source'],
        },
        peers: peersOf(side, this.settings(other), pairs),
      },
    );
    this.#opened.push(adapter);
    return adapter;
  }

  async close(): Promise<void> {
    await Promise.all(this.#opened.map((adapter) => adapter.close()));
  }
}

type Opened = Pick<Rig, 'source' | 'target' | 'volumes' | 'reopen' | 'patienceSeconds'> &
  Pick<Mishaps, 'wrongCredentials' | 'wrongTrust'>;

/** What of a rig follows from its arrays: the adapters of the first of these pairs, again, and with wrong words. */
export function openedOver(
  arrays: PairOfArrays,
  pairs: readonly [NamedPair, ...NamedPair[]],
  wrongSecret: string,
): Opened {
  return {
    source: arrays.adapter('source', pairs),
    target: arrays.adapter('target', pairs),
    volumes: pairs[0].volumes,
    reopen: async (side) => arrays.adapter(side, pairs),
    patienceSeconds: 30,
    wrongCredentials: async (side) => arrays.adapter(side, pairs, { secret: wrongSecret }),
    wrongTrust: async (side) => arrays.adapter(side, pairs, { fingerprint: '00'.repeat(32) }),
  };
}
