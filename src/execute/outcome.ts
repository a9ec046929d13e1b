/** How a run and its steps ended: what counts as settled, the exit code, the summary. */
import { type ExitCode, exitCodes } from '../domain/errors.ts';
import type { Run, RunOutcome } from '../domain/run.ts';
import { isCleanedUp } from './drill-state.ts';

export const exitCodeOf: Readonly<Record<RunOutcome, ExitCode>> = {
  done: exitCodes.done,
  'done-with-warnings': exitCodes.warnings,
  failed: exitCodes.failed,
  stuck: exitCodes.stuck,
  stopped: exitCodes.stopped,
  abandoned: exitCodes.failed,
  undone: exitCodes.failed,
};

/** The newest answer of a person about a step, when it is younger than the step's last try. */
export function answerTo(
  run: Run,
  stepId: string,
): { readonly answer: 'retry' | 'skip'; readonly by: string; readonly reason: string } | null {
  const state = run.steps.get(stepId);
  for (const { decision, by, reason, at } of [...run.decisions].reverse()) {
    const answer =
      decision === `retry-step ${stepId}` ? 'retry' : decision === `skip-step ${stepId}` ? 'skip' : null;
    if (answer === null) continue;
    const stale = answer === 'retry' && state?.startedAt != null && at < state.startedAt;
    return stale ? null : { answer, by, reason };
  }
  return null;
}

/** A step that a resumed run leaves alone: it succeeded, or a person settled it. */
export function isSettled(run: Run, stepId: string): boolean {
  const status = run.steps.get(stepId)?.status;
  return status === 'succeeded' || (status === 'skipped' && answerTo(run, stepId)?.answer === 'skip');
}

/** What a new sitting need not do: a step of which a part was not possible is tried again by a resumed run. */
export function needsNoMore(run: Run, stepId: string): boolean {
  return isSettled(run, stepId) && run.steps.get(stepId)?.partial !== true;
}

/** A run that ended with warnings and left something undone, which resuming it may do after the reason is removed. */
export function leftSomethingUndone(run: Run): boolean {
  return (
    run.outcome === 'done-with-warnings' &&
    !(['drill', 'canary', 'recover-metadata'].includes(run.plan.operation) && isCleanedUp(run)) &&
    run.plan.steps.some((step) => !needsNoMore(run, step.id))
  );
}

export function wasJudged(run: Run, stepId: string): boolean {
  const status = run.steps.get(stepId)?.status;
  return status !== undefined && status !== 'waiting' && status !== 'running';
}

/** VMs were to be imported or started, and not one was: that is no success, however well the rest went. */
export function cameToNothing(run: Run): boolean {
  const failed = (kind: 'import-vms' | 'start-vm'): boolean => {
    const ends = run.plan.steps
      .filter((step) => step.action.do === kind)
      .map((step) => run.steps.get(step.id)?.status);
    return (
      ends.length > 0 &&
      ends.every((status) => status === 'failed' || status === 'unknown' || status === 'skipped')
    );
  };
  const byHand = run.plan.steps.some((step) => answerTo(run, step.id)?.answer === 'skip');
  return !byHand && (failed('import-vms') || failed('start-vm'));
}

/** A step failed whose rule is to finish what does not need it, and to call the run failed. */
export function brokeOff(run: Run): boolean {
  return run.plan.steps.some((step) => {
    const status = run.steps.get(step.id)?.status;
    return step.onFailure === 'finish' && (status === 'failed' || status === 'unknown');
  });
}

/** `failover of payroll: 24 of 26 steps succeeded; failed: start-web03; skipped: ready-web03`. */
export function summaryOf(run: Run, outcome: RunOutcome): string {
  const named = (status: string): string[] =>
    run.plan.steps.filter((step) => run.steps.get(step.id)?.status === status).map((step) => step.id);
  const list = (title: string, ids: readonly string[]): string[] =>
    ids.length === 0
      ? []
      : [`${title}: ${ids.slice(0, 5).join(', ')}${ids.length > 5 ? ` and ${ids.length - 5} more` : ''}`];
  const warnings = [...run.steps.values()].reduce((sum, state) => sum + state.warnings.length, 0);
  const question = run.plan.steps
    .map((step) => run.steps.get(step.id)?.problem)
    .find((problem) => problem?.code === 'DR-RUN-STUCK');
  return [
    `${run.plan.operation} of ${run.plan.group}: ${named('succeeded').length} of ${run.plan.steps.length} steps succeeded`,
    ...(warnings === 0 ? [] : [`${warnings} ${warnings === 1 ? 'warning' : 'warnings'}`]),
    ...list('failed', named('failed')),
    ...list('unknown', [...named('unknown'), ...named('running')]),
    ...list('skipped', named('skipped')),
    ...(outcome === 'stopped' ? [`stopped; go on with \`lifeboat run resume ${run.id}\``] : []),
    ...(outcome === 'stuck' && question != null ? [question.what] : []),
  ].join('; ');
}
