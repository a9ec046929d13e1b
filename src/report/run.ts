/** A run as a report: what came of it, loss against RPO, time against RTO, per VM and chapter, and what to do next. */
import type { Run } from '../domain/run.ts';
import { formatDuration, type Instant } from '../domain/time.ts';
import { afterDrill, evidenceLines } from './evidence.ts';
import { problemLines } from './findings.ts';
import { lossOfMove } from './moving-words.ts';
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
import { type RunFacts, runFacts, type VmReport } from './run-facts.ts';
import {
  describeAction,
  formatInstant,
  operationWords,
  outcomeWords,
  sitesOf,
  speaksOfRecovery,
} from './words.ts';

/** `now` only matters for a run that has not ended. */
export function runText(run: Run, now: Instant, paper: Paper, journalHash: string | null = null): string {
  const known = runFacts(run, now);
  const lines = [
    `${heading(paper, `${operationWords[run.plan.operation]} of group ${run.plan.group}`)}: ${paint(paper, outcomeTone(run), run.outcome === null ? 'not ended' : outcomeWords[run.outcome])}`,
  ];
  if (run.summary !== null) lines.push(...wrap(asSentence(clean(run.summary)), paper.width, '  '));
  lines.push('', ...facts(paper, headFacts(run, known)));
  if (run.plan.expects.tiers.length > 0) lines.push('', ...vmLines(run, known.vms, paper));
  const evidence = evidenceLines(run, paper, journalHash);
  if (evidence.length > 0) lines.push('', ...evidence);
  lines.push('', ...chapterLines(known, paper));
  const slow = slowestLines(run, paper);
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

/** Label and text of the head of the report; shared with the HTML page. */
export function headFacts(run: Run, known: RunFacts): [string, string][] {
  const { plan } = run;
  const { expects } = plan;
  const rows: [string, string][] = [
    ['Run', `${run.id}, started by ${clean(run.by)}`],
    ['Started', formatInstant(run.startedAt)],
  ];
  if (run.endedAt !== null) rows.push(['Ended', formatInstant(run.endedAt)]);
  if (speaksOfRecovery(plan.operation)) {
    if (expects.pointId !== null && expects.metadataTakenAt !== null) {
      rows.push([
        'Recovery point',
        `${expects.pointId}, metadata of ${formatInstant(expects.metadataTakenAt)}`,
      ]);
    }
    if (plan.operation !== 'reprotect') {
      rows.push([
        'Loss',
        plan.operation === 'drill' || plan.operation === 'verify'
          ? `none; a disaster would have cost ${lossFact(run)}`
          : lossFact(run),
      ]);
      if (plan.operation !== 'verify') rows.push(['Recovery time', recoveryFact(run, known)]);
    }
  } else if (expects.pointId !== null) {
    rows.push(['Recovery point', expects.pointId]);
  }
  rows.push([
    'Duration',
    `${formatDuration(known.elapsedSeconds)}${run.endedAt === null ? ' so far' : ''}; the forecast was ${formatDuration(expects.forecastSeconds)}`,
  ]);
  return rows;
}

function lossFact(run: Run): string {
  const ofMove = lossOfMove(run);
  if (ofMove !== null) return ofMove;
  const { lossSeconds, rpoSeconds } = run.plan.expects;
  const rpo = formatDuration(rpoSeconds);
  if (lossSeconds === null) return `unknown; the RPO is ${rpo}`;
  const loss = formatDuration(Math.max(0, lossSeconds));
  return lossSeconds > rpoSeconds
    ? `${loss} of data: MORE than the RPO of ${rpo}`
    : `${loss} of data, within the RPO of ${rpo}`;
}

function recoveryFact(run: Run, known: RunFacts): string {
  const { rtoSeconds } = run.plan.expects;
  const rto = formatDuration(rtoSeconds);
  if (known.recoverySeconds === null) {
    const ready = known.vms.filter((vm) => vm.verdict === 'ready').length;
    return `not reached: ${ready} of ${count(known.vms.length, 'VM')} ready; the RTO is ${rto}`;
  }
  const time = formatDuration(known.recoverySeconds);
  return known.recoverySeconds > rtoSeconds
    ? `all VMs ready after ${time}: MORE than the RTO of ${rto}`
    : `all VMs ready after ${time}, within the RTO of ${rto}`;
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
  for (const tier of run.plan.expects.tiers) {
    const ours = vms.filter((vm) => vm.tier === tier.name);
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
        `${clean(tier.name)}: ${ready.length} of ${ours.length} ${isExport ? 'saved' : 'ready'}${when}${list}`,
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

/** What a person does now, in order of weight. */
export function nextSteps(run: Run, known: RunFacts): string[] {
  const { plan } = run;
  const { from, to } = sitesOf(plan);
  const drilled = afterDrill(run);
  if (drilled !== null) return drilled;
  switch (run.outcome) {
    case null:
      return [
        `Watch it: lifeboat run follow ${run.id}. If nobody carries it out any more: lifeboat run resume ${run.id}`,
      ];
    case 'stopped':
      return [`Go on: lifeboat run resume ${run.id}. Everything done so far is kept.`];
    case 'stuck': {
      const asked = [...run.steps].find(
        ([, state]) => state.status === 'unknown' || state.problem?.code === 'DR-RUN-STUCK',
      );
      const step = asked === undefined ? 'STEP' : asked[0];
      return [
        `Look at the world, then answer: lifeboat run resume ${run.id} --retry ${step} --reason "…" does the step again; --skip ${step} takes it as settled by hand.`,
        `Or give the run up: lifeboat run abandon ${run.id} --reason "…"`,
      ];
    }
    case 'failed':
      if (plan.operation === 'export')
        return [`Put right what failed (above), then export anew: lifeboat export ${plan.group}`];
      if (plan.operation === 'verify')
        return [
          'A promise does not hold now. Put right what failed (above).',
          `Then verify anew: lifeboat verify ${plan.group}`,
        ];
      return [
        'Put right what failed (above).',
        `Then go on: lifeboat run resume ${run.id}; what is done is not done again.`,
      ];
    case 'abandoned':
      return [`See how the group stands: lifeboat status ${plan.group}. Nothing was undone.`];
    case 'undone':
      return [`See how the group stands: lifeboat status ${plan.group}. A new plan may be made.`];
    case 'done':
    case 'done-with-warnings':
      break;
  }
  if (plan.operation === 'verify' && run.outcome === 'done-with-warnings')
    return ['Every promise holds now. Read the warnings above: each may break one.'];
  if (plan.operation === 'export' || plan.operation === 'verify') {
    return run.outcome === 'done'
      ? [`Nothing. See how the group stands: lifeboat status ${plan.group}`]
      : ['Read the warnings above: what they name would be missing or different after a failover.'];
  }
  const steps: string[] = [];
  if (known.vms.some((vm) => vm.verdict !== 'ready'))
    steps.push(
      `Look after the VMs that are not ready (above). What was left undone is tried again by: lifeboat run resume ${run.id}`,
    );
  steps.push('Check the applications themselves, and tell their users how much was lost.');
  if (from !== null) {
    steps.push(
      `Keep site ${from} off the network until it has been looked at: its copies of these VMs must not start beside those at ${to ?? 'the recovery site'}.`,
    );
  }
  steps.push(`Nothing protects the group at its new site yet: lifeboat status ${plan.group}`);
  return steps;
}
