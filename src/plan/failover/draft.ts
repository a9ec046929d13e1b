/** What all acts of a failover plan share: what is known, what was chosen, and the steps written so far. */
import type { Observation, PairObservation } from '../../domain/observation.ts';
import type { NamedVm, PairAction, Step } from '../../domain/plan.ts';
import type { PoolFacts } from '../../domain/pool.ts';
import type { PointSr } from '../../domain/recovery-point.ts';
import type { ReplicaPoint } from '../../domain/replication.ts';
import type { GroupSettings, ReplicatedSr } from '../../domain/settings.ts';
import { type Choice, newestComplete } from '../choose-point.ts';
import { StepIds } from '../ids.ts';

export interface FailoverRequest {
  readonly planId: string;
  readonly group: GroupSettings;
  readonly configDigest: string;
  readonly generation: number;
  readonly observation: Observation;
  readonly pointId: string | null;
  /** True when a named person declared the production site lost: then what still answers there is fenced. */
  readonly declaredLost: boolean;
  /** True when an earlier run has already marked the production site as lost. */
  readonly tombstoned?: boolean;
}

export interface StorageOfPlan {
  readonly settings: ReplicatedSr;
  readonly pair: PairAction;
  readonly sr: PointSr;
  readonly replica: ReplicaPoint | null;
  readonly observed: PairObservation;
}

type StepDraft = Pick<Step, 'id' | 'after' | 'action' | 'why'> & Partial<Step>;

export class FailoverDraft {
  readonly request: FailoverRequest;
  readonly choice: Choice;
  /** The recovery pool. */
  readonly pool: PoolFacts;
  readonly pairs: readonly PairObservation[];
  /** The SRs of the group that the chosen point knows. */
  readonly storage: readonly StorageOfPlan[];
  readonly ids = new StepIds();
  readonly #steps: Step[] = [];

  constructor(request: FailoverRequest, choice: Choice, pool: PoolFacts, pairs: readonly PairObservation[]) {
    this.request = request;
    this.choice = choice;
    this.pool = pool;
    this.pairs = pairs;
    this.storage = storageOf(request, choice, pairs);
  }

  get steps(): readonly Step[] {
    return this.#steps;
  }

  /** Writes a step down and returns its id, for those that come after it. */
  add(draft: StepDraft): string {
    const step: Step = {
      holdsWhen: null,
      pointOfNoReturn: false,
      repeatable: draft.holdsWhen === undefined,
      timeoutSeconds: 300,
      forecastSeconds: 0,
      uses: [],
      onFailure: 'stop',
      ...draft,
    };
    this.#steps.push(step);
    return step.id;
  }
}

function storageOf(
  request: FailoverRequest,
  choice: Choice,
  pairs: readonly PairObservation[],
): StorageOfPlan[] {
  return request.group.storage.flatMap((settings, index) => {
    const sr = choice.point.srs.find((s) => s.uuid === settings.sr || s.nameLabel === settings.sr);
    const observed = pairs[index];
    if (sr === undefined || observed === undefined) return [];
    const pair = { sr: settings.sr, source: settings.source, target: settings.target };
    return [{ settings, pair, sr, observed, replica: newestComplete(observed) }];
  });
}

export function named(vm: { readonly uuid: string; readonly nameLabel: string }): NamedVm {
  return { uuid: vm.uuid, nameLabel: vm.nameLabel };
}
