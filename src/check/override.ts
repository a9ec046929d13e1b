/** Problems that a named person accepted: they stay in the list, as warnings that say who took them upon themselves. */
import { type Finding, sortFindings } from '../domain/finding.ts';

export interface Override {
  readonly code: string;
  readonly by: string;
  readonly reason: string;
}

/**
 * Problems that nobody may wave through: two copies of a VM, facts that are none, or a plan that cannot be carried out at
 * all. Some have a decision of their own (`declare-lost`, `accept-loss`, `stop-old`, `discard-changes`).
 */
export const neverOverridden: ReadonlySet<string> = new Set([
  'DR-DRILL-NETWORK',
  'DR-DRILL-NO-CLONE',
  'DR-DRILL-OPEN',
  'DR-DRILL-PHASE',
  'DR-DRILL-SR-KNOWN',
  'DR-FACT-OLD',
  'DR-DIVERGENCE',
  'DR-DIVERGENCE-UNKNOWN',
  'DR-GROUP-FAILED-OVER',
  'DR-MASTER-OUT',
  'DR-PAIR-NOT-IN-STEP',
  'DR-POINT-NONE',
  'DR-RECOVERY-UNREACHABLE',
  'DR-REPLICA-NONE',
  'DR-REPLICA-OLD',
  'DR-REPLICA-ROLE',
  'DR-REPLICA-UNSEEN',
  'DR-RUN-OPEN',
  'DR-SITES-SAME-POOL',
  'DR-SOURCE-ALIVE',
  'DR-SOURCE-HALF-DEAD',
  'DR-SOURCE-UNSEEN',
  'DR-SR-STILL-USED',
  'DR-SR-TWICE',
  'DR-VM-SUSPENDED',
  'DR-VMS-AT-BOTH-SITES',
  'DR-VMS-LEFT-BEHIND',
]);

export function applyOverrides(findings: readonly Finding[], overrides: readonly Override[]): Finding[] {
  return sortFindings(
    findings.map((finding) => {
      const override = overrides.find(({ code }) => code === finding.code);
      if (finding.severity !== 'problem' || override === undefined || neverOverridden.has(finding.code))
        return finding;
      return {
        ...finding,
        severity: 'warning' as const,
        evidence: [...finding.evidence, `accepted by ${override.by}: ${override.reason}`],
      };
    }),
  );
}
