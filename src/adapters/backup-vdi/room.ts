/** How full the file system of an image is, counted as `df` counts on a host, and where it is free. */
import { runTool, toolFailed } from './tools.ts';

export interface Room {
  readonly freeBlocks: number;
  readonly freeInodes: number;
  /** As `df` shows it on a host: of what files may have, 0 to 1. */
  readonly usedShare: number;
  /** Stretches of free blocks, first and last, ascending. */
  readonly free: readonly (readonly [number, number])[];
}

export async function roomOf(image: string, signal?: AbortSignal): Promise<Room> {
  const end = await runTool('dumpe2fs', [image], { signal });
  if (end.code !== 0) throw toolFailed('dumpe2fs', 'The room on the metadata backup cannot be seen', end);
  const figure = (name: string): number =>
    Number(new RegExp(`^${name}: +(\\d+)`, 'm').exec(end.stdout)?.[1] ?? 0);
  const blocks = figure('Block count');
  const groups = Math.ceil(blocks / Math.max(1, figure('Blocks per group')));
  const overhead = figure('Total journal blocks') + groups * (figure('Inode blocks per group') + 2);
  const freeBlocks = figure('Free blocks');
  const forFiles = blocks - overhead - figure('Reserved block count');
  return {
    freeBlocks,
    freeInodes: figure('Free inodes'),
    usedShare: Math.min(1, Math.max(0, (blocks - overhead - freeBlocks) / Math.max(1, forFiles))),
    free: [...end.stdout.matchAll(/^ {2}Free blocks: (.+)$/gm)].flatMap(([, list = '']) =>
      list.split(', ').map((stretch): readonly [number, number] => {
        const [first, last] = stretch.split('-').map(Number);
        return [first ?? 0, last ?? first ?? 0];
      }),
    ),
  };
}
