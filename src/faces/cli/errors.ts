/** How errors end a call: as sentences with a next step and the right exit code; a defect with an apology. */
import { type ExitCode, exitCodes, OperatorError, PortError, type Problem } from '../../domain/errors.ts';
import { problemLines } from '../../report/findings.ts';
import { jsonLine } from '../../report/json.ts';
import { paperOf, type Session } from './session.ts';

export function tellError(error: unknown, session: Session): ExitCode {
  session.clearProgress();
  const stopped = session.signal.aborted && (isCancelled(error) || isAbort(error));
  const told = stopped ? null : known(error);
  const code = stopped ? exitCodes.stopped : (told?.exitCode ?? exitCodes.failed);
  if (session.json) {
    session.terminal.out.write(
      jsonLine({
        error: {
          exitCode: code,
          problems: stopped ? [] : (told?.problems ?? [defect(error)]),
          ...(stopped ? { stopped: true } : {}),
        },
      }),
    );
  } else if (stopped) session.terminal.err.write('Stopped. Nothing was started that is not told above.\n');
  else {
    const paper = paperOf(session.terminal.err, session.terminal.env);
    const lines = problemLines(told?.problems ?? [defect(error)], paper);
    session.terminal.err.write(`${lines.join('\n')}\n`);
  }
  if (session.terminal.env['LIFEBOAT_DEBUG'] === '1') session.terminal.err.write(`${chain(error)}\n`);
  return code;
}

function known(
  error: unknown,
): { readonly problems: readonly Problem[]; readonly exitCode: ExitCode } | null {
  if (error instanceof OperatorError) return { problems: error.problems, exitCode: error.exitCode };
  if (error instanceof PortError) return { problems: [error.problem], exitCode: exitCodes.failed };
  return null;
}

function isCancelled(error: unknown): boolean {
  return error instanceof PortError && error.kind === 'cancelled';
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && (error.name === 'AbortError' || error.name === 'TimeoutError');
}

/** Not the operator's fault, and not theirs to put right. */
function defect(error: unknown): Problem {
  const what = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return {
    code: 'DR-DEFECT',
    what: 'Lifeboat made a mistake of its own, and we are sorry',
    known: [
      what.split('\n')[0] ?? what,
      'what a run did until now stands in its journal, under runs in the state directory',
    ],
    next: 'run the same command with LIFEBOAT_DEBUG=1 and report what it prints; a run that was under way goes on with `lifeboat run resume latest`',
  };
}

/** The whole chain of causes with their stacks, for those who repair Lifeboat. */
function chain(error: unknown): string {
  const parts: string[] = [];
  for (let each: unknown = error; each !== undefined; each = each instanceof Error ? each.cause : undefined) {
    parts.push(each instanceof Error ? (each.stack ?? each.message) : String(each));
  }
  return parts.join('\ncaused by ');
}
