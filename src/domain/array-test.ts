/** What a test of an array's adapter found: the verbs that only look, tried one by one on the real thing. */
import type { Problem } from './errors.ts';

export interface ArrayTest {
  readonly array: string;
  readonly type: string;
  readonly checks: readonly ArrayCheck[];
}

export interface ArrayCheck {
  /** The verb, and where it is about one volume that volume: `observe tank/shop`. */
  readonly verb: string;
  readonly outcome: 'ok' | 'warning' | 'failed';
  /** What was seen, in one sentence each. */
  readonly says: readonly string[];
  /** Why it failed; null otherwise. */
  readonly problem: Problem | null;
}
