/** The old site is kept from coming back as the real one, and the replica becomes writable. */
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
  const promoted = new Map<StorageOfPlan, string>();
  for (const item of draft.storage) {
    const { pair, replica, settings } = item;
    if (replica === null) continue;
    promoted.set(
      item,
      draft.add({
        id: draft.ids.of('promote', settings.target.volume),
        after: [...before],
        action: { do: 'promote', pair, point: replica },
        holdsWhen: { is: 'promoted', pair },
        pointOfNoReturn: true,
        repeatable: true,
        uses: [`array:${settings.target.array}`],
        timeoutSeconds: 1800,
        forecastSeconds: 5,
        why: `The copy of SR ${item.sr.nameLabel} becomes writable; array ${settings.target.array} stops taking changes from the old site`,
      }),
    );
  }
  return promoted;
}
