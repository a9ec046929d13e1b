/** Findings and problems as text: problems first, each with its evidence, the VMs that it touches, and the next step. */
import { describePlace, type Problem } from '../domain/errors.ts';
import { type Finding, sortFindings } from '../domain/finding.ts';
import type { Gap } from '../domain/observation.ts';
import { asSentence, clean, count, heading, names, type Paper, paint, wrap } from './paper.ts';

/** Findings that say the same of one VM after the other become one that names all of them. JSON keeps them apart. */
export function foldFindings(findings: readonly Finding[]): Finding[] {
  const groups = new Map<string, Finding[]>();
  for (const finding of sortFindings(findings)) {
    const { severity, code, about, vms, name, what, next } = finding;
    const foldable = about === 'vm' && vms.length === 1 && (vms[0] === name || mentions(what, vms[0] ?? ''));
    const key = foldable
      ? [severity, code, withoutName(what, vms[0] ?? ''), withoutName(next, vms[0] ?? '')].join('\n')
      : `${groups.size}`;
    groups.set(key, [...(groups.get(key) ?? []), finding]);
  }
  return [...groups.values()].flatMap((alike) => {
    const [first, second] = alike;
    if (first === undefined || second === undefined) return alike;
    const name = first.vms[0] ?? '';
    const vms = [...new Set(alike.flatMap((finding) => finding.vms))];
    const common = first.evidence.filter((line) => alike.every((finding) => finding.evidence.includes(line)));
    const [before = '', ...after] = withoutName(first.what, name).split(blank);
    const everyone = `each of ${count(vms.length, 'VM')}`;
    return [
      {
        ...first,
        name: vms.join(', '),
        what: `${before.replace(/VM $/, '')}${everyone}${after.join('the VM')}`,
        evidence: common,
        vms,
        next: withoutName(first.next, name).replaceAll(`VM ${blank}`, 'the VM').replaceAll(blank, 'the VM'),
      },
    ];
  });
}

const blank = '\u0000';
const nameIn = (name: string): RegExp =>
  new RegExp(`(?<![\\w.-])${name.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')}(?![\\w-])`, 'g');
const mentions = (text: string, name: string): boolean => name !== '' && nameIn(name).test(text);
const withoutName = (text: string, name: string): string =>
  name === '' ? text : text.replace(nameIn(name), blank);

export function findingLines(findings: readonly Finding[], paper: Paper): string[] {
  if (findings.length === 0) return [];
  const sorted = foldFindings(findings);
  const problems = sorted.filter((finding) => finding.severity === 'problem');
  const warnings = sorted.filter((finding) => finding.severity === 'warning');
  const lines: string[] = [];
  if (problems.length > 0) {
    lines.push(paint(paper, 'bad', heading(paper, count(problems.length, 'problem'))));
    for (const finding of problems) lines.push(...oneFinding(finding, paper));
  }
  if (warnings.length > 0) {
    if (lines.length > 0) lines.push('');
    lines.push(paint(paper, 'warn', heading(paper, count(warnings.length, 'warning'))));
    for (const finding of warnings) lines.push(...oneFinding(finding, paper));
  }
  return lines;
}

function oneFinding(finding: Finding, paper: Paper): string[] {
  const mark = finding.severity === 'problem' ? paint(paper, 'bad', '✗') : paint(paper, 'warn', '!');
  const details = [
    ...finding.evidence.map((evidence) => clean(evidence)),
    ...(finding.vms.length > 0 ? [`VMs: ${names(finding.vms)}`] : []),
  ];
  return [
    ...wrap(`${asSentence(clean(finding.what))} [${finding.code}]`, paper.width, `  ${mark} `, '    '),
    ...details.flatMap((detail) => wrap(detail, paper.width, '    - ', '      ')),
    ...nextLines(finding.next, paper),
  ];
}

function nextLines(next: string, paper: Paper): string[] {
  return next === '' ? [] : wrap(`Next: ${asSentence(next)}`, paper.width, '    ');
}

/** An error for a person: what, what we know, what next; without a stack trace. */
export function problemLines(problems: readonly Problem[], paper: Paper): string[] {
  return problems.flatMap((problem) => {
    const place = describePlace(problem.where);
    const what = asSentence(clean(problem.what));
    // A place in a file stands first and whole, so that editors and terminals can jump there.
    const said = `${place === '' ? what : `${place}: ${what}`} [${problem.code}]`;
    return [
      ...wrap(said, paper.width, `${paint(paper, 'bad', '✗')} `, '  '),
      ...(problem.known ?? []).flatMap((known) => wrap(clean(known), paper.width, '  - ', '    ')),
      ...(problem.next === '' ? [] : wrap(`Next: ${asSentence(problem.next)}`, paper.width, '  ')),
    ];
  });
}

/** What could not be seen: a gap is never an absence. */
export function gapLines(gaps: readonly Gap[], paper: Paper): string[] {
  if (gaps.length === 0) return [];
  return [
    paint(paper, 'warn', heading(paper, `Not seen: ${count(gaps.length, 'source')}`)),
    ...gaps.flatMap((gap) => [
      ...wrap(
        `${clean(gap.source)}: ${asSentence(clean(gap.problem.what))} [${gap.problem.code}]`,
        paper.width,
        '  - ',
        '    ',
      ),
      ...(gap.problem.known ?? []).flatMap((known) => wrap(clean(known), paper.width, '    - ', '      ')),
      ...nextLines(gap.problem.next, paper),
    ]),
  ];
}
