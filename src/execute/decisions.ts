/** Decisions of a person that the executor understands: fixed words, so that the journal can be asked for them. */
import type { Run } from '../domain/run.ts';

/** A named person wants what the run has changed to be taken back. */
export const undoRun = 'undo-run';

/** A named person says that a site is lost: what ran there does not run any more. */
export const declareLost = 'declare-lost';

export function lossDeclared(
  decisions: Run['decisions'],
): { readonly by: string; readonly reason: string } | null {
  return decisions.find((decision) => decision.decision === declareLost) ?? null;
}

/** A named person allows guests that do not shut down by themselves to be switched off. */
export const forceShutdown = 'force-shutdown';

/** A named person wants a step to give up waiting. */
export function cancelDecision(step: string): string {
  return `cancel-step ${step}`;
}

/** The words under which the answer to a step's question stands in the journal. */
export function answerDecision(step: string, answer: string): string {
  return `answer-step ${step} ${answer}`;
}

/** The newest answer that a person gave to the question of this step; null as long as nobody has. */
export function answerOf(
  decisions: Run['decisions'],
  step: string,
): { readonly answer: string; readonly by: string; readonly reason: string } | null {
  const start = answerDecision(step, '');
  const found = decisions.findLast(({ decision }) => decision.startsWith(start));
  if (found === undefined) return null;
  return { answer: found.decision.slice(start.length), by: found.by, reason: found.reason };
}
