/**
 * The printable runbook of a group: the plans of the day, each behind the command that carries it out, and the
 * operator's procedures for what stands in their way. For the folder in the machine room, so that it needs nothing else.
 */
import type { ErrorCode, Problem } from '../domain/errors.ts';
import type { Operation } from '../domain/plan.ts';
import type { Instant } from '../domain/time.ts';
import { problemLines } from './findings.ts';
import { htmlPage, text as markup } from './html.ts';
import { count, facts, heading, type Paper, page, paint, plainPaper, wrap } from './paper.ts';
import { type PlanOnPaper, planText } from './plan.ts';
import { formatInstant, operationWords } from './words.ts';

export interface Runbook {
  readonly group: string;
  readonly at: Instant;
  readonly version: string;
  readonly production: string;
  readonly recovery: string;
  readonly chapters: readonly RunbookChapter[];
  /** Files of `runbooks/`. */
  readonly procedures: readonly Procedure[];
}

export interface RunbookChapter {
  readonly operation: Operation;
  /** Null when no plan could be made; `problems` say why. */
  readonly planned: PlanOnPaper | null;
  readonly problems: readonly Problem[];
}

export interface Procedure {
  readonly file: string;
  readonly text: string;
}

const occasions: Partial<Readonly<Record<Operation, string>>> = {
  failover: 'The production site is lost, or given up by a person who says so.',
  migrate: 'The group is to move on purpose, without losing anything.',
  failback: 'The group is to go home, without losing anything.',
  reprotect: 'The lost site is back: protect the group in the other direction.',
  drill: 'Prove it, without touching production.',
};

export function runbookText(runbook: Runbook, paper: Paper): string {
  const lines = [heading(paper, `Runbook of group ${runbook.group}`), ...facts(paper, headOf(runbook))];
  for (const [index, chapter] of runbook.chapters.entries()) {
    lines.push('', '', heading(paper, titleOf(chapter, index)));
    lines.push(...facts(paper, chapterFacts(runbook, chapter)), '');
    lines.push(...bodyOf(chapter, paper));
    const found = proceduresFor(chapter, runbook.procedures);
    if (found.length > 0) lines.push('', heading(paper, 'Procedures for what stands in its way'));
    for (const { code, file } of found) lines.push(`  ${paint(paper, 'warn', code)}  ${file}`);
  }
  lines.push('', '', heading(paper, 'When something goes wrong'));
  for (const sentence of whenItGoesWrong) lines.push(...wrap(sentence, paper.width, '  - ', '    '));
  lines.push('', heading(paper, 'Procedures by symptom'));
  lines.push(...facts(paper, contentsOf(runbook.procedures)));
  return page(lines);
}

export function runbookHtml(runbook: Runbook): string {
  const list = (rows: readonly (readonly [string, string])[]): string =>
    `<dl>${rows.map(([label, value]) => `<dt>${markup(label)}</dt><dd>${markup(value)}</dd>`).join('\n')}</dl>`;
  const chapters = runbook.chapters.map((chapter, index) => {
    const found = proceduresFor(chapter, runbook.procedures);
    return [
      `<h2 class="chapter">${markup(titleOf(chapter, index))}</h2>`,
      list(chapterFacts(runbook, chapter)),
      `<pre>${bodyOf(chapter, plainPaper).map(markup).join('\n')}</pre>`,
      found.length === 0
        ? ''
        : `<h3>Procedures for what stands in its way</h3>${list(found.map(({ code, file }) => [code, file]))}`,
    ].join('\n');
  });
  const title = `Runbook of group ${runbook.group}`;
  return htmlPage(
    title,
    [
      `<h1>${markup(title)}</h1>`,
      list(headOf(runbook)),
      ...chapters,
      '<h2 class="chapter">When something goes wrong</h2>',
      `<ul>${whenItGoesWrong.map((sentence) => `<li>${markup(sentence)}</li>`).join('\n')}</ul>`,
      '<h2>Procedures by symptom</h2>',
      list(contentsOf(runbook.procedures)),
    ].join('\n'),
  );
}

const whenItGoesWrong = [
  'Every error ends with a code such as [DR-POOL-PASSWORD]. Look it up below: the file says what it means and what to do.',
  'Ctrl-C stops in an orderly way. `lifeboat run resume latest` goes on, also after a crash; nothing is done twice.',
  'Exit code 12 or "stuck": a person must look and answer. `lifeboat run show latest` shows the question.',
  'Without Lifeboat: the rescue bundle (`lifeboat bundle DIRECTORY`) holds the documents, and its README says how to import them.',
];

function headOf(runbook: Runbook): [string, string][] {
  return [
    ['Printed', `${formatInstant(runbook.at)}, Lifeboat ${runbook.version}`],
    ['From', `site ${runbook.production}, where the VMs run, to site ${runbook.recovery}`],
    [
      'Good for',
      'today: each command works its plan out anew from what it sees, and shows it before it asks. Print this anew after changes.',
    ],
  ];
}

function titleOf({ operation }: RunbookChapter, index: number): string {
  return `${index + 1}. ${operationWords[operation]}`;
}

function chapterFacts({ group }: Runbook, { operation }: RunbookChapter): [string, string][] {
  const when = occasions[operation];
  return [
    ...(when === undefined ? [] : [['When', when] as [string, string]]),
    ['Look first', `lifeboat plan ${operation} ${group}`],
    ['Do it', `lifeboat ${operation} ${group}`],
  ];
}

/** Lines without an end. */
function bodyOf({ planned, problems }: RunbookChapter, paper: Paper): string[] {
  if (planned !== null) return planText(planned, paper).trimEnd().split('\n');
  return ['No plan can be made now:', ...problemLines(problems, paper)];
}

/** Where the codes of a chapter's problems and warnings are explained, each once. */
function proceduresFor(
  { planned, problems }: RunbookChapter,
  procedures: readonly Procedure[],
): { readonly code: ErrorCode; readonly file: string }[] {
  const codes = [...(planned?.findings ?? []), ...problems].map(({ code }) => code);
  return [...new Set(codes)].flatMap((code) => {
    const found = procedures.find(({ text }) => headings(text).some((line) => wordsOf(line).includes(code)));
    return found === undefined ? [] : [{ code, file: `runbooks/${found.file}` }];
  });
}

function contentsOf(procedures: readonly Procedure[]): [string, string][] {
  return procedures.map(({ file, text }) => {
    const lines = headings(text);
    const codes = lines.filter((line) => /DR-[A-Z]/.test(line)).length;
    const title = (lines[0] ?? file).replace(/^#+ */, '');
    return [`runbooks/${file}`, codes === 0 ? title : `${title} (${count(codes, 'code')})`];
  });
}

const headings = (text: string): string[] => text.split('\n').filter((line) => line.startsWith('#'));
const wordsOf = (line: string): string[] => line.match(/DR-[A-Z0-9-]+/g) ?? [];
