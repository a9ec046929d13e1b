/** The header of a target and its copy: read, set up in an empty directory, and repaired from one another. */
import { OperatorError } from '../../domain/errors.ts';
import type { Instant } from '../../domain/time.ts';
import {
  type CatalogHeader,
  type CatalogKeys,
  DamagedHeader,
  headerText,
  makeHeader,
  type OperatorKey,
  readHeader,
  unlock,
} from './keys.ts';
import { type LockOwner, withLock } from './locks.ts';
import { noCatalogYet } from './problems.ts';
import { StoreMissing, type TargetStore, writeAtomically } from './target-store.ts';

export const headerFiles = ['catalog.json', 'catalog-copy.json'] as const;

export interface HeaderOptions {
  readonly store: TargetStore;
  readonly key: () => Promise<OperatorKey>;
  readonly now: () => Instant;
  readonly owner: LockOwner;
}

export interface OpenedHeader {
  readonly keys: CatalogKeys;
  /** Whether this process set the target up. */
  readonly isNew: boolean;
}

/** Opens the target; sets an empty one up only when `create`. */
export async function openHeader(options: HeaderOptions, create: boolean): Promise<OpenedHeader> {
  const { store } = options;
  const found = await readHeaders(store);
  if (found.header !== null) {
    const keys = await unlock(found.header, await options.key());
    if (create) await repairHeaders(store, found.header);
    return { keys, isNew: false };
  }
  if (found.damage !== null) throw found.damage;
  const foreign = (await store.list('')).filter(
    (entry) => !['tmp', 'locks', 'writers', 'lost+found'].includes(entry.name),
  );
  if (foreign.some((entry) => entry.name === 'packs' || entry.name === 'points'))
    throw new DamagedHeader('it and its copy are missing');
  if (!create) throw noCatalogYet(store);
  if (foreign[0] !== undefined) {
    throw new OperatorError({
      code: 'DR-CATALOG-FOREIGN',
      what: `Catalog target ${store.name} holds files that are not of a catalog`,
      where: { object: store.address },
      known: [`such as ${JSON.stringify(foreign[0].name)}`],
      next: 'Give an empty directory, or correct the path in sites.yaml',
    });
  }
  return setUp(options);
}

async function setUp(options: HeaderOptions): Promise<OpenedHeader> {
  const { store } = options;
  for (const directory of ['tmp', 'locks', 'writers']) await store.makeDirectory(directory);
  return withLock(store, 'set-up', options.owner, async () => {
    const faster = await readHeaders(store);
    if (faster.header !== null)
      return { keys: await unlock(faster.header, await options.key()), isNew: false };
    const { header, keys } = await makeHeader(await options.key(), options.now());
    for (const file of headerFiles) await writeAtomically(store, file, Buffer.from(headerText(header)));
    for (const directory of ['packs', 'points']) await store.makeDirectory(directory);
    await store.syncDirectory('');
    return { keys, isNew: true };
  });
}

async function repairHeaders(store: TargetStore, header: CatalogHeader): Promise<void> {
  for (const directory of ['tmp', 'locks', 'writers', 'packs', 'points']) {
    if ((await store.stat(directory)) === null) await store.makeDirectory(directory);
  }
  for (const file of headerFiles) {
    if ((await store.stat(file)) === null)
      await writeAtomically(store, file, Buffer.from(headerText(header)));
  }
}

export async function readHeaders(store: TargetStore): Promise<{
  readonly header: CatalogHeader | null;
  readonly damage: DamagedHeader | null;
  readonly faults: readonly { readonly file: string; readonly what: string }[];
}> {
  const faults: { file: string; what: string }[] = [];
  const headers: CatalogHeader[] = [];
  let damage: DamagedHeader | null = null;
  for (const file of headerFiles) {
    try {
      headers.push(readHeader(Buffer.from(await store.read(file)).toString('latin1')));
    } catch (error) {
      if (error instanceof StoreMissing) faults.push({ file, what: 'it is missing' });
      else if (error instanceof DamagedHeader) {
        damage = error;
        faults.push({ file, what: error.message });
      } else throw error;
    }
  }
  const [first, second] = headers;
  if (first !== undefined && second !== undefined && headerText(first) !== headerText(second))
    faults.push({ file: headerFiles[1], what: `it is not a copy of ${headerFiles[0]}` });
  return { header: first ?? null, damage, faults };
}
