/** Which points stay, over all targets: none leaves a target without a point that was read just now. */
import type { PointSummary } from '../../domain/catalog.ts';
import type { RetentionSettings } from '../../domain/settings.ts';
import type { Instant } from '../../domain/time.ts';
import { newestFirst } from './manifest.ts';
import { retain, type Verdict } from './retention.ts';
import type { Survey, SurveyedPoint } from './survey.ts';
import type { Target } from './target.ts';

/** A point with no reasons is to be removed. */
export async function verdictsOf(
  found: readonly { readonly target: Target; readonly survey: Survey }[],
  rules: RetentionSettings,
  now: Instant,
  signal?: AbortSignal,
): Promise<Verdict[]> {
  const merged = new Map<string, { id: string; takenAt: Instant; good: boolean }>();
  const lastGood = new Map<string, string[]>();
  for (const { target, survey } of found) {
    for (const surveyed of survey.points) {
      const { id, takenAt, good } = summarise(surveyed, target.name);
      merged.set(id, { id, takenAt, good: good || (merged.get(id)?.good ?? false) });
    }
    const newest = await newestWhole(target, survey, signal);
    if (newest !== null) lastGood.set(newest, [...(lastGood.get(newest) ?? []), target.name]);
  }
  return retain([...merged.values()], rules, now).map((verdict) => {
    const targets = lastGood.get(verdict.id);
    if (targets === undefined || verdict.reasons.includes('the last good point')) return verdict;
    return {
      ...verdict,
      reasons: [...verdict.reasons, `the last good point of target ${targets.join(', ')}`],
    };
  });
}

export function summarise({ manifest, faults }: SurveyedPoint, target: string): PointSummary {
  return {
    id: manifest.point,
    group: manifest.group,
    takenAt: manifest.takenAt,
    vmCount: manifest.vmCount,
    failureCount: manifest.failureCount,
    good: faults.length === 0 && manifest.failureCount === 0,
    targets: [target],
    bytes: manifest.bytes,
  };
}

/** The newest point whose packs were read just now and are what they were: nothing older is removed on a promise. */
async function newestWhole(target: Target, survey: Survey, signal?: AbortSignal): Promise<string | null> {
  const good = survey.points
    .filter(({ faults, manifest }) => faults.length === 0 && manifest.failureCount === 0)
    .sort(newestFirst);
  for (const { manifest } of good) {
    signal?.throwIfAborted();
    if (await target.isWhole(manifest)) return manifest.point;
  }
  return null;
}
