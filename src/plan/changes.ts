/**
 * Whose metadata changed since the last recovery point. Change events would be no help, since every export causes one
 * for each VM (performance.md 2): the content is compared, by the digest of src/adapters/xenapi/digest.ts.
 */
import type { Observation } from '../domain/observation.ts';
import type { KeptDocument, NamedVm } from '../domain/plan.ts';
import type { PoolFacts } from '../domain/pool.ts';
import type { PointVm, RecoveryPoint } from '../domain/recovery-point.ts';
import type { GroupSettings } from '../domain/settings.ts';
import { secondsBetween } from '../domain/time.ts';

/**
 * A document is fetched again at this age, changed or not, so that a change which the digest does not see (a field newer
 * than our data model, one made and unmade while the pool was being read) is put right within a day. An hour less than
 * the day: an export once a day at the same time shall never find yesterday's documents a few seconds too young.
 */
export const keptDocumentMaxAgeSeconds = 23 * 3600;

export interface Changes {
  /** The point that the VMs were compared with; null when there is none to compare with. */
  readonly since: RecoveryPoint | null;
  readonly toFetch: readonly NamedVm[];
  readonly kept: readonly KeptDocument[];
  /** How many of `toFetch` there are for each reason. */
  readonly counts: Readonly<Record<Reason, number>>;
}

export type Reason = 'changed' | 'new' | 'unknown' | 'old';

export function changesOf(
  group: GroupSettings,
  observation: Observation,
  pool: PoolFacts,
  vms: readonly NamedVm[],
  everything: boolean,
): Changes {
  const since = everything ? null : basePoint(group, observation, pool);
  const counts: Record<Reason, number> = { changed: 0, new: 0, unknown: 0, old: 0 };
  if (since === null) return { since, toFetch: vms, kept: [], counts };
  const before = new Map(since.vms.map((vm) => [vm.uuid, vm]));
  const digests = new Map(pool.vms.map((vm) => [vm.uuid, vm.digest]));
  const toFetch: NamedVm[] = [];
  const kept: KeptDocument[] = [];
  for (const { uuid, nameLabel } of vms) {
    const verdict = judge(before.get(uuid), digests.get(uuid), since, observation);
    if (typeof verdict === 'string') {
      counts[verdict] += 1;
      toFetch.push({ uuid, nameLabel });
    } else kept.push({ uuid, nameLabel, ...verdict });
  }
  return { since, toFetch, kept, counts };
}

/** The newest good point of this very pool, written by the same xapi, which also writes the documents' version. */
function basePoint(group: GroupSettings, observation: Observation, pool: PoolFacts): RecoveryPoint | null {
  return observation.catalog.points
    .filter(
      (point) =>
        point.group === group.name &&
        point.site === group.production &&
        point.poolUuid === pool.uuid &&
        point.xapiBuild.text === pool.xapiBuild.text &&
        point.failures.length === 0,
    )
    .reduce<RecoveryPoint | null>(
      (newest, point) => (newest === null || point.takenAt > newest.takenAt ? point : newest),
      null,
    );
}

function judge(
  before: PointVm | undefined,
  digest: string | undefined,
  since: RecoveryPoint,
  observation: Observation,
): Reason | Omit<KeptDocument, 'uuid' | 'nameLabel'> {
  if (before === undefined) return 'new';
  if (digest === undefined || before.digest === undefined) return 'unknown';
  if (digest !== before.digest) return 'changed';
  const from = before.documentFrom ?? { pointId: since.id, takenAt: since.takenAt };
  const ageSeconds = secondsBetween(from.takenAt, observation.takenAt);
  // Younger than nothing: our clock was set back, and no age can be trusted.
  if (ageSeconds < 0 || ageSeconds >= keptDocumentMaxAgeSeconds) return 'old';
  return { document: before.document, digest, from };
}

/** `3 of 24 VMs changed since point X, 1 cannot be compared`; null when there was nothing to compare with. */
export function changesInWords(changes: Changes): string | null {
  const { since, toFetch, kept, counts } = changes;
  if (since === null) return null;
  const all = toFetch.length + kept.length;
  const is = (count: number): string => (count === 1 ? 'is' : 'are');
  const reasons = reasonsInOrder.filter((reason) => counts[reason] > 0);
  if (reasons.length === 0) return `none of ${all} VMs changed since point ${since.id}`;
  return reasons
    .map((reason, index) => {
      const count = counts[reason];
      const said = {
        changed: ['changed', ` since point ${since.id}`],
        new: [`${is(count)} new`, ` since point ${since.id}`],
        unknown: ['cannot be compared', ` with point ${since.id}`],
        old: [`${is(count)} unchanged but last read a day ago`, `, by point ${since.id}`],
      }[reason];
      return index === 0 ? `${count} of ${all} VMs ${said.join('')}` : `${count} ${said[0]}`;
    })
    .join(', ');
}

const reasonsInOrder: readonly Reason[] = ['changed', 'new', 'unknown', 'old'];
