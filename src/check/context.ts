/** What a rule gets to see, and the small helpers that rules share. */
import type { Problem } from '../domain/errors.ts';
import type { Finding } from '../domain/finding.ts';
import type { GroupState } from '../domain/group.ts';
import type { Observation } from '../domain/observation.ts';
import type { HostFacts, PoolFacts } from '../domain/pool.ts';
import type { RecoveryPoint } from '../domain/recovery-point.ts';
import type { GroupSettings, ReplicatedSr } from '../domain/settings.ts';
import type { Instant } from '../domain/time.ts';

export interface CheckContext {
  readonly group: GroupSettings;
  readonly observation: Observation;
  /** Pool of the recovery site; null when it was not reached. */
  readonly recovery: PoolFacts | null;
  /** Pool of the production site; null when it was not reached. */
  readonly production: PoolFacts | null;
  /** The recovery point that a failover would use; null when there is none. */
  readonly point: RecoveryPoint | null;
  readonly state: GroupState | null;
  /** Names of decisions that a person took: `declare-lost`, `accept-loss`. */
  readonly decisions: ReadonlySet<string>;
  /** True for a look in quiet times: then a production site that answers is what we hope for. */
  readonly standing: boolean;
  /** The other groups of the settings; absent when only this one is known. */
  readonly otherGroups?: readonly GroupSettings[];
  /** When a verification last read a point back, or the first export where none did; null before any, absent when nobody looked. */
  readonly unverifiedSince?: Instant | null;
}

export type Rule = (context: CheckContext) => Finding[];

/** An error as evidence: what, with the host or array where it is known, and what we know. */
export function toldBy({ what, where, known }: Problem): string[] {
  return [where?.object === undefined ? what : `${where.object}: ${what}`, ...(known ?? [])];
}

export function problem(finding: Omit<Finding, 'severity' | 'vms' | 'evidence'> & Partial<Finding>): Finding {
  return { evidence: [], vms: [], ...finding, severity: 'problem' };
}

export function warning(finding: Omit<Finding, 'severity' | 'vms' | 'evidence'> & Partial<Finding>): Finding {
  return { evidence: [], vms: [], ...finding, severity: 'warning' };
}

/** A fact that a rule needs and does not have: it never counts as healthy (invariant 7). */
export function unknown(
  finding: Pick<Finding, 'about' | 'name' | 'what'> &
    Partial<Pick<Finding, 'evidence' | 'vms' | 'next' | 'uuid'>>,
): Finding {
  return warning({
    next: 'Run the command again; if it stays so, look there by hand.',
    ...finding,
    code: 'DR-FACT-UNKNOWN',
  });
}

/** Hosts that can take VMs. */
export function usable(pool: PoolFacts): HostFacts[] {
  return pool.hosts.filter((host) => host.enabled && host.live);
}

/** The entry of the group's storage that names this SR, by uuid or by name. */
export function storageOf(
  group: GroupSettings,
  sr: { readonly uuid: string; readonly nameLabel: string },
): ReplicatedSr | undefined {
  return group.storage.find((storage) => storage.sr === sr.uuid || storage.sr === sr.nameLabel);
}

export const labels = (vms: readonly { readonly nameLabel: string }[]): string[] =>
  vms.map((vm) => vm.nameLabel).sort();

/** `1 VM`, `2 VMs`. */
export const counted = (number: number, noun: string): string =>
  `${number} ${noun}${number === 1 ? '' : 's'}`;
