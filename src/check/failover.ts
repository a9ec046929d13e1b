/** All rules for a failover, always all of them; the findings of the import rehearsal are put beside them. */
import type { Finding } from '../domain/finding.ts';
import { failoverRules, runRules } from './check.ts';
import type { CheckContext } from './context.ts';

/** Findings of all rules. `rehearsal` comes from the import rules over the rewritten documents (src/metadata). */
export function checkFailover(context: CheckContext, rehearsal: readonly Finding[]): Finding[] {
  return runRules(failoverRules, context, rehearsal);
}

export function blocks(findings: readonly Finding[]): boolean {
  return findings.some((finding) => finding.severity === 'problem');
}
