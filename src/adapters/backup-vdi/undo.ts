/**
 * What a write is about to replace, on the disk of this machine before the first byte is sent: a file per backup disk, its
 * first line tells which image it belongs to, the old content follows in the order of the extents.
 */
import { createHash } from 'node:crypto';
import { open, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import type { Uuid } from '../../domain/pool.ts';
import type { BackupImage, DiskPiece, Extent } from '../../ports/backup-vdi.ts';
import type { Scratch } from './scratch.ts';
import { copySparse, hashOfFile, patchFile, piecesOf } from './sparse.ts';

const headShape = z.object({
  vdi: z.string(),
  bytes: z.int().positive(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  contentSha256: z.string().regex(/^[0-9a-f]{64}$/),
  extents: z.array(z.object({ offset: z.int().min(0), bytes: z.int().positive() })),
});

type Head = z.output<typeof headShape>;

export class Undo {
  readonly #scratch: Scratch;

  constructor(scratch: Scratch) {
    this.#scratch = scratch;
  }

  async keep(vdi: Uuid, from: BackupImage, extents: readonly Extent[]): Promise<void> {
    const file = await this.#file(vdi);
    const hash = createHash('sha256');
    for await (const { content } of piecesOf(from.path, extents)) hash.update(content);
    const head = {
      vdi,
      bytes: from.bytes,
      sha256: from.sha256,
      contentSha256: hash.digest('hex'),
      extents: [...extents],
    };
    try {
      await writeKept(`${file}.new`, head, piecesOf(from.path, extents));
      await rename(`${file}.new`, file);
    } catch (error) {
      await rm(`${file}.new`, { force: true }).catch(() => undefined);
      throw error;
    }
    const directory = await open(path.dirname(file), 'r');
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  }

  async undone(vdi: Uuid, image: BackupImage, signal?: AbortSignal): Promise<BackupImage | null> {
    const kept = await readKept(await this.#file(vdi));
    if (kept === null || kept.head.bytes !== image.bytes || kept.head.sha256 === image.sha256) return null;
    const directory = await this.#scratch.directory();
    const to = path.join(directory, 'image');
    await copySparse(image.path, to, signal);
    await patchFile(to, kept.pieces());
    if ((await hashOfFile(to, signal)) === kept.head.sha256)
      return { path: to, bytes: image.bytes, sha256: kept.head.sha256 };
    // Somebody else has written since: what lies there is theirs.
    await this.#scratch.remove(directory);
    return null;
  }

  async forget(vdi: Uuid): Promise<void> {
    await rm(await this.#file(vdi), { force: true }).catch(() => undefined);
  }

  async #file(vdi: Uuid): Promise<string> {
    return path.join(await this.#scratch.root(), `undo-${vdi}`);
  }
}

async function writeKept(file: string, head: Head, pieces: AsyncIterable<DiskPiece>): Promise<void> {
  const to = await open(file, 'w', 0o600);
  try {
    // Unlike `write`, each of these writes all of it or fails.
    await to.writeFile(`${JSON.stringify(head)}\n`);
    for await (const { content } of pieces) await to.writeFile(content);
    await to.sync();
  } finally {
    await to.close();
  }
}

interface Kept {
  readonly head: Head;
  pieces(): AsyncIterable<DiskPiece>;
}

async function readKept(file: string): Promise<Kept | null> {
  const bytes = await readFile(file).catch(() => null);
  const end = bytes?.indexOf('\n') ?? -1;
  if (bytes === null || end < 0) return null;
  const head = headOf(bytes.subarray(0, end).toString('utf8'));
  const content = bytes.subarray(end + 1);
  if (head === null || createHash('sha256').update(content).digest('hex') !== head.contentSha256) return null;
  return {
    head,
    async *pieces() {
      let at = 0;
      for (const { offset, bytes: length } of head.extents) {
        yield { offset, content: content.subarray(at, at + length) };
        at += length;
      }
    },
  };
}

function headOf(text: string): Kept['head'] | null {
  try {
    return headShape.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    return null;
  }
}
