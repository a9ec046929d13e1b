/**
 * Reprotect, when the old site is back after a failover: its copies are put away for good, what it alone holds is thrown
 * away only where a person said so, and the replication is turned round. The first two steps are useful by themselves
 * as soon as the site answers: `quarantineOnly`.
 */
import type { GroupState } from '../domain/group.ts';
import type { Observation } from '../domain/observation.ts';
import type { Expectation, PairAction, Plan } from '../domain/plan.ts';
import type { PoolFacts, SrFacts } from '../domain/pool.ts';
import type { Divergence } from '../domain/replication.ts';
import { byName, type Matchable } from '../domain/scope.ts';
import type { GroupSettings } from '../domain/settings.ts';
import { forecastSeconds } from './forecast.ts';
import { reversedByHand } from './hand-offs.ts';
import { InTurn } from './in-turn.ts';
import { quarantinedVms } from './migrate/leave.ts';
import { pairsOf } from './pairs.ts';
import { StepList } from './steps.ts';
import { turnRound } from './turn-round.ts';

export interface ReprotectRequest {
  readonly planId: string;
  /** As it is oriented now: its VMs serve at `recovery`, and `production` is the site that was lost. */
  readonly group: GroupSettings;
  readonly state: GroupState | null;
  readonly configDigest: string;
  readonly generation: number;
  readonly observation: Observation;
  /** VMs that serve, and VMs of the group that the old site holds. */
  readonly vms: readonly Matchable[];
  readonly stale: readonly Matchable[];
  /** What each array of the old site alone holds, by SR; null where it could not be asked. */
  readonly divergence: ReadonlyMap<string, Divergence | null>;
  /** A named person gave up what the old site alone holds. */
  readonly discard: boolean;
  /** A named person lets copies that run at the old site be stopped. */
  readonly stopOld: boolean;
  readonly quarantineOnly: boolean;
  readonly firstPointId: string;
}

export function planReprotect(request: ReprotectRequest): Plan {
  const { group, observation } = request;
  const isDone = !hasLeft(request.state);
  const waitingOn = isDone ? [] : missing(request);
  const old = poolOf(observation, group.production);
  const steps = isDone || waitingOn.length > 0 || old === null ? [] : build(request, old);
  return {
    id: request.planId,
    operation: 'reprotect',
    group: group.name,
    generation: request.generation,
    basedOn: { observation: observation.id, takenAt: observation.takenAt },
    configDigest: request.configDigest,
    steps,
    expects: expectation(request, steps, isDone),
    waitingOn,
  };
}

/** Whether the group was moved and its protection not turned round: then there is something to put away. */
function hasLeft(state: GroupState | null): boolean {
  if (state === null) return false;
  return state.tombstone !== null || state.phase === 'failed-over' || state.phase === 'reprotecting';
}

function missing({ group, observation, quarantineOnly, vms }: ReprotectRequest): string[] {
  const waitingOn: string[] = [];
  if (poolOf(observation, group.production) === null)
    waitingOn.push(`site ${group.production} to come back: its pool cannot be read`);
  if (quarantineOnly) return waitingOn;
  const serving = poolOf(observation, group.recovery);
  if (serving === null) waitingOn.push(`the pool of site ${group.recovery}, which cannot be read`);
  else if (vms.length === 0)
    waitingOn.push(`VMs: none at site ${group.recovery} matches the rules of the group`);
  for (const { sr, source, target } of pairsOf(group, observation)) {
    if (source === null)
      waitingOn.push(
        `the array of site ${group.production} to come back: SR ${sr} cannot be looked at there`,
      );
    if (target === null) waitingOn.push(`the array of site ${group.recovery}, which holds SR ${sr}`);
    else if (target.role === 'target')
      waitingOn.push(
        `SR ${sr} to be promoted at site ${group.recovery}: what serves there is still a replica`,
      );
  }
  return waitingOn;
}

function build(request: ReprotectRequest, old: PoolFacts): StepList['steps'] {
  const { group } = request;
  const steps = new StepList();
  const noted = steps.add({
    id: steps.ids.of('note', group.production),
    after: [],
    action: { do: 'note-standing', site: group.production, seen: evidenceOfReturn(request, old) },
    timeoutSeconds: 30,
    why: 'The journal shall say how both sides stood before anything was put away',
  });
  const away = quarantine(steps, request, old, noted);
  if (request.quarantineOnly) return steps.steps;
  const detached = detach(steps, request, old, away);
  const pairs: PairAction[] = group.storage.map(({ sr, source, target }) => ({ sr, source, target }));
  const putAway = [away, ...detached];
  const byHand = (pair: PairAction): string | null => reversedByHand(request.observation, pair);
  // Whoever turns a pair round by hand demotes it with that.
  const inTurn = new InTurn();
  const demoted = pairs.flatMap((pair) =>
    byHand(pair) === null
      ? [inTurn.took(pair.source, demote(steps, request, pair, [...putAway, ...inTurn.before(pair.source)]))]
      : [],
  );
  const ready = demoted.length === pairs.length ? demoted : [...putAway, ...demoted];
  turnRound(steps, {
    planId: request.planId,
    group,
    roles: request.state?.roles ?? 'as-configured',
    pairs,
    byHand,
    discard: request.discard,
    pointId: request.firstPointId,
    members: request.vms,
    vmsInPool: poolOf(request.observation, group.recovery)?.vms.length ?? 0,
    left: replicatedSrs(group, old),
    after: ready,
    needs: ready,
    onFailure: 'stop',
  });
  return steps.steps;
}

function evidenceOfReturn(
  { group, observation, state, divergence }: ReprotectRequest,
  old: PoolFacts,
): string[] {
  return [
    `pool ${old.nameLabel} of site ${group.production} answered at ${old.observedAt}`,
    ...(state?.tombstone == null ? [] : [`taken for lost by run ${state.tombstone.run}`]),
    ...pairsOf(group, observation).map(
      ({ sr, source, target }) =>
        `SR ${sr}: ${source?.role ?? 'not seen'} at site ${group.production}, ${target?.role ?? 'not seen'} at site ${group.recovery}`,
    ),
    ...[...divergence].flatMap(([sr, what]) => (what?.says ?? []).map((said) => `SR ${sr}: ${said}`)),
  ];
}

function quarantine(steps: StepList, request: ReprotectRequest, old: PoolFacts, noted: string): string {
  const { group } = request;
  const vms = quarantinedVms(old, new Set(request.stale.map((vm) => vm.uuid)));
  return steps.add({
    id: steps.ids.of('quarantine', group.production),
    after: [noted],
    action: {
      do: 'quarantine-vms',
      site: group.production,
      vms,
      stopRunning: request.stopOld,
      reason: `group ${group.name} serves at site ${group.recovery}`,
    },
    holdsWhen: { is: 'vms-quarantined', site: group.production, vms },
    repeatable: true,
    uses: [`pool:${group.production}`],
    timeoutSeconds: 900,
    forecastSeconds: 0.1 * vms.length,
    why: `The copies at site ${group.production} are stale: nothing may start them by itself`,
  });
}

/** The record is kept with its names: PBDs are made anew when the group comes back (xapi.md 7.5, 7.9). */
function detach(steps: StepList, { group }: ReprotectRequest, old: PoolFacts, away: string): string[] {
  const site = group.production;
  return replicatedSrs(group, old).map(({ uuid, nameLabel }) => {
    const sr = { uuid, nameLabel };
    return steps.add({
      id: steps.ids.of('detach', nameLabel),
      after: [away],
      action: { do: 'detach-sr', site, sr },
      holdsWhen: { is: 'sr-detached', site, sr },
      repeatable: true,
      uses: [`sr:${site}`],
      timeoutSeconds: 900,
      forecastSeconds: 2,
      why: 'What is about to be overwritten must be scanned and written by nobody',
    });
  });
}

/** The SRs of the group that this pool knows. */
export function replicatedSrs(group: GroupSettings, pool: PoolFacts): SrFacts[] {
  return pool.srs
    .filter((sr) => group.storage.some((storage) => storage.sr === sr.uuid || storage.sr === sr.nameLabel))
    .sort(byName);
}

function demote(
  steps: StepList,
  { group, discard, divergence }: ReprotectRequest,
  pair: PairAction,
  after: readonly string[],
): string {
  const what = divergence.get(pair.sr) ?? null;
  return steps.add({
    id: steps.ids.of('demote', pair.source.volume),
    after: [...after],
    action: { do: 'demote-source', pair, discard, common: what?.common?.ref ?? null },
    holdsWhen: { is: 'source-demoted', pair },
    pointOfNoReturn: discard,
    repeatable: true,
    uses: [`array:${pair.source.array}`],
    timeoutSeconds: 1800,
    forecastSeconds: 5,
    why: discard
      ? `Thrown away: ${saidOf(what)}`
      : `Array ${pair.source.array} takes no more writes; it refuses if it holds anything that site ${group.recovery} does not`,
  });
}

function saidOf(divergence: Divergence | null): string {
  if (divergence === null) return 'whatever the old source alone holds';
  return divergence.says.length > 0 ? divergence.says.join('; ') : 'nothing; both sides hold the same';
}

function expectation(request: ReprotectRequest, steps: StepList['steps'], isDone: boolean): Expectation {
  const { group } = request;
  return {
    pointId: request.quarantineOnly || isDone ? null : request.firstPointId,
    metadataTakenAt: null,
    replicas: [],
    skewSeconds: null,
    lossSeconds: null,
    rpoSeconds: group.rpoSeconds,
    rtoSeconds: group.rtoSeconds,
    forecastSeconds: Math.ceil(forecastSeconds(steps)),
    tiers: [],
    leftOut: [],
    notes: isDone ? [`Nothing is left to do: group ${group.name} is not failed over`] : notesOf(request),
  };
}

function notesOf(request: ReprotectRequest): string[] {
  const { group, stale, vms, quarantineOnly, discard, divergence } = request;
  const serving = new Set(vms.map((vm) => vm.uuid));
  const onlyThere = stale.filter((vm) => !serving.has(vm.uuid)).map((vm) => vm.nameLabel);
  const copies = `The VMs at site ${group.recovery} go on serving; ${stale.length} copies at site ${group.production} are put away`;
  if (quarantineOnly)
    return [copies, `Their disks stay as they are; \`lifeboat reprotect ${group.name}\` goes on from here`];
  return [
    copies,
    ...(onlyThere.length > 0
      ? [
          `Only at site ${group.production}, and gone when its storage is overwritten: ${onlyThere.sort().join(', ')}`,
        ]
      : []),
    ...(discard
      ? [...divergence].map(
          ([sr, what]) => `SR ${sr}: thrown away at site ${group.production}: ${saidOf(what)}`,
        )
      : []),
    `In the end the group is protected from site ${group.recovery} to site ${group.production}; \`lifeboat ${request.state?.roles === 'swapped' ? 'migrate' : 'failback'} ${group.name}\` brings it back`,
  ];
}

function poolOf(observation: Observation, site: string): PoolFacts | null {
  const view = observation.sites[site];
  return view?.reachable === true ? view.pool : null;
}
