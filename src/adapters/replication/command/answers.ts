/** What a program answers to each verb (docs/command-adapter.md): whatever else it says is kept as evidence. */
import { z } from 'zod';
import type { FoundPair, PairView, ReplicaPoint } from '../../../domain/replication.ts';
import type { Instant } from '../../../domain/time.ts';

const instant = z.iso.datetime({ offset: true }).transform((text) => new Date(text).toISOString());
const role = z.enum(['source', 'target', 'promoted', 'demoted', 'in-test', 'split', 'unpaired', 'unknown']);
const point = z.object({
  ref: z.string().min(1),
  tag: z.string().nullish(),
  takenAt: instant,
  clock: z.enum(['source', 'target', 'array']).default('array'),
  complete: z.boolean(),
  consistency: z.enum(['crash', 'group', 'unknown']).default('unknown'),
});
/** What is not said is not known, and never counts as healthy. */
const view = z.object({
  role,
  activity: z
    .enum([
      'idle',
      'initializing',
      'transferring',
      'quiesced',
      'promoting',
      'resyncing',
      'paused',
      'failed',
      'unknown',
    ])
    .default('unknown'),
  link: z.enum(['up', 'down', 'unknown']).default('unknown'),
  health: z
    .object({
      level: z.enum(['ok', 'warn', 'bad', 'unknown']),
      reasons: z.array(z.string()).default([]),
    })
    .default({ level: 'unknown', reasons: ['the program says nothing about its health'] }),
  newestComplete: point.nullable().default(null),
  writable: z.union([z.boolean(), z.literal('unknown')]).default('unknown'),
  reportedLagSeconds: z.number().nonnegative().nullable().default(null),
});
const exposed = z.object({
  kind: z.enum(['nfs', 'iscsi', 'fc', 'file', 'rbd', 'smb', 'cephfs', 'gluster']),
  server: z.string().exactOptional(),
  path: z.string().exactOptional(),
  portals: z.array(z.string()).exactOptional(),
  iqn: z.string().exactOptional(),
  lun: z.number().exactOptional(),
  scsiId: z.string().exactOptional(),
});
/** A capability that is not named is not there. */
const capabilities = z.object({
  syncNow: z.boolean().default(false),
  drill: z.enum(['clone', 'in-place', 'none']).default('none'),
  drillPausesTransfer: z.boolean().default(false),
  promoteToPoint: z.boolean().default(false),
  prepare: z.boolean().default(false),
  reverse: z.enum(['incremental', 'full', 'none']).default('none'),
  restore: z.boolean().default(false),
  consistencyGroups: z.boolean().default(false),
  fence: z.boolean().default(false),
  expose: z.enum(['lun', 'nfs', 'file', 'none']).default('none'),
});

export type PointAnswer = z.output<typeof point>;
export type ViewAnswer = z.output<typeof view>;

export const answers = {
  identity: z.object({
    vendor: z.string().min(1),
    model: z.string(),
    serial: z.string().min(1),
    clock: instant,
  }),
  capabilities,
  pairs: z.object({
    pairs: z.array(
      z.object({
        volume: z.string().min(1),
        role,
        peer: z.object({ array: z.string(), volume: z.string() }).nullable().default(null),
      }),
    ),
  }),
  /** A volume that is not there is null. */
  views: z.object({ volumes: z.record(z.string(), z.json()) }),
  view,
  points: z.object({ points: z.array(point) }),
  sent: z.object({ point }),
  done: z.object({}),
  exposed: z.object({ exposed }),
  divergence: z.object({
    common: point.nullable(),
    pointsLost: z.number().nullable().default(null),
    bytesLost: z.number().nullable().default(null),
    says: z.array(z.string()).min(1),
  }),
  drills: z.object({
    drills: z.array(
      z.object({
        volume: z.string(),
        drill: z.string(),
        name: z.string(),
        madeAt: instant.nullable().default(null),
      }),
    ),
  }),
};

export function replicaPoint({ tag, ...rest }: PointAnswer): ReplicaPoint {
  return { ...rest, ...(tag === null || tag === undefined ? {} : { tag }) };
}

/** @param raw - the program's own answer, kept as evidence */
export function pairView(
  pair: PairView['pair'],
  { newestComplete, ...seen }: ViewAnswer,
  observedAt: Instant,
  raw: PairView['raw'],
): PairView {
  // Only a complete point counts, whatever the array calls its newest.
  const newest = newestComplete?.complete === true ? replicaPoint(newestComplete) : null;
  return { pair, observedAt, ...seen, newestComplete: newest, raw };
}

export function foundPairs(said: z.output<typeof answers.pairs>): readonly FoundPair[] {
  return said.pairs;
}

export function newestFirst(points: readonly PointAnswer[]): readonly ReplicaPoint[] {
  return points
    .map(replicaPoint)
    .toSorted((a, b) => (a.takenAt < b.takenAt ? 1 : a.takenAt > b.takenAt ? -1 : 0));
}
