/** What LIFEBOAT.json of a date says, if it is what it claims to be. Whoever can write the disk can write this too. */
import { z } from 'zod';
import type { BackupProvenance } from '../../domain/backup-vdi.ts';

const uuid = z.string().regex(/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/);

const schema = z.object({
  format: z.literal(1),
  by: z.literal('lifeboat'),
  pool: z.object({ uuid, nameLabel: z.string() }),
  group: z.string(),
  pointId: z.string(),
  takenAt: z.iso.datetime(),
  documents: z.record(uuid, z.string().regex(/^[0-9a-f]{64}$/)),
});

/** Null for what is absent or says something else. */
export function provenanceOf(content: Uint8Array | null): BackupProvenance | null {
  if (content === null) return null;
  try {
    return schema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(content)));
  } catch {
    return null;
  }
}
