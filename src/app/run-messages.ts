/** What a person says, from another terminal, to a run that somebody else carries out. */
import { exitCodes, OperatorError } from '../domain/errors.ts';
import { foldRun, type Run } from '../domain/run.ts';
import type { RunMessage } from '../ports/system.ts';
import type { AppPorts } from './ports.ts';
import { runIdOf } from './runs.ts';

const lookEverySeconds = 0.2;

/**
 * Resolves when the run has taken the message, with its content in the journal. Throws `OperatorError` when nobody
 * carries out the run (an answer waits then for the next one who does), or when the step cannot be cancelled.
 */
export async function tellRun(
  ports: AppPorts,
  name: string,
  message: RunMessage,
  signal?: AbortSignal,
): Promise<void> {
  const id = await runIdOf(ports, name);
  const run = foldRun(await ports.journals.read(id));
  if (message.says === 'cancel-step') assertCancellable(run, message.step);
  if (message.says === 'answer') assertIsStep(run, message.step);
  const states = await ports.states();
  if (!(await states.isCarriedOut(id)) && message.says !== 'answer') throw idle(run);
  const inbox = await ports.inbox();
  await inbox.post(id, message);
  while ((await inbox.waiting(id)).length > 0) {
    if (!(await states.isCarriedOut(id))) {
      if (message.says === 'answer') return;
      throw idle(foldRun(await ports.journals.read(id)));
    }
    await ports.clock.sleep(lookEverySeconds, signal);
  }
}

function assertIsStep(run: Run, step: string): void {
  if (run.steps.has(step)) return;
  throw new OperatorError(
    {
      code: 'DR-RUN-STEP',
      what: `Run ${run.id} has no step ${step}`,
      next: `See its steps with \`lifeboat run show ${run.id}\``,
    },
    { exitCode: exitCodes.usage },
  );
}

function assertCancellable(run: Run, stepId: string): void {
  assertIsStep(run, stepId);
  const step = run.plan.steps.find(({ id }) => id === stepId);
  const status = run.steps.get(stepId)?.status;
  const between = status === 'failed' || status === 'unknown';
  if (status !== 'running' && !between) {
    throw new OperatorError(
      {
        code: 'DR-STEP-NOT-RUNNING',
        what: `Step ${stepId} is ${status ?? 'unknown'}: there is nothing to cancel`,
        next: `See how the run stands: \`lifeboat run show ${run.id}\``,
      },
      { exitCode: exitCodes.blocked },
    );
  }
  if (step?.repeatable === true) return;
  throw new OperatorError(
    {
      code: 'DR-STEP-NOT-CANCELLABLE',
      what: `Step ${stepId} must not be torn off: nobody would know how far it got`,
      known: [`it ends by itself within ${step?.timeoutSeconds ?? 0} s of its beginning`],
      next: `Wait for it, or stop the run behind it: \`lifeboat run stop ${run.id} --reason "…"\``,
    },
    { exitCode: exitCodes.blocked },
  );
}

function idle(run: Run): OperatorError {
  const ended = run.outcome !== null;
  return new OperatorError(
    {
      code: 'DR-RUN-IDLE',
      what: ended
        ? `Run ${run.id} has ended already`
        : `Nobody carries out run ${run.id} at this moment: there is nobody to tell`,
      next: ended
        ? `See how it ended: \`lifeboat run show ${run.id}\``
        : `Go on with \`lifeboat run resume ${run.id}\`, take it back with \`lifeboat run undo ${run.id} --reason "…"\`, or give it up with \`lifeboat run abandon ${run.id} --reason "…"\``,
    },
    { exitCode: exitCodes.blocked },
  );
}
