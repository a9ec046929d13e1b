/**
 * What was done to a virtual disk, kept in its own description behind the words of people:
 * `Payroll LUN [lifeboat {"role":"promoted",…}]`. SANsymphony has no other place for marks.
 */
import { z } from 'zod';
import type { VirtualDisk } from './answers.ts';
import type { DatacoreApi } from './api.ts';

const point = z.object({ tag: z.string(), at: z.number() });
const schema = z.object({
  role: z
    .enum(['preparing', 'prepared', 'fenced', 'demoted', 'target', 'promoting', 'promoted', 'reversing'])
    .optional(),
  /** The point that the role is about. */
  ref: z.string().optional(),
  /** Hosts that the disk was served to before it was taken from them. */
  hosts: z.array(z.string()).optional(),
  drill: z.object({ drill: z.string(), ref: z.string(), at: z.number() }).optional(),
  /** Times, by the clock of the source, up to which everything has arrived here; newest first. */
  points: z.array(point).optional(),
});

export type Mark = z.infer<typeof schema>;
export type MarkedPoint = z.infer<typeof point>;

const form = /\s*\[lifeboat (\{.*\})\]\s*$/s;
/** Descriptions are not endless; four times are enough to tell the newest from the older ones. */
const keptPoints = 4;

export function markOf({ Description: text }: VirtualDisk): Mark {
  const [, json] = form.exec(text ?? '') ?? [];
  if (json === undefined) return {};
  try {
    return schema.parse(JSON.parse(json));
  } catch {
    // A person has written into it: what we do not understand counts as not there, and no point is claimed.
    return {};
  }
}

export async function writeMark(
  api: DatacoreApi,
  disk: VirtualDisk,
  mark: Mark,
  signal: AbortSignal | undefined,
): Promise<void> {
  const people = (disk.Description ?? '').replace(form, '');
  const kept: Mark = {
    ...mark,
    ...(mark.points === undefined ? {} : { points: mark.points.slice(0, keptPoints) }),
  };
  const ours = Object.keys(kept).length === 0 ? '' : `[lifeboat ${JSON.stringify(kept)}]`;
  const text = [people, ours].filter((part) => part !== '').join(' ');
  await api.act('PUT', `virtualdisks/${encodeURIComponent(disk.Id)}`, { Description: text }, signal);
}

/** Reads the disk again right before, so that what another run has written meanwhile stays. */
export async function changeMark(
  api: DatacoreApi,
  volume: string,
  change: (mark: Mark) => Mark,
  signal: AbortSignal | undefined,
): Promise<void> {
  const disk = await api.disk(volume, signal);
  await writeMark(api, disk, change(markOf(disk)), signal);
}

/** The mark without role and hosts. */
export function withoutRole({ points, drill }: Mark): Mark {
  return { ...(points === undefined ? {} : { points }), ...(drill === undefined ? {} : { drill }) };
}
