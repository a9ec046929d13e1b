/** Recovery points: sealed in every target, read back, rehearsed against the recovery pool, pruned (design, export 5, 6). */
import { OperatorError } from '../../domain/errors.ts';
import type { PointReplication, PointVm, RecoveryPoint } from '../../domain/recovery-point.ts';
import type { Catalog, TargetOutcome } from '../../ports/catalog.ts';
import type { ActionOf, ActResult, StepContext } from '../handlers.ts';
import { type CapturedVm, type ReplicationOutput, readCaptured } from './capture.ts';
import type { DocumentsOutput, SavedDocument } from './documents.ts';
import { byUuid, groupOf, nearestBefore, type World } from './world.ts';

export async function sealPoint(
  world: World,
  action: ActionOf<'seal-point'>,
  context: StepContext,
): Promise<ActResult> {
  const catalog = await world.catalog();
  const point = await composePoint(world, action.pointId, context);
  const targets = await catalog.seal(point, context.signal);
  const sealed = targets.filter((target) => target.ok);
  const failed = targets.filter((target) => !target.ok);
  if (sealed.length === 0) {
    const problems = failed.flatMap((target) => target.problem ?? []);
    throw new OperatorError(
      problems.length > 0
        ? problems
        : {
            code: 'DR-CATALOG-NO-TARGET',
            what: 'The recovery point could not be sealed in any target of the catalog',
            next: 'Check the targets with `lifeboat catalog verify`',
          },
    );
  }
  return {
    output: {
      pointId: point.id,
      targets: sealed.map((target) => target.target),
      vmCount: point.vms.length,
      failureCount: point.failures.length,
    },
    warnings: [
      ...failed.map(({ target, problem }) =>
        problem === null
          ? `target ${target} did not take the point: no reason given`
          : `target ${target} did not take the point: ${[problem.what, ...(problem.known ?? [])].join('; ')}. Next: ${problem.next}`,
      ),
      ...sealed.flatMap(({ problem }) =>
        problem?.code === 'DR-CATALOG-SET-ASIDE'
          ? `${problem.what}: ${(problem.known ?? []).join(', ')}. Next: ${problem.next}`
          : [],
      ),
      ...(await newTargets(catalog, point, sealed, context.signal)),
    ],
  };
}

/** A target that was made anew beside older points is most often a disk that is not mounted. */
async function newTargets(
  catalog: Catalog,
  point: RecoveryPoint,
  sealed: readonly TargetOutcome[],
  signal: AbortSignal,
): Promise<string[]> {
  const made = sealed.filter(({ problem }) => problem?.code === 'DR-CATALOG-NEW-TARGET');
  if (made.length === 0) return [];
  const { points } = await catalog.list(point.group, signal);
  if (!points.some((older) => older.id !== point.id)) return [];
  return made.map(
    ({ target }) =>
      `target ${target} was empty and has been set up anew, although other targets hold older points. Next: see whether its disk is mounted`,
  );
}

async function composePoint(world: World, pointId: string, context: StepContext): Promise<RecoveryPoint> {
  const catalog = await world.catalog();
  const capture = nearestBefore('capture-pool', context);
  const documents = nearestBefore('save-documents', context);
  if (capture?.output == null || documents?.output == null) {
    throw new OperatorError({
      code: 'DR-POINT-INCOMPLETE',
      what: `Recovery point ${pointId} cannot be sealed: the pool or its documents were not saved`,
      next: 'Look at the earlier steps of the run',
    });
  }
  const { vms: facts, putAway: _, ...pool } = await readCaptured(catalog, capture.output, context.signal);
  // Both outputs were written by the actions of capture.ts in this very run.
  const saved = documents.output as unknown as DocumentsOutput;
  const pairs = (nearestBefore('record-replication', context)?.output ?? []) as unknown as ReplicationOutput;
  const known = byUuid(facts);
  return {
    id: pointId,
    group: context.plan.group,
    configDigest: context.plan.configDigest,
    ...pool,
    vms: saved.vms.flatMap((document) => {
      const vm = known.get(document.uuid);
      return vm === undefined ? [] : [withDocument(vm, document)];
    }),
    failures: [
      ...saved.failures,
      ...saved.vms
        .filter((vm) => !known.has(vm.uuid))
        .map(({ uuid, nameLabel }) => ({
          uuid,
          nameLabel,
          reason: 'it was not in the pool when the pool was captured',
        })),
    ],
    replication: pairs.flatMap((pair): PointReplication[] => {
      const sr = pool.srs.find((candidate) => candidate.uuid === pair.sr || candidate.nameLabel === pair.sr);
      if (sr === undefined) return [];
      const { source, target, newestPoint, gap } = pair;
      return [{ srUuid: sr.uuid, source, target, newestPoint, gap }];
    }),
  };
}

/**
 * The digest was taken at the capture, a fetched document a moment later. A VM that changed in between has another
 * digest from then on and is fetched again next time; one that changed back would not be. Where the document shows
 * another power state, on which an import most depends (xapi.md 4.5), the point therefore holds no digest.
 */
function withDocument(vm: CapturedVm, { document, from, powerState }: SavedDocument): PointVm {
  const { digest, ...rest } = vm;
  const steady = from !== undefined || powerState === vm.powerState;
  return {
    ...rest,
    document,
    ...(digest !== undefined && steady ? { digest } : {}),
    ...(from === undefined ? {} : { documentFrom: from }),
  };
}

/** Good in one target is enough to go on; damage anywhere is told. */
export async function verifyPoint(
  world: World,
  action: ActionOf<'verify-point'>,
  context: StepContext,
): Promise<ActResult> {
  const catalog = await world.catalog();
  const result = await catalog.verify({ pointId: action.pointId }, context.signal);
  const damaged = new Set(result.damage.map((damage) => damage.target));
  const whole = result.targets.filter((target) => target.ok && !damaged.has(target.target));
  const complaints = [
    ...result.targets.flatMap((target) =>
      target.ok ? [] : [`target ${target.target}: ${target.problem?.what ?? 'it could not be read'}`],
    ),
    ...result.damage.map((damage) => `target ${damage.target}: ${damage.file}: ${damage.what}`),
  ];
  if (whole.length === 0 || result.pointsChecked === 0) {
    throw new OperatorError({
      code: 'DR-POINT-DAMAGED',
      what: `Recovery point ${action.pointId} is whole in no target of the catalog`,
      known: complaints.length > 0 ? complaints.slice(0, 10) : ['no target holds it'],
      next: 'Choose another point: `lifeboat catalog list`',
    });
  }
  return {
    output: {
      pointId: action.pointId,
      wholeIn: whole.map((target) => target.target),
      objectsChecked: result.objectsChecked,
      bytesRead: result.bytesRead,
    },
    warnings: complaints,
  };
}

export async function pruneCatalog(
  world: World,
  action: ActionOf<'prune-catalog'>,
  context: StepContext,
): Promise<ActResult> {
  const catalog = await world.catalog();
  const { retention } = groupOf(world, action.group);
  const result = await catalog.prune(action.group, retention, { dryRun: false }, context.signal);
  return {
    output: {
      removed: result.removed.map((point) => point.id),
      keptCount: result.kept.length,
      bytesFreed: result.bytesFreed,
    },
    warnings: [],
  };
}
