/**
 * Which points stay (pure). Only good points are counted; the newest good one always stays, whatever the rules say. A
 * point that is not good stays while it is among the newest `last`, so that its failures can still be looked at.
 */
import type { RetentionSettings } from '../../domain/settings.ts';
import { type Instant, secondsBetween } from '../../domain/time.ts';

export interface Candidate {
  readonly id: string;
  readonly takenAt: Instant;
  readonly good: boolean;
}

export interface Verdict {
  readonly id: string;
  readonly takenAt: Instant;
  /** Why it stays; empty when it goes. */
  readonly reasons: readonly string[];
}

/** Newest first. Buckets are hours, days, weeks (Monday to Sunday), months and years in UTC; the newest of each counts. */
export function retain(candidates: readonly Candidate[], rules: RetentionSettings, now: Instant): Verdict[] {
  const sorted = [...candidates].sort((a, b) =>
    a.takenAt < b.takenAt ? 1 : a.takenAt > b.takenAt ? -1 : a.id < b.id ? 1 : -1,
  );
  const reasons = new Map<string, string[]>(sorted.map((one) => [one.id, []]));
  const good = sorted.filter((one) => one.good);
  const keep = (one: Candidate, reason: string): void => {
    reasons.get(one.id)?.push(reason);
  };
  good.slice(0, rules.last).forEach((one, index) => {
    keep(one, `last ${index + 1}/${rules.last}`);
  });
  for (const [name, count, bucketOf] of [
    ['hourly', rules.hourly, (at: Instant) => at.slice(0, 13)],
    ['daily', rules.daily, (at: Instant) => at.slice(0, 10)],
    ['weekly', rules.weekly, weekOf],
    ['monthly', rules.monthly, (at: Instant) => at.slice(0, 7)],
    ['yearly', rules.yearly, (at: Instant) => at.slice(0, 4)],
  ] as const) {
    const seen = new Set<string>();
    for (const one of good) {
      const bucket = bucketOf(one.takenAt);
      if (seen.has(bucket) || seen.size >= count) continue;
      seen.add(bucket);
      keep(one, `${name} ${seen.size}/${count}`);
    }
  }
  sorted.slice(0, rules.last).forEach((one) => {
    if (!one.good) keep(one, 'not good, but among the newest');
  });
  const { maxAgeSeconds } = rules;
  if (maxAgeSeconds !== null) {
    for (const one of sorted) if (secondsBetween(one.takenAt, now) > maxAgeSeconds) reasons.set(one.id, []);
  }
  if (good[0] !== undefined) reasons.get(good[0].id)?.push('the last good point');
  return sorted.map((one) => ({ id: one.id, takenAt: one.takenAt, reasons: reasons.get(one.id) ?? [] }));
}

/** The Monday of the week. */
function weekOf(at: Instant): string {
  const day = Date.parse(`${at.slice(0, 10)}T00:00:00.000Z`);
  const sinceMonday = (new Date(day).getUTCDay() + 6) % 7;
  return new Date(day - sinceMonday * 86_400_000).toISOString().slice(0, 10);
}
