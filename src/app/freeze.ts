/** Freezing a group: no automatic work until somebody lifts it. Remembers who did it, when and why. */
import { exitCodes, OperatorError } from '../domain/errors.ts';
import type { GroupState } from '../domain/group.ts';
import type { Plan } from '../domain/plan.ts';
import type { GroupSettings } from '../domain/settings.ts';
import { raisesGeneration } from '../execute/phases.ts';
import type { AuditEntry, AuditedBy } from '../ports/system.ts';
import { groupNamed } from './groups.ts';
import type { AppPorts } from './ports.ts';

/** Freezing a frozen group is refused: the first person's reason would be lost. */
export async function freeze(ports: AppPorts, name: string, by: AuditedBy): Promise<GroupState> {
  const group = groupNamed(ports.settings, name);
  const states = await ports.states();
  const frozen = (await states.get(group.name))?.frozen ?? null;
  if (frozen !== null) {
    throw new OperatorError(
      {
        code: 'DR-FREEZE-TWICE',
        what: `Group ${group.name} is frozen already`,
        known: [frozenBy(frozen)],
        next: `Ask them; \`lifeboat unfreeze ${group.name} --reason "…"\` lifts it`,
      },
      { exitCode: exitCodes.blocked },
    );
  }
  const at = ports.clock.now();
  await states.setFrozen(group.name, { at, ...by }, by, firstStateOf(group, at));
  return stateOf(ports, group);
}

export async function unfreeze(ports: AppPorts, name: string, by: AuditedBy): Promise<GroupState> {
  const group = groupNamed(ports.settings, name);
  const states = await ports.states();
  if (((await states.get(group.name))?.frozen ?? null) === null) {
    throw new OperatorError(
      {
        code: 'DR-FREEZE-NONE',
        what: `Group ${group.name} is not frozen`,
        next: `See how it stands: \`lifeboat status ${group.name}\``,
      },
      { exitCode: exitCodes.blocked },
    );
  }
  await states.setFrozen(group.name, null, by, firstStateOf(group, ports.clock.now()));
  return stateOf(ports, group);
}

/** Takes the lock of a group from a holder on another machine; returns the runs that held it. */
export async function breakLock(ports: AppPorts, name: string, by: AuditedBy): Promise<readonly string[]> {
  return (await ports.states()).breakLock(groupNamed(ports.settings, name).name, by);
}

export async function audit(ports: AppPorts, name: string | null): Promise<readonly AuditEntry[]> {
  const group = name === null ? null : groupNamed(ports.settings, name).name;
  return (await ports.states()).audit(group);
}

/**
 * A schedule leaves a frozen group alone; a person who comes by hand is only told (check/rules/group-state.ts). A group
 * that is stuck is exported and verified all the same, but what takes the place of the stuck run needs a person: that
 * run could not be gone on with any more. Throws `DR-GROUP-FROZEN`, `DR-GROUP-STUCK` (exit code 10).
 */
export function assertMayRunByItself(
  state: GroupState | null,
  { group, operation }: Pick<Plan, 'group' | 'operation'>,
): void {
  if (state === null) return;
  if (state.frozen !== null) {
    throw new OperatorError(
      {
        code: 'DR-GROUP-FROZEN',
        what: `Group ${group} is frozen: nothing is done for it automatically`,
        known: [frozenBy(state.frozen)],
        next: `Ask them; \`lifeboat unfreeze ${group} --reason "…"\` lifts it`,
      },
      { exitCode: exitCodes.blocked },
    );
  }
  const { phase, currentRun, drill, changedAt } = state;
  if (phase !== 'stuck' || !raisesGeneration(operation)) return;
  // The remains of a drill may be taken away: that is how one that is stuck comes to its end.
  if (operation === 'drill-cleanup' && drill !== null && (currentRun ?? drill.run) === drill.run) return;
  throw new OperatorError(
    {
      code: 'DR-GROUP-STUCK',
      what: `Group ${group} is stuck: no ${operation} is begun for it automatically`,
      known: [`${currentRun === null ? 'it' : `run ${currentRun}`} waits for a person since ${changedAt}`],
      next: `Look at it: lifeboat run show ${currentRun ?? 'latest'}`,
    },
    { exitCode: exitCodes.blocked },
  );
}

function frozenBy({ by, at, reason }: NonNullable<GroupState['frozen']>): string {
  return `by ${by} since ${at}: ${reason}`;
}

async function stateOf(ports: AppPorts, group: GroupSettings): Promise<GroupState> {
  const state = await (await ports.states()).get(group.name);
  if (state === null) throw new Error(`the state of ${group.name} was written a moment ago`);
  return state;
}

/** Of a group for which nothing was ever done. */
function firstStateOf(group: GroupSettings, at: string): GroupState {
  return {
    group: group.name,
    phase: 'unprotected',
    generation: 0,
    activeSite: group.production,
    roles: 'as-configured',
    currentRun: null,
    changedAt: at,
    frozen: null,
    tombstone: null,
    drill: null,
  };
}
