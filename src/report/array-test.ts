/** The test of an array's adapter, as text. */
import type { ArrayCheck, ArrayTest } from '../domain/array-test.ts';
import { clean, type Paper, page, paint } from './paper.ts';

const signs = { ok: ['good', '✓'], warning: ['warn', '!'], failed: ['bad', '✗'] } as const;

export function arrayTestText({ array, type, checks }: ArrayTest, paper: Paper): string {
  return page([
    `Array ${clean(array)}, type ${clean(type)}: the verbs that only look`,
    ...checks.flatMap((check) => checkLines(check, paper)),
    '',
    closing(checks),
  ]);
}

function checkLines({ verb, outcome, says, problem }: ArrayCheck, paper: Paper): string[] {
  const [tone, sign] = signs[outcome];
  return [
    `  ${paint(paper, tone, sign)} ${clean(verb)}`,
    ...says.map((sentence) => `      ${clean(sentence)}`),
    ...(problem === null
      ? []
      : [
          `      ${clean(problem.what)} [${problem.code}]`,
          ...(problem.known ?? []).map((sentence) => `      ${clean(sentence)}`),
          `      Next: ${clean(problem.next)}`,
        ]),
  ];
}

function closing(checks: readonly ArrayCheck[]): string {
  const failed = checks.filter(({ outcome }) => outcome === 'failed').length;
  if (failed > 0) return `${failed} of ${checks.length} verbs failed. Nothing was changed.`;
  return 'Every verb answered. Nothing was changed.';
}
