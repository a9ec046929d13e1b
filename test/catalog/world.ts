/** Points, targets and catalogs for the tests of this folder. */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CatalogOptions, TargetsCatalog } from '../../src/adapters/catalog/catalog.ts';
import { LocalStore } from '../../src/adapters/catalog/local-store.ts';
import type { ObjectRef, PointVm, RecoveryPoint } from '../../src/domain/recovery-point.ts';
import type { Catalog } from '../../src/ports/catalog.ts';

/** `small` asks for a directory in memory, where there is one: thousands of syncs cost nothing there. */
export function scratch(t: { teardown(action: () => void): void }, size: 'small' | 'any' = 'any'): string {
  const base = size === 'small' && existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
  const directory = mkdtempSync(join(base, 'lifeboat-catalog-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

export const keyOf = (text: string): Uint8Array => createHash('sha256').update(text).digest();

export function localCatalog(
  directories: readonly string[],
  options: Partial<CatalogOptions> = {},
): TargetsCatalog {
  return new TargetsCatalog({
    targets: directories.map((path, index) => new LocalStore(`t${index + 1}`, path)),
    key: async () => ({ from: 'key-file', key: keyOf('right') }),
    now: () => '2026-03-01T12:00:00.000Z',
    ...options,
  });
}

/** A document as large as a real one, of words that compress as XML does. */
export function documentOf(name: string, bytes = 4000): Buffer {
  const words: string[] = [`<value>${name}</value>`];
  let length = 0;
  for (let n = 0; length < bytes; n += 1) {
    const word = `<member><name>${createHash('md5').update(`${name}${n}`).digest('hex').slice(0, 6)}</name></member>`;
    words.push(word);
    length += word.length;
  }
  return Buffer.from(words.join(''));
}

export function vmOf(nameLabel: string, document: ObjectRef): PointVm {
  return {
    uuid: `uuid-${nameLabel}`,
    nameLabel,
    document,
    powerState: 'Running',
    order: 0,
    startDelaySeconds: 0,
    memoryStaticMax: 1024 ** 3,
    memoryDynamicMax: 1024 ** 3,
    vcpusAtStartup: 1,
    haRestartPriority: '',
    haAlwaysRun: false,
    tags: [],
    folder: null,
    srUuids: ['sr-1'],
    vdiUuids: [`vdi-${nameLabel}`],
    networkNames: ['LAN'],
    applianceUuid: null,
  };
}

export function pointOf(
  id: string,
  takenAt: string,
  vms: readonly PointVm[],
  more: Partial<RecoveryPoint> = {},
): RecoveryPoint {
  return {
    id,
    group: id.split('/')[0] ?? '',
    takenAt,
    site: 'tokyo',
    poolUuid: 'pool-1',
    poolName: 'Tokyo pool',
    productBrand: 'XCP-ng',
    productVersion: '8.3.0',
    xapiBuild: '26.17.0',
    configDigest: '00',
    vms,
    failures: [],
    srs: [],
    vdis: [],
    networks: [],
    hosts: [],
    appliances: [],
    poolOtherConfig: {},
    database: null,
    replication: [],
    ...more,
  } as RecoveryPoint;
}

/** Puts and seals a point of these VMs; minutes after noon make its time and id. */
export async function exportPoint(
  catalog: Catalog,
  group: string,
  minute: number,
  documents: Readonly<Record<string, Buffer>>,
  more: Partial<RecoveryPoint> = {},
): Promise<RecoveryPoint> {
  const point = await putPoint(catalog, group, minute, documents, more);
  const outcomes = await catalog.seal(point);
  const failed = outcomes.find((outcome) => !outcome.ok);
  if (failed !== undefined) throw new Error(`target ${failed.target}: ${JSON.stringify(failed.problem)}`);
  return point;
}

export async function putPoint(
  catalog: Catalog,
  group: string,
  minute: number,
  documents: Readonly<Record<string, Buffer>>,
  more: Partial<RecoveryPoint> = {},
): Promise<RecoveryPoint> {
  const vms: PointVm[] = [];
  for (const [name, document] of Object.entries(documents)) vms.push(vmOf(name, await catalog.put(document)));
  const takenAt = new Date(Date.parse('2026-03-01T00:00:00.000Z') + minute * 60_000).toISOString();
  const stamp = takenAt.replace(/[-:]/g, '').replace(/\.\d+/, '');
  return pointOf(`${group}/${stamp}-0001`, takenAt, vms, more);
}

export const noise = (bytes: number): Buffer => randomBytes(bytes);
