/** The export plan: capture the pool, save a document per VM, note the replication, seal, read back, rehearse. */

import { exportStrategy } from '../domain/limits.ts';
import type { Observation } from '../domain/observation.ts';
import type { Expectation, KeptDocument, NamedVm, PairAction, Plan, Step } from '../domain/plan.ts';
import type { PoolFacts, Uuid } from '../domain/pool.ts';
import { byName, type Matchable } from '../domain/scope.ts';
import type { GroupSettings } from '../domain/settings.ts';
import { secondsBetween } from '../domain/time.ts';
import { backupSteps } from './backup-vdi.ts';
import { type Changes, changesInWords, changesOf } from './changes.ts';
import { newestComplete } from './choose-point.ts';
import { pairsOf } from './failover.ts';
import { costs, forecastSeconds } from './forecast.ts';

export interface ExportRequest {
  readonly planId: string;
  readonly pointId: string;
  readonly group: GroupSettings;
  readonly configDigest: string;
  readonly generation: number;
  readonly observation: Observation;
  /** VMs that the rules of the group take in, by src/domain/scope.ts. */
  readonly vms: readonly Matchable[];
  /** Fetches every document, changed or not. */
  readonly everything?: boolean;
  /** Sites whose control domains can be logged in to; none when absent. */
  readonly sshSites?: readonly string[];
}

/** Singles at once over TLS (performance.md 8); more makes nothing faster. */
export const singlesAtOnce = 4;

export function planExport(request: ExportRequest): Plan {
  const { group, observation } = request;
  const production = observation.sites[group.production];
  const pool = production?.reachable === true ? production.pool : null;
  const waitingOn = pool === null ? [`the pool of site ${group.production}, which cannot be read`] : [];
  if (pool !== null && request.vms.length === 0)
    waitingOn.push(`VMs: no VM of pool ${pool.nameLabel} matches the rules of the group`);
  const steps = pool === null || waitingOn.length > 0 ? [] : exportSteps(request, pool);
  return {
    id: request.planId,
    operation: 'export',
    group: group.name,
    generation: request.generation,
    basedOn: { observation: observation.id, takenAt: observation.takenAt },
    configDigest: request.configDigest,
    steps,
    expects: expectation(request, steps),
    waitingOn,
  };
}

function exportSteps(request: ExportRequest, pool: PoolFacts): Step[] {
  const { group } = request;
  const vms = [...request.vms].sort(byName);
  const named = vms.map(({ uuid, nameLabel }) => ({ uuid, nameLabel }));
  const changes = changesOf(group, request.observation, pool, named, request.everything === true);
  const saved = pointSteps({
    group,
    pointId: request.pointId,
    vms,
    toFetch: changes.toFetch,
    kept: changes.kept,
    vmsInPool: pool.vms.length,
    whyThisWay: whyThisWay(request, pool, changes),
  });
  const backups = backupSteps({
    group,
    observation: request.observation,
    pool,
    pointId: request.pointId,
    vms: named,
    after: 'read-back',
    everything: request.everything === true,
    sshSites: request.sshSites ?? [],
  });
  return [...saved, ...backups];
}

export interface PointToSave {
  /** As it is oriented when the point is taken. */
  readonly group: GroupSettings;
  readonly pointId: string;
  readonly vms: readonly Matchable[];
  readonly toFetch: readonly NamedVm[];
  readonly kept: readonly KeptDocument[];
  readonly vmsInPool: number;
  readonly whyThisWay: string;
  /** VMs that are halted then only because they are being moved. */
  readonly toBeStarted?: readonly Uuid[];
  /** In front of the names of the steps, where a plan saves more than one point. */
  readonly prefix?: string;
  /** Steps that the first one comes after; it needs them all. */
  readonly after?: readonly string[];
  /** What becomes of the run when the point cannot be saved. */
  readonly onFailure?: 'stop' | 'continue';
}

/** Captured, saved, sealed, read back, rehearsed; old points let go. */
export function pointSteps(save: PointToSave): Step[] {
  const { group, pointId, vms, toFetch, kept, vmsInPool, onFailure = 'stop' } = save;
  const site = group.production;
  const srs = [...new Set(vms.flatMap((vm) => vm.srUuids))].sort();
  const strategy = exportStrategy(toFetch.length, vmsInPool);
  const pairs: PairAction[] = group.storage.map(({ sr, source, target }) => ({ sr, source, target }));
  const called = (name: string): string => (save.prefix === undefined ? name : `${save.prefix}-${name}`);
  const step = (draft: Pick<Step, 'id' | 'after' | 'action' | 'why'> & Partial<Step>): Step => ({
    holdsWhen: null,
    pointOfNoReturn: false,
    repeatable: true,
    timeoutSeconds: 600,
    forecastSeconds: 0.1,
    uses: [],
    onFailure,
    ...draft,
  });
  return [
    step({
      id: called('capture'),
      after: save.after ?? [],
      action: {
        do: 'capture-pool',
        site,
        vms: vms.map((vm) => vm.uuid),
        srs,
        groupSrs: group.storage.map(({ sr }) => sr),
        ...(save.toBeStarted === undefined ? {} : { toBeStarted: save.toBeStarted }),
      },
      uses: [`export:${site}`],
      timeoutSeconds: 900,
      forecastSeconds: 0.5 + 0.0002 * vmsInPool,
      why: 'Networks, SRs with their addresses and secrets, vApps and the database cannot be asked for when the site is gone',
    }),
    step({
      id: called('documents'),
      after: [called('capture')],
      action: {
        do: 'save-documents',
        site,
        vms: toFetch,
        strategy,
        concurrency: singlesAtOnce,
        ...(kept.length > 0 ? { kept, vmsInPool } : {}),
      },
      uses: [`export:${site}`],
      timeoutSeconds: 600 + vms.length,
      forecastSeconds:
        strategy === 'all'
          ? costs.exportAllSeconds(vmsInPool)
          : toFetch.length * costs.exportOneSeconds(vmsInPool),
      why: save.whyThisWay,
    }),
    step({
      id: called('replication'),
      after: [called('documents')],
      action: { do: 'record-replication', pairs },
      onFailure: 'continue',
      timeoutSeconds: 120,
      forecastSeconds: 0.3,
      why: 'The point shall say which state of the storage it belongs to',
    }),
    step({
      id: called('seal'),
      after: [called('replication')],
      needs: [],
      action: { do: 'seal-point', pointId },
      holdsWhen: { is: 'point-sealed', pointId },
      timeoutSeconds: 900,
      forecastSeconds: 0.5,
      why: 'A manifest, chained and signed, in every catalog target',
    }),
    step({
      id: called('read-back'),
      after: [called('seal')],
      action: { do: 'verify-point', pointId },
      timeoutSeconds: 900,
      forecastSeconds: 0.1 + 0.0005 * vms.length,
      why: 'An export that was not read back is no protection',
    }),
    step({
      id: called('rehearse'),
      after: [called('read-back')],
      action: { do: 'rehearse-import', site: group.recovery, pointId },
      onFailure: 'continue',
      // The point is safe by now: a recovery site that does not answer must not hold up the next export.
      timeoutSeconds: 30 + Math.ceil(0.1 * vms.length),
      forecastSeconds: 0.3 + 0.002 * vms.length,
      why: `Whether site ${group.recovery} would take these VMs as it is now`,
    }),
    step({
      id: called('prune'),
      after: [called('read-back')],
      action: { do: 'prune-catalog', group: group.name },
      onFailure: 'continue',
      timeoutSeconds: 600,
      forecastSeconds: 0.2,
      why: 'Old points go by the rules of retention; the last good one never does',
    }),
  ];
}

function whyThisWay(request: ExportRequest, pool: PoolFacts, changes: Changes): string {
  const { toFetch, kept } = changes;
  const words = changesInWords(changes);
  const strategy = exportStrategy(toFetch.length, pool.vms.length);
  if (words === null) {
    const asked = request.everything === true ? ', as was asked' : '';
    return strategy === 'all'
      ? `${toFetch.length} of ${pool.vms.length} VMs${asked}: one request for all is cheaper than single ones`
      : `${toFetch.length} of ${pool.vms.length} VMs${asked}: single requests are cheaper than one for all`;
  }
  const keeping = kept.length === 1 ? '1 document kept' : `${kept.length || 'no'} documents kept`;
  if (toFetch.length === 0) return `${words}: nothing is fetched; ${keeping}`;
  return `${words}: ${strategy === 'all' ? 'one request for all' : 'single requests'}; ${keeping}`;
}

function expectation(request: ExportRequest, steps: readonly Step[]): Expectation {
  const { group, observation } = request;
  const replicas = pairsOf(group, observation).map((pair) => {
    const point = newestComplete(pair);
    return {
      sr: pair.sr,
      point,
      ageSeconds: point === null ? null : secondsBetween(point.takenAt, observation.takenAt),
    };
  });
  return {
    pointId: request.pointId,
    metadataTakenAt: null,
    replicas,
    skewSeconds: null,
    lossSeconds: null,
    rpoSeconds: group.rpoSeconds,
    rtoSeconds: group.rtoSeconds,
    forecastSeconds: Math.ceil(forecastSeconds(steps)),
    tiers: [],
    leftOut: [],
    notes: [
      `${request.vms.length} VMs of group ${group.name} are saved as recovery point ${request.pointId}`,
    ],
  };
}
