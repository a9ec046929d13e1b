/** Differences over time: since when they are there, what people said about them, and when they were gone. */
import type { Acceptance, Difference, LedgerEntry } from '../domain/drift.ts';
import { addSeconds, type Instant } from '../domain/time.ts';

/** What is gone for so long is forgotten, with what was accepted about it. */
const forgottenAfterSeconds = 30 * 86_400;

export type Sites = readonly [production: string, recovery: string];

export interface LedgerLook {
  readonly at: Instant;
  readonly differences: readonly Difference[];
  /** Pairs of sites that were both seen: only of these an absence means that something is gone. */
  readonly compared: readonly Sites[];
  /** Pairs between which a group is protected now. */
  readonly configured: readonly Sites[];
}

const among = (pairs: readonly Sites[], [production, recovery]: Sites): boolean =>
  pairs.some((pair) => pair[0] === production && pair[1] === recovery);

export function foldLedger(ledger: readonly LedgerEntry[], look: LedgerLook): LedgerEntry[] {
  const before = new Map(ledger.map((entry) => [entry.id, entry]));
  const seen = look.differences.map((difference) => sighted(before.get(difference.id), difference, look.at));
  const here = new Set(seen.map(({ id }) => id));
  const others = ledger.filter(({ id }) => !here.has(id)).map((entry) => notSighted(entry, look));
  const oldest = addSeconds(look.at, -forgottenAfterSeconds);
  return [...seen, ...others.filter(({ goneAt }) => goneAt === null || goneAt > oldest)];
}

function sighted(before: LedgerEntry | undefined, difference: Difference, at: Instant): LedgerEntry {
  if (before === undefined)
    return { ...difference, firstSeenAt: at, lastSeenAt: at, accepted: null, goneAt: null };
  // What comes back is new; what a person said about it still holds until its day.
  const firstSeenAt = before.goneAt === null ? before.firstSeenAt : at;
  return { ...difference, firstSeenAt, lastSeenAt: at, accepted: before.accepted, goneAt: null };
}

function notSighted(entry: LedgerEntry, look: LedgerLook): LedgerEntry {
  const over = among(look.compared, entry.sites) || !among(look.configured, entry.sites);
  return over && entry.goneAt === null ? { ...entry, goneAt: look.at } : entry;
}

/** The ledger with this said about one of its entries; null when there is no such entry, or it is gone. */
export function withAcceptance(
  ledger: readonly LedgerEntry[],
  id: string,
  accepted: Acceptance | null,
): LedgerEntry[] | null {
  const known = ledger.some((entry) => entry.id === id && entry.goneAt === null);
  return known ? ledger.map((entry) => (entry.id === id ? { ...entry, accepted } : entry)) : null;
}
