/** secret set, list, rm. A secret never comes from the command line: arguments are seen by everybody on the machine. */
import { type ExitCode, exitCodes, OperatorError } from '../../domain/errors.ts';
import { nearest } from '../../domain/nearest.ts';
import type { Session } from './session.ts';

export async function secretSet(session: Session, name: string): Promise<ExitCode> {
  const app = await session.app();
  const value = await readSecret(session, name);
  if (value === '') {
    throw new OperatorError(
      {
        code: 'DR-SECRET-EMPTY',
        what: `secret ${name} would be empty`,
        next: 'type it, or pipe it into this command',
      },
      { exitCode: exitCodes.usage },
    );
  }
  await app.secrets.set(name, value);
  session.show(() => `Secret ${name} is stored. Use it in sites.yaml as { store: ${name} }.\n`, {
    secret: name,
    stored: true,
  });
  return exitCodes.done;
}

async function readSecret(session: Session, name: string): Promise<string> {
  const { terminal } = session;
  // A line end at the end comes from echo or an editor, not from the secret.
  if (!terminal.interactive) return (await terminal.readInput()).replace(/\r?\n$/, '');
  const first = await terminal.askSecret(`Secret ${name}: `);
  const second = first === null ? null : await terminal.askSecret('The same again: ');
  if (first === null || second === null) {
    throw new OperatorError(
      { code: 'DR-SECRET-EMPTY', what: 'no secret was typed', next: 'start again' },
      { exitCode: exitCodes.stopped },
    );
  }
  if (first === second) return first;
  throw new OperatorError(
    {
      code: 'DR-SECRET-DIFFERS',
      what: 'the two are not the same',
      known: ['nothing was stored'],
      next: 'start again',
    },
    { exitCode: exitCodes.usage },
  );
}

export async function secretList(session: Session): Promise<ExitCode> {
  const names = [...(await (await session.app()).secrets.list())].sort();
  session.show(() => (names.length === 0 ? 'The store is empty.\n' : `${names.join('\n')}\n`), {
    secrets: names,
  });
  return exitCodes.done;
}

export async function secretRemove(session: Session, name: string): Promise<ExitCode> {
  const app = await session.app();
  if (await app.secrets.remove(name)) {
    session.show(() => `Secret ${name} is removed.\n`, { secret: name, removed: true });
    return exitCodes.done;
  }
  const meant = nearest(name, await app.secrets.list());
  throw new OperatorError(
    {
      code: 'DR-SECRET-UNKNOWN',
      what: `there is no secret ${name}${meant === null ? '' : `; did you mean ${meant}?`}`,
      next: 'see which there are: lifeboat secret list',
    },
    { exitCode: exitCodes.usage },
  );
}
