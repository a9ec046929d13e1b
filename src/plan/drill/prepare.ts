/** What is written down before a drill makes anything: the pool as it is, the replica's point, the metadata re-read. */
import { formatDuration, secondsBetween } from '../../domain/time.ts';
import type { RecoverDraft } from '../recover/draft.ts';

export interface Prepared {
  readonly inventory: string;
  /** All of the steps: the clone waits for them. */
  readonly done: readonly string[];
}

export function prepareDrill(draft: RecoverDraft): Prepared {
  const { group, observation } = draft.request;
  const inventory = draft.add({
    id: draft.ids.of('inventory', group.recovery),
    after: [],
    action: { do: 'record-inventory', site: group.recovery },
    timeoutSeconds: 120,
    forecastSeconds: 0.5,
    why: `After the clean-up site ${group.recovery} must hold what it holds now, no more and no less`,
  });
  const done = [inventory];
  for (const { pair, replica, settings } of draft.storage) {
    if (replica === null) continue;
    const ageSeconds = secondsBetween(replica.takenAt, observation.takenAt);
    done.push(
      draft.add({
        id: draft.ids.of('record', settings.target.volume),
        after: [inventory],
        action: { do: 'record-replica', pair, expected: replica, ageSeconds },
        uses: [`array:${settings.target.array}`],
        timeoutSeconds: 60,
        forecastSeconds: 0.2,
        why: `The evidence names the point that was proven: it is ${formatDuration(ageSeconds)} old`,
      }),
    );
  }
  done.push(
    draft.add({
      id: draft.ids.of('read-back', 'recovery-point'),
      after: [inventory],
      action: { do: 'verify-point', pointId: draft.choice.point.id },
      timeoutSeconds: 600,
      forecastSeconds: 0.1 + 0.0005 * draft.choice.point.vms.length,
      why: 'Damaged metadata is found before anything is made',
    }),
  );
  return { inventory, done };
}
