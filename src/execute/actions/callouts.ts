/**
 * Callouts: programs of the operator. Whether one may run twice is the operator's word; where nobody gave it, a call
 * whose outcome is not known is a question for a person and never a second call.
 */
import { calloutPauseSeconds } from '../../domain/actions/guests.ts';
import { OperatorError, PortError, type Problem } from '../../domain/errors.ts';
import { formatDuration } from '../../domain/time.ts';
import type { ProgramEnd } from '../../ports/guests.ts';
import type { ActionOf, ActResult, StepContext } from '../handlers.ts';
import type { World } from './world.ts';

const shownLines = 8;

export async function callOut(
  world: Pick<World, 'clock' | 'runProgram'>,
  action: ActionOf<'call-out'>,
  context: StepContext,
): Promise<ActResult> {
  for (let tries = 1; ; tries += 1) {
    const end = await world.runProgram(
      { argv: action.argv, env: factsFor(action, context, tries), timeoutSeconds: action.tryWithinSeconds },
      context.signal,
    );
    if (end.code === 0) {
      return {
        output: { code: 0, tries, stdout: end.stdout, stderr: end.stderr },
        warnings: tries === 1 ? [] : [`callout ${action.name} succeeded at try ${tries}`],
      };
    }
    if (tries > action.retries) throw failed(action, context, end, tries);
    await world.clock.sleep(calloutPauseSeconds, context.signal);
  }
}

/** What the program learns; the names are part of the documentation of recovery plans. */
function factsFor(
  { name, site, occasion }: ActionOf<'call-out'>,
  { run, plan }: StepContext,
  tries: number,
): Record<string, string> {
  return {
    LIFEBOAT_RUN: run,
    LIFEBOAT_GROUP: plan.group,
    LIFEBOAT_OPERATION: plan.operation,
    LIFEBOAT_SITE: site,
    LIFEBOAT_CALLOUT: name,
    LIFEBOAT_MOMENT: occasion.when,
    LIFEBOAT_TIER: occasion.tier ?? '',
    LIFEBOAT_VM: occasion.vm ?? '',
    LIFEBOAT_TRY: String(tries),
  };
}

function failed(
  action: ActionOf<'call-out'>,
  { step, run }: StepContext,
  end: ProgramEnd,
  tries: number,
): OperatorError | PortError {
  const problem: Problem = {
    code: end.timedOut ? 'DR-CALLOUT-TIMEOUT' : 'DR-CALLOUT-FAILED',
    what: `Callout ${action.name} ${howItEnded(action, end)}`,
    where: { object: action.argv[0] ?? '' },
    known: [...(tries === 1 ? [] : [`at the last of ${tries} tries`]), ...lastWords(end)],
    next: `Find out what it did and why; then \`lifeboat run resume ${run}\` calls it again, and \`lifeboat run skip ${run} ${step.id} --reason "…"\` goes on without it`,
  };
  // Cut off half-way, it may have done its work. Where the run goes on anyway nobody needs to know; where it stops, the
  // next call would be a second one.
  const isQuestion = end.timedOut && !step.repeatable && step.onFailure === 'stop';
  return isQuestion ? new PortError('outcome-unknown', problem) : new OperatorError(problem);
}

function howItEnded({ tryWithinSeconds }: ActionOf<'call-out'>, end: ProgramEnd): string {
  if (end.timedOut) return `did not end within ${formatDuration(tryWithinSeconds)} and was killed`;
  return end.code === null ? `was ended by signal ${end.signal ?? 'unknown'}` : `ended with code ${end.code}`;
}

/** What it said last is most often why. */
function lastWords({ stdout, stderr }: ProgramEnd): string[] {
  const said = stderr.trim() === '' ? stdout : stderr;
  return said
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .slice(-shownLines)
    .map((line) => `it said: ${line.slice(0, 300)}`);
}
