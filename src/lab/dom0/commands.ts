/** What can be run in the control domain: the two scripts, and the few programs with which one looks at a host. */
import { failureOf } from '../core/failure.ts';
import type { LabHost } from '../core/pool.ts';
import { backupMetadata } from './backup-script.ts';
import { filesOf, namesIn, textOf } from './files.ts';
import { restoreMetadata } from './restore-script.ts';
import { NoShell, wordsOf } from './words.ts';

export interface Talk {
  out(text: string): void;
  err(text: string): void;
  /** All of the standard input, once its end has come. */
  input(): Promise<string>;
}

export type Program = (host: LabHost, words: readonly string[], talk: Talk) => number | Promise<number>;

const scripts = '/opt/xensource/bin';
const programs: ReadonlyMap<string, Program> = new Map<string, Program>([
  [`${scripts}/xe-backup-metadata`, backupMetadata],
  [`${scripts}/xe-restore-metadata`, restoreMetadata],
  ['cat', cat],
  ['ls', ls],
  ['readlink', readlink],
  ['test', test],
  ['rm', rm],
]);

/** Returns the exit code; 127 for a program that is not there. */
export async function runCommand(host: LabHost, line: string, talk: Talk): Promise<number> {
  try {
    const [program = '', ...words] = wordsOf(line);
    const found = programs.get(program) ?? programs.get(program.replace(/^(?:\/usr)?\/bin\//, ''));
    if (found !== undefined) return await found(host, words, talk);
    talk.err(`-bash: ${program}: No such file or directory\n`);
    return 127;
  } catch (error) {
    talk.err(error instanceof NoShell ? `-bash: ${error.message}\n` : `${failureOf(error).message}\n`);
    return error instanceof NoShell ? 2 : 1;
  }
}

/** Paths among the words: what follows the options. */
function pathsOf(words: readonly string[]): string[] {
  return words.filter((word) => word !== '--' && !/^-./.test(word));
}

function absent(program: string, path: string, talk: Talk): number {
  talk.err(`${program}: ${path}: No such file or directory\n`);
  return program === 'ls' ? 2 : 1;
}

function cat(host: LabHost, words: readonly string[], talk: Talk): number {
  let code = 0;
  for (const path of pathsOf(words)) {
    const text = textOf(host, path);
    if (text === null) code = absent('cat', path, talk);
    else talk.out(text);
  }
  return code;
}

/** Folders by the names in them, links by their own name; one per line. */
function ls(host: LabHost, words: readonly string[], talk: Talk): number {
  let code = 0;
  for (const path of pathsOf(words)) {
    const names = namesIn(host, path);
    const isFile = filesOf(host).links.has(path) || textOf(host, path) !== null;
    if (names === null && !isFile) code = absent('ls', path, talk);
    else for (const name of names ?? [path]) talk.out(`${name}\n`);
  }
  return code;
}

function readlink(host: LabHost, words: readonly string[], talk: Talk): number {
  let code = 0;
  for (const path of pathsOf(words)) {
    const target = filesOf(host).links.get(path);
    if (target === undefined) code = 1;
    else talk.out(`${target}\n`);
  }
  return code;
}

function test(host: LabHost, [what = '', path = '']: readonly string[]): number {
  const isLink = filesOf(host).links.has(path);
  const isThere = isLink || textOf(host, path) !== null || namesIn(host, path) !== null;
  return (what === '-L' || what === '-h' ? isLink : isThere) ? 0 : 1;
}

/** Removes links, and nothing else: a schedule is ended so. */
function rm(host: LabHost, words: readonly string[], talk: Talk): number {
  let code = 0;
  for (const path of pathsOf(words)) {
    const gone = filesOf(host).links.delete(path);
    if (!gone && !words.includes('-f')) code = absent('rm', path, talk);
  }
  return code;
}
