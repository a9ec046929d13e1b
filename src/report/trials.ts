/** Trials as text, and the two reports made of them: the rehearsal of Lifeboat itself, and doctor. */
import type { ArrayCheck } from '../domain/array-test.ts';
import type { Doctor } from '../domain/doctor.ts';
import type {
  RehearsedGroup,
  SelfOutcome,
  SelfRehearsal,
  SelfRehearsalBrief,
  TrialSection,
} from '../domain/self-rehearsal.ts';
import { formatDuration, type Instant, secondsBetween } from '../domain/time.ts';
import { findingLines } from './findings.ts';
import { clean, count, facts, heading, names, type Paper, page, paint, wrap } from './paper.ts';
import { formatInstant } from './words.ts';

const signs = { ok: ['good', '✓'], warning: ['warn', '!'], failed: ['bad', '✗'] } as const;

export function trialLines({ verb, outcome, says, problem }: ArrayCheck, paper: Paper): string[] {
  const [tone, sign] = signs[outcome];
  const detail = (text: string): string[] => wrap(clean(text), paper.width, '      ');
  return [
    `  ${paint(paper, tone, sign)} ${clean(verb)}`,
    ...says.flatMap(detail),
    ...(problem === null
      ? []
      : [
          ...detail(`${problem.what} [${problem.code}]`),
          ...(problem.known ?? []).flatMap(detail),
          ...detail(`Next: ${problem.next}`),
        ]),
  ];
}

function sectionLines({ about, checks }: TrialSection, paper: Paper): string[] {
  return ['', heading(paper, clean(about)), ...checks.flatMap((check) => trialLines(check, paper))];
}

const verdicts: Readonly<Record<SelfOutcome, readonly ['good' | 'warn' | 'bad', string]>> = {
  able: ['good', 'Lifeboat could carry out every failover now'],
  'able-with-warnings': ['warn', 'Lifeboat could carry out every failover now, with warnings'],
  unable: ['bad', 'Lifeboat could NOT carry out every failover now'],
};

export function selfRehearsalText(rehearsal: SelfRehearsal, paper: Paper): string {
  const [tone, verdict] = verdicts[rehearsal.outcome];
  return page([
    heading(paper, `Rehearsal of Lifeboat itself, ${formatInstant(rehearsal.takenAt)}`),
    `Production was closed to it: nobody there was asked. It took ${formatDuration(rehearsal.tookSeconds)}.`,
    ...rehearsal.sections.flatMap((section) => sectionLines(section, paper)),
    ...rehearsal.groups.flatMap((group) => groupLines(group, paper)),
    ...(rehearsal.groups.length === 0 ? ['', 'No group is configured: there is nothing to fail over.'] : []),
    '',
    `${paint(paper, tone, verdict)}. Nothing was changed.`,
  ]);
}

const groupWords: Readonly<Record<RehearsedGroup['outcome'], readonly ['good' | 'warn' | 'bad', string]>> = {
  ready: ['good', 'ready'],
  'ready-with-warnings': ['warn', 'ready, with warnings'],
  'not-ready': ['bad', 'NOT ready'],
  moved: ['warn', 'not rehearsed: it has failed over already'],
  busy: ['warn', 'not rehearsed: it is being worked on'],
};

function groupLines(group: RehearsedGroup, paper: Paper): string[] {
  const [tone, words] = groupWords[group.outcome];
  const lost = group.lostSite === null ? '' : `, site ${group.lostSite} lost`;
  const figures: [string, string][] =
    group.steps === 0
      ? []
      : [
          ['Plan', `${count(group.steps, 'step')}, from ${group.pointId ?? 'no point'}`],
          ['Loss', `${durationOr(group.lossSeconds)}; RPO ${formatDuration(group.rpoSeconds)}`],
          ['Takes', `${durationOr(group.forecastSeconds)}; RTO ${formatDuration(group.rtoSeconds)}`],
        ];
  return [
    '',
    heading(paper, `group ${clean(group.group)}${lost}`),
    ...facts(paper, [['Failover', paint(paper, tone, words)], ...figures]),
    ...(group.findings.length === 0 ? [] : ['', ...findingLines(group.findings, paper)]),
  ];
}

const durationOr = (seconds: number | null): string =>
  seconds === null ? 'unknown' : formatDuration(Math.max(0, seconds));

/** One line of `status`. */
export function rehearsalBriefText(brief: SelfRehearsalBrief | null, now: Instant, paper: Paper): string {
  if (brief === null)
    return paint(paper, 'warn', 'never rehearsed: `lifeboat rehearse` proves that it could run');
  const [tone] = verdicts[brief.outcome];
  const ago = `${formatDuration(Math.max(0, secondsBetween(brief.takenAt, now)))} ago`;
  const words = {
    able: `could run every failover, proved ${ago}`,
    'able-with-warnings': `could run every failover, with warnings, proved ${ago}`,
    unable: `could NOT run every failover ${ago}: ${names(brief.against, 4)}`,
  }[brief.outcome];
  return paint(paper, tone, words);
}

export function doctorText({ sections }: Doctor, paper: Paper): string {
  const checks = sections.flatMap((section) => section.checks);
  const failed = checks.filter(({ outcome }) => outcome === 'failed').length;
  const warned = checks.filter(({ outcome }) => outcome === 'warning').length;
  return page([
    heading(paper, 'Doctor: everything that only looks, tried on the real sites'),
    ...sections.flatMap((section) => sectionLines(section, paper)),
    '',
    failed > 0
      ? `${failed} of ${count(checks.length, 'trial')} failed. Nothing was changed.`
      : `${count(checks.length, 'trial')} passed${warned === 0 ? '' : `, ${warned} with a warning`}. Nothing was changed.`,
  ]);
}
