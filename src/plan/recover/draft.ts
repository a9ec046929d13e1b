/** What all plans that bring VMs up share: what is known, what was chosen, and the steps written so far. */

import { drillDescription, drillPrefix } from '../../domain/drill.ts';
import type { GroupState } from '../../domain/group.ts';
import { limitsFor } from '../../domain/limits.ts';
import type { Observation, PairObservation } from '../../domain/observation.ts';
import type { ImportedVm, NamedVm, NetworkTarget, Operation, PairAction, Plan } from '../../domain/plan.ts';
import type { PoolFacts, Uuid } from '../../domain/pool.ts';
import type { PointSr, PointVm } from '../../domain/recovery-point.ts';
import type { ReplicaPoint } from '../../domain/replication.ts';
import type { GroupSettings, ReplicatedSr } from '../../domain/settings.ts';
import { type Choice, newestComplete } from '../choose-point.ts';
import { networkTargets } from '../networks.ts';
import { StepList } from '../steps.ts';

export interface RecoverRequest {
  /** Which operation brings the VMs up: `failover` when absent. */
  readonly operation?: 'failover' | 'migrate' | 'failback' | 'drill';
  readonly planId: string;
  /** As it is oriented now (domain/orientation.ts): production is where the VMs run. */
  readonly group: GroupSettings;
  readonly configDigest: string;
  readonly generation: number;
  readonly observation: Observation;
  readonly pointId: string | null;
  /** Only these VMs are started, by name or uuid; all of them when absent or empty. */
  readonly only?: readonly string[];
  /** True when a named person declared the production site lost: then what still answers there is fenced. */
  readonly declaredLost: boolean;
  /** True when an earlier run has already marked the production site as lost. */
  readonly tombstoned?: boolean;
  /** A drill that the state of the group remembers as open: it is cleaned up first. */
  readonly openDrill?: GroupState['drill'];
  /** The copies of a drill: its id, and for each VM of the point the uuid that its copy gets. */
  readonly drill?: { readonly id: string; readonly copies: ReadonlyMap<Uuid, Uuid> };
}

export interface StorageOfPlan {
  readonly settings: ReplicatedSr;
  readonly pair: PairAction;
  readonly sr: PointSr;
  readonly replica: ReplicaPoint | null;
  readonly observed: PairObservation;
}

export class RecoverDraft extends StepList {
  readonly request: RecoverRequest;
  readonly choice: Choice;
  /** The recovery pool. */
  readonly pool: PoolFacts;
  readonly pairs: readonly PairObservation[];
  /** The SRs of the group that the chosen point knows. */
  readonly storage: readonly StorageOfPlan[];

  constructor(request: RecoverRequest, choice: Choice, pool: PoolFacts, pairs: readonly PairObservation[]) {
    super();
    this.request = request;
    this.choice = choice;
    this.pool = pool;
    this.pairs = pairs;
    this.storage = storageOf(request, choice, pairs);
  }

  /** How many VMs start at once here; spread into the plan. */
  get limits(): Pick<Plan, 'limits'> {
    const hosts = this.pool.hosts.filter((host) => host.enabled && host.live).length;
    return limitsFor(this.request.group.recovery, hosts);
  }

  get operation(): Operation {
    return this.request.operation ?? 'failover';
  }

  /** Where a twin of each VM may run; null in a drill, whose copies are VMs of their own. */
  get twinSite(): string | null {
    return this.request.drill === undefined ? this.request.group.production : null;
  }

  /** The VM as it will be here: itself, or its copy of this drill. */
  member(vm: { readonly uuid: Uuid; readonly nameLabel: string }): ImportedVm {
    const copy = this.request.drill?.copies.get(vm.uuid);
    if (copy === undefined) return named(vm);
    return { uuid: copy, nameLabel: `${drillPrefix}${vm.nameLabel}`, original: vm.uuid };
  }

  /** The networks that these VMs get: those of the recovery site, or the isolated ones of a drill. */
  networksFor(vms: readonly PointVm[]): NetworkTarget[] {
    return networkTargets(
      this.request.group,
      this.pool,
      vms,
      this.operation === 'drill' ? 'drill' : 'recovery',
    );
  }

  /** What an SR is called here: its true name, or that of a clone, with the mark by which the clean-up knows it. */
  storageName(sr: PointSr): { readonly nameLabel: string; readonly nameDescription: string } {
    const drill = this.request.drill?.id;
    if (drill === undefined) return { nameLabel: sr.nameLabel, nameDescription: sr.nameDescription };
    return { nameLabel: `${drillPrefix}${sr.nameLabel}`, nameDescription: drillDescription(drill) };
  }
}

function storageOf(
  request: RecoverRequest,
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
