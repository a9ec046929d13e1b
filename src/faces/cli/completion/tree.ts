/** The commands of the program as plain values, read out of commander. */
import type { Argument, Command, Option } from 'commander';

/** What may stand at a place: names that the program is asked for, files, or one of some words. */
export type Kind =
  | { readonly of: 'groups' | 'arrays' | 'sites' | 'runs' | 'files' | 'directories' | 'anything' }
  | { readonly of: 'words'; readonly words: readonly string[] };

export interface CommandNode {
  /** `run resume`; empty for the program itself. */
  readonly path: string;
  readonly description: string;
  readonly arguments: readonly {
    readonly name: string;
    readonly required: boolean;
    readonly variadic: boolean;
    readonly description: string;
    readonly kind: Kind;
  }[];
  readonly options: readonly OptionNode[];
  readonly commands: readonly { readonly name: string; readonly description: string }[];
}

export interface OptionNode {
  readonly long: string;
  readonly short: string | null;
  /** Name of its value; null for a switch. */
  readonly takes: string | null;
  readonly required: boolean;
  readonly description: string;
  readonly kind: Kind;
}

/** Every command, the program first, each before those below it. The options of the program hold everywhere. */
export function commandNodes(program: Command): readonly CommandNode[] {
  const everywhere = optionsOf(program);
  const walk = (command: Command, path: string): CommandNode[] => {
    const below = command.commands.filter((child) => child.name() !== 'help');
    const normal = below.find((child) => defaultOf(command) === child.name());
    return [
      {
        path,
        description: command.description(),
        // `run FILE` is `run file FILE`.
        arguments: (normal ?? command).registeredArguments.map(argumentOf),
        options: path === '' ? everywhere : [...optionsOf(command), ...everywhere],
        commands: below.map((child) => ({ name: child.name(), description: child.description() })),
      },
      ...below.flatMap((child) => walk(child, path === '' ? child.name() : `${path} ${child.name()}`)),
    ];
  };
  return walk(program, '');
}

function defaultOf(command: Command): string | null {
  const name = (command as unknown as { readonly _defaultCommandName?: string | null })._defaultCommandName;
  return name ?? null;
}

function argumentOf(argument: Argument): CommandNode['arguments'][number] {
  const { description, required, variadic, argChoices } = argument;
  return {
    name: argument.name(),
    required,
    variadic,
    description,
    kind: kindOf(argument.name(), argChoices),
  };
}

function optionsOf(command: Command): OptionNode[] {
  return command.options
    .filter((option) => !option.hidden)
    .map((option: Option): OptionNode => {
      const takes =
        /<([^>]+)>|\[([^\]]+)\]/
          .exec(option.flags)
          ?.slice(1)
          .find((name) => name !== undefined) ?? null;
      return {
        long: option.long ?? option.short ?? '',
        short: option.short ?? null,
        takes,
        required: option.mandatory,
        description: option.description,
        kind: kindOf(takes ?? '', option.argChoices),
      };
    });
}

const kinds: Readonly<Record<string, Exclude<Kind['of'], 'words'>>> = {
  group: 'groups',
  array: 'arrays',
  site: 'sites',
  run: 'runs',
  file: 'files',
  path: 'files',
  directory: 'directories',
};

function kindOf(name: string, choices: readonly string[] | undefined): Kind {
  if (choices !== undefined) return { of: 'words', words: choices };
  return { of: kinds[name] ?? 'anything' };
}
