/**
 * The canary plan: a marked disk on each replicated SR, awaited at the replica, read back from a clone as in a drill, and
 * everything taken away again. Replication and production's own disks are never touched (invariants 3 and 11).
 */
import type { Plan } from '../domain/plan.ts';
import type { PoolFacts } from '../domain/pool.ts';
import { formatDuration } from '../domain/time.ts';
import { choosePoint, pointsToChooseFrom, replicaInstant } from './choose-point.ts';
import { cleanUp, compareInventory } from './drill/clean-up.ts';
import { goOnToCleanUp } from './drill/on-failure.ts';
import { missingClone, srInTheWay } from './drill.ts';
import { forecastSeconds } from './forecast.ts';
import { handedOff } from './hand-offs.ts';
import { pairsOf } from './pairs.ts';
import { attachExposed, hostsMasterFirst } from './recover/attach.ts';
import { RecoverDraft, type RecoverRequest, type StorageOfPlan } from './recover/draft.ts';
import { nothingExpected } from './recover/expectation.ts';

export interface CanaryRequest
  extends Pick<RecoverRequest, 'planId' | 'group' | 'configDigest' | 'generation' | 'observation'> {
  /** Id of the canary and of its clones, by which a clean-up finds them. */
  readonly drillId: string;
  /** By name of a source array, whether it cuts and sends a point on request; null when it could not be asked. */
  readonly syncNow: ReadonlyMap<string, boolean | null>;
}

/** An array that sends by its own schedule has two intervals of the promise for it. */
const rposToWait = 2;
const marginSeconds = 600;

export function planCanary(request: CanaryRequest): Plan {
  const { group, observation } = request;
  const pairs = pairsOf(group, observation);
  const points = pointsToChooseFrom(group, observation, null);
  const choice = choosePoint(points, replicaInstant(pairs), null);
  const [production, recovery] = [poolAt(request, group.production), poolAt(request, group.recovery)];
  const draft =
    choice === null || recovery === null
      ? null
      : new RecoverDraft(
          {
            ...request,
            operation: 'drill',
            pointId: null,
            declaredLost: false,
            drill: { id: request.drillId, copies: new Map() },
          },
          choice,
          recovery,
          pairs,
        );
  const waitingOn = [
    ...(production === null ? [`the pool of site ${group.production}, which cannot be read`] : []),
    ...(recovery === null ? [`the pool of site ${group.recovery}, which cannot be read`] : []),
    ...(choice === null ? ['a good recovery point of the group: it says how the SRs are attached'] : []),
    ...pairs.flatMap((pair) => missingClone({ group, observation }, pair)),
    ...workedByHand(request),
    ...missingSource(production, draft),
    ...(recovery === null || draft === null
      ? []
      : draft.storage.flatMap(({ sr }) => srInTheWay(group.name, recovery, sr.uuid))),
  ];
  const steps = waitingOn.length > 0 || draft === null ? [] : stepsOf(request, draft);
  return {
    id: request.planId,
    operation: 'canary',
    group: group.name,
    generation: request.generation,
    basedOn: { observation: observation.id, takenAt: observation.takenAt },
    configDigest: request.configDigest,
    steps,
    expects: {
      ...nothingExpected({ ...request, pointId: null, declaredLost: false }, pairs, choice),
      forecastSeconds: Math.ceil(forecastSeconds(steps)),
      notes: ['A small disk with our mark is made on each SR of the group, and removed again'],
    },
    waitingOn,
  };
}

function poolAt({ observation }: CanaryRequest, site: string): PoolFacts | null {
  const view = observation.sites[site];
  return view?.reachable === true ? view.pool : null;
}

/** What a person would have to state is what a canary is to find out. */
function workedByHand({ group, observation }: CanaryRequest): string[] {
  const arrays = new Set(group.storage.map(({ target }) => target.array));
  return [...arrays]
    .filter((array) => handedOff(observation, array, 'promote') !== null)
    .map((array) => `an array that can be asked: array ${array} is worked by hand`);
}

function missingSource(production: PoolFacts | null, draft: RecoverDraft | null): string[] {
  if (production === null || draft === null) return [];
  if (draft.storage.length === 0) return ['an SR of the group that the recovery point knows'];
  return draft.storage.flatMap(({ sr }) => {
    const seen = production.srs.find(({ uuid }) => uuid === sr.uuid);
    const plugged = seen?.pbds.some((pbd) => pbd.attached) === true;
    return plugged ? [] : [`SR ${sr.nameLabel} plugged at site ${draft.request.group.production}`];
  });
}

function stepsOf(request: CanaryRequest, draft: RecoverDraft): Plan['steps'] {
  const { group, drillId: drill } = request;
  const inventory = draft.add({
    id: draft.ids.of('inventory', group.recovery),
    after: [],
    action: { do: 'record-inventory', site: group.recovery },
    timeoutSeconds: 120,
    forecastSeconds: 0.5,
    why: `After the clean-up site ${group.recovery} must hold what it holds now, no more and no less`,
  });
  const found = draft.storage.map((item) => followOne(request, draft, item, inventory));
  const made = goOnToCleanUp(draft.steps, [inventory]);
  const gone = cleanUp(draft, {
    site: group.recovery,
    remains: {
      drill,
      vms: [],
      srs: draft.storage.map(({ sr }) => ({ uuid: sr.uuid, nameLabel: sr.nameLabel })),
      clones: draft.storage.map(({ settings }) => settings.target),
    },
    after: found,
    onFailure: 'finish',
    observation: request.observation,
  });
  for (const { sr } of draft.storage)
    draft.add({
      id: draft.ids.of('remove-canary', sr.nameLabel),
      after: found,
      needs: [],
      action: { do: 'remove-canary', site: group.production, srUuid: sr.uuid, group: group.name },
      onFailure: 'finish',
      uses: [`sr:${group.production}`],
      timeoutSeconds: 600,
      forecastSeconds: 2,
      why: 'Only disks that bear our mark; the replica loses its copy with the next point',
    });
  compareInventory(draft, {
    site: group.recovery,
    group: group.name,
    arrays: [...new Set(draft.storage.map(({ settings }) => settings.target.array))],
    after: gone,
    recordedBy: inventory,
    before: null,
  });
  return [...made, ...draft.steps.slice(made.length)];
}

/** Written, awaited, cloned, attached, found: returns the step that has found it. */
function followOne(
  request: CanaryRequest,
  draft: RecoverDraft,
  item: StorageOfPlan,
  inventory: string,
): string {
  const { group, drillId } = request;
  const { settings, pair, sr } = item;
  const hosts = hostsMasterFirst(draft);
  const onRequest = request.syncNow.get(settings.source.array) === true;
  const waitSeconds = rposToWait * group.rpoSeconds + marginSeconds;
  const writtenBy = draft.add({
    id: draft.ids.of('write-canary', sr.nameLabel),
    after: [inventory],
    action: {
      do: 'write-canary',
      site: group.production,
      srUuid: sr.uuid,
      sr: sr.nameLabel,
      canary: drillId,
    },
    uses: [`sr:${group.production}`],
    timeoutSeconds: 600,
    forecastSeconds: 3,
    why: 'A few megabytes that nobody else writes: what arrives of them can be nothing else',
  });
  const arrivedBy = draft.add({
    id: draft.ids.of('await-canary', sr.nameLabel),
    after: [writtenBy],
    action: { do: 'await-canary', pair, tag: drillId, onRequest, writtenBy },
    uses: [`array:${settings.source.array}`],
    timeoutSeconds: waitSeconds,
    forecastSeconds: onRequest ? 30 : group.rpoSeconds,
    why: onRequest
      ? `Array ${settings.source.array} is asked for a point`
      : `Array ${settings.source.array} sends by its own schedule: for at most ${formatDuration(waitSeconds)}`,
  });
  const cloned = draft.add({
    id: draft.ids.of('clone', settings.target.volume),
    after: [arrivedBy],
    action: {
      do: 'clone-canary',
      site: group.recovery,
      drill: drillId,
      sr: settings.sr,
      target: settings.target,
      arrivedBy,
    },
    uses: [`array:${settings.target.array}`],
    timeoutSeconds: 900,
    forecastSeconds: 5,
    why: `A writable copy beside the replica of SR ${sr.nameLabel}: the replica itself is not touched`,
  });
  const attached = attachExposed(draft, item, cloned, hosts);
  return draft.add({
    id: draft.ids.of('find-canary', sr.nameLabel),
    after: [attached],
    action: {
      do: 'find-canary',
      site: group.recovery,
      srUuid: sr.uuid,
      sr: sr.nameLabel,
      canary: drillId,
      writtenBy,
      arrivedBy,
    },
    timeoutSeconds: 900,
    forecastSeconds: 2,
    why: 'Read back byte for byte: the lag from the write to its arrival is measured, and not told',
  });
}
