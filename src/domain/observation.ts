/** What we saw, when. Immutable; a thing that could not be seen is a gap, never an absence. */

import type { Problem } from './errors.ts';
import type { PoolFacts } from './pool.ts';
import type { RecoveryPoint } from './recovery-point.ts';
import type { Capabilities, DrillLeftover, PairView, ReplicaPoint } from './replication.ts';
import type { Instant } from './time.ts';

export interface Observation {
  readonly id: string;
  readonly takenAt: Instant;
  readonly sites: Readonly<Record<string, SiteView>>;
  readonly pairs: readonly PairObservation[];
  /** The arrays that hold replicas: absent where nobody asked. */
  readonly arrays?: readonly ArrayView[];
  /** What the arrays of the sources can do, where a hand-over is planned; null for one that did not answer. */
  readonly sources?: readonly Pick<ArrayView, 'array' | 'capabilities'>[];
  readonly catalog: CatalogView;
  readonly gaps: readonly Gap[];
}

export type SiteView =
  | {
      readonly reachable: true;
      readonly site: string;
      readonly pool: PoolFacts;
      readonly endpoints: readonly EndpointView[];
    }
  | {
      readonly reachable: false;
      readonly site: string;
      readonly observedAt: Instant;
      readonly problem: Problem;
      readonly endpoints: readonly EndpointView[];
    };

/** One configured host address and whether anything answered there: evidence of life or death. */
export interface EndpointView {
  readonly url: string;
  readonly answered: boolean;
  readonly detail: string;
  readonly observedAt: Instant;
}

export interface PairObservation {
  /** The SR that the pair carries, as sites.yaml names it. */
  readonly sr: string;
  readonly source: PairView | null;
  readonly target: PairView | null;
  /** On the target: what could be promoted, newest first. Null when the target was not reached. */
  readonly points: readonly ReplicaPoint[] | null;
}

/** What an array can do, and which clones of drills it holds; null is what could not be learned. */
export interface ArrayView {
  readonly array: string;
  readonly capabilities: Capabilities | null;
  readonly drills: readonly DrillLeftover[] | null;
  /** Why something is null. */
  readonly problem: Problem | null;
}

/** Null where the array was not asked, or did not answer: then nobody knows what it can do. */
export function capabilitiesOf(
  { arrays = [], sources = [] }: Pick<Observation, 'arrays' | 'sources'>,
  array: string,
): Capabilities | null {
  return [...arrays, ...sources].find((view) => view.array === array)?.capabilities ?? null;
}

export interface CatalogView {
  readonly observedAt: Instant;
  /** Newest first. Only points that verified when they were read. */
  readonly points: readonly RecoveryPoint[];
  readonly damaged: readonly { readonly id: string; readonly target: string; readonly reason: string }[];
}

export interface Gap {
  readonly source: string;
  readonly problem: Problem;
}
