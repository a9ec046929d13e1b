/**
 * A planned migration, and a failback, which is one in the other direction: stop, save, let go, bring the last writes
 * over and see that they are there (invariant 4), take over, start, turn the protection round. One file per act in
 * `migrate/` and `recover/`.
 */
import type { Roles } from '../domain/group.ts';
import { capabilitiesOf, type Observation } from '../domain/observation.ts';
import type { Expectation, Plan } from '../domain/plan.ts';
import type { PoolFacts } from '../domain/pool.ts';
import { byName, type Matchable } from '../domain/scope.ts';
import type { GroupSettings } from '../domain/settings.ts';
import { forecastSeconds } from './forecast.ts';
import { preparedByHand, reversedByHand } from './hand-offs.ts';
import { InTurn } from './in-turn.ts';
import { expectedPoint } from './migrate/expected-point.ts';
import { leave } from './migrate/leave.ts';
import { pairsOf } from './pairs.ts';
import { attach } from './recover/attach.ts';
import { bringUp } from './recover/bring-up.ts';
import { RecoverDraft, type RecoverRequest, type StorageOfPlan } from './recover/draft.ts';
import { expectationOf, nothingExpected } from './recover/expectation.ts';
import { atMoment } from './recover/moments.ts';
import { faultsOfOrder, type StartOrder, startOrder } from './tiers.ts';
import { turnRound } from './turn-round.ts';

export interface MigrateRequest {
  readonly operation: 'migrate' | 'failback';
  readonly planId: string;
  /** As it is oriented now: it goes from `production` to `recovery`. */
  readonly group: GroupSettings;
  /** How the sites stand now. */
  readonly roles: Roles;
  readonly configDigest: string;
  readonly generation: number;
  readonly observation: Observation;
  /** VMs that the rules of the group take in, by src/domain/scope.ts. */
  readonly vms: readonly Matchable[];
  /** Name of the last recovery point of the old direction, and of the first of the new one. */
  readonly lastPointId: string;
  readonly firstPointId: string;
  /** A named person allows guests that do not shut down to be switched off. */
  readonly force: boolean;
}

export function planMigrate(request: MigrateRequest): Plan {
  const { group, observation } = request;
  const waitingOn = missing(request);
  const from = poolOf(observation, group.production);
  const to = poolOf(observation, group.recovery);
  const isThere = request.operation === (request.roles === 'swapped' ? 'migrate' : 'failback');
  const built = isThere
    ? { steps: [], expects: alreadyThere(request), waitingOn: [] }
    : waitingOn.length > 0 || from === null || to === null
      ? {
          steps: [],
          expects: nothingExpected(recoverRequest(request), pairsOf(group, observation), null),
          waitingOn,
        }
      : build(request, from, to);
  return {
    id: request.planId,
    operation: request.operation,
    group: group.name,
    generation: request.generation,
    basedOn: { observation: observation.id, takenAt: observation.takenAt },
    configDigest: request.configDigest,
    ...built,
  };
}

function missing({ group, observation, vms }: MigrateRequest): string[] {
  const waitingOn: string[] = [];
  for (const site of [group.production, group.recovery])
    if (poolOf(observation, site) === null) waitingOn.push(`the pool of site ${site}, which cannot be read`);
  if (poolOf(observation, group.production) !== null && vms.length === 0)
    waitingOn.push(`VMs: none at site ${group.production} matches the rules of the group`);
  const from = poolOf(observation, group.production);
  for (const { sr, source, target } of pairsOf(group, observation)) {
    // A pair that stayed behind would replicate the wrong way round, over what is written from then on.
    if (from !== null && !from.srs.some((known) => known.uuid === sr || known.nameLabel === sr))
      waitingOn.push(`SR ${sr}, which the pool of site ${group.production} does not know`);
    if (source === null) waitingOn.push(`the array of site ${group.production}, which holds SR ${sr}`);
    if (target === null)
      waitingOn.push(`the array of site ${group.recovery}, which holds the copy of SR ${sr}`);
    for (const view of [source, target])
      if (view !== null && capabilitiesOf(observation, view.pair.array)?.stated === true)
        waitingOn.push(
          `a way to see that the last write of SR ${sr} has arrived: array ${view.pair.array} shows only what people state, and nothing is promoted on that in a move`,
        );
  }
  return waitingOn;
}

function build(
  request: MigrateRequest,
  from: PoolFacts,
  to: PoolFacts,
): Pick<Plan, 'steps' | 'limits' | 'expects' | 'waitingOn'> {
  const { group, observation } = request;
  const point = expectedPoint(request.lastPointId, group, request.configDigest, from, request.vms);
  const choice = { point, tooYoung: [], skewSeconds: 0 };
  const draft = new RecoverDraft(recoverRequest(request), choice, to, pairsOf(group, observation));
  const order = startOrder(group.plan, point, [...point.vms].sort(byName));

  const synced = leave(draft, order, { pool: from, members: request.vms, force: request.force });
  const harmless = [...synced.values()];
  const called = atMoment(draft, { at: 'before-promotion' }, harmless, harmless);
  const promoted = takeOver(draft, synced, called);
  const attached = attach(draft, promoted);
  bringUp(draft, order, attached);
  turnRound(draft, {
    planId: request.planId,
    group,
    roles: request.roles,
    pairs: draft.storage.map(({ pair }) => pair),
    byHand: (pair) => reversedByHand(observation, pair),
    // What was written there has been brought over, and seen.
    discard: false,
    pointId: request.firstPointId,
    members: request.vms,
    vmsInPool: to.vms.length + request.vms.length,
    left: draft.storage.map(({ sr }) => sr),
    after: [...promoted.values(), ...servingSteps(draft)],
    needs: [...promoted.values()],
    onFailure: 'continue',
  });
  const waitingOn = faultsOfOrder(order);
  return {
    steps: waitingOn.length > 0 ? [] : draft.steps,
    ...draft.limits,
    expects: expectation(draft, order, request),
    waitingOn,
  };
}

/** The mark for the old site, then the copies become writable: all of them, or none (storage.md B.4.13). */
function takeOver(
  draft: RecoverDraft,
  synced: ReadonlyMap<StorageOfPlan, string>,
  called: readonly string[],
): Map<StorageOfPlan, string> {
  const { group } = draft.request;
  const lost = { group: group.name, lostSite: group.production };
  const marked = draft.add({
    id: draft.ids.of('tombstone', group.production),
    after: [...synced.values(), ...called],
    // What the recovery plan calls before holds nothing up by its failure alone.
    ...(called.length === 0 ? {} : { needs: [...synced.values()] }),
    action: { do: 'tombstone', ...lost },
    holdsWhen: { is: 'tombstoned', ...lost },
    undo: { do: 'lift-tombstone', ...lost },
    undoneWhen: { is: 'tombstone-lifted', ...lost },
    repeatable: true,
    timeoutSeconds: 30,
    why: `Until the protection is turned round, what stays at site ${group.production} must not be taken for the real one`,
  });
  const inTurn = new InTurn();
  return new Map(
    [...synced].map(([item, syncedBy]) => {
      const { pair, settings, sr } = item;
      const id = draft.add({
        id: draft.ids.of('promote', settings.target.volume),
        after: [marked, ...synced.values(), ...inTurn.before(settings.target)],
        action: { do: 'promote-synced', pair, syncedBy },
        holdsWhen: { is: 'promoted', pair },
        pointOfNoReturn: true,
        repeatable: true,
        uses: [`array:${settings.target.array}`],
        timeoutSeconds: 1800,
        forecastSeconds: 5,
        why: `The copy of SR ${sr.nameLabel} becomes the original, with every write in it`,
      });
      return [item, inTurn.took(settings.target, id)];
    }),
  );
}

/** Steps after which the VMs serve, or have run out of time. */
function servingSteps(draft: RecoverDraft): string[] {
  const waits = draft.steps.filter(({ action }) => action.do === 'start-vm' || action.do === 'await-ready');
  return (waits.length > 0 ? waits : draft.steps.filter(({ action }) => action.do === 'import-vms')).map(
    (step) => step.id,
  );
}

function expectation(draft: RecoverDraft, order: StartOrder, request: MigrateRequest): Expectation {
  const { group } = request;
  const promised = expectationOf(draft, order);
  const running = draft.choice.point.vms.filter((vm) => vm.powerState !== 'Halted').length;
  return {
    ...promised,
    metadataTakenAt: null,
    lossSeconds: 0,
    forecastSeconds: Math.ceil(forecastSeconds(draft.steps, draft.limits.limits)),
    notes: [
      'Nothing is lost: the last write is brought over and seen at the other side before anything is promoted',
      `Both sites change: ${running} VMs stop at site ${group.production} and start at site ${group.recovery}; they do not serve in between`,
      `Until the promotion everything can be taken back with \`lifeboat run undo\`: the VMs start at site ${group.production} again`,
      ...closedByHand(draft),
      ...(request.force ? ['Guests that do not shut down by themselves are switched off'] : []),
      `In the end the group is protected from site ${group.recovery} to site ${group.production}`,
    ],
  };
}

/** What `run undo` cannot take back by itself. */
function closedByHand({ request, storage }: RecoverDraft): string[] {
  return storage.flatMap(({ settings: { source } }) =>
    preparedByHand(request.observation, source.array) === null
      ? []
      : [
          `A person closes volume ${source.volume} of array ${source.array} to writes: before \`lifeboat run undo\` a person opens it again`,
        ],
  );
}

function alreadyThere(request: MigrateRequest): Expectation {
  const { group, observation, operation } = request;
  const way = operation === 'migrate' ? 'failback' : 'migrate';
  const expects = nothingExpected(recoverRequest(request), pairsOf(group, observation), null);
  return {
    ...expects,
    notes: [
      `Nothing is left to do: the group runs at site ${group.production} already. The way to site ${group.recovery} is \`lifeboat ${way} ${group.name}\``,
    ],
  };
}

function recoverRequest(request: MigrateRequest): RecoverRequest {
  const { operation, planId, group, configDigest, generation, observation } = request;
  return {
    operation,
    planId,
    group,
    configDigest,
    generation,
    observation,
    pointId: null,
    declaredLost: false,
  };
}

function poolOf(observation: Observation, site: string): PoolFacts | null {
  const view = observation.sites[site];
  return view?.reachable === true ? view.pool : null;
}
