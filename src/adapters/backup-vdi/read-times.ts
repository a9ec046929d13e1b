/** What a listing of debugfs leaves out: when a file was written. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Instant } from '../../domain/time.ts';
import { byInode, type Looking } from './e2fs.ts';
import { runTool } from './tools.ts';

/** Times of last change by inode; those that cannot be told are left out. */
export async function timesOf(
  image: string,
  inodes: readonly number[],
  { scratch, signal }: Looking,
): Promise<ReadonlyMap<number, Instant>> {
  const times = new Map<number, Instant>();
  if (inodes.length === 0) return times;
  const script = path.join(scratch, 'stat');
  await writeFile(script, inodes.map((inode) => `stat ${byInode(inode)}\n`).join(''), { mode: 0o600 });
  const { stdout } = await runTool('debugfs', ['-f', script, image], { signal });
  let inode: number | null = null;
  for (const line of stdout.split('\n')) {
    const [, found] = /^Inode: (\d+)\s/.exec(line) ?? [];
    if (found !== undefined) inode = Number(found);
    const [, seconds] = /^\s*mtime: 0x([0-9a-f]{8})/.exec(line) ?? [];
    if (seconds === undefined || inode === null) continue;
    times.set(inode, new Date(Number.parseInt(seconds, 16) * 1000).toISOString());
  }
  return times;
}
