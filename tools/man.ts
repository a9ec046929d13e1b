/** Writes docs/lifeboat.1, the man page: what the program knows of its commands, in the language of man(7). */
import { readFileSync, writeFileSync } from 'node:fs';
import { commandTree } from '../src/faces/cli/cli.ts';
import { type CommandNode, commandNodes, type OptionNode } from '../src/faces/cli/completion/tree.ts';
import { exitCodeHelp, shortHelp } from '../src/faces/cli/help.ts';

export const manFile = 'docs/lifeboat.1';

export function manText(): string {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  const [program, ...verbs] = commandNodes(commandTree(version));
  if (program === undefined) throw new Error('the program has a tree');
  const everywhere = new Set(program.options.map(({ long }) => long));
  const lines = [
    '.\\" Written by tools/man.ts from the commands of the program. Do not edit.',
    `.TH LIFEBOAT 1 "" "lifeboat ${version}" "Disaster recovery"`,
    '.SH NAME',
    'lifeboat \\- disaster recovery for XenServer and XCP\\-ng',
    '.SH SYNOPSIS',
    '.B lifeboat',
    '.RI [ options ]',
    '.I verb',
    '.RI [ arguments ]',
    '.SH DESCRIPTION',
    text(shortHelp),
    '.SH OPTIONS',
    'These hold for every verb.',
    ...program.options.flatMap(option),
    '.SH VERBS',
    ...verbs.flatMap((verb) => section(verb, everywhere)),
    '.SH EXIT STATUS',
    ...exitStatus(),
    '.SH ENVIRONMENT',
    ...environment.flatMap(([name, says]) => ['.TP', `.B ${text(name)}`, text(says)]),
    '.SH FILES',
    '.TP',
    '.I sites.yaml',
    text('Sites, arrays, groups, catalog, schedules and notices. lifeboat init proposes one.'),
    '.TP',
    '.I runbooks/*.yaml',
    text('Recovery plans: order, checks and hand-offs of one group.'),
    '.TP',
    '.I runbooks/*.md',
    text('What to do, by symptom and by code. Every error ends with its code.'),
    '.TP',
    '.I .lifeboat/',
    text('Journals, locks, phases and the encrypted secrets, unless sites.yaml says otherwise.'),
  ];
  return `${lines.join('\n')}\n`;
}

function section(verb: CommandNode, everywhere: ReadonlySet<string>): string[] {
  const own = verb.options.filter(({ long }) => !everywhere.has(long));
  return [
    `.SS "${text(`lifeboat ${verb.path}`)}"`,
    '.PP',
    `.B ${text(`lifeboat ${verb.path}`)}`,
    ...(verb.commands.length > 0 && verb.arguments.length === 0 ? ['.I verb'] : []),
    ...verb.arguments.map(({ name, required, variadic }) => {
      const shown = `${text(name)}${variadic ? '...' : ''}`;
      return required ? `.I ${shown}` : `.RI [ ${shown} ]`;
    }),
    '.PP',
    text(`${sentence(verb.description)}`),
    ...verb.arguments
      .filter(({ description }) => description !== '')
      .flatMap(({ name, description }) => ['.TP', `.I ${text(name)}`, text(sentence(description))]),
    ...own.flatMap(option),
  ];
}

function option({ long, short, takes, required, description }: OptionNode): string[] {
  const flags = short === null || short === long ? [long] : [short, long];
  const shown = flags.map((flag) => `\\fB${text(flag)}\\fR`).join(', ');
  return [
    '.TP',
    `${shown}${takes === null ? '' : ` \\fI${text(takes)}\\fR`}`,
    text(`${sentence(description)}${required ? ' Needed.' : ''}`),
  ];
}

/** `0 done   1 failed …` of the help, one a line. */
function exitStatus(): string[] {
  const [, ...rows] = exitCodeHelp.split('\n\n', 1)[0]?.split('\n') ?? [];
  return rows
    .flatMap((row) => row.trim().split(/ {2,}/))
    .flatMap((entry) => {
      const [code = '', ...words] = entry.split(' ');
      return ['.TP', `.B ${code}`, text(sentence(words.join(' ')))];
    });
}

const environment: readonly (readonly [string, string])[] = [
  ['LIFEBOAT_CONFIG', 'The configuration, where --config does not name it.'],
  ['LIFEBOAT_SECRETS_PASSPHRASE', 'Opens the encrypted store of secrets, instead of its key file.'],
  ['LIFEBOAT_SECRETS_KEY_FILE', 'Where the key file of the store is, unless beside the state.'],
  ['LIFEBOAT_LOG', 'Level of the log on the standard error: debug, info, warn, error; silent without it.'],
  ['LIFEBOAT_DEBUG', '1 prints the whole chain of causes with an error, for those who repair Lifeboat.'],
  ['NO_COLOR', 'No colours, whatever the terminal can do.'],
];

const sentence = (words: string): string => {
  const first = words.charAt(0).toUpperCase() + words.slice(1);
  return /[.?!]$/.test(first) ? first : `${first}.`;
};

/** Backslashes, dashes and whatever is not ASCII are written out, and no line begins with what troff takes for a request. */
function text(words: string): string {
  const escaped = words
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll('"', '\\(dq')
    .replaceAll('`', "'")
    .replace(
      /[^\n -~]/gu,
      (sign) => `\\[u${(sign.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}]`,
    );
  return escaped
    .split('\n')
    .map((line) => (/^[.']/.test(line) ? `\\&${line}` : line))
    .join('\n');
}

if (import.meta.main) writeFileSync(new URL(`../${manFile}`, import.meta.url), manText());
