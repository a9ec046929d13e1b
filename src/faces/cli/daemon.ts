/** `lifeboat daemon`, and `lifeboat schedule`: what is done on a clock. */
import type { Command } from 'commander';
import { type ExitCode, exitCodes } from '../../domain/errors.ts';
import { scheduleText } from '../../report/schedule.ts';
import { examples } from './help.ts';
import { reasonOf } from './runs.ts';
import type { Session } from './session.ts';

type Act = (
  verb: (session: Session, values: readonly unknown[], flags: Record<string, unknown>) => Promise<ExitCode>,
) => (...given: readonly unknown[]) => Promise<void>;

export function addDaemon(given: {
  readonly program: Command;
  readonly looking: string;
  readonly acting: string;
  readonly act: Act;
}): void {
  const { program, looking, acting, act } = given;
  program
    .command('schedule')
    .helpGroup(looking)
    .argument('[group...]', 'only these groups')
    .option('--turns', 'the newest turns of each job, and what came of them')
    .description('what the daemon does when: next and last turn of each job')
    .addHelpText('after', `\n${examples('schedule')}`)
    .action(act((session, values, flags) => scheduleVerb(session, values[0] as readonly string[], flags)));
  program
    .command('daemon')
    .helpGroup(acting)
    .option('--take-over <reason>', 'from a machine that is gone for good; the reason is kept')
    .option('--by <name>', 'who decides that, instead of the login')
    .description('do what is due, watch both sites, and show metrics, until it is stopped')
    .addHelpText('after', `\n${examples('daemon')}`)
    .action(act((session, _values, flags) => daemonVerb(session, flags)));
}

const turnsShown = 50;

async function scheduleVerb(
  session: Session,
  groups: readonly string[],
  flags: { readonly turns?: boolean },
): Promise<ExitCode> {
  const app = await session.app();
  const jobs = await app.schedules.standings({ groups });
  const turns = flags.turns === true ? await newestTurns(session, groups) : null;
  const now = session.terminal.now();
  session.show(() => scheduleText({ jobs, turns, now }, session.paper), {
    jobs,
    ...(turns === null ? {} : { turns }),
  });
  return exitCodes.done;
}

async function newestTurns(session: Session, groups: readonly string[]) {
  const { schedules } = await session.app();
  const asked = groups.length === 0 ? [null] : groups;
  const found = await Promise.all(asked.map((group) => schedules.turns({ group, limit: turnsShown })));
  return found
    .flat()
    .sort((a, b) => b.id - a.id)
    .slice(0, turnsShown);
}

async function daemonVerb(
  session: Session,
  flags: { readonly takeOver?: string; readonly by?: string },
): Promise<ExitCode> {
  const { terminal, programme, options, signal } = session;
  if (terminal.machine === undefined) throw new Error('a daemon needs a machine to run on');
  // Loaded here: no other verb needs a clock, a web server and metrics.
  const [{ runDaemon }, { parts }] = await Promise.all([
    import('../daemon/daemon.ts'),
    import('../daemon/parts.ts'),
  ]);
  return runDaemon({
    programme,
    machine: await terminal.machine(),
    configFile: options.config,
    signal,
    parts,
    ...(flags.takeOver === undefined
      ? {}
      : {
          takeOver: { by: flags.by ?? terminal.user, reason: reasonOf('take-over', flags.takeOver) },
        }),
  });
}
