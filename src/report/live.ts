/**
 * A run while it runs. On a terminal: a block of lines that is drawn over itself (`liveLines`). Elsewhere: one line
 * with a time stamp per event (`eventLine`). Both are pure; the face owns cursor and clock.
 */
import { unreachable } from '../domain/errors.ts';
import { limitOf } from '../domain/limits.ts';
import type { Step } from '../domain/plan.ts';
import type { Run, RunEvent } from '../domain/run.ts';
import { formatDuration, type Instant, secondsBetween } from '../domain/time.ts';
import { clean, count, cut, heading, names, type Paper, pad, paint, type Tone } from './paper.ts';
import { isOver } from './run-facts.ts';
import { describeAction, formatClock, formatStopwatch, outcomeWords, sitesOf, titleOf } from './words.ts';

/** At most `rows` lines, each within the width of the paper, so that drawing over them never scrolls. */
export function liveLines(run: Run, now: Instant, paper: Paper, rows: number): string[] {
  const head = headLines(run, now, paper);
  const failed = failedLines(run, paper);
  const running = runningLines(run, now, paper);
  const waiting = waitingLines(run, paper);
  // What runs is looked at most; what waits gives way first.
  const room = Math.max(0, rows - head.length);
  const shownFailed = fold(
    failed,
    Math.min(failed.length, Math.max(1, Math.floor(room / 4))),
    paper,
    'failed',
  );
  const shownRunning = fold(
    running,
    Math.max(1, room - shownFailed.length - Math.min(waiting.length, 4)),
    paper,
    'running',
  );
  const shownWaiting = fold(
    waiting,
    Math.max(0, room - shownFailed.length - shownRunning.length),
    paper,
    'waiting',
  );
  return [...head, ...shownFailed, ...shownRunning, ...shownWaiting].slice(0, rows);
}

function fold(lines: readonly string[], most: number, paper: Paper, what: string): string[] {
  if (lines.length <= most) return [...lines];
  if (most <= 0) return [];
  const hidden = lines.length - most + 1;
  return [
    ...lines.slice(0, most - 1),
    paint(paper, 'dim', cut(`    and ${hidden} more ${what}`, paper.width)),
  ];
}

function headLines(run: Run, now: Instant, paper: Paper): string[] {
  const { plan } = run;
  const states = [...run.steps.values()];
  const ended = states.filter(isOver).length;
  const elapsed = secondsBetween(run.startedAt, run.endedAt ?? now);
  const { from, to } = sitesOf(plan);
  const way = from !== null && to !== null ? `, ${from} → ${to}` : '';
  const title = cut(`${titleOf(plan)}${way}`, paper.width);
  const figures = `${ended} of ${count(states.length, 'step')}, ${formatStopwatch(elapsed)} of about ${formatStopwatch(plan.expects.forecastSeconds)}`;
  const columns = Math.max(0, Math.min(30, paper.width - figures.length - 4));
  const filled = states.length === 0 ? columns : Math.floor((columns * ended) / states.length);
  const bar =
    columns < 5
      ? ''
      : `${paint(paper, 'good', '█'.repeat(filled))}${paint(paper, 'dim', '░'.repeat(columns - filled))}  `;
  return [heading(paper, title), `${bar}${cut(figures, paper.width)}`];
}

function failedLines(run: Run, paper: Paper): string[] {
  return run.plan.steps.flatMap((step) => {
    const state = run.steps.get(step.id);
    if (state === undefined || (state.status !== 'failed' && state.status !== 'unknown')) return [];
    const text = `  ✗ ${describeAction(step.action)}: ${clean(state.problem?.what ?? 'failed')}`;
    return [paint(paper, 'bad', cut(text, paper.width))];
  });
}

function runningLines(run: Run, now: Instant, paper: Paper): string[] {
  return run.plan.steps.flatMap((step) => {
    const state = run.steps.get(step.id);
    if (state?.status !== 'running' || state.startedAt === null) return [];
    const elapsed = secondsBetween(state.startedAt, now);
    const again = state.attempts > 1 ? `, attempt ${state.attempts}` : '';
    // A forecast below a second says nothing that the clock beside it does not.
    const forecast = step.forecastSeconds < 1 ? '' : ` of about ${formatStopwatch(step.forecastSeconds)}`;
    const time = ` ${formatStopwatch(elapsed)}${forecast}${again}`;
    const room = paper.width - time.length;
    const what = `  ▸ ${describeAction(step.action)}`;
    // Too narrow for both: what runs is worth more than for how long.
    if (room < 24) return [cut(what, paper.width)];
    return [
      `${cut(what, room)}${paint(paper, elapsed > 2 * step.forecastSeconds + 5 ? 'warn' : 'dim', time)}`,
    ];
  });
}

/** Steps that wait for the same thing are one line: who waits, and why. */
function waitingLines(run: Run, paper: Paper): string[] {
  const byReason = new Map<string, Step[]>();
  for (const step of run.plan.steps) {
    if (run.steps.get(step.id)?.status !== 'waiting') continue;
    // That a VM is awaited after its start goes without saying; the line of the start stands for both.
    if (step.action.do === 'await-ready' && step.after.some((id) => !isOverIn(run, id))) continue;
    const reason = waitReason(run, step);
    byReason.set(reason, [...(byReason.get(reason) ?? []), step]);
  }
  return [...byReason].map(([reason, steps]) => {
    const [first] = steps;
    const who =
      first === undefined
        ? ''
        : `${describeAction(first.action)}${steps.length > 1 ? ` and ${steps.length - 1} more` : ''}`;
    return paint(paper, 'dim', cut(`  · ${who}: ${reason}`, paper.width));
  });
}

function isOverIn(run: Run, stepId: string): boolean {
  const state = run.steps.get(stepId);
  return state === undefined || isOver(state);
}

/** Why a step has not started, as a clause. */
export function waitReason(run: Run, step: Step): string {
  const open = step.after.filter((id) => !isOverIn(run, id));
  if (open.length > 0) {
    const byKind = open.length > 3 ? count(open.length, 'step') : names(open);
    return `waits for ${byKind}`;
  }
  for (const resource of step.uses) {
    const users = run.plan.steps.filter(
      (other) => other.uses.includes(resource) && run.steps.get(other.id)?.status === 'running',
    ).length;
    const limit = limitOf(resource);
    if (users >= limit) {
      return limit === 1
        ? `waits until ${resource} is free`
        : `waits for its turn: ${resource} takes ${limit} at once`;
    }
  }
  return 'about to start';
}

/** One event as one line, for logs, pipes and terminals without a cursor. */
export function eventLine(event: RunEvent, run: Run, paper: Paper): string {
  const at = paint(paper, 'dim', formatClock(event.at));
  const line = (tone: Tone | null, word: string, text: string): string => {
    const label = pad(tone === null ? word : paint(paper, tone, word), 7);
    return `${at}  ${label}  ${text}`.trimEnd();
  };
  const named = (id: string): string => {
    const step = run.plan.steps.find((each) => each.id === id);
    return step === undefined ? id : `${id}: ${describeAction(step.action)}`;
  };
  switch (event.event) {
    case 'RunStarted':
      return line(
        'bold',
        'run',
        `${event.run}: ${titleOf(event.plan)}, ${count(event.plan.steps.length, 'step')}, about ${formatDuration(event.plan.expects.forecastSeconds)}, by ${clean(event.by)}`,
      );
    case 'RunResumed':
      return line('bold', 'resumed', `by ${clean(event.by)}`);
    case 'Decision':
      return line('warn', 'decided', `${clean(event.by)}: ${event.decision}, because ${clean(event.reason)}`);
    case 'StepStarted':
      return line(
        null,
        'start',
        `${named(event.step)}${event.attempt > 1 ? ` (attempt ${event.attempt})` : ''}${howToAnswer(run, event.step)}`,
      );
    case 'StepSucceeded': {
      const started = run.steps.get(event.step)?.startedAt;
      const seconds = started == null ? 0 : secondsBetween(started, event.at);
      const took = seconds < 0.05 ? '' : `, ${formatDuration(seconds)}`;
      const nothing = event.changed ? '' : ', nothing to do';
      const warned = event.warnings.length > 0 ? `; ${event.warnings.map(clean).join('; ')}` : '';
      return line(
        event.warnings.length > 0 ? 'warn' : 'good',
        'done',
        `${event.step}${took}${nothing}${warned}`,
      );
    }
    case 'StepFailed':
      return line(
        'bad',
        event.outcome === 'unknown' ? 'unknown' : 'FAILED',
        `${event.step}: ${clean(event.problem.what)} [${event.problem.code}]${event.problem.next === '' ? '' : ` Next: ${event.problem.next}`}`,
      );
    case 'UndoStarted':
      return line(null, 'undo', `${event.step}${event.attempt > 1 ? ` (attempt ${event.attempt})` : ''}`);
    case 'UndoSucceeded': {
      const warned = event.warnings.length > 0 ? `; ${event.warnings.map(clean).join('; ')}` : '';
      return line('good', 'undone', `${event.step}${event.changed ? '' : ', nothing to do'}${warned}`);
    }
    case 'UndoFailed':
      return line(
        'bad',
        event.outcome === 'unknown' ? 'unknown' : 'FAILED',
        `undo of ${event.step}: ${clean(event.problem.what)} [${event.problem.code}] Next: ${event.problem.next}`,
      );
    case 'StepSkipped':
      return line(null, 'skip', `${event.step}: ${clean(event.reason)}`);
    case 'RunEnded':
      return line(
        event.outcome === 'done'
          ? 'good'
          : event.outcome === 'failed' || event.outcome === 'stuck'
            ? 'bad'
            : 'warn',
        'end',
        `${outcomeWords[event.outcome]}. ${clean(event.summary)}`,
      );
    default:
      return unreachable(event);
  }
}

/** A question is of no use to those who do not know how to answer it. */
function howToAnswer(run: Run, stepId: string): string {
  const step = run.plan.steps.find(({ id }) => id === stepId);
  return step?.action.do === 'ask' ? `; answer: lifeboat run answer ${run.id} ${stepId} yes|no` : '';
}
