/** `catalog verify` against reading the same files and hashing them. */
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { TargetsCatalog } from '../../src/adapters/catalog/catalog.ts';
import { LocalStore } from '../../src/adapters/catalog/local-store.ts';
import { systemClock } from '../../src/adapters/system/clock.ts';
import type { RecoveryPoint } from '../../src/domain/recovery-point.ts';
import { atMost, type Bench, type Figure, number, ratioOf, spread, timed } from './figures.ts';

/** A year of points in small: objects of 1 to 64 kB that cannot be packed any smaller. */
const pointsOfThis = 24;
const documentBytes = 64 * 1024;

export async function measureCatalog(bench: Bench): Promise<Figure[]> {
  const directory = join(bench.directory, 'catalog-verify');
  const documents = Math.max(50, bench.vms / 2);
  await fill(directory, documents);
  const files = filesOf(directory);
  const bytes = files.reduce((sum, file) => sum + statSync(file).size, 0);
  const verifying: number[] = [];
  const hashing: number[] = [];
  for (let round = -1; round < bench.repetitions + 2; round += 1) {
    const plain = await timed(() => hashAll(files));
    const catalog = openCatalog(directory);
    const proof = await timed(() => catalog.verify({}));
    await catalog.close();
    if (proof.result.damage.length > 0) throw new Error(`damage: ${JSON.stringify(proof.result.damage[0])}`);
    if (proof.result.bytesRead < 0.98 * bytes) throw new Error('verify did not read everything');
    if (round < 0) continue;
    verifying.push(proof.seconds);
    hashing.push(plain.seconds);
  }
  return [
    atMost(
      'catalog verify against reading and hashing the same files',
      ratioOf(verifying, hashing),
      1.2,
      `verify ${spread(verifying)}; reading and SHA-256 ${spread(hashing)}; ${files.length} files, ${number(bytes / 1e6)} MB, ${pointsOfThis} points, read from the cache of the disk`,
    ),
  ];
}

function openCatalog(directory: string): TargetsCatalog {
  return new TargetsCatalog({
    targets: [new LocalStore('near', directory)],
    key: async () => ({ from: 'passphrase', passphrase: 'a passphrase of the bench' }),
    now: () => systemClock.now(),
  });
}

async function fill(directory: string, documents: number): Promise<void> {
  const catalog = openCatalog(directory);
  for (let round = 0; round < pointsOfThis; round += 1) {
    const batch = await catalog.batch();
    const vms: RecoveryPoint['vms'][number][] = [];
    for (let index = 0; index < documents; index += 1) {
      const document = await batch.put(randomBytes(1024 + ((index * 7919) % documentBytes)));
      vms.push({
        uuid: `00000005-0000-4000-8000-${String(index).padStart(12, '0')}`,
        nameLabel: `vm-${index}`,
        powerState: 'Running',
        order: 0,
        startDelaySeconds: 0,
        memoryStaticMax: 2 ** 30,
        memoryDynamicMax: 2 ** 30,
        vcpusAtStartup: 1,
        haRestartPriority: '',
        haAlwaysRun: false,
        tags: [],
        folder: null,
        srUuids: [],
        vdiUuids: [],
        networkNames: [],
        applianceUuid: null,
        document,
      });
    }
    await batch.commit();
    const id = `bench/20260101T0000${String(round).padStart(2, '0')}Z-0000`;
    const [sealed] = await catalog.seal(pointOf(id, vms));
    if (sealed?.ok !== true) throw new Error(`the point could not be sealed: ${sealed?.problem?.what}`);
  }
  await catalog.close();
}

function pointOf(id: string, vms: RecoveryPoint['vms']): RecoveryPoint {
  return {
    id,
    group: 'bench',
    takenAt: systemClock.now(),
    site: 'production',
    poolUuid: '00000000-0000-4000-8000-000000000001',
    poolName: 'production',
    productBrand: 'bench',
    productVersion: '1',
    xapiBuild: { major: 26, minor: 17, text: '26.17.0' },
    configDigest: 'bench',
    vms,
    srs: [],
    vdis: [],
    networks: [],
    hosts: [],
    appliances: [],
    poolOtherConfig: {},
    database: null,
    replication: [],
    failures: [],
  };
}

function filesOf(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

/** One file after the other, as `sha256sum` would. */
async function hashAll(files: readonly string[]): Promise<void> {
  for (const file of files) {
    const hash = createHash('sha256');
    for await (const block of createReadStream(file, { highWaterMark: 1024 * 1024 }))
      hash.update(block as Buffer);
    hash.digest('hex');
  }
}
