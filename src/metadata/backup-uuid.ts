/** The uuid that xapi gives the metadata backup of an SR (xapi.md 5.2): version 5, the same in every pool that sees the SR. */
import { createHash } from 'node:crypto';
import type { Uuid } from '../domain/pool.ts';

const namespace = Buffer.from('e93e06392bdb4a598b46352b3f408c19', 'hex');

export function backupVdiUuid(sr: Uuid): Uuid {
  const digest = createHash('sha1').update(namespace).update(sr.toLowerCase()).digest().subarray(0, 16);
  digest.writeUInt8((digest.readUInt8(6) & 0x0f) | 0x50, 6);
  digest.writeUInt8((digest.readUInt8(8) & 0x3f) | 0x80, 8);
  return digest.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
