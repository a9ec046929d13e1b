/** The clones of the replica, attached under the SRs' own uuids and with names that nobody takes for the real ones. */

import { askPerson, handedOff, hostNames } from '../hand-offs.ts';
import { InTurn } from '../in-turn.ts';
import { attachExposed, hostsMasterFirst } from '../recover/attach.ts';
import type { RecoverDraft } from '../recover/draft.ts';

/**
 * Returns, per SR, the step after which its disks may be relied upon. `called`: what the recovery plan wants
 * before, whose failure alone holds nothing up.
 */
export function attachClones(
  draft: RecoverDraft,
  drill: string,
  prepared: readonly string[],
  called: readonly string[],
): Map<string, string> {
  const site = draft.request.group.recovery;
  const hosts = hostsMasterFirst(draft);
  const attached = new Map<string, string>();
  const inTurn = new InTurn();
  for (const item of draft.storage) {
    const { settings, replica, sr } = item;
    if (replica === null) continue;
    const first = inTurn.before(settings.target);
    const behind = {
      after: [...prepared, ...called, ...first],
      ...(called.length === 0 ? {} : { needs: [...prepared, ...first] }),
    };
    const sentence = handedOff(draft.request.observation, settings.target.array, 'drillStart');
    const byHand =
      sentence === null
        ? null
        : askPerson(
            draft,
            {
              target: settings.target,
              sentence,
              names: { drill, point: replica.takenAt, hosts: hostNames(hosts) },
              at: 'after-storage',
              verb: 'clone',
            },
            {
              ...behind,
              why: `Array ${settings.target.array} is worked by hand; the hosts look at the copy next`,
            },
          );
    const cloned = draft.add({
      id: draft.ids.of('clone', settings.target.volume),
      ...(byHand === null ? behind : { after: [byHand] }),
      action: { do: 'clone-replica', site, drill, sr: settings.sr, target: settings.target, point: replica },
      repeatable: true,
      uses: [`array:${settings.target.array}`],
      timeoutSeconds: 900,
      forecastSeconds: 5,
      why: `A writable copy beside the replica of SR ${sr.nameLabel}: the replica itself is not touched`,
    });
    inTurn.took(settings.target, cloned);
    attached.set(sr.uuid, attachExposed(draft, item, cloned, hosts));
  }
  return attached;
}
