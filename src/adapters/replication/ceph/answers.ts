/** What rbd prints, checked at the door (storage.md A.5; rbd 16.2 and later). */
import { z } from 'zod';

/** The largest snapshot ids lie beyond what JSON numbers carry exactly; an orphan is known by its empty mirror uuid instead. */
const snapId = z.number();

const mirrorNamespace = z.object({
  type: z.literal('mirror'),
  state: z.string(),
  complete: z.boolean(),
  /** On a primary: the peers that have not taken it yet. */
  mirror_peer_uuids: z.array(z.string()).default([]),
  /** On a replica: the site and the snapshot that it is a copy of. */
  primary_mirror_uuid: z.string().optional(),
  primary_snap_id: snapId.optional(),
  last_copied_object_number: z.number().optional(),
});
const otherNamespace = z.object({ type: z.string() });

export const snapshotList = z.array(
  z.object({
    id: snapId,
    name: z.string(),
    timestamp: z.string(),
    namespace: z.union([mirrorNamespace, otherNamespace]),
  }),
);
export type Snapshot = z.infer<typeof snapshotList>[number];
export type MirrorNamespace = z.infer<typeof mirrorNamespace>;

export const imageInfo = z.object({
  name: z.string(),
  id: z.string(),
  size: z.number(),
  mirroring: z
    .object({
      mode: z.string().default('journal'),
      state: z.string(),
      global_id: z.string(),
      primary: z.boolean(),
    })
    .optional(),
  parent: z.object({ pool: z.string(), pool_namespace: z.string().optional(), image: z.string() }).optional(),
});
export type ImageInfo = z.infer<typeof imageInfo>;

export const imageStatus = z.object({
  name: z.string(),
  global_id: z.string(),
  state: z.string(),
  description: z.string(),
  last_update: z.string().default(''),
  peer_sites: z
    .array(
      z.object({
        site_name: z.string(),
        state: z.string(),
        description: z.string(),
        last_update: z.string().default(''),
      }),
    )
    .default([]),
});
export type ImageStatus = z.infer<typeof imageStatus>;

export const poolStatus = z.object({
  summary: z.object({ health: z.string() }),
  daemons: z
    .array(
      z.object({ instance_id: z.string(), hostname: z.string().default(''), health: z.string().default('') }),
    )
    .default([]),
  images: z.array(imageStatus).default([]),
});

export const poolInfo = z.object({
  mode: z.string(),
  site_name: z.string().default(''),
  peers: z
    .array(z.object({ site_name: z.string().default(''), mirror_uuid: z.string().default('') }))
    .default([]),
});

export const watcherList = z.object({
  watchers: z.array(z.object({ address: z.string(), client: z.number() })).default([]),
});
export const lockList = z.array(z.object({ id: z.string(), locker: z.string(), address: z.string() }));
export const metadata = z.record(z.string(), z.string());
export const imageNames = z.array(z.string());
export const extents = z.array(z.object({ offset: z.number(), length: z.number(), exists: z.string() }));

/** What the description of a status carries behind its first words. Up to 30 s old. */
const progress = z.object({
  replay_state: z.string().optional(),
  syncing_percent: z.number().optional(),
  /** Seconds since 1970 of the newest point that has arrived, by the clock of the source. */
  local_snapshot_timestamp: z.number().optional(),
  remote_snapshot_timestamp: z.number().optional(),
  entries_behind_primary: z.number().optional(),
});
export type Progress = z.infer<typeof progress>;

export function progressOf(description: string): Progress {
  const start = description.indexOf('{');
  if (start < 0) return {};
  try {
    return progress.parse(JSON.parse(description.slice(start)));
  } catch {
    // Words for people, and not the same in every release: what cannot be read is not known.
    return {};
  }
}

/** `Sat Nov 21 15:32:06 2026` or `2026-11-21 15:32:18`, which the command was told to print in UTC; null when it is neither. */
export function instantOf(text: string): string | null {
  const at = Date.parse(
    `${text.replace(' ', text.startsWith('2') ? 'T' : ' ')}${text.startsWith('2') ? 'Z' : ' UTC'}`,
  );
  return Number.isNaN(at) ? null : new Date(at).toISOString();
}

/** JSON lists that several commands have printed one behind the other. */
export function listsIn(text: string): unknown[] {
  return text
    .split(/\n|(?<=\])(?=\[)/)
    .filter((line) => line.startsWith('['))
    .flatMap((line) => {
      try {
        return [JSON.parse(line)];
      } catch {
        return [];
      }
    });
}
