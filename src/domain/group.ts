/** The phase of a protection group: a small, persisted state machine with honest bad states. */
import type { Instant } from './time.ts';

export type Phase =
  | 'unprotected'
  | 'protected'
  | 'drilling'
  | 'migrating'
  | 'failing-over'
  | 'failed-over'
  | 'reprotecting'
  | 'stuck';

export interface GroupState {
  readonly group: string;
  readonly phase: Phase;
  /** Raised by every run that may change the world; a plan made for an older one is refused (invariant 9). */
  readonly generation: number;
  /** Which site runs the VMs now, as far as we know. */
  readonly activeSite: string;
  /** Whether the sites have changed places since sites.yaml was written: set by `swap-roles` of reprotect. */
  readonly roles: Roles;
  readonly currentRun: string | null;
  readonly changedAt: Instant;
  readonly frozen: { readonly by: string; readonly at: Instant; readonly reason: string } | null;
  /** Set by a failover: the site that must not start its copies when it comes back. */
  readonly tombstone: { readonly site: string; readonly at: Instant; readonly run: string } | null;
  /** A drill whose objects still stand, kept on purpose or left by a run that did not finish. */
  readonly drill: { readonly id: string; readonly run: string; readonly at: Instant } | null;
}

export type Roles = 'as-configured' | 'swapped';

const moves: Readonly<Record<Phase, readonly Phase[]>> = {
  unprotected: ['protected', 'failing-over', 'migrating', 'drilling', 'stuck'],
  protected: ['drilling', 'migrating', 'failing-over', 'stuck', 'protected'],
  drilling: ['protected', 'unprotected', 'failing-over', 'stuck'],
  migrating: ['failed-over', 'protected', 'unprotected', 'failing-over', 'stuck', 'migrating'],
  'failing-over': ['failed-over', 'protected', 'unprotected', 'stuck', 'failing-over'],
  'failed-over': ['reprotecting', 'stuck', 'failing-over'],
  reprotecting: ['protected', 'failed-over', 'stuck'],
  stuck: ['protected', 'drilling', 'migrating', 'failing-over', 'failed-over', 'reprotecting', 'unprotected'],
};

export function mayMove(from: Phase, to: Phase): boolean {
  return from === to || moves[from].includes(to);
}
