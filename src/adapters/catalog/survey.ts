/**
 * A look at one target without reading the packs: manifests and their signatures, the chain of each group, and whether
 * every pack is there with its size. Listing, verification and clean-up all start from it.
 */
import type { KeyObject } from 'node:crypto';
import {
  type Chain,
  chainFormat,
  type Manifest,
  manifestFormat,
  readSigned,
  type Signed,
  Unsigned,
} from './manifest.ts';
import { StoreMissing, type TargetStore } from './target-store.ts';

export interface SurveyedPoint {
  readonly manifest: Manifest;
  readonly sha256: string;
  readonly file: string;
  /** What keeps it from being whole; empty when nothing does. */
  readonly faults: readonly { readonly file: string; readonly what: string }[];
}

export interface Finding {
  readonly file: string;
  readonly point: string | null;
  readonly what: string;
}

export interface Survey {
  readonly points: readonly SurveyedPoint[];
  readonly chains: ReadonlyMap<string, Signed<Chain> | null>;
  readonly damage: readonly Finding[];
  /** Not damage: traces of a crash that the next run clears. */
  readonly notes: readonly Finding[];
  /** Packs by name, with their size. */
  readonly packs: ReadonlyMap<string, { readonly bytes: number; readonly modifiedAtSeconds: number }>;
  /** Names in the directory of packs that are not names of packs. */
  readonly strangePacks: readonly string[];
  /** How many manifests cannot be read: what they need is unknown, so nothing may be swept. */
  readonly unreadable: number;
}

const atOnce = 8;

export async function surveyTarget(
  store: TargetStore,
  key: KeyObject,
  catalogId: string,
  onlyGroup: string | null,
): Promise<Survey> {
  const damage: Finding[] = [];
  const notes: Finding[] = [];
  const points: SurveyedPoint[] = [];
  const chains = new Map<string, Signed<Chain> | null>();
  const { packs, strangers: strangePacks } = await listPacks(store);
  let unreadable = 0;
  const groups = (await store.list('points')).filter(
    (entry) => onlyGroup === null || entry.name === onlyGroup,
  );
  for (const { name: group, kind } of groups) {
    if (kind !== 'directory') {
      damage.push({
        file: `points/${group}`,
        point: null,
        what: 'a file that does not belong to the catalog',
      });
      continue;
    }
    const entries = await store.list(`points/${group}`);
    const read = await mapAtOnce(entries, async (entry) => {
      const file = `points/${group}/${entry.name}`;
      const name = /^([A-Za-z0-9][A-Za-z0-9_.-]*)\.point$/.exec(entry.name)?.[1];
      if (entry.name === 'chain') return null;
      if (name === undefined || entry.kind !== 'file') {
        damage.push({ file, point: null, what: 'a file that does not belong to the catalog' });
        return null;
      }
      const id = `${group}/${name}`;
      try {
        const signed = readSigned<Manifest>(await store.read(file), manifestFormat, key);
        if (signed.value.catalog !== catalogId) throw new Unsigned('it belongs to another catalog');
        if (signed.value.point !== id) throw new Unsigned(`it is the manifest of ${signed.value.point}`);
        return { ...signed, file };
      } catch (error) {
        if (!(error instanceof Unsigned)) throw error;
        unreadable += 1;
        damage.push({ file, point: id, what: `the manifest is damaged: ${error.message}` });
        return null;
      }
    });
    const chain = await readChain(store, group, key, catalogId, damage);
    chains.set(group, chain);
    const manifests = read.filter((one) => one !== null).sort((a, b) => a.value.sequence - b.value.sequence);
    const kept = dropPruned(manifests, chain, notes);
    const faults = checkChain(group, kept, chain, unreadable > 0, damage, notes);
    for (const { value: manifest, sha256, file } of kept) {
      const own = [...(faults.get(file) ?? [])];
      for (const pack of manifest.packs) {
        const there = packs.get(pack.name);
        if (there === undefined) own.push({ file: packPath(pack.name), what: 'the pack is missing' });
        else if (there.bytes !== pack.bytes)
          own.push({
            file: packPath(pack.name),
            what: `the pack has ${there.bytes} bytes instead of ${pack.bytes}`,
          });
      }
      points.push({ manifest, sha256, file, faults: own });
      for (const fault of own) damage.push({ ...fault, point: manifest.point });
    }
  }
  return { points, chains, damage, notes, packs, strangePacks, unreadable };
}

export function packPath(name: string): string {
  return `packs/${name}.pack`;
}

export async function listPacks(
  store: TargetStore,
): Promise<{ readonly packs: Survey['packs']; readonly strangers: readonly string[] }> {
  const packs = new Map<string, { bytes: number; modifiedAtSeconds: number }>();
  const strangers: string[] = [];
  for (const entry of await store.list('packs')) {
    const name = /^([0-9a-f]{64})\.pack$/.exec(entry.name)?.[1];
    if (name === undefined || entry.kind !== 'file') strangers.push(entry.name);
    else packs.set(name, { bytes: entry.bytes, modifiedAtSeconds: entry.modifiedAtSeconds });
  }
  return { packs, strangers };
}

export async function mapAtOnce<A, B>(items: readonly A[], action: (item: A) => Promise<B>): Promise<B[]> {
  const results: B[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (;;) {
      const index = next++;
      const item = items[index];
      if (index >= items.length || item === undefined) return;
      results[index] = await action(item);
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker));
  return results;
}

async function readChain(
  store: TargetStore,
  group: string,
  key: KeyObject,
  catalogId: string,
  damage: Finding[],
): Promise<Signed<Chain> | null> {
  const file = `points/${group}/chain`;
  try {
    const chain = readSigned<Chain>(await store.read(file), chainFormat, key);
    if (chain.value.catalog !== catalogId || chain.value.group !== group)
      throw new Unsigned('it belongs to another group or catalog');
    return chain;
  } catch (error) {
    if (error instanceof StoreMissing) return null;
    if (!(error instanceof Unsigned)) throw error;
    damage.push({ file, point: null, what: `the chain file is damaged: ${error.message}` });
    return null;
  }
}

type Read = Signed<Manifest> & { readonly file: string };

/** Manifests that the signed chain file calls pruned: a crash came between the decision and the removal. */
function dropPruned(manifests: readonly Read[], chain: Signed<Chain> | null, notes: Finding[]): Read[] {
  return manifests.filter(({ value, file }) => {
    const pruned = chain?.value.pruned.some(
      (range) => value.sequence >= range.from && value.sequence <= range.to,
    );
    if (pruned) notes.push({ file, point: value.point, what: 'pruned already; the next prune removes it' });
    return !pruned;
  });
}

/** Every manifest names the one before; gaps must be covered by a signed record of pruning. */
function checkChain(
  group: string,
  manifests: readonly Read[],
  chain: Signed<Chain> | null,
  someUnreadable: boolean,
  damage: Finding[],
  notes: Finding[],
): Map<string, { file: string; what: string }[]> {
  const faults = new Map<string, { file: string; what: string }[]>();
  const blame = (file: string, what: string): void => {
    faults.set(file, [...(faults.get(file) ?? []), { file, what }]);
  };
  const chainFile = `points/${group}/chain`;
  const pruned = chain?.value.pruned ?? [];
  let sequence = 0;
  let hash: string | null = null;
  for (const { value, sha256, file } of manifests) {
    const range = pruned.find((one) => one.from === sequence + 1 && one.to === value.sequence - 1);
    if (value.sequence === sequence) blame(file, `its number ${sequence} in the chain comes twice`);
    else if (value.sequence === sequence + 1) {
      if (value.previous !== hash)
        blame(file, 'the chain is broken: it does not follow the manifest before it');
    } else if (range === undefined) {
      // A manifest that is there but cannot be read is told already; its neighbours are no worse for it.
      if (!someUnreadable) {
        damage.push({
          file: `points/${group}`,
          point: null,
          what: `the chain has a gap: manifests ${sequence + 1} to ${value.sequence - 1} are missing and were not pruned`,
        });
      }
    } else if (range.before !== hash || range.last !== value.previous) {
      blame(file, 'the chain is broken: the record of pruning before it does not fit');
    }
    sequence = value.sequence;
    hash = sha256;
  }
  const head = chain?.value.head ?? null;
  if (chain === null) {
    if (manifests.length > 1)
      damage.push({ file: chainFile, point: null, what: 'the chain file is missing or unreadable' });
    else if (manifests.length === 1)
      notes.push({ file: chainFile, point: null, what: 'the chain file was not written yet' });
  } else if (head !== null) {
    const end = pruned.find((range) => range.from === sequence + 1 && range.to === head.sequence);
    const newest = manifests.at(-1);
    const headHash =
      end === undefined ? manifests.find((one) => one.value.sequence === head.sequence)?.sha256 : end.last;
    if (headHash === undefined && !someUnreadable) {
      damage.push({
        file: `points/${group}`,
        point: null,
        what: `the newest manifest, number ${head.sequence}, is missing`,
      });
    } else if (headHash !== undefined && headHash !== head.sha256) {
      damage.push({ file: chainFile, point: null, what: 'the chain file names another newest manifest' });
    }
    if (newest !== undefined && newest.value.sequence > head.sequence)
      notes.push({ file: chainFile, point: newest.value.point, what: 'the chain file is one point behind' });
  }
  return faults;
}
