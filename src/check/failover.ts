/** All rules for a failover, always all of them; the findings of the import rehearsal are put beside them. */
import { type Finding, sortFindings } from '../domain/finding.ts';
import type { CheckContext, Rule } from './context.ts';
import { groupMayMove } from './rules/group-state.ts';
import {
  memoryFits,
  networksAreThere,
  recoveryPoolIsReady,
  srsDoNotClash,
  twinsAreNotThere,
} from './rules/recovery-pool.ts';
import { disksAreReplicated, metadataFitsReplica, replicaIsThere } from './rules/replica.ts';
import { sourceIsDead } from './rules/source.ts';

const rules: readonly Rule[] = [
  sourceIsDead,
  groupMayMove,
  recoveryPoolIsReady,
  memoryFits,
  networksAreThere,
  srsDoNotClash,
  twinsAreNotThere,
  replicaIsThere,
  metadataFitsReplica,
  disksAreReplicated,
];

/** Findings of all rules. `rehearsal` comes from the import rules over the rewritten documents (src/metadata). */
export function checkFailover(context: CheckContext, rehearsal: readonly Finding[]): Finding[] {
  return sortFindings([...rules.flatMap((rule) => rule(context)), ...rehearsal]);
}

export function blocks(findings: readonly Finding[]): boolean {
  return findings.some((finding) => finding.severity === 'problem');
}
