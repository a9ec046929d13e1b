/** `completion SHELL`: the script for a shell; `completion --list KIND`: the names that it asks for, offline. */
import { Argument, type Command, Option } from 'commander';
import { type ExitCode, exitCodes, OperatorError } from '../../../domain/errors.ts';
import { examples } from '../help.ts';
import type { VerbPlace } from '../runbook.ts';
import type { Session } from '../session.ts';
import { bashScript } from './bash.ts';
import { fishScript } from './fish.ts';
import { type CommandNode, commandNodes } from './tree.ts';
import { zshScript } from './zsh.ts';

const shells: Readonly<Record<string, (nodes: readonly CommandNode[]) => string>> = {
  bash: bashScript,
  fish: fishScript,
  zsh: zshScript,
};

const lists = ['groups', 'arrays', 'sites', 'runs'] as const;
/** More are no help at a prompt. */
const runsMost = 20;

export function addCompletion({ program, helpGroup, act }: VerbPlace): void {
  program
    .command('completion')
    .helpGroup(helpGroup)
    .addArgument(new Argument('[shell]', 'which shell').choices(Object.keys(shells)))
    .addOption(new Option('--list <kind>', 'names for the script').choices(lists).hideHelp())
    .description('print the completion script of a shell')
    .addHelpText('after', `\n${examples('completion')}`)
    .action(
      act((session, values, flags) =>
        flags['list'] === undefined
          ? scriptVerb(session, program, values[0])
          : listVerb(session, String(flags['list'])),
      ),
    );
}

async function scriptVerb(session: Session, program: Command, shell: unknown): Promise<ExitCode> {
  const script = shells[String(shell)];
  if (script === undefined)
    throw new OperatorError(
      {
        code: 'DR-USAGE',
        what: 'no shell was named',
        next: `name one of ${Object.keys(shells).join(', ')}: lifeboat completion bash`,
      },
      { exitCode: exitCodes.usage },
    );
  session.terminal.out.write(script(commandNodes(program)));
  return exitCodes.done;
}

async function listVerb(session: Session, kind: string): Promise<ExitCode> {
  const names = await namesOf(session, kind);
  session.terminal.out.write(names.map((name) => `${name}\n`).join(''));
  return exitCodes.done;
}

/** Nobody is contacted: a key that is pressed must not wake a site. */
async function namesOf(session: Session, kind: string): Promise<readonly string[]> {
  if (kind === 'runs') {
    const runs = await (await session.app()).runs.list({ group: null });
    return ['latest', ...runs.slice(0, runsMost).map(({ id }) => id)];
  }
  const { groups, arrays, sites } = await session.programme.validate(session.options.config);
  const named = { groups, arrays, sites }[kind] ?? [];
  return named.map(({ name }) => name);
}
