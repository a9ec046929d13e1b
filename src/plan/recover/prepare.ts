/** Everything that can fail harmlessly comes first. */
import { formatDuration, secondsBetween } from '../../domain/time.ts';
import { evidenceOfDeath } from '../evidence.ts';
import type { RecoverDraft } from './draft.ts';

/** Evidence, the replica's point and age, the catalog re-read: all of it before anything is changed. */
export function prepare(draft: RecoverDraft): string[] {
  const { group, observation } = draft.request;
  const evidence = draft.add({
    id: draft.ids.of('evidence', group.production),
    after: [],
    action: {
      do: 'record-evidence',
      site: group.production,
      evidence: evidenceOfDeath(group, observation),
    },
    timeoutSeconds: 30,
    why: `The journal shall say why site ${group.production} was taken for lost`,
  });
  const done = [evidence];
  for (const { pair, replica, settings } of draft.storage) {
    if (replica === null) continue;
    const ageSeconds = secondsBetween(replica.takenAt, observation.takenAt);
    done.push(
      draft.add({
        id: draft.ids.of('record', settings.target.volume),
        after: [evidence],
        action: { do: 'record-replica', pair, expected: replica, ageSeconds },
        uses: [`array:${settings.target.array}`],
        timeoutSeconds: 60,
        forecastSeconds: 0.2,
        why: `What will be lost is written down before it is lost: the replica is ${formatDuration(ageSeconds)} old`,
      }),
    );
  }
  done.push(
    draft.add({
      id: draft.ids.of('read-back', 'recovery-point'),
      after: [evidence],
      action: { do: 'verify-point', pointId: draft.choice.point.id },
      timeoutSeconds: 600,
      forecastSeconds: 0.1 + 0.0005 * draft.choice.point.vms.length,
      why: 'Damaged metadata is found while nothing has been changed',
    }),
  );
  return done;
}
