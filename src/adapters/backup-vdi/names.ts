/** What the names on a metadata backup's disk mean (xapi.md 5.5). */
import { backupLayout } from '../../domain/backup-vdi.ts';
import type { Uuid } from '../../domain/pool.ts';

const uuidShape = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export function isUuid(text: string): boolean {
  return uuidShape.test(text);
}

/** The VM whose document, or whose link to it, has this name; null for any other name. */
export function vmOf(name: string): Uuid | null {
  const vm = name.slice(0, -backupLayout.documentSuffix.length);
  return name.endsWith(backupLayout.documentSuffix) && isUuid(vm) ? vm : null;
}

/** Whose dump has this name, and how many younger ones there are; null for any other name. */
export function dumpOf(name: string): { readonly pool: Uuid; readonly generation: number } | null {
  const [, pool, generation = '0'] = /^([0-9a-f-]{36})\.db(?:\.([1-9]\d{0,4}))?$/.exec(name) ?? [];
  return pool === undefined || !isUuid(pool) ? null : { pool, generation: Number(generation) };
}
