/**
 * Questions of recovery plans: answered where the run is carried out, or with `run answer` from anywhere. While one is
 * open the live view makes room for it; whoever answers first, or the time that passes, closes it.
 */
import type { App } from '../../app/app.ts';
import type { GuestAction } from '../../domain/actions/guests.ts';
import { type ExitCode, exitCodes, OperatorError, problemOf } from '../../domain/errors.ts';
import type { Plan } from '../../domain/plan.ts';
import type { PromptAnswer } from '../../domain/recovery-plan.ts';
import type { RunEvent } from '../../domain/run.ts';
import { formatDuration } from '../../domain/time.ts';
import type { Session } from './session.ts';
import type { Watch } from './watch.ts';

type Question = Extract<GuestAction, { readonly do: 'ask' }>;

export function answerIn(typed: string): PromptAnswer | null {
  const word = typed.trim().toLowerCase();
  if (['yes', 'y', 'continue'].includes(word)) return 'continue';
  return ['no', 'n', 'stop'].includes(word) ? 'stop' : null;
}

/** `run answer RUN STEP yes|no`. The answer is taken by the process that carries out the run. */
export async function runAnswer(
  session: Session,
  runId: string,
  step: string,
  typed: string,
  flags: { readonly reason?: string; readonly by?: string },
): Promise<ExitCode> {
  const answer = answerIn(typed);
  if (answer === null)
    throw refused('DR-ANSWER-WORD', `${JSON.stringify(typed)} is no answer`, 'write yes or no');
  const app = await session.app();
  const run = await app.runs.read(runId);
  const question = questionOf(run.plan, step);
  if (question === null || run.steps.get(step)?.status !== 'running') {
    const open = run.plan.steps
      .filter(({ id }) => questionOf(run.plan, id) !== null && run.steps.get(id)?.status === 'running')
      .map(({ id }) => id);
    throw refused(
      'DR-ANSWER-NO-QUESTION',
      `Step ${step} of run ${run.id} asks nothing now`,
      open.length === 0
        ? `see how the run stands: lifeboat run show ${run.id}`
        : `open is ${open.join(', ')}: lifeboat run answer ${run.id} ${open[0]} yes`,
    );
  }
  const by = flags.by ?? session.terminal.user;
  const reason = flags.reason?.trim() || 'answered from another terminal';
  await app.runs.tell(run.id, { says: 'answer', step, answer, by, reason }, session.signal);
  session.show(() => `Question ${question.name} is answered: ${answer === 'continue' ? 'yes' : 'no'}\n`, {
    run: run.id,
    step,
    answer,
  });
  return exitCodes.done;
}

function questionOf(plan: Plan, step: string): Question | null {
  const action = plan.steps.find(({ id }) => id === step)?.action;
  return action?.do === 'ask' ? action : null;
}

function refused(
  code: 'DR-ANSWER-WORD' | 'DR-ANSWER-NO-QUESTION',
  what: string,
  next: string,
): OperatorError {
  return new OperatorError({ code, what, next }, { exitCode: exitCodes.usage });
}

/** Asks the person at the terminal of the run. Without one the question waits for `run answer`, or its time. */
export class Questions {
  readonly #session: Session;
  readonly #app: App;
  readonly #watch: Watch;
  readonly #by: string;
  #run: { readonly id: string; readonly plan: Plan } | null;
  /** Steps whose question is open, each with what closes it. */
  readonly #open = new Map<string, AbortController>();
  #asking: Promise<void> = Promise.resolve();

  /** `run`: the one that is resumed; a new one is learned from its first event. */
  constructor(
    session: Session,
    app: App,
    watch: Watch,
    by: string,
    run: { readonly id: string; readonly plan: Plan } | null,
  ) {
    this.#session = session;
    this.#app = app;
    this.#watch = watch;
    this.#by = by;
    this.#run = run;
  }

  readonly onEvent = (event: RunEvent): void => {
    this.#watch.onEvent(event);
    if (!this.#session.terminal.interactive || this.#session.json) return;
    switch (event.event) {
      case 'RunStarted':
        this.#run = { id: event.run, plan: event.plan };
        return;
      case 'StepStarted':
        this.#begin(event.step);
        return;
      case 'StepSucceeded':
      case 'StepFailed':
      case 'StepSkipped':
        this.#open.get(event.step)?.abort();
        return;
      case 'RunEnded':
        for (const open of this.#open.values()) open.abort();
    }
  };

  /** Resolves when no question is on the terminal any more. */
  async end(): Promise<void> {
    for (const open of this.#open.values()) open.abort();
    await this.#asking;
  }

  #begin(step: string): void {
    const run = this.#run;
    const question = run === null ? null : questionOf(run.plan, step);
    if (run === null || question === null) return;
    const open = new AbortController();
    this.#open.set(step, open);
    this.#asking = this.#asking.then(() => this.#ask(run.id, step, question, open.signal));
  }

  async #ask(run: string, step: string, question: Question, closed: AbortSignal): Promise<void> {
    if (closed.aborted) return;
    this.#watch.end();
    const unless = `${question.byDefault === 'continue' ? 'yes' : 'no'} after ${formatDuration(question.answerWithinSeconds)}`;
    try {
      for (;;) {
        const typed = await this.#session.terminal.ask(`${question.question} (yes/no; ${unless}) `, closed);
        if (closed.aborted) return;
        if (typed === null) {
          // The input has ended or was interrupted: that is no answer to the question.
          this.#session.interrupt();
          return;
        }
        const answer = answerIn(typed);
        if (answer === null) continue;
        const message = {
          says: 'answer',
          step,
          answer,
          by: this.#by,
          reason: 'answered at the run',
        } as const;
        await this.#app.runs.tell(run, message, closed);
        return;
      }
    } catch (error) {
      if (!closed.aborted)
        this.#session.terminal.err.write(
          `The answer did not reach the run (${problemOf(error)?.what ?? String(error)}): answer with lifeboat run answer ${run} ${step} yes\n`,
        );
    } finally {
      this.#open.delete(step);
      this.#watch.start();
    }
  }
}
