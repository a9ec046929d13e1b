/**
 * Every error code of XenAPI that a DR client meets (xapi.md 10): how it counts, what it means to an operator, and
 * what to do next. Names of the parameters stand in the order in which the server sends them.
 */
import type { ErrorCode, FailureKind } from '../../domain/errors.ts';
import { diskRows } from './failures-disks.ts';
import { importRows } from './failures-import.ts';
import { poolRows } from './failures-pool.ts';
import { vmRows } from './failures-vms.ts';

export interface FailureEntry {
  readonly kind: FailureKind;
  readonly code: ErrorCode;
  readonly what: string;
  readonly next: string;
  readonly params: readonly string[];
}

export const failureTable: ReadonlyMap<string, FailureEntry> = new Map(
  [...poolRows, ...vmRows, ...diskRows, ...importRows].map(([peer, kind, code, params, what, next]) => [
    peer,
    { kind, code, what, next, params },
  ]),
);
