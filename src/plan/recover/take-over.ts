/** The old site is kept from coming back as the real one, and the replica becomes writable. */

import type { NamedSr } from '../../domain/actions/moving.ts';
import { capabilitiesOf } from '../../domain/observation.ts';
import type { PoolFacts } from '../../domain/pool.ts';
import type { ReplicaPoint } from '../../domain/replication.ts';
import { askPerson, handedOff, hostNames } from '../hand-offs.ts';
import { InTurn } from '../in-turn.ts';
import { hostsMasterFirst } from './attach.ts';
import { named, type RecoverDraft, type StorageOfPlan } from './draft.ts';

/**
 * The old site is marked and fenced, then the replica is promoted: from here there is no way back by itself.
 * `called`: what the recovery plan wants before that, whose failure alone holds nothing up.
 */
export function takeOver(
  draft: RecoverDraft,
  harmless: readonly string[],
  called: readonly string[] = [],
): Map<StorageOfPlan, string> {
  const { group, observation, declaredLost } = draft.request;
  const before = [
    draft.add({
      id: draft.ids.of('tombstone', group.production),
      after: [...harmless, ...called],
      ...(called.length === 0 ? {} : { needs: harmless }),
      action: { do: 'tombstone', group: group.name, lostSite: group.production },
      holdsWhen: { is: 'tombstoned', group: group.name, lostSite: group.production },
      undo: { do: 'lift-tombstone', group: group.name, lostSite: group.production },
      undoneWhen: { is: 'tombstone-lifted', group: group.name, lostSite: group.production },
      repeatable: true,
      timeoutSeconds: 30,
      why: `When site ${group.production} comes back, its copies must not be taken for the real ones`,
    }),
  ];
  const production = observation.sites[group.production];
  if (declaredLost && production?.reachable === true) {
    const ours = new Set(draft.choice.point.vms.map((vm) => vm.uuid));
    const vms = production.pool.vms.filter((vm) => ours.has(vm.uuid)).map(named);
    before.push(
      draft.add({
        id: draft.ids.of('fence', group.production),
        after: [...before],
        action: {
          do: 'fence-vms',
          site: group.production,
          vms,
          reason: `failed over to site ${group.recovery}`,
        },
        holdsWhen: { is: 'vms-fenced', site: group.production, vms },
        pointOfNoReturn: true,
        repeatable: true,
        uses: [`start:${group.production}`],
        timeoutSeconds: 900,
        forecastSeconds: 5 + vms.length,
        why: 'The site still answers: its copies are stopped and blocked before ours start',
      }),
    );
  }
  const fenced = fenceStorage(draft, before);
  const promoted = new Map<StorageOfPlan, string>();
  const inTurn = new InTurn();
  for (const item of draft.storage) {
    const { pair, replica, settings } = item;
    // Promoted before, and without a point: nothing to promote, and yet nothing of it before the old site is fenced.
    if (replica === null) {
      const [last] = before.toReversed();
      if (last !== undefined) promoted.set(item, last);
      continue;
    }
    const first = inTurn.before(settings.target);
    const behind = {
      after: [...before, ...fenced, ...first],
      ...(fenced.length === 0 ? {} : { needs: [...before, ...first] }),
    };
    const byHand = promotedByHand(draft, item, replica, behind);
    if (byHand !== null) {
      promoted.set(item, inTurn.took(settings.target, byHand));
      continue;
    }
    const id = draft.add({
      id: draft.ids.of('promote', settings.target.volume),
      ...behind,
      action: { do: 'promote', pair, point: replica },
      holdsWhen: { is: 'promoted', pair },
      pointOfNoReturn: true,
      repeatable: true,
      uses: [`array:${settings.target.array}`],
      timeoutSeconds: 1800,
      forecastSeconds: 5,
      why: `The copy of SR ${item.sr.nameLabel} becomes writable; array ${settings.target.array} stops taking changes from the old site`,
    });
    promoted.set(item, inTurn.took(settings.target, id));
  }
  return promoted;
}

/** The step in which a person promotes the replica; null where the array does, or where it is stated as done. */
function promotedByHand(
  draft: RecoverDraft,
  { settings: { target }, observed, sr }: StorageOfPlan,
  replica: ReplicaPoint,
  behind: { readonly after: readonly string[]; readonly needs?: readonly string[] },
): string | null {
  const sentence = handedOff(draft.request.observation, target.array, 'promote');
  if (sentence === null || observed.target?.role === 'promoted') return null;
  return askPerson(
    draft,
    {
      target,
      sentence,
      names: { point: replica.takenAt, hosts: hostNames(hostsMasterFirst(draft)) },
      at: 'after-storage',
      verb: 'promote',
    },
    {
      ...behind,
      pointOfNoReturn: true,
      why: `Array ${target.array} is worked by hand: the word is not the proof, the hosts look at SR ${sr.nameLabel} next`,
    },
  );
}

/**
 * What of the old site's storage can be reached is kept from being written: unplugged by its pool, closed by its array.
 * Where that fails nobody waits: the replica has nothing to do with the source any more.
 */
function fenceStorage(draft: RecoverDraft, before: readonly string[]): string[] {
  const { group, observation, declaredLost } = draft.request;
  const atOnce = { onFailure: 'continue', retriesMax: 0, pointOfNoReturn: true, repeatable: true } as const;
  const fenced: string[] = [];
  const production = observation.sites[group.production];
  const plugged = production?.reachable === true ? pluggedSrs(draft, production.pool) : [];
  if (declaredLost && plugged.length > 0)
    fenced.push(
      draft.add({
        id: draft.ids.of('unplug', group.production),
        after: [...before],
        action: { do: 'release-storage', site: group.production, srs: plugged },
        ...atOnce,
        timeoutSeconds: 120,
        forecastSeconds: 2,
        why: 'Without the storage no host there can start a copy that was forgotten',
      }),
    );
  for (const { pair, observed } of draft.storage) {
    if (observed.source === null || observed.source.role === 'target') continue;
    // Nobody is waited for: the replica has nothing to do with the source any more.
    if (capabilitiesOf(observation, pair.source.array)?.fence === false) continue;
    fenced.push(
      draft.add({
        id: draft.ids.of('fence', pair.source.volume),
        after: [...before, ...fenced],
        needs: before,
        action: { do: 'fence-storage', pair },
        ...atOnce,
        uses: [`array:${pair.source.array}`],
        timeoutSeconds: 60,
        forecastSeconds: 1,
        why: `Array ${pair.source.array} still answers: what is written there from now on would be lost`,
      }),
    );
  }
  return fenced;
}

function pluggedSrs(draft: RecoverDraft, pool: PoolFacts): NamedSr[] {
  const ours = new Set(draft.storage.map(({ sr }) => sr.uuid));
  return pool.srs
    .filter((sr) => ours.has(sr.uuid) && sr.pbds.some((pbd) => pbd.attached))
    .map(({ uuid, nameLabel }) => ({ uuid, nameLabel }));
}
