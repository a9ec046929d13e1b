/** A drill, or the clean-up of one, that another process carries out: it gives way to a failover, when a person says so. */
import { exitCodes, OperatorError } from '../domain/errors.ts';
import type { GroupState } from '../domain/group.ts';
import type { AuditedBy } from '../ports/system.ts';
import { groupNamed } from './groups.ts';
import type { AppPorts } from './ports.ts';
import { tellRun } from './run-messages.ts';
import { readRun } from './runs.ts';

const lookEverySeconds = 0.2;

/** The run that drills the group at this moment; null when nobody does, or when what is under way is no drill. */
export async function drillUnderWay(ports: AppPorts, state: GroupState | null): Promise<string | null> {
  const run = state?.currentRun ?? null;
  if (run === null || !(await (await ports.states()).isCarriedOut(run))) return null;
  const { operation } = (await readRun(ports, run)).plan;
  return operation === 'drill' || operation === 'drill-cleanup' ? run : null;
}

/**
 * Stops the drill of a group and waits until it has stopped; returns its run, null when there is none. What it has made
 * stays, and the next failover or `drill cleanup` takes it away by its marks.
 */
export async function stopDrill(
  ports: AppPorts,
  group: string,
  by: AuditedBy,
  signal?: AbortSignal,
): Promise<string | null> {
  groupNamed(ports.settings, group);
  const run = await drillUnderWay(ports, await (await ports.states()).get(group));
  if (run === null) return null;
  try {
    await tellRun(ports, run, { says: 'stop', ...by }, signal);
  } catch (error) {
    // It came to its end by itself, which is just as well.
    if (!(error instanceof OperatorError) || error.code !== 'DR-RUN-IDLE') throw error;
  }
  // Until the lock is free, and not only until the run has ended: the failover needs it.
  const states = await ports.states();
  while (await states.isCarriedOut(run)) await ports.clock.sleep(lookEverySeconds, signal);
  return run;
}

/** An emergency need not wait for a rehearsal of one. */
export function drillInTheWay(group: string, run: string): OperatorError {
  return new OperatorError(
    {
      code: 'DR-LOCK-HELD',
      what: `A drill of group ${group} is under way: run ${run}`,
      known: [
        'nothing was done by this command',
        'a drill that is stopped leaves its copies and its clone, and a failover takes them away first',
      ],
      next: `Stop it and fail over: \`lifeboat run stop ${run} --reason "…"\`, then this command again; or both at once: \`lifeboat failover ${group} --stop-drill "REASON"\``,
    },
    { exitCode: exitCodes.locked },
  );
}
