/** What a rule gets to see, and the small helpers that rules share. */
import type { Problem } from '../domain/errors.ts';
import type { Finding } from '../domain/finding.ts';
import type { GroupState } from '../domain/group.ts';
import type { Observation } from '../domain/observation.ts';
import type { PoolFacts } from '../domain/pool.ts';
import type { RecoveryPoint } from '../domain/recovery-point.ts';
import type { GroupSettings } from '../domain/settings.ts';

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
