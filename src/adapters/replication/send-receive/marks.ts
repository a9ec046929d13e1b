/** Marks as text: `role:point`, with `-` for no point. */
import type { Mark } from './store.ts';

const form = /^(target|prepared|promoting|promoted|demoted|fenced):(.+)$/;

export function writeMark({ role, point }: Mark): string {
  return `${role}:${point ?? '-'}`;
}

/** Null for text that is no mark of ours. */
export function readMark(text: string | undefined): Mark | null {
  const [, role, point] = form.exec(text ?? '') ?? [];
  if (role === undefined || point === undefined) return null;
  return { role: role as Mark['role'], point: point === '-' ? null : point };
}
