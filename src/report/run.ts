/** A run as a report: what came of it, loss against RPO, time against RTO, per VM and chapter, and what to do next. */
import type { Run } from '../domain/run.ts';
import { formatDuration, type Instant } from '../domain/time.ts';
import { evidenceLines } from './evidence.ts';
import { problemLines } from './findings.ts';
import {
  asSentence,
  clean,
  count,
  facts,
  heading,
  names,
  type Paper,
  page,
  paint,
  type Tone,
  table,
  wrap,
} from './paper.ts';
import { headFacts, nextSteps } from './run-end.ts';
import { type RunFacts, runFacts, type VmReport } from './run-facts.ts';
import { describeAction, formatInstant, outcomeWords, titleOf } from './words.ts';

/** `full` adds each VM and each step by itself, with what was expected of it. */
export type RunDetail = 'summary' | 'full';

/** `now` only matters for a run that has not ended. */
export function runText(
  run: Run,
  now: Instant,
  paper: Paper,
  journalHash: string | null = null,
  detail: RunDetail = 'summary',
): string {
  const known = runFacts(run, now);
  const lines = [
    `${heading(paper, `${titleOf(run.plan)}`)}: ${paint(paper, outcomeTone(run), run.outcome === null ? 'not ended' : outcomeWords[run.outcome])}`,
  ];
  if (run.summary !== null) lines.push(...wrap(asSentence(clean(run.summary)), paper.width, '  '));
  lines.push('', ...facts(paper, headFacts(run, known, now)));
  if (known.vms.length > 0) lines.push('', ...vmLines(run, known.vms, paper));
  if (known.vms.length > 0 && detail === 'full') lines.push('', ...eachVmLines(known.vms, paper));
  const evidence = evidenceLines(run, paper, journalHash);
  if (evidence.length > 0) lines.push('', ...evidence);
  lines.push('', ...chapterLines(known, paper));
  const slow = detail === 'full' ? eachStepLines(known, paper) : slowestLines(run, paper);
  if (slow.length > 0) lines.push('', ...slow);
  const trouble = troubleLines(run, paper);
  if (trouble.length > 0) lines.push('', ...trouble);
  if (run.plan.expects.leftOut.length > 0) {
    lines.push('', paint(paper, 'warn', heading(paper, 'Left out by the plan')));
    for (const { nameLabel, reason } of run.plan.expects.leftOut) {
      lines.push(...wrap(`${clean(nameLabel)}: ${clean(reason)}`, paper.width, '  - ', '    '));
    }
  }
  if (run.decisions.length > 0) {
    lines.push('', heading(paper, 'Decisions'));
    for (const { at, by, decision, reason } of run.decisions) {
      lines.push(
        ...wrap(
          `${formatInstant(at)} ${clean(by)}: ${decision}, because ${clean(reason)}`,
          paper.width,
          '  - ',
          '    ',
        ),
      );
    }
  }
  lines.push('', heading(paper, 'Next'));
  for (const step of nextSteps(run, known)) lines.push(...wrap(step, paper.width, '  - ', '    '));
  return page(lines);
}

export function outcomeTone(run: Pick<Run, 'outcome'>): Tone {
  if (run.outcome === 'done') return 'good';
  return run.outcome === null || run.outcome === 'done-with-warnings' || run.outcome === 'stopped'
    ? 'warn'
    : 'bad';
}

export const verdictWords: Readonly<Record<VmReport['verdict'], string>> = {
  ready: 'ready',
  running: 'running, not ready',
  imported: 'imported, not started',
  failed: 'FAILED',
  waiting: 'not reached',
};

/** A tier whose VMs are all ready is one line; a VM with a story of its own gets its own line. */
function vmLines(run: Run, vms: readonly VmReport[], paper: Paper): string[] {
  const isExport = run.plan.operation === 'export';
  const good = vms.filter((vm) => vm.verdict === 'ready').length;
  const lines = [
    heading(paper, isExport ? `VMs: ${good} of ${vms.length} saved` : `VMs: ${good} of ${vms.length} ready`),
  ];
  for (const tier of new Set(vms.map((vm) => vm.tier))) {
    const ours = vms.filter((vm) => vm.tier === tier);
    const ready = ours.filter((vm) => vm.verdict === 'ready');
    const last = ready
      .flatMap((vm) => vm.at ?? [])
      .sort()
      .at(-1);
    const when = last === undefined || isExport ? '' : ` after ${formatDuration(secondsSince(run, last))}`;
    const list =
      ready.length === 0
        ? ''
        : `: ${names(
            ready.map((vm) => vm.nameLabel),
            40,
          )}`;
    lines.push(
      ...wrap(
        `${clean(tier)}: ${ready.length} of ${ours.length} ${isExport ? 'saved' : 'ready'}${when}${list}`,
        paper.width,
        `  ${ready.length === ours.length ? paint(paper, 'good', '✓') : paint(paper, 'bad', '✗')} `,
        '    ',
      ),
    );
    for (const vm of ours.filter((each) => each.verdict !== 'ready')) {
      const tone: Tone = vm.verdict === 'failed' ? 'bad' : 'warn';
      const detail = vm.detail === null ? '' : `: ${clean(vm.detail)}`;
      lines.push(
        ...wrap(
          `${clean(vm.nameLabel)} ${paint(paper, tone, verdictWords[vm.verdict])}${detail}`,
          paper.width,
          '      - ',
          '        ',
        ),
      );
    }
  }
  return lines;
}

const secondsSince = (run: Run, at: Instant): number => (Date.parse(at) - Date.parse(run.startedAt)) / 1000;

function chapterLines(known: RunFacts, paper: Paper): string[] {
  return [
    heading(paper, 'Steps'),
    ...table(
      paper,
      ['CHAPTER', 'DONE', 'FAILED', 'TIME'],
      known.chapters.map((chapter) => [
        chapter.name,
        `${chapter.ended} of ${chapter.steps}`,
        chapter.failed === 0 ? '' : String(chapter.failed),
        chapter.seconds === null ? '' : formatDuration(chapter.seconds),
      ]),
      { right: [1, 2, 3] },
    ),
  ];
}

const duration = (seconds: number | null): string => (seconds === null ? '' : formatDuration(seconds));

function eachVmLines(vms: readonly VmReport[], paper: Paper): string[] {
  return [
    heading(paper, 'Each VM'),
    ...table(
      paper,
      ['READY AFTER', 'FORECAST', 'LOSS', 'RESULT', 'VM'],
      vms.map((vm) => [
        duration(vm.readySeconds),
        duration(vm.forecastSeconds),
        duration(vm.lossSeconds),
        verdictWords[vm.verdict],
        clean(vm.nameLabel),
      ]),
      { right: [0, 1, 2] },
    ),
  ];
}

function eachStepLines(known: RunFacts, paper: Paper): string[] {
  return [
    heading(paper, 'Each step'),
    ...table(
      paper,
      ['TOOK', 'FORECAST', 'RESULT', 'STEP'],
      known.steps.map((step) => [
        duration(step.seconds),
        formatDuration(step.forecastSeconds),
        step.status,
        step.what,
      ]),
      { right: [0, 1] },
    ),
  ];
}

/** The steps that took the time, with what was expected of them. */
function slowestLines(run: Run, paper: Paper): string[] {
  const timed = run.plan.steps
    .flatMap((step) => {
      const state = run.steps.get(step.id);
      if (state?.startedAt == null || state.endedAt === null) return [];
      return [{ step, seconds: (Date.parse(state.endedAt) - Date.parse(state.startedAt)) / 1000 }];
    })
    .filter(({ seconds }) => seconds >= 1)
    .sort((a, b) => b.seconds - a.seconds)
    .slice(0, 5);
  if (timed.length === 0) return [];
  return [
    heading(paper, 'Slowest steps'),
    ...table(
      paper,
      ['TOOK', 'FORECAST', 'STEP'],
      timed.map(({ step, seconds }) => [
        formatDuration(seconds),
        formatDuration(step.forecastSeconds),
        describeAction(step.action),
      ]),
      { right: [0, 1] },
    ),
  ];
}

function troubleLines(run: Run, paper: Paper): string[] {
  const lines: string[] = [];
  const failures = run.plan.steps.flatMap((step) => {
    const state = run.steps.get(step.id);
    return state?.problem == null ? [] : [{ step, state, problem: state.problem }];
  });
  if (failures.length > 0) {
    lines.push(paint(paper, 'bad', heading(paper, `What failed: ${count(failures.length, 'step')}`)));
    for (const { step, state, problem } of failures) {
      lines.push(
        `  ${step.id}${state.status === 'unknown' ? ' (outcome unknown)' : ''}: ${describeAction(step.action)}`,
      );
      lines.push(
        ...problemLines([problem], { ...paper, width: paper.width - 4 }).map((line) => `    ${line}`),
      );
    }
  }
  const warned = run.plan.steps.flatMap((step) =>
    (run.steps.get(step.id)?.warnings ?? []).map((warning) => ({ step, warning })),
  );
  if (warned.length > 0) {
    if (lines.length > 0) lines.push('');
    lines.push(paint(paper, 'warn', heading(paper, count(warned.length, 'warning'))));
    for (const { step, warning } of warned) {
      lines.push(...wrap(`${step.id}: ${asSentence(clean(warning))}`, paper.width, '  ! ', '    '));
    }
  }
  const skipped = run.plan.steps.filter((step) => run.steps.get(step.id)?.status === 'skipped');
  if (skipped.length > 0) {
    if (lines.length > 0) lines.push('');
    lines.push(heading(paper, `Skipped: ${count(skipped.length, 'step')}`));
    const byReason = new Map<string, string[]>();
    for (const step of skipped) {
      const given = run.steps.get(step.id)?.reason ?? 'no reason given';
      const reason =
        step.action.do === 'await-ready' ? given.replace(/^needs start-\S+,/, 'needs the start,') : given;
      byReason.set(reason, [...(byReason.get(reason) ?? []), step.id]);
    }
    for (const [reason, ids] of byReason) {
      lines.push(...wrap(`${names(ids, 20)}: ${clean(reason)}`, paper.width, '  - ', '    '));
    }
  }
  return lines;
}
