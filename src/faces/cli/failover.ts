/** The verb `failover`: of one group or some of its VMs, or of several groups one after the other. */
import type { App, PlannedRun } from '../../app/app.ts';
import { type ExitCode, exitCodes, OperatorError } from '../../domain/errors.ts';
import { clean, paint } from '../../report/paper.ts';
import { severalText } from '../../report/plan.ts';
import { confirm } from './confirm.ts';
import { tellError } from './errors.ts';
import {
  actVerb,
  carryOut,
  type FailoverFlags,
  failoverRequest,
  isBlocked,
  planWithMetadata,
  reasonOf,
  showPlan,
} from './runs.ts';
import { type Session, worst } from './session.ts';

/**
 * Several groups are planned and shown first, confirmed at once, and then carried out in the order given. One that
 * fails does not hold up the next.
 */
export async function failoverVerb(
  session: Session,
  groups: readonly string[],
  flags: FailoverFlags,
): Promise<ExitCode> {
  const [only, ...more] = [...new Set(groups)];
  if (only === undefined) throw new Error('the command line asks for at least one group');
  if (flags.stopDrill !== undefined) await stopDrills(session, [only, ...more], flags.stopDrill, flags.by);
  if (more.length === 0) return actVerb(session, failoverRequest(session, only, flags), flags);
  if (flags.point !== undefined || flags.vm !== undefined) {
    throw new OperatorError(
      {
        code: 'DR-USAGE',
        what: '--point and --vm speak of one group, and several were named',
        next: 'fail over the groups one by one',
      },
      { exitCode: exitCodes.usage },
    );
  }
  const app = await session.app();
  const plans: PlannedRun[] = [];
  for (const group of [only, ...more])
    plans.push(await planWithMetadata(session, app, failoverRequest(session, group, flags), flags));
  for (const planned of plans) {
    showPlan(session, app, planned, isBlocked(planned) ? 'none' : flags.full === true ? 'full' : 'runbook');
    session.say('\n');
  }
  const blocked = plans.filter(isBlocked);
  if (blocked.length > 0) return tellAllBlocked(session, blocked);
  const open = plans.filter(({ plan }) => plan.steps.length > 0);
  session.say(severalText(open.map(({ plan }) => plan)));
  await confirmAll(session, open, flags.yes);
  return carryOutInTurn(session, app, open, flags.by);
}

/** A drill has the site to itself; what it leaves the plan, which is made after it, takes away. */
async function stopDrills(
  session: Session,
  groups: readonly string[],
  given: string,
  by: string = session.terminal.user,
): Promise<void> {
  const reason = reasonOf('stop-drill', given);
  const app = await session.app();
  for (const group of groups) {
    const run = await app.stopDrill(group, { by, reason }, session.signal);
    session.say(
      run === null
        ? `No drill of group ${clean(group)} is under way.\n`
        : `The drill of group ${clean(group)} was stopped: run ${clean(run)}. Its copies stand until a failover or \`lifeboat drill cleanup ${clean(group)}\` takes them away.\n`,
    );
  }
}

/** Half of what was asked for is not what was asked for: nothing begins. */
function tellAllBlocked(session: Session, blocked: readonly PlannedRun[]): ExitCode {
  const names = blocked.map(({ plan }) => clean(plan.group)).join(', ');
  const them = blocked.length === 1 ? 'it' : 'them';
  session.say(
    `${paint(session.paper, 'bad', `The failover is blocked for ${names}.`)} Nothing was changed, for no group. Leave ${them} out to go on with the others.\n`,
  );
  return exitCodes.blocked;
}

/** Each site that is changed is confirmed once. */
async function confirmAll(
  session: Session,
  plans: readonly PlannedRun[],
  yes: string | undefined,
): Promise<void> {
  const confirmed = new Set<string>();
  for (const planned of plans) {
    const site = planned.confirm?.site ?? '';
    if (!confirmed.has(site)) await confirm(session, planned, yes);
    confirmed.add(site);
  }
}

async function carryOutInTurn(
  session: Session,
  app: App,
  plans: readonly PlannedRun[],
  by: string | undefined,
): Promise<ExitCode> {
  const codes: ExitCode[] = [];
  for (const planned of plans) {
    if (session.signal.aborted) return exitCodes.stopped;
    session.say('\n');
    try {
      codes.push(await carryOut(session, app, planned, by === undefined ? {} : { by }));
    } catch (error) {
      codes.push(tellError(error, session));
    }
  }
  return worst(codes);
}
