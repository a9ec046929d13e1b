/** What keeps a verification from being worth anything, and the rules by which it judges a failover. */
import { type Finding, sortFindings } from '../domain/finding.ts';
import { identityRules, recoveryRules, replicaRules } from './check.ts';
import type { CheckContext, Rule } from './context.ts';
import { disksAreOfOneMoment } from './rules/consistency.ts';
import { groupMayMove } from './rules/group-state.ts';
import { metadataFitsReplica, replicaIsThere } from './rules/replica.ts';

/** The replica itself and the catalog are steps of their own. */
export const readinessRules: readonly Rule[] = [
  ...identityRules,
  ...recoveryRules,
  disksAreOfOneMoment,
  ...replicaRules.filter((rule) => rule !== replicaIsThere),
];

/** A group that has left, or that nothing was ever saved of, has nothing to verify. */
const blocking = new Set(['DR-GROUP-FAILED-OVER', 'DR-POINT-NONE', 'DR-GROUP-STUCK']);

export function checkVerify(context: CheckContext): Finding[] {
  const inEarnest = { ...context, standing: false };
  return sortFindings(
    [...groupMayMove(inEarnest), ...metadataFitsReplica(context)].filter(({ code }) => blocking.has(code)),
  );
}
