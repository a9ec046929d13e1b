/** What a failover promises: loss, time, who comes up, who is left out, and what a person must know before. */
import { groupsKept } from '../../domain/consistency-group.ts';
import { capabilitiesOf, type Observation, type PairObservation } from '../../domain/observation.ts';
import type { Expectation } from '../../domain/plan.ts';
import type { ForeignOrigin } from '../../domain/recovery-point.ts';
import { formatDuration, secondsBetween } from '../../domain/time.ts';
import { type Choice, newestComplete } from '../choose-point.ts';
import { forecastSeconds } from '../forecast.ts';
import { alreadyPromoted } from '../pairs.ts';
import type { StartOrder } from '../tiers.ts';
import { named, type RecoverDraft, type RecoverRequest } from './draft.ts';
import { notesOfPart } from './partial.ts';

export function expectationOf(draft: RecoverDraft, order: StartOrder): Expectation {
  const { group, observation } = draft.request;
  const { point, tooYoung, skewSeconds } = draft.choice;
  const replicas = replicasOf(draft.pairs, observation);
  const lossSeconds = worstAge(replicas);
  return {
    pointId: point.id,
    metadataTakenAt: point.takenAt,
    ...metadataFrom(point.foreign),
    replicas,
    skewSeconds,
    lossSeconds,
    rpoSeconds: group.rpoSeconds,
    rtoSeconds: group.rtoSeconds,
    forecastSeconds: Math.ceil(forecastSeconds(draft.steps, draft.limits.limits)),
    tiers: order.tiers.map((tier) => ({ name: tier.name, vms: tier.vms.map(named) })),
    leftOut: [
      ...tooYoung.map(({ nameLabel }) => ({
        nameLabel,
        reason: 'created or given a disk after the replica: its disks are not there',
        lost: true,
      })),
      ...point.failures.map(({ nameLabel, reason }) => ({
        nameLabel,
        reason: `its metadata could not be saved: ${reason}`,
        lost: true,
      })),
      ...order.halted.map(({ vm, reason }) => ({
        nameLabel: vm.nameLabel,
        reason: `stays halted: ${reason}`,
      })),
    ],
    notes: [...notesOf(draft, lossSeconds), ...notesOfPart(draft, order), ...notesOfOrder(order)],
  };
}

function metadataFrom(foreign: ForeignOrigin | undefined): Pick<Expectation, 'metadataFrom'> {
  if (foreign?.storage === undefined) return {};
  const { sr, date } = foreign.storage;
  return { metadataFrom: { sr, date } };
}

function madeFrom({ files, storage }: ForeignOrigin): string {
  if (storage !== undefined)
    return `The recovery point was read from the metadata backup on SR ${storage.sr}, date ${storage.date}: it is as old as that, whatever was changed since`;
  const named = `${files.slice(0, 3).join(', ')}${files.length > 3 ? ', …' : ''}`;
  return `The recovery point was made from a backup of other tools (${named}), which knows less than an export`;
}

/** Who starts although a VM that it needs does not. */
export function notesOfOrder({ unmet }: StartOrder): string[] {
  const waiting = new Map<string, string[]>();
  for (const { vm, needs } of unmet)
    waiting.set(needs.nameLabel, [...(waiting.get(needs.nameLabel) ?? []), vm.nameLabel]);
  return [...waiting].map(
    ([needed, vms]) =>
      `VM ${needed} is not started, and needed by ${[...new Set(vms)].join(', ')}: they start without it`,
  );
}

/** When no plan can be made, the recovery point and the ages of the replicas are still worth telling. */
export function nothingExpected(
  { group, observation }: RecoverRequest,
  pairs: readonly PairObservation[],
  choice: Choice | null,
): Expectation {
  const replicas = replicasOf(pairs, observation);
  return {
    pointId: choice?.point.id ?? null,
    metadataTakenAt: choice?.point.takenAt ?? null,
    replicas,
    skewSeconds: choice?.skewSeconds ?? null,
    lossSeconds: worstAge(replicas),
    rpoSeconds: group.rpoSeconds,
    rtoSeconds: group.rtoSeconds,
    forecastSeconds: 0,
    tiers: [],
    leftOut: [],
    notes: [],
  };
}

function replicasOf(pairs: readonly PairObservation[], observation: Observation): Expectation['replicas'] {
  return pairs.map((pair) => {
    const point = newestComplete(pair);
    return {
      sr: pair.sr,
      point,
      ageSeconds: point === null ? null : secondsBetween(point.takenAt, observation.takenAt),
    };
  });
}

/** Null as soon as one replica's age is unknown: a loss is never told smaller than it may be. */
function worstAge(replicas: Expectation['replicas']): number | null {
  const ages = replicas.map((replica) => replica.ageSeconds);
  return ages.length === 0 || ages.includes(null) ? null : Math.max(...ages.map((age) => age ?? 0));
}

function notesOf(draft: RecoverDraft, lossSeconds: number | null): string[] {
  const { group, declaredLost } = draft.request;
  const notes: string[] = [];
  const { foreign } = draft.choice.point;
  if (foreign !== undefined) notes.push(madeFrom(foreign), ...foreign.unsaid);
  if (lossSeconds !== null) {
    const against = lossSeconds > group.rpoSeconds ? 'more than' : 'within';
    notes.push(
      `Everything written in the last ${formatDuration(lossSeconds)} is lost: ${against} the RPO of ${formatDuration(group.rpoSeconds)}`,
    );
  }
  for (const members of groupsKept(group.storage).filter(({ length }) => length > 1)) {
    const srs = members.map(({ sr }) => sr).join(', ');
    notes.push(
      `SRs ${srs} are one consistency group of their array: they come up as they were at one moment`,
    );
  }
  const young = draft.choice.tooYoung.map((vm) => vm.nameLabel);
  if (young.length > 0) {
    const who = young.length === 1 ? 'One VM was' : `${young.length} VMs were`;
    const fate = young.length === 1 ? 'it' : 'they';
    notes.push(`${who} created after the replica's point: ${fate} will not come up (${young.join(', ')})`);
  }
  if (declaredLost)
    notes.push(`Site ${group.production} was declared lost by a person; what still answers there is stopped`);
  for (const { pair, observed } of draft.storage) {
    const { array, volume } = pair.source;
    const stays = observed.source !== null && observed.source.role !== 'target';
    if (stays && capabilitiesOf(draft.request.observation, array)?.fence === false)
      notes.push(
        `Array ${array} cannot be told to refuse writes: close volume ${volume} to the hosts of site ${group.production} as soon as somebody can`,
      );
  }
  for (const pair of draft.pairs) {
    if (alreadyPromoted(pair))
      notes.push(`The copy of SR ${pair.sr} is promoted already; it is taken as it is`);
  }
  return notes;
}
