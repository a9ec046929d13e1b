/**
 * Removing points from one target: first the signed record of pruning, then the manifests, then the packs that nothing
 * names. A crash between any two leaves a catalog that verifies.
 */
import { type LockOwner, removeStale, storeNowSeconds, withLock } from './locks.ts';
import { type Chain, chainFormat, type PrunedRange } from './manifest.ts';
import { packPath, type SurveyedPoint } from './survey.ts';
import type { Target } from './target.ts';

/** Packs that nothing names are left alone this long: a run that crashed may still be resumed. */
export const defaultGraceSeconds = 3600;

export interface TargetPruning {
  readonly bytesFreed: number;
  readonly notes: readonly string[];
}

/** `remove` has point ids; points of other groups are not touched, their packs are. */
export async function pruneTarget(
  target: Target,
  group: string,
  remove: ReadonlySet<string>,
  owner: LockOwner,
  graceSeconds: number,
): Promise<TargetPruning> {
  const { store } = target;
  await target.open(false);
  await withLock(store, `group-${group}`, owner, async () => {
    const survey = await target.survey(group);
    const leaving = survey.points.filter((point) => remove.has(point.manifest.point));
    const leftovers = survey.notes.filter((note) => note.file.endsWith('.point')).map((note) => note.file);
    if (leaving.length > 0) await target.writeChain(chainWithout(group, survey, leaving));
    for (const file of [...leaving.map((point) => point.file), ...leftovers]) await store.remove(file);
    if (leaving.length + leftovers.length > 0) await store.syncDirectory(`points/${group}`);
  });
  return withLock(store, 'prune', owner, () => sweep(target, graceSeconds));
}

function chainWithout(
  group: string,
  survey: Awaited<ReturnType<Target['survey']>>,
  leaving: readonly SurveyedPoint[],
): Chain {
  const old = survey.chains.get(group)?.value;
  const ranges: PrunedRange[] = [
    ...(old?.pruned ?? []),
    ...leaving.map(({ manifest, sha256 }) => ({
      from: manifest.sequence,
      to: manifest.sequence,
      before: manifest.previous,
      last: sha256,
    })),
  ].sort((a, b) => a.from - b.from);
  const merged: PrunedRange[] = [];
  for (const range of ranges) {
    const before = merged.at(-1);
    if (before !== undefined && before.to + 1 === range.from) {
      merged[merged.length - 1] = { ...before, to: range.to, last: range.last };
    } else merged.push(range);
  }
  const newest = survey.points.reduce<SurveyedPoint | null>(
    (best, one) => (best === null || one.manifest.sequence > best.manifest.sequence ? one : best),
    null,
  );
  const [first] = leaving;
  if (first === undefined || newest === null) throw new Error('nothing to prune');
  const head =
    old?.head != null && old.head.sequence > newest.manifest.sequence
      ? old.head
      : { sequence: newest.manifest.sequence, sha256: newest.sha256 };
  return { format: chainFormat, catalog: first.manifest.catalog, group, head, pruned: merged };
}

async function sweep(target: Target, graceSeconds: number): Promise<TargetPruning> {
  const { store } = target;
  for (const entry of await store.list('writers')) {
    if (!(await removeStale(store, `writers/${entry.name}`))) {
      return {
        bytesFreed: 0,
        notes: [`target ${target.name}: an export is under way, so unused packs stay until the next prune`],
      };
    }
  }
  for (const entry of await store.list('locks')) await removeStale(store, `locks/${entry.name}`);
  const survey = await target.survey(null);
  if (survey.unreadable > 0) {
    return {
      bytesFreed: 0,
      notes: [
        `target ${target.name}: ${survey.unreadable} manifest(s) cannot be read, so what they need is unknown and no pack was removed`,
      ],
    };
  }
  const now = await storeNowSeconds(store);
  const named = new Set(survey.points.flatMap(({ manifest }) => manifest.packs.map((pack) => pack.name)));
  let bytesFreed = 0;
  for (const [name, { bytes, modifiedAtSeconds }] of survey.packs) {
    if (named.has(name) || now - modifiedAtSeconds < graceSeconds) continue;
    await store.remove(packPath(name));
    bytesFreed += bytes;
  }
  for (const entry of await store.list('tmp')) {
    if (now - entry.modifiedAtSeconds < graceSeconds) continue;
    await store.remove(`tmp/${entry.name}`);
    bytesFreed += entry.bytes;
  }
  return { bytesFreed, notes: [] };
}
