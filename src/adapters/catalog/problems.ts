/** What can go wrong with a target, as sentences for the operator. */
import { OperatorError, PortError, type Problem } from '../../domain/errors.ts';
import { DamagedHeader, WrongKey } from './keys.ts';
import { DamagedPack } from './pack.ts';
import { StoreMissing, type TargetStore } from './target-store.ts';

const fileSystem: Readonly<
  Record<string, { readonly known: string; readonly next: string; readonly code: Problem['code'] }>
> = {
  ENOSPC: {
    code: 'DR-CATALOG-FULL',
    known: 'the disk is full',
    next: 'Make room there (`lifeboat catalog prune` removes what the rules of retention let go), then repeat',
  },
  EDQUOT: {
    code: 'DR-CATALOG-FULL',
    known: 'the disk quota is used up',
    next: 'Raise the quota or make room there, then repeat',
  },
  EFBIG: {
    code: 'DR-CATALOG-FULL',
    known: 'the file system takes no file of this size',
    next: 'Choose another file system for this target',
  },
  EACCES: {
    code: 'DR-CATALOG-ACCESS',
    known: 'permission denied',
    next: 'Give the user that runs Lifeboat the right to read and write there',
  },
  EPERM: {
    code: 'DR-CATALOG-ACCESS',
    known: 'operation not permitted',
    next: 'Give the user that runs Lifeboat the right to read and write there',
  },
  EROFS: {
    code: 'DR-CATALOG-ACCESS',
    known: 'the file system is mounted read-only',
    next: 'Mount it for writing, then repeat',
  },
  ENOENT: {
    code: 'DR-CATALOG-MISSING',
    known: 'the directory does not exist',
    next: 'Nothing before the first export, which makes it; otherwise mount it, or correct the path in sites.yaml',
  },
  ENOTDIR: {
    code: 'DR-CATALOG-MISSING',
    known: 'a part of the path is not a directory',
    next: 'Correct the path in sites.yaml',
  },
  EIO: {
    code: 'DR-CATALOG-IO',
    known: 'the disk reports an input/output error',
    next: 'Look at the disk (dmesg, smartctl), then run `lifeboat catalog verify`',
  },
  ESTALE: {
    code: 'DR-CATALOG-IO',
    known: 'the network file system has gone stale',
    next: 'Mount it again, then repeat',
  },
};

/** The problem of a target behind any error. `doing` completes "Cannot … catalog target NAME". */
export function targetProblem(store: TargetStore, doing: string, error: unknown): Problem {
  if (error instanceof OperatorError && error.problems[0] !== undefined) return error.problems[0];
  if (error instanceof PortError) return error.problem;
  const base = { what: `Cannot ${doing} catalog target ${store.name}`, where: { object: store.address } };
  if (error instanceof WrongKey) return wrongKey(store, error);
  if (error instanceof DamagedHeader) {
    return {
      ...base,
      code: 'DR-CATALOG-DAMAGED',
      known: [`catalog.json is damaged: ${error.message}`],
      next: 'Restore catalog.json or catalog-copy.json of this target from a backup; without one of them its points cannot be opened',
    };
  }
  if (error instanceof DamagedPack || error instanceof StoreMissing) {
    return {
      ...base,
      code: 'DR-CATALOG-DAMAGED',
      known: [error.message],
      next: 'Run `lifeboat catalog verify`, which names every damaged file',
    };
  }
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const known = fileSystem[code];
  if (known !== undefined) return { ...base, code: known.code, known: [known.known], next: known.next };
  return {
    ...base,
    code: 'DR-CATALOG-TARGET',
    known: [error instanceof Error ? error.message : String(error)],
    next: 'Remove the cause, then repeat; nothing is lost in the other targets',
  };
}

function wrongKey(store: TargetStore, error: WrongKey): Problem {
  return {
    code: 'DR-CATALOG-KEY',
    what: `Cannot open catalog target ${store.name}`,
    where: { object: store.address },
    known: [error.message],
    next: 'Give the key with which this catalog was made (catalog.encryption in sites.yaml)',
  };
}

export function noCatalogYet(store: TargetStore): OperatorError {
  return new OperatorError({
    code: 'DR-CATALOG-EMPTY',
    what: `Catalog target ${store.name} holds no catalog`,
    where: { object: store.address },
    next: 'Mount the file system that holds it, or run `lifeboat export`, which sets a new target up',
  });
}
