/** A failure of the pool as one row: its code, how it counts, our code, its parameters in order, what it means, what to do. */
import type { ErrorCode, FailureKind } from '../../domain/errors.ts';

export type FailureRow = [
  peer: string,
  kind: FailureKind,
  code: ErrorCode,
  params: readonly string[],
  what: string,
  next: string,
];
