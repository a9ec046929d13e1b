/** The disk with the metadata backup, which travels with the replicated storage: when it was last written and read back. */
import { backupVdiMark, readBackupMark } from '../domain/backup-vdi.ts';
import type { PoolFacts } from '../domain/pool.ts';
import type { GroupSettings } from '../domain/settings.ts';
import { formatDuration, secondsBetween } from '../domain/time.ts';
import {
  type Found,
  isProtected,
  none,
  notKnown,
  type WatchedGroup,
  type WatchFacts,
  wrong,
} from './facts.ts';

/** One that fails gets a second try before anybody is told. */
const turnsMost = 2;

export function metadataBackups(facts: WatchFacts, watched: WatchedGroup): Found {
  const { group, status } = watched;
  const key = `metadata-backup:${group.name}`;
  const { metadataBackup } = group;
  if (metadataBackup === undefined || !isProtected(watched) || status.frozen !== null) return none;
  const view = facts.observation.sites[group.production];
  if (view?.reachable !== true) return notKnown(key);
  const writtenAt = oldestMark(group, view.pool);
  const age = writtenAt === null ? null : secondsBetween(writtenAt, facts.now);
  if (age !== null && age <= turnsMost * metadataBackup.everySeconds) return none;
  // Before the first export has ended there is nothing to be missed.
  if (age === null && status.lastRun === null) return notKnown(key);
  return wrong('metadata-backup', key, {
    severity: 'warning',
    groups: [group.name],
    what:
      age === null
        ? `The metadata backup of group ${group.name} was never written to its disk`
        : `The metadata backup of group ${group.name} was last written ${formatDuration(age)} ago`,
    evidence: [
      `one is due every ${formatDuration(metadataBackup.everySeconds)}, on each SR of the group: ${group.storage.map(({ sr }) => sr).join(', ')}`,
      ...(writtenAt === null ? [] : [`the oldest of them was written and read back at ${writtenAt}`]),
    ],
    next: `See what the step says: lifeboat run show of the newest export of ${group.name}`,
  });
}

/** It lies on each replicated SR: the one that was written longest ago counts. Null when one has none. */
function oldestMark(group: GroupSettings, pool: PoolFacts): string | null {
  const marks = pool.srs
    .filter((sr) => group.storage.some((storage) => storage.sr === sr.uuid || storage.sr === sr.nameLabel))
    .map((sr) => newestMark(pool, sr.uuid));
  return marks.includes(null) ? null : (marks.sort()[0] ?? null);
}

function newestMark(pool: PoolFacts, srUuid: string): string | null {
  const marks = pool.vdis.flatMap((vdi) =>
    vdi.srUuid === srUuid ? (readBackupMark(vdi.otherConfig[backupVdiMark])?.writtenAt ?? []) : [],
  );
  return marks.sort().at(-1) ?? null;
}
