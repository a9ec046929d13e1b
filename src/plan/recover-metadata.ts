/**
 * The metadata that travelled with the storage is read where nothing else is left: on a clone of each replica, as in a
 * drill, so that the replica and its replication are not touched (invariant 3), and taken away again at the end.
 */
import type { BackupWish } from '../domain/actions/recover.ts';
import type { PairObservation } from '../domain/observation.ts';
import type { Plan } from '../domain/plan.ts';
import type { PoolFacts } from '../domain/pool.ts';
import type { ReplicatedSr } from '../domain/settings.ts';
import { formatDuration, secondsBetween } from '../domain/time.ts';
import { newestComplete } from './choose-point.ts';
import { cleanUp, compareInventory } from './drill/clean-up.ts';
import { goOnToCleanUp } from './drill/on-failure.ts';
import { missingClone, srInTheWay } from './drill.ts';
import { forecastSeconds } from './forecast.ts';
import { askPerson, handedOff, hostNames } from './hand-offs.ts';
import { pairsOf } from './pairs.ts';
import { hostsMasterFirst } from './recover/attach.ts';
import type { RecoverRequest } from './recover/draft.ts';
import { nothingExpected } from './recover/expectation.ts';
import { StepList } from './steps.ts';

export interface RecoverMetadataRequest
  extends Pick<RecoverRequest, 'planId' | 'group' | 'configDigest' | 'generation' | 'observation'> {
  /** Id of the clones, by which a clean-up finds them. */
  readonly drillId: string;
  readonly wish: BackupWish;
}

/** What a person names instead of the disk with the right uuid may carry what a guest wrote. */
const legacyNote =
  'A disk is read that a person named: a guest may have written it, so compare names and networks of the point before you start anything from it';

export function planRecoverMetadata(request: RecoverMetadataRequest): Plan {
  const { group, observation } = request;
  const pairs = pairsOf(group, observation);
  const view = observation.sites[group.recovery];
  const pool = view?.reachable === true ? view.pool : null;
  const waitingOn =
    pool === null
      ? [`the pool of site ${group.recovery}, which cannot be read`]
      : [
          ...(group.storage.length === 0 ? ['a replicated SR of the group'] : []),
          ...pairs.flatMap((pair) => missingClone(request, pair)),
          ...group.storage.flatMap(({ sr }) => knownHere(group.name, pool, sr)),
        ];
  const steps = pool === null || waitingOn.length > 0 ? [] : stepsOf(request, pool, pairs);
  return {
    id: request.planId,
    operation: 'recover-metadata',
    group: group.name,
    generation: request.generation,
    basedOn: { observation: observation.id, takenAt: observation.takenAt },
    configDigest: request.configDigest,
    steps,
    expects: {
      ...nothingExpected({ ...request, pointId: null, declaredLost: false }, pairs, null),
      forecastSeconds: Math.ceil(forecastSeconds(steps)),
      notes: [
        'Replicas and their replication go on: only clones of them are used, and removed again',
        'No VM is started, and nothing is imported',
        ...(request.wish.legacy === null ? [] : [legacyNote]),
      ],
    },
    waitingOn,
  };
}

/** An SR that the pool knows under the same name or uuid: original and clone cannot be in one pool (xapi.md 7.6). */
function knownHere(group: string, pool: PoolFacts, sr: string): string[] {
  return pool.srs
    .filter((known) => known.uuid === sr || known.nameLabel === sr)
    .flatMap((known) => srInTheWay(group, pool, known.uuid));
}

function stepsOf(
  request: RecoverMetadataRequest,
  pool: PoolFacts,
  pairs: readonly PairObservation[],
): Plan['steps'] {
  const { group, drillId: drill, observation } = request;
  const list = new StepList();
  const inventory = list.add({
    id: list.ids.of('inventory', group.recovery),
    after: [],
    action: { do: 'record-inventory', site: group.recovery },
    timeoutSeconds: 120,
    forecastSeconds: 0.5,
    why: `After the clean-up site ${group.recovery} must hold what it holds now, no more and no less`,
  });
  const readBy = group.storage.flatMap((settings, index) =>
    readOne(request, { list, pool, inventory, settings, pair: pairs[index] }),
  );
  const judged = list.add({
    id: list.ids.of('see', 'backups'),
    after: readBy,
    needs: [],
    action: { do: 'judge-backups', group: group.name, readBy },
    onFailure: 'finish',
    timeoutSeconds: 60,
    why: 'One backup is enough: it is of the whole pool, whatever SR it lies on',
  });
  const made = goOnToCleanUp(list.steps, [inventory]);
  const gone = cleanUp(list, {
    site: group.recovery,
    remains: { drill, vms: [], srs: [], clones: group.storage.map(({ target }) => target) },
    isFound: true,
    after: [judged],
    onFailure: 'finish',
    observation,
  });
  compareInventory(list, {
    site: group.recovery,
    group: group.name,
    arrays: [...new Set(group.storage.map(({ target }) => target.array))],
    after: gone,
    recordedBy: inventory,
    before: null,
  });
  return [...made, ...list.steps.slice(made.length)];
}

/** Cloned, attached, read: returns the step that has read it. What fails on one SR keeps no other from being read. */
function readOne(
  request: RecoverMetadataRequest,
  {
    list,
    pool,
    inventory,
    settings,
    pair,
  }: {
    readonly list: StepList;
    readonly pool: PoolFacts;
    readonly inventory: string;
    readonly settings: ReplicatedSr;
    readonly pair: PairObservation | undefined;
  },
): string[] {
  const { group, drillId: drill, observation, wish } = request;
  const { sr, target } = settings;
  const point = pair === undefined ? null : newestComplete(pair);
  const hosts = hostsMasterFirst({ pool });
  const [master] = hosts;
  if (point === null || master === undefined) return [];
  const sentence = handedOff(observation, target.array, 'drillStart');
  const before =
    sentence === null
      ? inventory
      : askPerson(
          list,
          {
            target,
            sentence,
            names: { drill, point: point.takenAt, hosts: hostNames([master]) },
            at: 'after-storage',
            verb: 'clone',
          },
          {
            after: [inventory],
            why: `Array ${target.array} is worked by hand; the host looks at the copy next`,
          },
        );
  const cloned = list.add({
    id: list.ids.of('clone', target.volume),
    after: [before],
    action: { do: 'clone-replica', site: group.recovery, drill, sr, target, point },
    repeatable: true,
    onFailure: 'continue',
    uses: [`array:${target.array}`],
    timeoutSeconds: 900,
    forecastSeconds: 5,
    why: `A writable copy beside the replica of SR ${sr}, ${formatDuration(secondsBetween(point.takenAt, observation.takenAt))} old: the replica itself is not touched`,
  });
  const attached = list.add({
    id: list.ids.of('attach', sr),
    after: [cloned],
    action: {
      do: 'attach-found-clone',
      site: group.recovery,
      drill,
      sr,
      clonedBy: cloned,
      host: { uuid: master.uuid, nameLabel: master.nameLabel, master: true },
    },
    repeatable: true,
    onFailure: 'continue',
    uses: [`sr:${group.recovery}`],
    timeoutSeconds: 900,
    forecastSeconds: 5,
    why: 'One host is enough to read a disk; the name says that it is a clone',
  });
  return [
    list.add({
      id: list.ids.of('read', sr),
      after: [attached],
      action: { do: 'read-backup', site: group.recovery, group: group.name, sr, attachedBy: attached, wish },
      repeatable: true,
      onFailure: 'continue',
      // One after the other: what two SRs hold alike is kept once.
      uses: [`pool:${group.recovery}`, 'catalog'],
      timeoutSeconds: 3600,
      forecastSeconds: 20,
      why: 'Read here, as a file: no host mounts it, and nothing that a guest could have written is looked into unasked',
    }),
  ];
}
