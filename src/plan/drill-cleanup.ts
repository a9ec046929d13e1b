/**
 * The clean-up of drills by what is found: marked VMs and SRs in the recovery pool, clones on the arrays. It needs no
 * journal of the drill, so that it works after any crash.
 */
import type { Inventory } from '../domain/actions/drill.ts';
import type { DrillRemains } from '../domain/drill.ts';
import type { GroupState } from '../domain/group.ts';
import type { Observation } from '../domain/observation.ts';
import type { Plan } from '../domain/plan.ts';
import type { GroupSettings } from '../domain/settings.ts';
import { cleanUp, compareInventory } from './drill/clean-up.ts';
import { remainsOf } from './drill/remains.ts';
import { forecastSeconds } from './forecast.ts';
import { StepList } from './steps.ts';

export interface CleanUpRequest {
  readonly planId: string;
  readonly group: GroupSettings;
  readonly configDigest: string;
  readonly generation: number;
  readonly observation: Observation;
  /** The drill that the state of the group remembers. */
  readonly open: GroupState['drill'];
  /** What its run recorded before; null when that journal is gone. */
  readonly before: Inventory | null;
}

export function planDrillCleanup(request: CleanUpRequest): Plan {
  const { group, observation } = request;
  const recovery = observation.sites[group.recovery];
  const pool = recovery?.reachable === true ? recovery.pool : null;
  const remains = remainsOf(group, observation, request.open);
  const steps = pool === null ? [] : stepsOf(request, remains);
  return {
    id: request.planId,
    operation: 'drill-cleanup',
    group: group.name,
    generation: request.generation,
    basedOn: { observation: observation.id, takenAt: observation.takenAt },
    configDigest: request.configDigest,
    steps,
    expects: {
      pointId: null,
      metadataTakenAt: null,
      replicas: [],
      skewSeconds: null,
      lossSeconds: null,
      rpoSeconds: group.rpoSeconds,
      rtoSeconds: group.rtoSeconds,
      forecastSeconds: Math.ceil(forecastSeconds(steps)),
      tiers: [],
      leftOut: [],
      notes: notesOf(request, remains),
    },
    waitingOn: pool === null ? [`the pool of site ${group.recovery}, which cannot be read`] : [],
  };
}

function stepsOf(
  { group, observation, open, before }: CleanUpRequest,
  remains: readonly DrillRemains[],
): Plan['steps'] {
  // Nothing is seen, but the group is remembered as being drilled: the comparison alone sets that right.
  if (remains.length === 0 && open === null) return [];
  const list = new StepList();
  const site = group.recovery;
  const gone = remains.flatMap((each) =>
    cleanUp(list, { site, remains: each, after: [], onFailure: 'finish', observation }),
  );
  compareInventory(list, {
    site,
    group: group.name,
    arrays: [...new Set(group.storage.map(({ target }) => target.array))],
    after: gone,
    recordedBy: null,
    before,
  });
  return list.steps;
}

function notesOf({ group, before, open }: CleanUpRequest, remains: readonly DrillRemains[]): string[] {
  if (remains.length === 0 && open === null) return [`Nothing of a drill is left at site ${group.recovery}`];
  const notes = remains.map(
    ({ drill, vms, srs, clones }) =>
      `Drill ${drill}: ${vms.length} copies, ${srs.length} attached clones at site ${group.recovery}, ${clones.length} volumes whose clone is stopped`,
  );
  notes.push(
    before === null
      ? 'What the site held before the drill is not known any more: it is only made sure that nothing of the drill is left'
      : `The site is compared with what it held at ${before.takenAt}`,
  );
  return notes;
}
