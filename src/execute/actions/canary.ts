/** The acts of a canary: written, awaited, cloned, found, and removed again (invariants 3 and 11). */
import { createHash } from 'node:crypto';
import { canaryBytes, canaryMark } from '../../domain/actions/canary.ts';
import type { Json } from '../../domain/canonical.ts';
import { groupOfDrill } from '../../domain/drill.ts';
import { OperatorError } from '../../domain/errors.ts';
import type { PoolFacts, VdiFacts } from '../../domain/pool.ts';
import type { ReplicaPoint } from '../../domain/replication.ts';
import { secondsBetween } from '../../domain/time.ts';
import type { ActionOf, ActResult, StepContext } from '../handlers.ts';
import { cloneReplica } from './drill-clone.ts';
import type { World } from './world.ts';

const blockBytes = 64 * 1024;
const blocks = canaryBytes / blockBytes;
/** Between two looks for a point that the array sends by its own schedule. */
const lookEverySeconds = 5;

/** Content that only this canary has: what is read back cannot be another one, or an older point. */
async function* contentOf(canary: string, srUuid: string): AsyncGenerator<Uint8Array> {
  for (let block = 0; block < blocks; block += 1) {
    const line = Buffer.from(`${canaryMark} ${canary} ${srUuid} ${block}\n`);
    yield Buffer.alloc(blockBytes, line);
  }
}

async function digestOf(content: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash('sha256');
  let left = canaryBytes;
  for await (const piece of content) {
    // An SR may make a disk larger than it was asked for.
    hash.update(piece.subarray(0, left));
    left = Math.max(0, left - piece.length);
  }
  return hash.digest('hex');
}

function canariesOn(pool: PoolFacts, srUuid: string): VdiFacts[] {
  return pool.vdis.filter((vdi) => vdi.srUuid === srUuid && vdi.otherConfig[canaryMark] !== undefined);
}

export async function writeCanary(
  world: World,
  { site, srUuid, canary }: ActionOf<'write-canary'>,
  { signal }: StepContext,
): Promise<ActResult> {
  const hypervisor = await world.hypervisor(site);
  // An answer that was lost left the disk behind: it is found by its mark, and written again.
  const there = canariesOn(await hypervisor.observe(signal), srUuid).find(
    (vdi) => vdi.otherConfig[canaryMark] === canary,
  );
  const vdi =
    there?.uuid ??
    (await hypervisor.createMarkedVdi(
      srUuid,
      {
        nameLabel: `Lifeboat canary ${canary}`,
        bytes: canaryBytes,
        mark: { key: canaryMark, value: canary },
      },
      signal,
    ));
  await hypervisor.importRawVdi(vdi, contentOf(canary, srUuid), canaryBytes, signal);
  return { output: { vdi, writtenAt: world.clock.now() }, warnings: [] };
}

export async function awaitCanary(
  world: World,
  { pair, tag, onRequest, writtenBy }: ActionOf<'await-canary'>,
  context: StepContext,
): Promise<ActResult> {
  const { writtenAt } = writtenOf(writtenBy, context);
  const target = await world.array(pair.target.array);
  const source = await world.array(pair.source.array);
  const requested = onRequest ? await source.syncNow(pair.source.volume, tag, context.signal) : null;
  const isIt = (point: ReplicaPoint): boolean =>
    point.complete && (requested === null ? point.takenAt >= writtenAt : point.ref === requested.ref);
  for (;;) {
    const points = await target.points(pair.target.volume, context.signal);
    // The oldest that has it: a younger one may have arrived between two looks.
    const point = points.filter(isIt).at(-1);
    if (point !== undefined) {
      const arrivedAt = world.clock.now();
      return { output: { point: { ...point }, arrivedAt }, warnings: [] };
    }
    await world.clock.sleep(lookEverySeconds, context.signal);
  }
}

export async function cloneCanary(
  world: World,
  { arrivedBy, ...action }: ActionOf<'clone-canary'>,
  context: StepContext,
): Promise<ActResult> {
  const { point } = arrivalOf(arrivedBy, context);
  return cloneReplica(world, { ...action, do: 'clone-replica', point }, context);
}

export async function findCanary(
  world: World,
  action: ActionOf<'find-canary'>,
  context: StepContext,
): Promise<ActResult> {
  const { site, srUuid, sr, canary } = action;
  const { vdi: written, writtenAt } = writtenOf(action.writtenBy, context);
  const { point, arrivedAt } = arrivalOf(action.arrivedBy, context);
  const hypervisor = await world.hypervisor(site);
  const pool = await hypervisor.observe(context.signal);
  const found = pool.vdis.find((vdi) => vdi.srUuid === srUuid && vdi.uuid === written && !vdi.missing);
  const evidence = [
    `written at ${writtenAt}`,
    `point ${point.ref} of ${point.takenAt} arrived at ${arrivedAt}`,
  ];
  if (found === undefined)
    throw new OperatorError({
      code: 'DR-CANARY-ABSENT',
      what: `The canary of SR ${sr} is not in the point that was to hold it`,
      where: { site, object: `SR ${srUuid}` },
      known: evidence,
      next: 'Do not rely on this replica: compare source and target of the SR in sites.yaml, and the clocks, with what the arrays show',
    });
  const [expected, read] = await Promise.all([
    digestOf(contentOf(canary, srUuid)),
    hypervisor.exportRawVdi(found.uuid, context.signal).then(digestOf),
  ]);
  if (read !== expected)
    throw new OperatorError({
      code: 'DR-CANARY-CONTENT',
      what: `The canary of SR ${sr} arrived with other content than was written`,
      where: { site, object: `disk ${found.uuid}` },
      known: [...evidence, `SHA-256 ${expected} was written, ${read} was read`],
      next: 'Do not rely on this replica: have the replication checked on both arrays, and run the canary again',
    });
  const output: Json = {
    sr,
    lagSeconds: secondsBetween(writtenAt, arrivedAt),
    writtenAt,
    arrivedAt,
    point: point.ref,
  };
  return { output, warnings: [] };
}

export async function removeCanary(
  world: World,
  { site, srUuid, group }: ActionOf<'remove-canary'>,
  { signal }: StepContext,
): Promise<ActResult> {
  const hypervisor = await world.hypervisor(site);
  const ours = (pool: PoolFacts): VdiFacts[] =>
    canariesOn(pool, srUuid).filter((vdi) => groupOfDrill(vdi.otherConfig[canaryMark] ?? '') === group);
  const found = ours(await hypervisor.observe(signal));
  for (const { uuid, otherConfig } of found)
    await hypervisor.destroyMarkedVdi(
      uuid,
      { key: canaryMark, value: otherConfig[canaryMark] ?? '' },
      signal,
    );
  const left = ours(await hypervisor.observe(signal));
  if (left.length === 0) return { output: { removed: found.length }, warnings: [] };
  throw new OperatorError({
    code: 'DR-CANARY-LEFT',
    what: `${left.length} canaries are left on SR ${srUuid}`,
    where: { site },
    known: left.map(({ uuid, nameLabel }) => `disk ${nameLabel} (${uuid})`),
    next: 'Find out what uses them; the next canary of the group removes them as well',
  });
}

function writtenOf(step: string, context: StepContext): { readonly vdi: string; readonly writtenAt: string } {
  return outputOf(step, context) as unknown as { vdi: string; writtenAt: string };
}

function arrivalOf(
  step: string,
  context: StepContext,
): { readonly point: ReplicaPoint; readonly arrivedAt: string } {
  return outputOf(step, context) as unknown as { point: ReplicaPoint; arrivedAt: string };
}

/** Written by the steps above of the same run. */
function outputOf(step: string, context: StepContext): Json {
  const output = context.output(step);
  if (output !== null) return output;
  throw new OperatorError({
    code: 'DR-CANARY-STEP',
    what: `Step ${step} has not said what it did`,
    next: 'Resume the run, so that the step is done again',
  });
}
