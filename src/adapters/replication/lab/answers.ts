/** What the control API of a lab array answers, and its meaning in our words. */
import { z } from 'zod';
import type {
  Divergence,
  DrillLeftover,
  FoundPair,
  PairView,
  ReplicaPoint,
} from '../../../domain/replication.ts';
import type { Instant } from '../../../domain/time.ts';

const point = z.object({
  ref: z.string(),
  tag: z.string().nullable(),
  takenAt: z.string(),
  complete: z.boolean(),
});
const role = z.enum(['source', 'target', 'promoted', 'demoted', 'in-test', 'split', 'unpaired']);
const view = z.object({
  volume: z.string(),
  role,
  activity: z.enum(['idle', 'transferring', 'promoting']),
  link: z.enum(['up', 'down', 'unknown']),
  health: z.object({ level: z.enum(['ok', 'warn', 'bad']), reasons: z.array(z.string()) }),
  newestComplete: point.nullable(),
  writable: z.boolean(),
  lagSeconds: z.number().nullable(),
  peer: z.object({ array: z.string(), serial: z.string(), volume: z.string() }).nullable(),
});

export type PointAnswer = z.infer<typeof point>;
export type ViewAnswer = z.infer<typeof view>;

export const answers = {
  identity: z.object({ vendor: z.string(), model: z.string(), serial: z.string(), clock: z.string() }),
  capabilities: z.object({
    syncNow: z.boolean(),
    drill: z.enum(['clone', 'in-place', 'none']),
    drillPausesTransfer: z.boolean(),
    promoteToPoint: z.boolean(),
    prepare: z.boolean(),
    reverse: z.enum(['incremental', 'full', 'none']),
    restore: z.boolean(),
    consistencyGroups: z.boolean(),
    fence: z.boolean(),
    expose: z.enum(['lun', 'nfs', 'file', 'none']),
  }),
  raw: z.json(),
  view,
  volumes: z.object({ volumes: z.array(z.json()) }),
  points: z.object({ points: z.array(point) }),
  sent: z.object({ point }),
  changed: z.object({ changed: z.boolean() }),
  divergence: z.object({
    common: point.nullable(),
    pointsLost: z.number(),
    bytesLost: z.number(),
    says: z.array(z.string()),
  }),
  exposed: z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('nfs'), server: z.string(), path: z.string() }),
    z.object({
      kind: z.literal('iscsi'),
      portals: z.array(z.string()),
      iqn: z.string(),
      scsiId: z.string(),
    }),
    z.object({ kind: z.literal('fc'), scsiId: z.string() }),
  ]),
  drills: z.object({
    drills: z.array(
      z.object({ volume: z.string(), drill: z.string(), name: z.string(), madeAt: z.string() }),
    ),
  }),
};

export function replicaPoint(seen: PointAnswer): ReplicaPoint {
  return {
    ref: seen.ref,
    ...(seen.tag === null ? {} : { tag: seen.tag }),
    takenAt: seen.takenAt,
    clock: 'source',
    complete: seen.complete,
    consistency: 'crash',
  };
}

/** @param raw - the array's own answer, kept as evidence */
export function pairView(
  array: string,
  seen: ViewAnswer,
  observedAt: Instant,
  raw: PairView['raw'],
): PairView {
  return {
    pair: { array, volume: seen.volume },
    observedAt,
    role: seen.role,
    activity: seen.activity,
    link: seen.link,
    health: seen.health,
    newestComplete: seen.newestComplete === null ? null : replicaPoint(seen.newestComplete),
    writable: seen.writable,
    reportedLagSeconds: seen.lagSeconds,
    raw,
  };
}

export function foundPair(seen: ViewAnswer): FoundPair {
  const { volume, peer } = seen;
  return {
    volume,
    role: seen.role,
    peer: peer === null ? null : { array: peer.serial, volume: peer.volume },
  };
}

export function divergenceOf(seen: z.infer<typeof answers.divergence>): Divergence {
  return { ...seen, common: seen.common === null ? null : replicaPoint(seen.common) };
}

export function leftovers(seen: z.infer<typeof answers.drills>): readonly DrillLeftover[] {
  return seen.drills;
}
