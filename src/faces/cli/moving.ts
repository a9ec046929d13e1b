/** Verbs that move a group on purpose and bring its protection in order again: migrate, failback, reprotect, quarantine. */
import type { Command } from 'commander';
import type { PlanRequest } from '../../app/app.ts';
import type { ExitCode } from '../../domain/errors.ts';
import { examples } from './help.ts';
import { actVerb, decision, overridesIn, planVerb } from './runs.ts';
import type { Session } from './session.ts';

interface CommonFlags {
  readonly override?: readonly string[];
  readonly by?: string;
  readonly full?: boolean;
  readonly yes?: string;
}
interface MigrateFlags extends CommonFlags {
  readonly forceShutdown?: string;
}
interface ReprotectFlags extends CommonFlags {
  readonly stopOld?: string;
  readonly discardChanges?: string;
}

/** How cli.ts turns a verb into what commander calls. */
type Act = (
  verb: (session: Session, values: readonly unknown[], flags: Record<string, unknown>) => Promise<ExitCode>,
) => (...given: readonly unknown[]) => Promise<void>;

type RequestOf = (session: Session, group: string, flags: Record<string, unknown>) => PlanRequest;

/** One verb, as `lifeboat VERB GROUP` and, where it has a plan of its own, as `lifeboat plan VERB GROUP`. */
interface MovingVerb {
  readonly name: 'migrate' | 'failback' | 'reprotect' | 'quarantine';
  readonly says: string;
  readonly wouldSay: string;
  readonly decisions: (command: Command) => Command;
  readonly request: RequestOf;
}

export function addMovingVerbs(
  program: Command,
  plan: Command,
  act: Act,
  helpGroup: string,
  overridable: (command: Command) => Command,
): void {
  const forceable = (command: Command): Command =>
    overridable(command).option(
      '--force-shutdown <reason>',
      'guests that do not shut down by themselves are switched off',
    );
  const stoppable = (command: Command): Command =>
    overridable(command).option('--stop-old <reason>', 'copies that run at the old site are stopped');
  const discardable = (command: Command): Command =>
    stoppable(command).option(
      '--discard-changes <reason>',
      'what the old site alone holds is given up, and overwritten',
    );
  const verbs: readonly MovingVerb[] = [
    {
      name: 'migrate',
      says: 'move a group to its recovery site while both sites live: nothing is lost',
      wouldSay: 'what a planned migration would do',
      decisions: forceable,
      request: movingRequest('migrate'),
    },
    {
      name: 'failback',
      says: 'bring a group home that was migrated, or failed over and reprotected: nothing is lost',
      wouldSay: 'what a failback would do',
      decisions: forceable,
      request: movingRequest('failback'),
    },
    {
      name: 'reprotect',
      says: 'after a failover, when the old site is back: put its copies away, turn the replication round',
      wouldSay: 'what a reprotection would do, and what it would overwrite',
      decisions: discardable,
      request: reprotectRequest(false),
    },
    {
      name: 'quarantine',
      says: 'after a failover, as soon as the old site answers: let none of its copies start; changes no storage',
      wouldSay: 'which copies at the old site would be put away',
      decisions: stoppable,
      request: reprotectRequest(true),
    },
  ];
  for (const { name, says, wouldSay, decisions, request } of verbs) {
    decisions(plan.command(name).argument('<group>').description(wouldSay)).action(
      act((session, values, flags) =>
        planVerb(session, request(session, String(values[0]), flags), flags['full'] === true),
      ),
    );
    decisions(program.command(name).helpGroup(helpGroup).argument('<group>').description(says))
      .option('--yes <site>', 'the name of the site that is changed, instead of typing it')
      .addHelpText('after', `\n${examples(name)}`)
      .action(
        act((session, values, flags) =>
          actVerb(session, request(session, String(values[0]), flags), flags as CommonFlags),
        ),
      );
  }
}

function movingRequest(operation: 'migrate' | 'failback'): RequestOf {
  return (session, group, given) => {
    const flags = given as MigrateFlags;
    const by = flags.by ?? session.terminal.user;
    return {
      operation,
      group,
      decisions: [...decision('force-shutdown', flags.forceShutdown, by), ...overridesIn(session, flags)],
    };
  };
}

function reprotectRequest(quarantineOnly: boolean): RequestOf {
  return (session, group, given) => {
    const flags = given as ReprotectFlags;
    const by = flags.by ?? session.terminal.user;
    return {
      operation: 'reprotect',
      group,
      quarantineOnly,
      decisions: [
        ...decision('stop-old', flags.stopOld, by),
        ...decision('discard-changes', flags.discardChanges, by),
        ...overridesIn(session, flags),
      ],
    };
  };
}
