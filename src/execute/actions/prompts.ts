/** Questions and pauses of a recovery plan. Answers come as decisions of the run, from whichever terminal. */
import { OperatorError } from '../../domain/errors.ts';
import type { PromptAnswer } from '../../domain/recovery-plan.ts';
import { formatDuration } from '../../domain/time.ts';
import { answerOf } from '../decisions.ts';
import type { ActionOf, ActResult, StepContext } from '../handlers.ts';
import type { World } from './world.ts';

const lookEverySeconds = 1;

interface Given {
  readonly answer: PromptAnswer;
  readonly by: string | null;
  readonly reason: string;
}

export async function ask(
  { clock }: Pick<World, 'clock'>,
  action: ActionOf<'ask'>,
  context: StepContext,
): Promise<ActResult> {
  const until = clock.monotonicSeconds() + action.answerWithinSeconds;
  for (;;) {
    const given = givenTo(context);
    if (given !== null) return settled(action, context, given);
    const left = until - clock.monotonicSeconds();
    if (left <= 0) break;
    await clock.sleep(Math.min(lookEverySeconds, left), context.signal);
  }
  const reason = `nobody answered within ${formatDuration(action.answerWithinSeconds)}`;
  return settled(action, context, { answer: action.byDefault, by: null, reason });
}

/** A no ends the run; when it is resumed the question is asked again, so an older no does not count any more. */
function givenTo({ decisions, step, startedAt }: StepContext): Given | null {
  const fresh = decisions.filter(({ at, decision }) => at >= startedAt || !decision.endsWith(' stop'));
  const found = answerOf(fresh, step.id);
  if (found === null || (found.answer !== 'continue' && found.answer !== 'stop')) return null;
  return { answer: found.answer, by: found.by, reason: found.reason };
}

function settled(action: ActionOf<'ask'>, { run, step }: StepContext, given: Given): ActResult {
  if (given.answer === 'continue') {
    return {
      output: { ...given },
      warnings: given.by === null ? [`question ${action.name}: ${given.reason}, so the run goes on`] : [],
    };
  }
  throw new OperatorError({
    code: 'DR-PROMPT-STOP',
    what: `The answer to question ${action.name} is no`,
    known: [action.question, given.by === null ? given.reason : `${given.by}: ${given.reason}`],
    next: `When it may go on: \`lifeboat run resume ${run}\` asks again, and \`lifeboat run skip ${run} ${step.id} --reason "…"\` goes on without asking`,
  });
}

export async function pause(
  { clock }: Pick<World, 'clock'>,
  { seconds }: ActionOf<'pause'>,
  { signal }: StepContext,
): Promise<ActResult> {
  await clock.sleep(seconds, signal);
  return { output: null, warnings: [] };
}
