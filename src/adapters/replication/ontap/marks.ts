/**
 * What Lifeboat writes into the comment of a volume, so that a later call knows what was done: one JSON text behind
 * `lifeboat `. A comment of the site's own is kept in it and put back.
 */
import { z } from 'zod';

const taken = z.object({
  /** Export policy that the volume had. */
  policy: z.string(),
  /** `[LUN path, igroup, id]` of every mapping that was taken away. */
  maps: z.array(z.tuple([z.string(), z.string(), z.number()])),
});

const mark = z.object({
  /** The site's own comment. */
  was: z.string(),
  /** Hosts are kept from this volume since then (by the cluster's clock). */
  closed: z
    .object({
      at: z.string(),
      taken,
      /** The last point, cut after the closing; null before it was. */
      last: z.string().nullable(),
      /** A demotion was asked for, and what it throws away was named. */
      demoted: z.boolean(),
    })
    .optional(),
  /** A promotion of this volume at this point was begun; the relationship says whether it came to its end. */
  promoted: z
    .object({
      point: z.string(),
      /** Hosts were let in since. */
      opened: z.boolean(),
      /** Broken off at a newer point than this one, and not back at it yet. */
      restoring: z.boolean().optional(),
    })
    .optional(),
});
export type Mark = z.infer<typeof mark>;
export type Closed = NonNullable<Mark['closed']>;

const drillMark = z.object({ drill: z.string(), of: z.string(), point: z.string() });
export type DrillMark = z.infer<typeof drillMark>;

const prefix = 'lifeboat ';
export const drillPrefix = 'lifeboat-drill ';
/** What ONTAP takes as comment, at most [M]. */
export const longestComment = 1023;

/** A comment that is not ours is the site's own. */
export function markOf(comment: string): Mark {
  const read = mark.safeParse(jsonBehind(prefix, comment));
  return read.success ? read.data : { was: comment };
}

export function commentOf(text: Mark): string {
  return text.closed === undefined && text.promoted === undefined
    ? text.was
    : `${prefix}${JSON.stringify(text)}`;
}

export function drillMarkOf(comment: string): DrillMark | null {
  const read = drillMark.safeParse(jsonBehind(drillPrefix, comment));
  return read.success ? read.data : null;
}

export function drillComment(text: DrillMark): string {
  return `${drillPrefix}${JSON.stringify(text)}`;
}

function jsonBehind(beginning: string, comment: string): unknown {
  if (!comment.startsWith(beginning)) return null;
  try {
    return JSON.parse(comment.slice(beginning.length));
  } catch {
    return null;
  }
}
