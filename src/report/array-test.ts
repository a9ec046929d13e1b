/** The test of an array's adapter, as text. */
import type { ArrayCheck, ArrayTest } from '../domain/array-test.ts';
import { clean, type Paper, page } from './paper.ts';
import { trialLines } from './trials.ts';

export function arrayTestText({ array, type, checks }: ArrayTest, paper: Paper): string {
  return page([
    `Array ${clean(array)}, type ${clean(type)}: the verbs that only look`,
    ...checks.flatMap((check) => trialLines(check, paper)),
    '',
    closing(checks),
  ]);
}

function closing(checks: readonly ArrayCheck[]): string {
  const failed = checks.filter(({ outcome }) => outcome === 'failed').length;
  if (failed > 0) return `${failed} of ${checks.length} verbs failed. Nothing was changed.`;
  return 'Every verb answered. Nothing was changed.';
}
