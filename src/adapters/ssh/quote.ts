/**
 * The one place where arguments become the text that the login shell of a server takes apart again. SSH carries a
 * command as one string; the shell at the other end must be a POSIX shell.
 */

/** One argument, unchanged by any POSIX shell: between single quotes nothing means anything. Throws on a NUL byte. */
export function shellQuote(argument: string): string {
  if (argument.includes('\0')) throw new TypeError('an argument of a command cannot hold a NUL byte');
  return `'${argument.replaceAll("'", "'\\''")}'`;
}

/** A whole command line from a program and its arguments. */
export function shellCommand(argv: readonly string[]): string {
  if (argv.length === 0 || argv[0] === '') throw new TypeError('a command needs a program');
  return argv.map(shellQuote).join(' ');
}
