/** What the group's own state says: frozen, stuck, busy, or already failed over. */
import type { Finding } from '../../domain/finding.ts';
import { type CheckContext, problem, warning } from '../context.ts';

export function groupMayMove(context: CheckContext): Finding[] {
  const { group, state, standing } = context;
  if (state === null) return [];
  const findings: Finding[] = [];
  if (state.frozen !== null) {
    // Automatic work is refused elsewhere; whoever comes by hand, perhaps in an emergency, is told and may go on.
    findings.push(
      warning({
        code: 'DR-GROUP-FROZEN',
        about: 'group',
        name: group.name,
        what: `Group ${group.name} is frozen`,
        evidence: [`by ${state.frozen.by} at ${state.frozen.at}: ${state.frozen.reason}`],
        next: `Ask them before you go on; \`lifeboat unfreeze ${group.name} --reason "…"\` lifts it.`,
      }),
    );
  }
  if (state.phase === 'failed-over' && state.activeSite === group.recovery && !standing) {
    findings.push(
      problem({
        code: 'DR-GROUP-FAILED-OVER',
        about: 'group',
        name: group.name,
        what: `Group ${group.name} was failed over to site ${group.recovery} already`,
        evidence: [
          `since ${state.changedAt}${state.tombstone === null ? '' : `, run ${state.tombstone.run}`}`,
        ],
        next: `Turn its protection round first: lifeboat reprotect ${group.name}`,
      }),
    );
  }
  if (state.phase === 'stuck') {
    findings.push(
      warning({
        code: 'DR-GROUP-STUCK',
        about: 'group',
        name: group.name,
        what: `The last run of group ${group.name} is stuck`,
        evidence: state.currentRun === null ? [] : [`run ${state.currentRun}`],
        next: `Look at it: lifeboat run show ${state.currentRun ?? 'latest'}`,
      }),
    );
  }
  return findings;
}
