/** The catalog port over several targets. A failing target is told in every outcome and costs nothing in the others. */
import type {
  CatalogListing,
  PointSummary,
  PruneResult,
  TargetOutcome,
  VerifyResult,
} from '../../domain/catalog.ts';
import { OperatorError, type Problem } from '../../domain/errors.ts';
import type { ObjectRef, RecoveryPoint } from '../../domain/recovery-point.ts';
import type { RetentionSettings } from '../../domain/settings.ts';
import type { Instant } from '../../domain/time.ts';
import type { Catalog, CatalogBatch } from '../../ports/catalog.ts';
import { type ProcessMark, thisProcess } from '../state/process.ts';
import { Batch, type Branch } from './batch.ts';
import type { OperatorKey } from './keys.ts';
import { manifestPath } from './manifest.ts';
import { targetProblem } from './problems.ts';
import { defaultGraceSeconds, pruneTarget } from './prune.ts';
import { putLongStream } from './stream.ts';
import type { Survey } from './survey.ts';
import { Target } from './target.ts';
import type { TargetStore } from './target-store.ts';
import { summarise, verdictsOf } from './verdicts.ts';
import { proveTarget } from './verify.ts';

export interface CatalogOptions {
  readonly targets: readonly TargetStore[];
  /** Asked when the first target is opened. */
  readonly key: () => Promise<OperatorKey>;
  readonly now: () => Instant;
  /** How long packs that nothing names are left alone by `prune`. */
  readonly graceSeconds?: number;
  readonly owner?: ProcessMark;
}

/** Streams up to this size are packed like any other object. */
const smallStreamBytes = 8 * 1024 * 1024;

export class TargetsCatalog implements Catalog {
  readonly #targets: readonly Target[];
  readonly #options: CatalogOptions;
  readonly #owner: { mark: ProcessMark; what: string };
  #key: Promise<OperatorKey> | null = null;
  #waiting: { bytes: Uint8Array; resolve: (object: ObjectRef) => void; reject: (error: unknown) => void }[] =
    [];
  #writing: Promise<void> | null = null;

  constructor(options: CatalogOptions) {
    this.#options = options;
    this.#owner = { mark: options.owner ?? thisProcess(), what: 'lifeboat' };
    const key = (): Promise<OperatorKey> => {
      this.#key ??= options.key();
      return this.#key;
    };
    this.#targets = options.targets.map(
      (store) => new Target({ store, key, now: options.now, owner: this.#owner }),
    );
  }

  /** Puts that come while others are being written share the next pack: one sync for all of them. */
  put(bytes: Uint8Array, signal?: AbortSignal): Promise<ObjectRef> {
    signal?.throwIfAborted();
    return new Promise((resolve, reject) => {
      this.#waiting.push({ bytes, resolve, reject });
      this.#writing ??= this.#writeWaiting();
    });
  }

  async #writeWaiting(): Promise<void> {
    while (this.#waiting.length > 0) {
      const group = this.#waiting.splice(0);
      try {
        const batch = await this.#newBatch();
        try {
          const objects: ObjectRef[] = [];
          for (const { bytes } of group) objects.push(await batch.put(bytes));
          await batch.commit();
          for (const [index, { resolve, reject }] of group.entries()) {
            const object = objects[index];
            if (object === undefined) reject(new Error('an object was not written'));
            else resolve(object);
          }
        } catch (error) {
          await batch.abort();
          throw error;
        }
      } catch (error) {
        for (const { reject } of group) reject(error);
      }
    }
    // In the same turn in which nobody was found waiting: whoever comes next starts anew.
    this.#writing = null;
  }

  async batch(signal?: AbortSignal): Promise<CatalogBatch> {
    signal?.throwIfAborted();
    const batch = await this.#newBatch();
    return {
      put: (bytes) => {
        signal?.throwIfAborted();
        return batch.put(bytes);
      },
      commit: () => batch.commit(),
      abort: () => batch.abort(),
    };
  }

  async putStream(bytes: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<ObjectRef> {
    const pieces = bytes[Symbol.asyncIterator]();
    const first: Uint8Array[] = [];
    let length = 0;
    while (length <= smallStreamBytes) {
      signal?.throwIfAborted();
      const piece = await pieces.next();
      if (piece.done === true) return this.put(Buffer.concat(first), signal);
      first.push(Uint8Array.from(piece.value));
      length += piece.value.length;
    }
    const batch = await this.#newBatch();
    try {
      const object = await putLongStream(batch, first, pieces, signal);
      await batch.commit();
      return object;
    } catch (error) {
      await batch.abort();
      throw error;
    }
  }

  async get(object: ObjectRef, signal?: AbortSignal): Promise<Uint8Array> {
    const known: string[] = [];
    for (const target of this.#targets) {
      signal?.throwIfAborted();
      try {
        const bytes = await target.get(object);
        if (bytes !== null) return bytes;
        known.push(`target ${target.name}: not there`);
      } catch (error) {
        known.push(briefly(targetProblem(target.store, 'read from', error), target));
      }
    }
    throw new OperatorError({
      code: 'DR-CATALOG-OBJECT',
      what: `No catalog target has object ${object.sha256.slice(0, 12)} whole`,
      known,
      next: 'Run `lifeboat catalog verify`, then use another recovery point or export again',
    });
  }

  async lacking(
    objects: readonly ObjectRef[],
    signal?: AbortSignal,
  ): Promise<readonly { readonly target: string; readonly objects: readonly ObjectRef[] }[]> {
    const looks = await Promise.allSettled(
      this.#targets.map(async (target) => {
        signal?.throwIfAborted();
        await target.startWriting();
        try {
          return { target: target.name, objects: await target.lacking(objects) };
        } finally {
          target.release();
        }
      }),
    );
    signal?.throwIfAborted();
    return looks.flatMap((look) => (look.status === 'fulfilled' ? [look.value] : []));
  }

  async seal(point: RecoveryPoint, signal?: AbortSignal): Promise<readonly TargetOutcome[]> {
    manifestPath(point.id);
    return Promise.all(
      this.#targets.map(async (target): Promise<TargetOutcome> => {
        try {
          signal?.throwIfAborted();
          await target.seal(point, (object) => this.#fetchFor(target, object));
          return { target: target.name, ok: true, problem: noteworthy(target) };
        } catch (error) {
          return {
            target: target.name,
            ok: false,
            problem: targetProblem(target.store, 'seal a recovery point in', error),
          };
        } finally {
          await target.rest();
        }
      }),
    );
  }

  /** From another target first: there it is most probably whole. */
  async #fetchFor(lacking: Target, object: ObjectRef): Promise<Buffer> {
    for (const target of [...this.#targets.filter((one) => one !== lacking), lacking]) {
      const [answer] = await Promise.allSettled([target.get(object)]);
      if (answer.status === 'fulfilled' && answer.value !== null) return answer.value;
    }
    throw new OperatorError({
      code: 'DR-CATALOG-OBJECT',
      what: `No catalog target has object ${object.sha256.slice(0, 12)} of this recovery point whole`,
      next: 'Export again: what is missing is then written anew',
    });
  }

  async list(group: string | null, signal?: AbortSignal): Promise<CatalogListing> {
    const surveys = await this.#surveys(group, signal);
    const points = new Map<string, PointSummary>();
    const damaged: { id: string; target: string; reason: string }[] = [];
    for (const { target, survey } of surveys.found) {
      for (const { file, point, what } of survey.damage)
        damaged.push({ id: point ?? file, target: target.name, reason: `${file}: ${what}` });
      for (const surveyed of survey.points) {
        const summary = summarise(surveyed, target.name);
        const other = points.get(summary.id);
        // Only targets that hold the point whole are named, unless none does.
        if (other === undefined || (summary.good && !other.good)) points.set(summary.id, summary);
        else if (summary.good === other.good)
          points.set(summary.id, { ...other, targets: [...other.targets, target.name] });
      }
    }
    return {
      points: [...points.values()].sort((a, b) =>
        a.takenAt < b.takenAt ? 1 : a.takenAt > b.takenAt ? -1 : a.id < b.id ? 1 : -1,
      ),
      damaged,
      targets: surveys.outcomes,
    };
  }

  async read(pointId: string, signal?: AbortSignal): Promise<RecoveryPoint> {
    manifestPath(pointId);
    const group = pointId.split('/')[0] ?? '';
    const { found, outcomes } = await this.#surveys(group, signal);
    const known: string[] = outcomes.flatMap(({ problem, ok }) =>
      problem !== null && !ok ? [shortly(problem)] : [],
    );
    let seen = false;
    for (const { target, survey } of found) {
      const surveyed = survey.points.find(({ manifest }) => manifest.point === pointId);
      if (surveyed === undefined) {
        const damage = survey.damage.find((one) => one.point === pointId);
        known.push(
          `target ${target.name}: ${damage === undefined ? 'not there' : `${damage.file}: ${damage.what}`}`,
        );
        seen ||= damage !== undefined;
        continue;
      }
      seen = true;
      try {
        return await target.readPoint(surveyed.manifest);
      } catch (error) {
        known.push(briefly(targetProblem(target.store, 'read from', error), target));
      }
    }
    throw new OperatorError({
      code: seen ? 'DR-POINT-DAMAGED' : 'DR-POINT-UNKNOWN',
      what: seen
        ? `Recovery point ${pointId} cannot be read from any target`
        : `There is no recovery point ${pointId}`,
      known,
      next: 'Choose one that `lifeboat catalog list` shows as good',
    });
  }

  async verify(
    options: {
      readonly group?: string;
      readonly pointId?: string;
      readonly deep?: boolean;
      readonly onProgress?: (done: number, total: number) => void;
    },
    signal?: AbortSignal,
  ): Promise<VerifyResult> {
    if (options.pointId !== undefined) manifestPath(options.pointId);
    const points = new Set<string>();
    const objects = new Set<string>();
    const damage: VerifyResult['damage'][number][] = [];
    const notes: { target: string; file: string; what: string }[] = [];
    const targets: TargetOutcome[] = [];
    let bytesRead = 0;
    let doneBefore = 0;
    for (const target of this.#targets) {
      let seen = { done: 0, total: 0 };
      try {
        const proof = await proveTarget(
          target,
          {
            group: options.group ?? null,
            pointId: options.pointId ?? null,
            deep: options.deep ?? options.pointId !== undefined,
            onProgress: (done, total) => {
              seen = { done, total };
              options.onProgress?.(doneBefore + done, doneBefore + total);
            },
          },
          signal,
        );
        for (const point of proof.points) points.add(point);
        for (const object of proof.objects) objects.add(object);
        bytesRead += proof.bytesRead;
        damage.push(...proof.damage.map((one) => ({ target: target.name, ...pick(one) })));
        notes.push(...proof.notes.map(({ file, what }) => ({ target: target.name, file, what })));
        if (options.pointId !== undefined && proof.points.length === 0 && proof.damage.length === 0) {
          damage.push({
            target: target.name,
            file: manifestPath(options.pointId),
            point: options.pointId,
            what: 'the point is not in this target',
          });
        }
        targets.push({ target: target.name, ok: true, problem: null });
      } catch (error) {
        signal?.throwIfAborted();
        targets.push({
          target: target.name,
          ok: false,
          problem: targetProblem(target.store, 'verify', error),
        });
      }
      doneBefore += seen.total;
    }
    return { pointsChecked: points.size, objectsChecked: objects.size, bytesRead, damage, targets, notes };
  }

  async prune(
    group: string,
    rules: RetentionSettings,
    options: { readonly dryRun: boolean },
    signal?: AbortSignal,
  ): Promise<PruneResult> {
    const { found, outcomes } = await this.#surveys(group, signal);
    const verdicts = await verdictsOf(found, rules, this.#options.now(), signal);
    const removed = verdicts.filter((verdict) => verdict.reasons.length === 0);
    const kept = verdicts.filter((verdict) => verdict.reasons.length > 0);
    const notes: string[] = [];
    let bytesFreed = 0;
    let targets = [...outcomes];
    if (!options.dryRun) {
      const leaving = new Set(removed.map((verdict) => verdict.id));
      for (const { target } of found) {
        try {
          signal?.throwIfAborted();
          const grace = this.#options.graceSeconds ?? defaultGraceSeconds;
          const pruning = await pruneTarget(target, group, leaving, this.#owner, grace);
          bytesFreed += pruning.bytesFreed;
          notes.push(...pruning.notes);
        } catch (error) {
          signal?.throwIfAborted();
          const outcome = {
            target: target.name,
            ok: false,
            problem: targetProblem(target.store, 'prune', error),
          };
          targets = targets.map((one) => (one.target === target.name ? outcome : one));
        }
      }
    }
    return { removed: removed.map(({ id, takenAt }) => ({ id, takenAt })), kept, bytesFreed, notes, targets };
  }

  async close(): Promise<void> {
    if (this.#writing !== null) await this.#writing;
    await Promise.allSettled(this.#targets.map((target) => target.close()));
  }

  async #newBatch(): Promise<Batch> {
    const started = await Promise.all(
      this.#targets.map(async (target) => {
        try {
          await target.startWriting();
          return { target, problem: null };
        } catch (error) {
          return { target, problem: targetProblem(target.store, 'write to', error) };
        }
      }),
    );
    const ready = started.flatMap(({ target, problem }) => (problem === null ? [target] : []));
    const problems = started.flatMap(({ problem }) => problem ?? []);
    if (ready.length === 0) throw new OperatorError(problems);
    return new Batch(ready, (branches: readonly Branch[]) => {
      const failed = branches.map(({ target, failure }) => targetProblem(target.store, 'write to', failure));
      return new OperatorError([...problems, ...failed]);
    });
  }

  async #surveys(
    group: string | null,
    signal?: AbortSignal,
  ): Promise<{ found: { target: Target; survey: Survey }[]; outcomes: TargetOutcome[] }> {
    signal?.throwIfAborted();
    const found: { target: Target; survey: Survey }[] = [];
    const outcomes = await Promise.all(
      this.#targets.map(async (target): Promise<TargetOutcome> => {
        try {
          found.push({ target, survey: await target.survey(group) });
          return { target: target.name, ok: true, problem: null };
        } catch (error) {
          return { target: target.name, ok: false, problem: targetProblem(target.store, 'read', error) };
        }
      }),
    );
    // In the order of the settings, whoever answered first.
    found.sort((a, b) => this.#targets.indexOf(a.target) - this.#targets.indexOf(b.target));
    return { found, outcomes };
  }
}

function pick(one: { readonly file: string; readonly point: string | null; readonly what: string }): {
  file: string;
  point: string | null;
  what: string;
} {
  return { file: one.file, point: one.point, what: one.what };
}

/** What is worth a word although the point is sealed. */
function noteworthy(target: Target): Problem | null {
  if (target.aside.length > 0) {
    return {
      code: 'DR-CATALOG-SET-ASIDE',
      what: `Catalog target ${target.name} holds damaged files, which were set aside`,
      where: { object: target.store.address },
      known: [...target.aside],
      next: 'See which older points have lost something with `lifeboat catalog verify`, and look at the disk',
    };
  }
  return target.isNew ? newTarget(target) : null;
}

function newTarget(target: Target): Problem {
  return {
    code: 'DR-CATALOG-NEW-TARGET',
    what: `Catalog target ${target.name} was empty and has been set up`,
    where: { object: target.store.address },
    next: 'If it should have held older points, check that the right file system is mounted there',
  };
}

function briefly(problem: Problem, target: Target): string {
  return `target ${target.name}: ${problem.known?.join('; ') ?? problem.what}`;
}

function shortly(problem: Problem): string {
  return problem.known?.length ? `${problem.what}: ${problem.known.join('; ')}` : problem.what;
}
