/** One look at everything, for whoever watches: pools, arrays and catalog are asked once, however many groups there are. */
import type { Problem } from '../domain/errors.ts';
import type { RunBrief } from '../domain/status.ts';
import { observe } from '../observe/observe.ts';
import type { Context } from './app.ts';
import { asTheyStand, observeRequest } from './groups.ts';
import type { AppPorts } from './ports.ts';
import { recentBriefs } from './recent-runs.ts';
import { standings } from './schedules.ts';
import { statusSeen } from './status.ts';
import type { Tick } from './watch.ts';

/** Enough to find one that fits a replica which is an interval behind. */
const pointsPerGroup = 2;

export async function look(
  ports: AppPorts,
  request: { readonly configProblems: readonly Problem[] },
  context: Context = {},
): Promise<Tick> {
  const groups = await asTheyStand(await ports.states(), ports.settings.groups);
  const asked = observeRequest(
    groups.map(({ group }) => group),
    null,
  );
  const observation = await observe(ports, { ...asked, pointsPerGroup }, context.signal);
  const runs = await recentBriefs(ports);
  return {
    now: ports.clock.now(),
    status: await statusSeen(ports, { groups, observation, runs }, context),
    observation,
    states: await (await ports.states()).all(),
    jobs: await standings(ports, { groups: [] }),
    interrupted: await interrupted(ports, runs),
    configProblems: request.configProblems,
  };
}

/** Broken off, carried out by nobody, and not on the list of what the daemon goes on with. */
async function interrupted(ports: AppPorts, runs: readonly RunBrief[]): Promise<RunBrief[]> {
  const states = await ports.states();
  const open = new Set((await (await ports.clockwork.ledger()).open()).map(({ run }) => run));
  const found: RunBrief[] = [];
  for (const run of runs)
    if (run.outcome === null && !open.has(run.id) && !(await states.isCarriedOut(run.id))) found.push(run);
  return found;
}
