/** The clock as text: what is done when, what was done last, and what came of it. */
import type { JobOutcome, JobStanding, JobTurn, LedgerTurn } from '../domain/jobs.ts';
import { formatDuration, type Instant, secondsBetween } from '../domain/time.ts';
import { clean, heading, type Paper, page, paint, type Tone, table, wrap } from './paper.ts';
import { formatInstant } from './words.ts';

export interface ScheduleReport {
  readonly jobs: readonly JobStanding[];
  /** Newest first; null when nobody asked for them. */
  readonly turns: readonly LedgerTurn[] | null;
  readonly now: Instant;
}

export function scheduleText({ jobs, turns, now }: ScheduleReport, paper: Paper): string {
  const lines = [heading(paper, `Schedule at ${formatInstant(now)}`)];
  const groups = [...new Set(jobs.map(({ group }) => group))];
  for (const group of groups) {
    const own = jobs.filter((job) => job.group === group);
    lines.push(
      '',
      heading(paper, group === null ? 'Lifeboat itself' : `Group ${group}`),
      ...table(
        paper,
        ['Job', 'When', 'Next', 'Last'],
        own.map((job) => [job.job, job.schedule, nextText(job, now), lastText(job, now, paper)]),
      ),
    );
  }
  if (jobs.length === 0)
    lines.push('', 'Nothing is done on a clock. Next: describe a group in sites.yaml, and its schedules.');
  if (turns !== null) lines.push('', heading(paper, 'Turns, newest first'), ...turnLines(turns, paper));
  return page(lines);
}

function nextText({ nextAt }: JobStanding, now: Instant): string {
  if (nextAt === null) return 'never';
  const seconds = secondsBetween(now, nextAt);
  return seconds <= 0 ? 'now' : `in ${formatDuration(seconds)}`;
}

function lastText({ last, lastGoodAt }: JobStanding, now: Instant, paper: Paper): string {
  if (last === null) return 'never';
  const ago = (at: Instant): string => `${formatDuration(Math.max(0, secondsBetween(at, now)))} ago`;
  if (last.endedAt === null || last.outcome === null) return `began ${ago(last.startedAt)}, not ended`;
  const good = last.outcome === 'done' || last.outcome === 'warnings';
  const told = `${paint(paper, toneOf[last.outcome], outcomeText[last.outcome])} ${ago(last.endedAt)}`;
  if (good) return told;
  return `${told}; last done ${lastGoodAt === null ? 'never' : ago(lastGoodAt)}`;
}

function turnLines(turns: readonly LedgerTurn[], paper: Paper): string[] {
  if (turns.length === 0) return ['  None yet.'];
  return turns.flatMap((turn) => {
    const name = turn.group === null ? turn.job : `${turn.job} of ${clean(turn.group)}`;
    const outcome =
      turn.outcome === null ? 'not ended' : paint(paper, toneOf[turn.outcome], outcomeText[turn.outcome]);
    const run = turn.run === null ? '' : ` (run ${turn.run})`;
    return [
      `  ${formatInstant(turn.startedAt)}  ${name}: ${outcome}${missedText(turn)}${run}`,
      ...(turn.summary === null ? [] : wrap(clean(turn.summary), paper.width, '      ')),
    ];
  });
}

function missedText({ missed, madeUp, slot }: JobTurn): string {
  if (missed > 0) return `, makes up for ${missed} that were missed`;
  return madeUp ? `, made up for ${formatInstant(slot)}` : '';
}

const outcomeText: Readonly<Record<JobOutcome, string>> = {
  done: 'done',
  warnings: 'done, with warnings',
  failed: 'failed',
  blocked: 'blocked',
  skipped: 'left out',
  stopped: 'stopped',
  interrupted: 'broken off',
};

const toneOf: Readonly<Record<JobOutcome, Tone>> = {
  done: 'good',
  warnings: 'warn',
  failed: 'bad',
  blocked: 'bad',
  skipped: 'warn',
  stopped: 'warn',
  interrupted: 'bad',
};
