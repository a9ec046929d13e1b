/** The verification plan: replication against the RPO, the catalog read back, the sites compared, the failover checked. */

import type { Observation, PairObservation } from '../domain/observation.ts';
import type { Expectation, PairAction, Plan } from '../domain/plan.ts';
import type { RecoveryPoint } from '../domain/recovery-point.ts';
import type { GroupSettings, ReplicatedSr } from '../domain/settings.ts';
import type { SitesLook } from '../domain/site-look.ts';
import { formatDuration, type Instant, secondsBetween } from '../domain/time.ts';
import { newestComplete, replicaInstant } from './choose-point.ts';
import { forecastSeconds } from './forecast.ts';
import { pairsOf } from './pairs.ts';
import { StepList } from './steps.ts';

/** A point of half the RPO's age leaves no room for one failure: from then on a new one is asked for. */
const syncFromRpoShare = 0.5;

export interface VerifyRequest {
  readonly planId: string;
  readonly group: GroupSettings;
  readonly configDigest: string;
  readonly generation: number;
  readonly observation: Observation;
  /** The newest good recovery point; null when there is none. */
  readonly point: RecoveryPoint | null;
  /** What an earlier verification saw; null when there was none. */
  readonly since: { readonly at: Instant; readonly by: string; readonly looks: SitesLook } | null;
  /** Nothing is sent by itself while a person has stopped all automatic work. */
  readonly frozen: boolean;
  /** A new point of every replica, however young the newest is. */
  readonly sync: boolean;
  /** Every byte of every point, and not of the newest alone. */
  readonly deep: boolean;
  /** By name of a source array, whether it cuts and sends a point on request; null when it could not be asked. */
  readonly syncNow: ReadonlyMap<string, boolean | null>;
}

export function planVerify(request: VerifyRequest): Plan {
  const { group, observation, point } = request;
  const list = new StepList();
  const notes: string[] = [];
  for (const [index, pair] of pairsOf(group, observation).entries()) {
    const storage = group.storage[index];
    if (storage !== undefined) verifyPair(request, list, storage, pair, notes);
  }
  const catalog = list.add({
    id: 'catalog',
    after: [],
    action: { do: 'verify-catalog', group: group.name, deep: request.deep },
    onFailure: 'finish',
    timeoutSeconds: 3600,
    forecastSeconds: 0.5,
    why: request.deep
      ? 'Every byte of every recovery point, in every target'
      : 'Manifests, chain and signatures, and that nothing is missing, in every target',
  });
  const compared = list.add({
    id: 'compare-sites',
    after: [],
    action: {
      do: 'compare-sites',
      production: group.production,
      recovery: group.recovery,
      since: request.since,
      pointId: point?.id ?? null,
    },
    onFailure: 'finish',
    timeoutSeconds: 300,
    forecastSeconds: 1,
    why:
      request.since === null
        ? 'Nobody looked before: what is seen now is what the next verification compares with'
        : `What changed since ${request.since.by} looked, and which VMs it touches`,
  });
  if (point !== null) {
    const readBack = list.add({
      id: 'read-back',
      after: [catalog],
      needs: [],
      action: { do: 'verify-point', pointId: point.id },
      onFailure: 'finish',
      timeoutSeconds: 900,
      forecastSeconds: 0.1 + 0.0005 * point.vms.length,
      why: 'The newest recovery point, every byte: it is the one that a failover would take',
    });
    list.add({
      id: 'readiness',
      after: [readBack, compared],
      needs: [],
      action: { do: 'verify-readiness', group: group.name, site: group.recovery },
      onFailure: 'finish',
      timeoutSeconds: 120 + Math.ceil(0.1 * point.vms.length),
      forecastSeconds: 1 + 0.002 * point.vms.length,
      why: `Whether site ${group.recovery} would take the ${point.vms.length} VMs of the point as it is now; nothing is sent there`,
    });
  }
  return {
    id: request.planId,
    operation: 'verify',
    group: group.name,
    generation: request.generation,
    basedOn: { observation: observation.id, takenAt: observation.takenAt },
    configDigest: request.configDigest,
    steps: list.steps,
    expects: expectation(request, list, notes),
    waitingOn: [],
  };
}

function verifyPair(
  request: VerifyRequest,
  list: StepList,
  { sr, source, target }: ReplicatedSr,
  seen: PairObservation,
  notes: string[],
): void {
  const { group } = request;
  const pair: PairAction = { sr, source, target };
  const why = whySync(request, pair, seen, notes);
  const after: string[] = [];
  if (why !== null) {
    const tag = request.planId;
    after.push(
      list.add({
        id: list.ids.of('sync', sr),
        after: [],
        action: { do: 'sync-replication', pair, tag },
        holdsWhen: { is: 'synced', pair, tag },
        // The same tag twice is one point.
        repeatable: true,
        onFailure: 'finish',
        uses: [`array:${source.array}`],
        timeoutSeconds: Math.max(600, group.rpoSeconds),
        forecastSeconds: 30,
        why,
      }),
    );
  }
  list.add({
    id: list.ids.of('replication', sr),
    after,
    needs: [],
    action: { do: 'verify-replication', pair, rpoSeconds: group.rpoSeconds },
    onFailure: 'finish',
    timeoutSeconds: 120,
    forecastSeconds: 0.3,
    why: `Role, health and age of the replica, against an RPO of ${formatDuration(group.rpoSeconds)}`,
  });
}

/** Why a new point is asked for; null when none is, with a note when one ought to be and cannot. */
function whySync(
  { group, observation, sync, syncNow, frozen }: VerifyRequest,
  { sr, source, target }: PairAction,
  seen: PairObservation,
  notes: string[],
): string | null {
  const newest = newestComplete(seen);
  const ageSeconds = newest === null ? null : secondsBetween(newest.takenAt, observation.takenAt);
  const due = ageSeconds === null || ageSeconds > syncFromRpoShare * group.rpoSeconds;
  const first = isMissing(observation, seen, target);
  // A promoted or unseen target takes nothing; that is told by the look at the pair.
  if (!(sync || due) || !(first || seen.target?.role === 'target') || seen.source?.role !== 'source')
    return null;
  // A name that is merely misspelt would get a whole copy: a person must mean it.
  if (first && !sync) {
    notes.push(
      `array ${target.array} has no volume ${target.volume} yet: where the name is right, \`lifeboat verify ${group.name} --sync\` sends the first point of SR ${sr}, which makes it`,
    );
    return null;
  }
  if (frozen && !sync) {
    notes.push(`no new point of SR ${sr} is asked for: group ${group.name} is frozen`);
    return null;
  }
  const can = syncNow.get(source.array) ?? null;
  if (can === true)
    return sync
      ? first
        ? `The first point was asked for: it makes volume ${target.volume} of array ${target.array}`
        : 'A new point was asked for'
      : ageSeconds === null
        ? 'The target holds no whole point'
        : `The newest point is ${formatDuration(ageSeconds)} old, more than half of the RPO`;
  notes.push(
    can === null
      ? `whether array ${source.array} can send a point of SR ${sr} on request is not known: none is asked for`
      : `array ${source.array} sends points of SR ${sr} by its own schedule only: none can be asked for`,
  );
  return null;
}

/** The target array answers, and has no such volume. */
function isMissing(
  { gaps }: Observation,
  seen: PairObservation,
  { array, volume }: PairAction['target'],
): boolean {
  const gap = gaps.find(({ source }) => source === `array ${array}, volume ${volume}`);
  return seen.target === null && gap?.problem.code === 'DR-ARRAY-VOLUME';
}

function expectation(request: VerifyRequest, list: StepList, notes: readonly string[]): Expectation {
  const { group, observation, point } = request;
  const replicas = pairsOf(group, observation).map((pair) => {
    const newest = newestComplete(pair);
    return {
      sr: pair.sr,
      point: newest,
      ageSeconds: newest === null ? null : secondsBetween(newest.takenAt, observation.takenAt),
    };
  });
  const oldest = replicaInstant(pairsOf(group, observation));
  return {
    pointId: point?.id ?? null,
    metadataTakenAt: point?.takenAt ?? null,
    replicas,
    skewSeconds: point === null || oldest === null ? null : secondsBetween(oldest, point.takenAt),
    lossSeconds: oldest === null ? null : secondsBetween(oldest, observation.takenAt),
    rpoSeconds: group.rpoSeconds,
    rtoSeconds: group.rtoSeconds,
    forecastSeconds: Math.ceil(forecastSeconds(list.steps)),
    tiers: [],
    leftOut: [],
    notes: [
      point === null
        ? `group ${group.name} has no recovery point: only its replication and its sites are verified`
        : `group ${group.name} is verified with recovery point ${point.id}`,
      ...notes,
    ],
  };
}
