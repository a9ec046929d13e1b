/**
 * The command line: words → verbs of the application → reports and an exit code. `runCli` never throws and never ends
 * the process by itself, except at a second interrupt.
 */
import { Command, CommanderError, Option } from 'commander';
import type { Programme } from '../../app/app.ts';
import { type ExitCode, exitCodes, type Problem } from '../../domain/errors.ts';
import { jsonLine } from '../../report/json.ts';
import { paint } from '../../report/paper.ts';
import { addBundle } from './bundle.ts';
import {
  catalogDiff,
  catalogExtract,
  catalogImport,
  catalogList,
  catalogPrune,
  catalogShow,
  catalogVerify,
} from './catalog.ts';
import { addCompletion } from './completion/verb.ts';
import { addDaemon } from './daemon.ts';
import { addDrill } from './drill.ts';
import { tellError } from './errors.ts';
import { failoverVerb } from './failover.ts';
import { examples, exitCodeHelp, shortHelp } from './help.ts';
import { addInit } from './init.ts';
import { arrayTestVerb, checkVerb, statusVerb, validateVerb } from './looking.ts';
import { addMovingVerbs } from './moving.ts';
import { runAnswer } from './questions.ts';
import { addRecover } from './recover.ts';
import { addRunbook } from './runbook.ts';
import {
  exportRequest,
  exportVerb,
  type FailoverFlags,
  failoverRequest,
  planVerb,
  runAbandon,
  runFile,
  runFollow,
  runList,
  runReport,
  runResume,
  runShow,
  verifyRequest,
  verifyVerb,
} from './runs.ts';
import { secretList, secretRemove, secretSet } from './secrets.ts';
import { addSelf } from './self.ts';
import { type GlobalOptions, paperOf, Session } from './session.ts';
import {
  auditVerb,
  breakLockVerb,
  freezeVerb,
  type ReasonFlags,
  runCancel,
  runStop,
  runUndo,
} from './steering.ts';
import type { Output, Terminal } from './terminal.ts';
import { addWatching } from './watching.ts';

/** `typed` are the arguments after the name of the program. */
export async function runCli(
  typed: readonly string[],
  terminal: Terminal,
  programme: Programme,
): Promise<ExitCode> {
  const words = withoutHelpVerb(typed);
  const lab = labWords(words);
  if (lab !== null) {
    return guarded(terminal, programme, { config: '', json: lab.json }, (session) =>
      programme.lab(lab.words, { json: lab.json, signal: session.signal }),
    );
  }
  let code: ExitCode = exitCodes.done;
  const program = build(terminal, programme, words.includes('--json'), async (options, verb) => {
    code = await guarded(terminal, programme, options, verb);
  });
  try {
    await program.parseAsync([...words], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    // Help that was asked for is a success; everything else is a slip of the fingers.
    return error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
  }
  return code;
}

type Verb = (session: Session) => Promise<ExitCode>;
type Run = (options: GlobalOptions, verb: Verb) => Promise<void>;

async function guarded(
  terminal: Terminal,
  programme: Programme,
  options: GlobalOptions,
  verb: Verb,
): Promise<ExitCode> {
  const session = new Session(terminal, programme, options);
  let interrupts = 0;
  const forget = terminal.onInterrupt(() => {
    interrupts += 1;
    if (interrupts > 1) terminal.exitNow(exitCodes.stopped);
    session.clearProgress();
    terminal.err.write('\nStopping. What is under way is brought to an end first; again to leave at once.\n');
    session.interrupt();
  });
  try {
    return await verb(session);
  } catch (error) {
    return tellError(error, session);
  } finally {
    await session.close();
    forget();
  }
}

const whereHelpIs = 'lifeboat --help, or lifeboat VERB --help';

/** A slip of the fingers in the form that every other error has with --json. */
function slipAsJson(what: string): string {
  const problem: Problem = { code: 'DR-USAGE', what: what.replaceAll('\n', ' '), next: whereHelpIs };
  return jsonLine({ error: { exitCode: exitCodes.usage, problems: [problem] } });
}

/** `lifeboat help run list` says what `lifeboat run list --help` says. */
function withoutHelpVerb(words: readonly string[]): readonly string[] {
  return words[0] === 'help' ? [...words.slice(1), '--help'] : words;
}

/** The lab has verbs of its own: everything after `lab` goes there as typed, except --json. */
function labWords(
  words: readonly string[],
): { readonly words: readonly string[]; readonly json: boolean } | null {
  let at = 0;
  while (at < words.length && words[at] !== 'lab') {
    if (words[at] === '--config' || words[at] === '-c') at += 2;
    else if (words[at]?.startsWith('-')) at += 1;
    else return null;
  }
  if (words[at] !== 'lab') return null;
  const rest = words.slice(at + 1);
  return {
    words: rest.filter((word) => word !== '--json'),
    json: words.includes('--json'),
  };
}

/** All verbs, arguments and options, for what is made of them: the man page. Nothing of it can be called. */
export function commandTree(version: string): Command {
  const nowhere: Output = { write: () => undefined, isTerminal: false, columns: 100, rows: 40 };
  return build({ out: nowhere, err: nowhere, env: {} }, { version }, false, async () => undefined);
}

function build(
  terminal: Pick<Terminal, 'out' | 'err' | 'env'>,
  programme: Pick<Programme, 'version'>,
  json: boolean,
  run: Run,
): Command {
  const program = new Command('lifeboat');
  const onOut = paperOf(terminal.out, terminal.env);
  const onErr = paperOf(terminal.err, terminal.env);
  program
    .description(shortHelp)
    .version(programme.version, '--version', 'print the version')
    .helpOption('-h, --help', 'print help; `lifeboat VERB --help` explains a verb')
    .helpCommand(false)
    .addOption(
      new Option('-c, --config <file>', 'the configuration').env('LIFEBOAT_CONFIG').default('sites.yaml'),
    )
    .option('--json', 'one JSON document per line instead of text')
    .showSuggestionAfterError(true)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.out.write(text),
      writeErr: (text) => terminal.err.write(text),
      outputError: (text, write) => {
        const what = text.replace(/^error: /, '').trim();
        if (json) terminal.out.write(slipAsJson(what));
        else write(`${paint(onErr, 'bad', '✗')} ${what}\n  Next: ${whereHelpIs}\n`);
      },
      getOutHelpWidth: () => onOut.width,
      getErrHelpWidth: () => onErr.width,
      getOutHasColors: () => onOut.colour,
      getErrHasColors: () => onErr.colour,
    })
    .configureHelp({ showGlobalOptions: true, styleTitle: (text) => paint(onOut, 'bold', text) })
    .addHelpText('after', `\n${examples('lifeboat')}\n\n${exitCodeHelp}`);

  const act =
    (
      verb: (
        session: Session,
        values: readonly unknown[],
        flags: Record<string, unknown>,
      ) => Promise<ExitCode>,
    ) =>
    async (...given: readonly unknown[]): Promise<void> => {
      const command = given.at(-1) as Command;
      const globals = command.optsWithGlobals() as { config: string; json?: boolean };
      const flags = command.opts() as Record<string, unknown>;
      await run({ config: globals.config, json: globals.json === true }, (session) =>
        verb(session, given.slice(0, -2), flags),
      );
    };
  const one = (values: readonly unknown[], at = 0): string => String(values[at]);
  const maybe = (values: readonly unknown[], at = 0): string | undefined =>
    values[at] === undefined ? undefined : String(values[at]);
  const many = (values: readonly unknown[], at = 0): readonly string[] =>
    Array.isArray(values[at]) ? values[at].map(String) : [];

  const reasonOf = (flags: Record<string, unknown>): ReasonFlags => flags as unknown as ReasonFlags;

  const namesOf = (group: Command): string[] => group.commands.map((command) => command.name());

  const looking = 'Look';
  program
    .command('validate')
    .helpGroup(looking)
    .description('check the configuration, offline; every mistake at once')
    .addHelpText('after', `\n${examples('validate')}`)
    .action(act((session) => validateVerb(session)));
  program
    .command('status')
    .helpGroup(looking)
    .argument('[group...]', 'only these groups')
    .description('phase, RPO promised and actual, age of metadata, skew, readiness')
    .addHelpText('after', `\n${examples('status')}`)
    .action(act((session, values) => statusVerb(session, many(values))));
  program
    .command('check')
    .helpGroup(looking)
    .argument('[group...]', 'only these groups')
    .description('whether each operation would work now; changes nothing')
    .addHelpText('after', `\n${examples('check')}`)
    .action(act((session, values) => checkVerb(session, many(values))));
  program
    .command('array')
    .helpGroup(looking)
    .description('arrays and their adapters')
    .addHelpText('after', `\n${examples('array')}`)
    .command('test')
    .argument('<array>', 'its name in sites.yaml')
    .description('try every verb of the array that only looks; changes nothing')
    .addHelpText('after', `\n${examples('array')}`)
    .action(act((session, values) => arrayTestVerb(session, one(values))));

  const acting = 'Act';
  program
    .command('export')
    .helpGroup(acting)
    .argument('[group...]', 'only these groups')
    .option('--preview', 'only show who is in, who is out and why, and which VMs nobody protects')
    .option('--everything', 'fetch every document again, changed or not; done by itself once a day')
    .option('--by <name>', 'who answers for the run, instead of the login')
    .option('--unattended', 'a clock calls this: refused while the group is frozen')
    .description('save a recovery point: the metadata of the VMs, with the state of the storage')
    .addHelpText('after', `\n${examples('export')}`)
    .action(act((session, values, flags) => exportVerb(session, many(values), flags)));
  const verifying = (command: Command): Command =>
    command
      .option('--sync', 'have a new point sent to every replica first, however young the newest is')
      .option('--deep', 'read every byte of every recovery point, not of the newest alone');
  verifying(
    program
      .command('verify')
      .helpGroup(acting)
      .argument('[group...]', 'only these groups')
      .option('--by <name>', 'who answers for the run, instead of the login')
      .option('--unattended', 'a clock calls this: refused while the group is frozen')
      .option(
        '--canary',
        'of one group: write a small marked disk, and measure when it arrives at the replica',
      )
      .option('--yes <site>', 'with --canary: the name of the recovery site, instead of typing it')
      .description('prove the promise: replicas within the RPO, points readable, a failover that would work'),
  )
    .addHelpText('after', `\n${examples('verify')}`)
    .action(act((session, values, flags) => verifyVerb(session, many(values), flags)));

  const collect = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];
  const decisions = (command: Command): Command =>
    overridable(
      command
        .option('--point <id>', 'a recovery point; otherwise the newest that fits the replica')
        .option('--vm <name>', 'start only this VM of the group; may be repeated', collect)
        .option('--declare-lost <reason>', 'production is lost or given up, whatever still answers there')
        .option('--accept-loss <reason>', 'the replica is older than the RPO, and that is accepted'),
    );
  const overridable = (command: Command): Command =>
    command
      // Not variadic: it would take the name of the group for one more override.
      .option(
        '--override <code=reason>',
        'a problem of this code is known and accepted; may be repeated',
        collect,
      )
      .option('--by <name>', 'who decides, instead of the login')
      .option('--full', 'show every step by itself');
  const plan = program
    .command('plan')
    .helpGroup(acting)
    .description('work out and print a plan; changes nothing')
    .addHelpText('after', `\n${examples('plan')}`);
  plan
    .command('export')
    .argument('<group>')
    .option('--everything', 'fetch every document again, changed or not; done by itself once a day')
    .option('--full', 'show every step by itself')
    .description('what an export would do')
    .action(
      act((session, values, flags) =>
        planVerb(session, exportRequest(one(values), flags), flags['full'] === true),
      ),
    );
  verifying(
    plan
      .command('verify')
      .argument('<group>')
      .option('--full', 'show every step by itself')
      .description('what a verification would look at'),
  ).action(
    act((session, values, flags) =>
      planVerb(session, verifyRequest(one(values), flags), flags['full'] === true),
    ),
  );
  decisions(
    plan
      .command('failover')
      .argument('<group>')
      .description('what a failover would do, and what would be lost'),
  ).action(
    act((session, values, flags) =>
      planVerb(
        session,
        failoverRequest(session, one(values), flags as FailoverFlags),
        flags['full'] === true,
      ),
    ),
  );

  decisions(
    program
      .command('failover')
      .helpGroup(acting)
      .argument('<group...>', 'several are carried out one after the other, in this order')
      .description('bring groups up at their recovery site: shows the plans, asks once, does it'),
  )
    .option('--stop-drill <reason>', 'a drill that is under way is stopped first')
    .option('--yes <site>', 'the name of the site that is changed, instead of typing it')
    .addHelpText('after', `\n${examples('failover')}`)
    .action(act((session, values, flags) => failoverVerb(session, many(values), flags as FailoverFlags)));

  addDrill({ program, plan, helpGroup: acting, act });
  addRunbook({ program, helpGroup: looking, act });
  addWatching({ program, helpGroup: looking, act });
  addDaemon({ program, looking, acting, act });
  addSelf({ program, helpGroup: looking, act });
  addInit({ program, helpGroup: 'Learn', act });
  addCompletion({ program, helpGroup: 'Learn', act });

  addMovingVerbs(program, plan, act, acting, overridable);

  const runs = program
    .command('run')
    .helpGroup(acting)
    .description('what ran, what runs, and how to go on; RUN is an id or `latest`')
    .addHelpText('after', `\n${examples('run')}`);
  runs
    .command('file', { isDefault: true })
    .argument('<file>', 'a plan that `lifeboat plan … --json` wrote; - for the standard input')
    .option('--yes <site>', 'the name of the site that is changed, instead of typing it')
    .option('--accept-age <reason>', 'the plan is older than an hour, and that is accepted')
    .option('--by <name>', 'who answers for the run, instead of the login')
    .option('--full', 'show every step by itself')
    .description('execute exactly the plan of a file; `lifeboat run FILE` does the same')
    .action(
      act((session, values, flags) =>
        runFile(session, one(values), flags as Parameters<typeof runFile>[2], namesOf(runs)),
      ),
    );
  runs
    .command('list')
    .argument('[group]')
    .description('runs, newest first')
    .action(act((session, values) => runList(session, maybe(values))));
  runs
    .command('show')
    .argument('<run>')
    .description('how a run stands or ended, per VM and step')
    .action(act((session, values) => runShow(session, one(values))));
  runs
    .command('follow')
    .argument('<run>')
    .description('watch a run that another terminal carries out')
    .action(act((session, values) => runFollow(session, one(values))));
  runs
    .command('resume')
    .argument('<run>')
    .option('--retry <step>', 'a stuck step: do it again', collect)
    .option('--skip <step>', 'a stuck step: it is settled by hand', collect)
    .option('--reason <text>', 'what you saw; needed with --retry and --skip')
    .option('--declare-lost <reason>', 'the old site fell silent since, and is taken for lost')
    .option('--force-shutdown <reason>', 'guests that do not shut down by themselves are switched off')
    .option('--by <name>', 'who answers for it, instead of the login')
    .description('go on with a run that crashed, was stopped, failed or is stuck')
    .action(
      act((session, values, flags) =>
        runResume(session, one(values), flags as unknown as Parameters<typeof runResume>[2]),
      ),
    );
  for (const [answer, says] of [
    ['retry', 'answer a stuck run: do the step again, and go on'],
    ['skip', 'answer a stuck run: the step is settled by hand; go on'],
  ] as const) {
    runs
      .command(answer)
      .argument('<run>')
      .argument('<step...>', 'as `lifeboat run show` names it')
      .requiredOption('--reason <text>', 'what you saw; it lands in the journal')
      .option('--by <name>', 'who answers for it, instead of the login')
      .description(says)
      .action(
        act((session, values, flags) =>
          runResume(session, one(values), {
            ...(flags as { reason: string; by?: string }),
            [answer]: many(values, 1),
          }),
        ),
      );
  }
  runs
    .command('stop')
    .argument('<run>')
    .requiredOption('--reason <text>', 'why; it lands in the journal')
    .option('--by <name>', 'who decides, instead of the login')
    .description('stop a run that another terminal carries out; it can be resumed')
    .action(act((session, values, flags) => runStop(session, one(values), reasonOf(flags))));
  runs
    .command('cancel')
    .argument('<run>')
    .argument('<step>', 'a step that waits, as `lifeboat run show` names it')
    .requiredOption('--reason <text>', 'why; it lands in the journal')
    .option('--by <name>', 'who decides, instead of the login')
    .description('make a step give up; the run goes on, or stops, by the rule of the step')
    .action(
      act((session, values, flags) => runCancel(session, one(values), one(values, 1), reasonOf(flags))),
    );
  runs
    .command('answer')
    .argument('<run>')
    .argument('<step>', 'a step that asks, as `lifeboat run show` names it')
    .argument('<answer>', 'yes: go on; no: stop the run')
    .option('--reason <text>', 'why; it lands in the journal')
    .option('--by <name>', 'who answers, instead of the login')
    .description('answer a question that the recovery plan asks on the way')
    .action(
      act((session, values, flags) =>
        runAnswer(
          session,
          one(values),
          one(values, 1),
          one(values, 2),
          flags as { reason?: string; by?: string },
        ),
      ),
    );
  runs
    .command('undo')
    .argument('<run>')
    .requiredOption('--reason <text>', 'why; it lands in the journal')
    .option('--by <name>', 'who decides, instead of the login')
    .description('take back what a run has changed, before its first point of no return')
    .action(act((session, values, flags) => runUndo(session, one(values), reasonOf(flags))));
  runs
    .command('break-lock')
    .argument('<group>')
    .requiredOption('--reason <text>', 'how you know that nothing runs there any more; it is kept')
    .option('--by <name>', 'who decides, instead of the login')
    .description('take the lock of a group from a machine that is dead')
    .action(act((session, values, flags) => breakLockVerb(session, one(values), reasonOf(flags))));
  runs
    .command('abandon')
    .argument('<run>')
    .requiredOption('--reason <text>', 'why; it lands in the journal')
    .option('--by <name>', 'who decides, instead of the login')
    .description('give a run up; nothing is undone')
    .action(
      act((session, values, flags) =>
        runAbandon(session, one(values), flags as unknown as Parameters<typeof runAbandon>[2]),
      ),
    );
  runs
    .command('report')
    .argument('<run>')
    .argument('[file]', 'FILE.html, FILE.json or any other name for text; on the screen without it')
    .description('the report of a run, for the files')
    .action(act((session, values) => runReport(session, one(values), maybe(values, 1))));

  for (const [verb, says] of [
    ['freeze', 'stop all automatic work on a group; remembers who, when and why'],
    ['unfreeze', 'allow automatic work on a group again'],
  ] as const) {
    program
      .command(verb)
      .helpGroup(acting)
      .argument('<group>')
      .requiredOption('--reason <text>', 'why; it is kept with your name')
      .option('--by <name>', 'who decides, instead of the login')
      .description(says)
      .addHelpText('after', `\n${examples('freeze')}`)
      .action(act((session, values, flags) => freezeVerb(session, one(values), reasonOf(flags), verb)));
  }
  program
    .command('audit')
    .helpGroup(looking)
    .argument('[group]')
    .description('who froze a group or broke a lock, when and why')
    .action(act((session, values) => auditVerb(session, maybe(values))));

  const keeping = 'Keep';
  const catalog = program
    .command('catalog')
    .helpGroup(keeping)
    .description('recovery points; POINT is an id or `GROUP/latest`')
    .addHelpText('after', `\n${examples('catalog')}`);
  catalog
    .command('list')
    .argument('[group]')
    .description('recovery points, newest first, over all targets')
    .action(act((session, values) => catalogList(session, maybe(values))));
  catalog
    .command('show')
    .argument('<point>')
    .description('what a recovery point holds')
    .action(act((session, values) => catalogShow(session, one(values))));
  catalog
    .command('verify')
    .argument('[group]')
    .option('--point <id>', 'only this recovery point')
    .description('read every byte back; names each damage')
    .action(
      act((session, values, flags) =>
        catalogVerify(
          session,
          maybe(values),
          flags['point'] === undefined ? undefined : String(flags['point']),
        ),
      ),
    );
  catalog
    .command('diff')
    .argument('<from>')
    .argument('<to>')
    .description('what changed between two recovery points')
    .action(act((session, values) => catalogDiff(session, one(values), one(values, 1))));
  catalog
    .command('extract')
    .argument('<point>')
    .argument('[vm...]', 'VMs by name or uuid; all without it')
    .requiredOption('--to <directory>', 'where the files go; existing ones are never overwritten')
    .option('--database', 'the database of the pool as well; it holds secrets')
    .addOption(
      new Option('--format <format>', 'xe: numbered files, as xe vm-export --multiple writes them').choices([
        'xva',
        'xe',
      ]),
    )
    .option('--script', 'numbered files prepared for the recovery site, and recover.sh, which needs only xe')
    .description('metadata documents as files that `xe vm-import metadata=true` takes')
    .action(
      act((session, values, flags) =>
        catalogExtract(
          session,
          one(values),
          many(values, 1),
          flags as unknown as Parameters<typeof catalogExtract>[3],
        ),
      ),
    );
  catalog
    .command('import')
    .argument('<group>')
    .argument('<path...>', 'files of xe vm-export, a tree of .vmmeta files, or a dump of the database')
    .option('--at <time>', 'when the backup was made, such as 2026-01-31T02:30:00Z')
    .option('--dry-run', 'only say what would be kept')
    .description('make a recovery point from a backup of other tools')
    .action(
      act((session, values, flags) =>
        catalogImport(session, one(values), many(values, 1), flags as { at?: string; dryRun?: boolean }),
      ),
    );
  addRecover({ catalog, plan, act });
  catalog
    .command('prune')
    .argument('[group]')
    .option('--dry-run', 'only say what would go')
    .description('let go of points that retention no longer keeps; never the last good one')
    .action(act((session, values, flags) => catalogPrune(session, maybe(values), flags['dryRun'] === true)));

  addBundle({ program, helpGroup: keeping, act });

  const secret = program
    .command('secret')
    .helpGroup(keeping)
    .description('the encrypted store of passwords')
    .addHelpText('after', `\n${examples('secret')}`);
  secret
    .command('set')
    .argument('<name>')
    .description('store a secret: typed unseen, or piped in; never an argument')
    .action(act((session, values) => secretSet(session, one(values))));
  secret
    .command('list')
    .description('names, never values')
    .action(act((session) => secretList(session)));
  secret
    .command('rm')
    .argument('<name>')
    .description('remove a secret')
    .action(act((session, values) => secretRemove(session, one(values))));

  program
    .command('lab')
    .helpGroup('Learn')
    .argument('[words...]')
    .description('the simulated two-site world: lab up, lab down, …; `lifeboat lab --help`');
  return program;
}
