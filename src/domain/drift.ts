/** Differences between two sites, and the ledger that remembers them: since when, and what a person said about each. */
import type { ErrorCode } from './errors.ts';
import type { Instant } from './time.ts';

export type Aspect =
  | 'network'
  | 'vlan'
  | 'mtu'
  | 'sr'
  | 'sr-type'
  | 'device-config'
  | 'cpu'
  | 'build'
  | 'memory'
  | 'hosts'
  | 'licence'
  | 'certificate';

/** One thing in which two sites do not fit together now. */
export interface Difference {
  /** Such as `mtu-4f1c2a`: the same as long as both sides stay as they are, and another one when they differ in a new way. */
  readonly id: string;
  readonly aspect: Aspect;
  /** Names of the sites, production first. */
  readonly sites: readonly [production: string, recovery: string];
  /** Name of what differs. */
  readonly object: string;
  /** One sentence without a full stop. */
  readonly what: string;
  readonly evidence: readonly string[];
  /** Whether VMs would not come up, or not where they belong. Anything else is only worth knowing. */
  readonly breaks: boolean;
  /** The VMs that it touches, by group; a group without names is concerned as a whole. */
  readonly vms: readonly { readonly group: string; readonly names: readonly string[] }[];
  /** Findings of the checks that tell of the same thing. */
  readonly codes: readonly ErrorCode[];
  readonly next: string;
}

/** What a person takes upon them about a difference, until a day. */
export interface Acceptance {
  readonly at: Instant;
  /** A role, such as `head of operations`. */
  readonly by: string;
  readonly reason: string;
  /** From then on the difference counts again. */
  readonly until: Instant;
}

export interface LedgerEntry extends Difference {
  readonly firstSeenAt: Instant;
  readonly lastSeenAt: Instant;
  readonly accepted: Acceptance | null;
  /** When both sites were seen without it; null while it is there. */
  readonly goneAt: Instant | null;
}

export function isAccepted({ accepted }: Pick<LedgerEntry, 'accepted'>, now: Instant): boolean {
  return accepted !== null && now < accepted.until;
}

/** Whether it keeps a group from being ready: it breaks something, is there, and nobody has accepted it. */
export function counts(entry: LedgerEntry, now: Instant): boolean {
  return entry.breaks && entry.goneAt === null && !isAccepted(entry, now);
}

export const concerns = (entry: Pick<Difference, 'vms'>, group: string): boolean =>
  entry.vms.some((each) => each.group === group);

/** The ledger as `lifeboat drift` shows it. */
export interface DriftReport {
  readonly takenAt: Instant;
  readonly entries: readonly LedgerEntry[];
  /** Pairs of sites that were not both seen: what is told of them is as it was at the last look. */
  readonly unseen: readonly (readonly [production: string, recovery: string])[];
}
