/** Verbs that act upon runs and groups from another terminal: stop, cancel, undo, break-lock, freeze, unfreeze. */
import { type ExitCode, exitCodes, OperatorError } from '../../domain/errors.ts';
import { auditText } from '../../report/audit.ts';
import { runJson } from '../../report/json.ts';
import { clean } from '../../report/paper.ts';
import { runText } from '../../report/run.ts';
import { watched } from './runs.ts';
import type { Session } from './session.ts';

export interface ReasonFlags {
  readonly by?: string;
  readonly reason: string;
}

/** Resolves when the run has stopped: what was under way is brought to an end first. */
export async function runStop(session: Session, runId: string, flags: ReasonFlags): Promise<ExitCode> {
  const app = await session.app();
  await app.runs.tell(runId, { says: 'stop', ...whoAndWhy(session, flags) }, session.signal);
  session.say('The run was told to stop. What is under way is brought to an end first.\n');
  const run = await app.runs.follow(runId, { onEvent: () => undefined, signal: session.signal });
  const now = session.terminal.now();
  session.show(() => runText(run, now, session.paper), { run: runJson(run, now) });
  return run.outcome === 'stopped' ? exitCodes.done : (run.exitCode ?? exitCodes.failed);
}

export async function runCancel(
  session: Session,
  runId: string,
  step: string,
  flags: ReasonFlags,
): Promise<ExitCode> {
  const app = await session.app();
  await app.runs.tell(runId, { says: 'cancel-step', step, ...whoAndWhy(session, flags) }, session.signal);
  session.show(
    () =>
      `Step ${clean(step)} was told to give up. It ends by its own rule for failures: lifeboat run show ${clean(runId)}\n`,
    { run: runId, cancelled: step },
  );
  return exitCodes.done;
}

export async function runUndo(session: Session, runId: string, flags: ReasonFlags): Promise<ExitCode> {
  const app = await session.app();
  const base = await app.runs.read(runId);
  let undone = false;
  const code = await watched(session, base, async (watch) => {
    const run = await app.runs.undo(base.id, {
      ...whoAndWhy(session, flags),
      onEvent: watch.onEvent,
      signal: session.signal,
    });
    undone = run.outcome === 'undone';
    return run;
  });
  return undone ? exitCodes.done : code;
}

export async function breakLockVerb(session: Session, group: string, flags: ReasonFlags): Promise<ExitCode> {
  const runs = await (await session.app()).breakLock(group, whoAndWhy(session, flags));
  session.show(
    () =>
      runs.length === 0
        ? `Nobody holds a lock of group ${clean(group)}.\n`
        : `The lock of group ${clean(group)} was taken from ${runs.join(', ')}. Go on with it, or give it up: lifeboat run show ${runs[0]}\n`,
    { group, runs },
  );
  return exitCodes.done;
}

export async function freezeVerb(
  session: Session,
  group: string,
  flags: ReasonFlags,
  want: 'freeze' | 'unfreeze',
): Promise<ExitCode> {
  const state = await (await session.app())[want](group, whoAndWhy(session, flags));
  session.show(
    () =>
      want === 'freeze'
        ? `Group ${clean(group)} is frozen: nothing is done for it automatically. By hand everything is possible, with a warning.\n`
        : `Group ${clean(group)} is not frozen any more.\n`,
    { group, frozen: state.frozen },
  );
  return exitCodes.done;
}

export async function auditVerb(session: Session, group: string | undefined): Promise<ExitCode> {
  const entries = await (await session.app()).audit({ group: group ?? null });
  session.show(() => auditText(entries, session.paper), { audit: entries });
  return exitCodes.done;
}

function whoAndWhy(session: Session, flags: ReasonFlags): { readonly by: string; readonly reason: string } {
  const reason = flags.reason.trim();
  if (reason !== '') return { by: flags.by ?? session.terminal.user, reason };
  throw new OperatorError(
    {
      code: 'DR-DECISION-REASON',
      what: '--reason is empty',
      next: 'say why in a sentence; it is kept with your name',
    },
    { exitCode: exitCodes.usage },
  );
}
