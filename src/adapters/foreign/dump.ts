/** A dump of a pool's database as one backup: it holds everything but the moment of the replicas. */
import type { TextMap, Uuid } from '../../domain/pool.ts';
import type { Instant } from '../../domain/time.ts';
import { documentOfDatabase } from '../../metadata/database/documents.ts';
import { parseDatabase } from '../../metadata/database/parse.ts';
import { DatabaseRecords } from '../../metadata/database/records.ts';
import { packDocument } from '../../metadata/document.ts';
import { split } from '../../metadata/split.ts';
import type { ForeignBackup } from '../../ports/foreign.ts';
import { factsOf } from './facts.ts';

/** What a dump tells; its documents are made when somebody asks, which costs more than all the rest. */
export interface OpenDump extends Pick<ForeignBackup, 'pool' | 'secretDeviceConfig' | 'remarks'> {
  documents(): ForeignBackup['documents'];
}

/** Throws `OperatorError` DR-DATABASE-UNREADABLE. */
export function backupOfDatabase(
  bytes: Uint8Array,
  at: Instant,
): Pick<ForeignBackup, 'pool' | 'documents' | 'secretDeviceConfig' | 'remarks'> {
  const dump = openDump(bytes, at);
  return { ...dump, documents: dump.documents() };
}

/** Throws `OperatorError` DR-DATABASE-UNREADABLE. */
export function openDump(bytes: Uint8Array, at: Instant): OpenDump {
  const records = new DatabaseRecords(parseDatabase(new TextDecoder().decode(bytes)));
  const pool = factsOf((name) => records.ofClass(name), at);
  return {
    pool,
    documents: () =>
      new Map(split(documentOfDatabase(records)).map(({ uuid, document }) => [uuid, packDocument(document)])),
    secretDeviceConfig: secretsOf(pool, records),
    remarks: records.problems.map((problem) => `Left out of the database: ${problem}`),
  };
}

/** `<key>_secret` in a device_config is the uuid of a secret, which the same dump holds (xapi.md 7.2, 3.7). */
function secretsOf(pool: ForeignBackup['pool'], records: DatabaseRecords): Map<Uuid, TextMap> {
  const found = new Map<Uuid, TextMap>();
  for (const sr of pool.srs) {
    const secrets: Record<string, string> = {};
    for (const { deviceConfig } of sr.pbds)
      for (const [key, name] of Object.entries(deviceConfig)) {
        const value = key.endsWith('_secret') ? records.secret(name) : undefined;
        if (value !== undefined) secrets[key.slice(0, -'_secret'.length)] = value;
      }
    if (Object.keys(secrets).length > 0) found.set(sr.uuid, secrets);
  }
  return found;
}
