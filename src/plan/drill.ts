/**
 * The drill: a failover on a clone of the replica and isolated networks, with copies under new identities, evidence, and
 * the clean-up that is planned from the start (invariant 3). One file per act in `drill/`.
 */
import { drillOfSr } from '../domain/drill.ts';
import type { PairObservation } from '../domain/observation.ts';
import type { Plan } from '../domain/plan.ts';
import type { PoolFacts, Uuid } from '../domain/pool.ts';
import type { PointVm } from '../domain/recovery-point.ts';
import { byName } from '../domain/scope.ts';
import {
  type Choice,
  choosePoint,
  newestComplete,
  pointsToChooseFrom,
  replicaInstant,
} from './choose-point.ts';
import { cleanUp, compareInventory } from './drill/clean-up.ts';
import { attachClones } from './drill/clone.ts';
import { drillExpectation } from './drill/expectation.ts';
import { goOnToCleanUp } from './drill/on-failure.ts';
import { prepareDrill } from './drill/prepare.ts';
import { recordProof } from './drill/proof.ts';
import { networkTargets } from './networks.ts';
import { pairsOf } from './pairs.ts';
import { bringUp } from './recover/bring-up.ts';
import { RecoverDraft, type RecoverRequest } from './recover/draft.ts';
import { nothingExpected } from './recover/expectation.ts';
import { atMoment } from './recover/moments.ts';
import { isAskedFor } from './recover/partial.ts';
import { faultsOfOrder, startOrder } from './tiers.ts';

export interface DrillRequest
  extends Omit<RecoverRequest, 'operation' | 'drill' | 'declaredLost' | 'tombstoned'> {
  readonly drillId: string;
  /** The copies stay until a clean-up of their own. */
  readonly keep: boolean;
  /** Only these VMs of the point, by name or uuid; all of them when empty. */
  readonly vms: readonly string[];
  /** New uuids for the copies, taken in the order of the VMs' names. */
  readonly freshUuid: () => Uuid;
}

export function planDrill(request: DrillRequest): Plan {
  const { group, observation } = request;
  const pairs = pairsOf(group, observation);
  const points = pointsToChooseFrom(group, observation, request.pointId);
  const choice = choosePoint(points, replicaInstant(pairs), request.pointId);
  const recovery = observation.sites[group.recovery];
  const pool = recovery?.reachable === true ? recovery.pool : null;
  const chosen = choice === null ? null : chooseVms(request, choice);
  const built = chosen === null || pool === null ? null : build(request, chosen, pool, pairs);
  const waitingOn = [...missing(request, pairs, pool, chosen), ...(built?.waitingOn ?? [])];
  return {
    id: request.planId,
    operation: 'drill',
    group: group.name,
    generation: request.generation,
    basedOn: { observation: observation.id, takenAt: observation.takenAt },
    configDigest: request.configDigest,
    steps: waitingOn.length > 0 ? [] : (built?.steps ?? []),
    ...(built?.limits === undefined ? {} : { limits: built.limits }),
    expects: built?.expects ?? nothingExpected({ ...request, declaredLost: false }, pairs, choice),
    waitingOn,
  };
}

interface Chosen {
  /** The choice as the drill uses it: the VMs asked for with their SRs, no HA and no vApps. */
  readonly choice: Choice;
  readonly vms: readonly PointVm[];
  readonly notAsked: number;
  readonly appliances: readonly string[];
}

function chooseVms(request: DrillRequest, choice: Choice): Chosen {
  const { point, tooYoung } = choice;
  const isAsked = (vm: PointVm): boolean => isAskedFor(request.vms, vm);
  const young = new Set(tooYoung.map((vm) => vm.uuid));
  const asked = point.vms.filter(isAsked);
  const vms = asked
    .filter((vm) => !young.has(vm.uuid))
    .map((vm) => ({ ...vm, haRestartPriority: '', haAlwaysRun: false }))
    .sort(byName);
  const srs = new Set(vms.flatMap((vm) => vm.srUuids));
  const inVapps = new Set(vms.map((vm) => vm.applianceUuid));
  return {
    choice: {
      ...choice,
      tooYoung: tooYoung.filter(isAsked),
      point: { ...point, vms, appliances: [], srs: point.srs.filter((sr) => srs.has(sr.uuid)) },
    },
    vms,
    notAsked: point.vms.length - asked.length,
    appliances: point.appliances
      .filter((appliance) => inVapps.has(appliance.uuid))
      .map((appliance) => appliance.nameLabel)
      .sort(),
  };
}

/** What a drill cannot be made without, in words. */
function missing(
  request: DrillRequest,
  pairs: readonly PairObservation[],
  pool: PoolFacts | null,
  chosen: Chosen | null,
): string[] {
  const { group, pointId } = request;
  if (pool === null) return [`the pool of site ${group.recovery}, which cannot be read`];
  if (chosen === null)
    return [
      pointId === null
        ? 'a good recovery point of the group'
        : `recovery point ${pointId}, which the catalog does not hold`,
    ];
  const { vms, choice } = chosen;
  if (vms.length === 0) return ['VMs: the recovery point holds none of those that were asked for'];
  const used = new Set(choice.point.srs.flatMap((sr) => [sr.uuid, sr.nameLabel]));
  return [
    ...pairs.filter(({ sr }) => used.has(sr)).flatMap((pair) => missingClone(request, pair)),
    ...missingNetworks(request, pool, vms),
    ...choice.point.srs
      .filter((sr) => group.storage.some((each) => each.sr === sr.uuid || each.sr === sr.nameLabel))
      .flatMap((sr) => srInTheWay(group.name, pool, sr.uuid)),
  ];
}

export function missingClone(
  { group, observation }: Pick<DrillRequest, 'group' | 'observation'>,
  pair: PairObservation,
): string[] {
  if (pair.points === null)
    return [`the array of the recovery site: the points of SR ${pair.sr} are unknown`];
  if (pair.target?.role === 'promoted')
    return [`a replica of SR ${pair.sr}: its copy at site ${group.recovery} is promoted`];
  if (newestComplete(pair) === null) return [`a complete replica of SR ${pair.sr}`];
  const array = group.storage.find(({ sr }) => sr === pair.sr)?.target.array ?? '';
  const view = observation.arrays?.find((each) => each.array === array);
  if (view?.capabilities == null) return [`array ${array}, which has not said whether it can clone`];
  return view.capabilities.drill === 'none'
    ? [`a clone of SR ${pair.sr}: array ${array} can neither clone a replica nor open it for a test`]
    : [];
}

/** Invariants 3 and 12: isolated networks of the settings, found once by name; never a guess. */
function missingNetworks({ group }: DrillRequest, pool: PoolFacts, vms: readonly PointVm[]): string[] {
  const mapped = new Set(networkTargets(group, pool, vms, 'drill').map((target) => target.production));
  return [...new Set(vms.flatMap((vm) => vm.networkNames))]
    .filter((name) => !mapped.has(name))
    .sort()
    .map((name) => `an isolated network for drills in place of ${name}`);
}

export function srInTheWay(group: string, pool: PoolFacts, uuid: Uuid): string[] {
  const known = pool.srs.find((sr) => sr.uuid === uuid);
  if (known === undefined) return [];
  return drillOfSr(known) === null
    ? [`a pool that does not know SR ${known.nameLabel}: original and clone cannot be in one pool`]
    : [`the clean-up of an earlier drill: \`lifeboat drill cleanup ${group}\``];
}

function build(
  request: DrillRequest,
  { choice, vms, notAsked, appliances }: Chosen,
  pool: PoolFacts,
  pairs: readonly PairObservation[],
): Pick<Plan, 'steps' | 'limits' | 'expects' | 'waitingOn'> {
  const { group, drillId: id, keep } = request;
  const copies = new Map(vms.map((vm) => [vm.uuid, request.freshUuid()]));
  const draft = new RecoverDraft(
    { ...request, operation: 'drill', declaredLost: false, drill: { id, copies } },
    choice,
    pool,
    pairs,
  );
  const order = startOrder(group.plan, choice.point, vms, { inDrill: true });
  const prepared = prepareDrill(draft);
  const called = atMoment(draft, { at: 'before-promotion' }, prepared.done, prepared.done);
  const attached = attachClones(draft, id, prepared.done, called);
  bringUp(draft, order, attached);
  const made = goOnToCleanUp(draft.steps, prepared.done);
  const proof = recordProof(draft, id, order);
  if (!keep) {
    const remains = {
      drill: id,
      vms: vms.map((vm) => draft.member(vm)).map(({ uuid, nameLabel }) => ({ uuid, nameLabel })),
      srs: draft.storage.map(({ sr }) => ({ uuid: sr.uuid, nameLabel: sr.nameLabel })),
      clones: draft.storage.map(({ settings }) => settings.target),
    };
    const gone = cleanUp(draft, {
      site: group.recovery,
      remains,
      after: [proof],
      onFailure: 'finish',
      observation: request.observation,
    });
    compareInventory(draft, {
      site: group.recovery,
      group: group.name,
      arrays: [...new Set(remains.clones.map(({ array }) => array))],
      after: gone,
      recordedBy: prepared.inventory,
      before: null,
    });
  }
  const steps = [...made, ...draft.steps.slice(made.length)];
  const expects = drillExpectation(draft, order, { keep, notAsked, appliances, steps });
  return { steps, ...draft.limits, expects, waitingOn: faultsOfOrder(order) };
}
