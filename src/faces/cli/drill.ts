/** drill, drill cleanup, and their plans. */
import type { Command } from 'commander';
import type { PlanRequest } from '../../app/app.ts';
import type { ExitCode } from '../../domain/errors.ts';
import { examples } from './help.ts';
import { actVerb, overridesIn, planVerb } from './runs.ts';
import type { Session } from './session.ts';

interface DrillFlags {
  readonly keep?: boolean;
  readonly point?: string;
  readonly vm?: readonly string[];
  readonly override?: readonly string[];
  readonly by?: string;
  readonly full?: boolean;
  readonly unattended?: boolean;
  readonly yes?: string;
}

export interface DrillCommands {
  readonly program: Command;
  readonly plan: Command;
  readonly helpGroup: string;
  /** Carries a verb out in a session, with the arguments and options as typed. */
  act(
    verb: (session: Session, values: readonly unknown[], flags: Record<string, unknown>) => Promise<ExitCode>,
  ): (...given: readonly unknown[]) => Promise<void>;
}

export function addDrill({ program, plan, helpGroup, act }: DrillCommands): void {
  withOptions(
    plan.command('drill').argument('<group>').description('what a drill would do, and what it would prove'),
  ).action(
    act((session, values, flags) =>
      planVerb(session, drillRequest(session, String(values[0]), flags), flags['full'] === true),
    ),
  );
  plan
    .command('drill-cleanup')
    .argument('<group>')
    .option('--full', 'show every step by itself')
    .description('what the clean-up of a drill would remove')
    .action(
      act((session, values, flags) =>
        planVerb(session, cleanupRequest(String(values[0])), flags['full'] === true),
      ),
    );
  const drill = withOptions(
    program
      .command('drill')
      .helpGroup(helpGroup)
      .argument('<group>')
      .description('prove that a failover would work: on clones and isolated networks, and clean up again'),
  )
    .option('--yes <site>', 'the name of the site that is changed, instead of typing it')
    .option('--unattended', 'a clock calls this: refused while the group is frozen')
    .addHelpText('after', `\n${examples('drill')}`)
    .action(
      act((session, values, flags) =>
        actVerb(session, drillRequest(session, String(values[0]), flags), flags as DrillFlags),
      ),
    );
  drill
    .command('cleanup')
    .argument('<group>')
    .option('--by <name>', 'who answers for the run, instead of the login')
    .option('--full', 'show every step by itself')
    .option('--yes <site>', 'the name of the site that is changed, instead of typing it')
    .description('remove what a drill left or kept: found by its marks, after any crash')
    // The options of a drill itself mean nothing here.
    .configureHelp({ ...drill.configureHelp(), visibleGlobalOptions: () => [...program.options] })
    .action(
      // Options that both commands have are taken by the first of them, wherever they stand.
      act((session, values, flags) =>
        actVerb(session, cleanupRequest(String(values[0])), { ...drill.opts(), ...flags } as DrillFlags),
      ),
    );
}

function withOptions(command: Command): Command {
  const collect = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];
  return (
    command
      .option('--keep', 'let the copies stand; `lifeboat drill cleanup GROUP` removes them')
      .option('--point <id>', 'a recovery point; otherwise the newest that fits the replica')
      // Not variadic: it would take the name of the group for one more VM.
      .option('--vm <name>', 'only this VM; may be repeated', collect)
      .option(
        '--override <code=reason>',
        'a problem of this code is known and accepted; may be repeated',
        collect,
      )
      .option('--by <name>', 'who decides, instead of the login')
      .option('--full', 'show every step by itself')
  );
}

function drillRequest(session: Session, group: string, given: Record<string, unknown>): PlanRequest {
  const flags = given as DrillFlags;
  return {
    operation: 'drill',
    group,
    pointId: flags.point ?? null,
    vms: flags.vm ?? [],
    keep: flags.keep === true,
    decisions: overridesIn(session, flags),
  };
}

function cleanupRequest(group: string): PlanRequest {
  return { operation: 'drill-cleanup', group };
}
