/** What could not be seen, in the words of the error that hid it. */
import { type Problem, problemOf } from '../domain/errors.ts';

/** The sentence of an error; a defect keeps its text, so that nothing is hidden behind a gap. */
export function gapOf(error: unknown, what: string): Problem {
  const problem = problemOf(error);
  if (problem !== null) return problem;
  return {
    code: 'DR-DEFECT',
    what,
    known: [error instanceof Error ? error.message : String(error)],
    next: 'Report this as a defect of Lifeboat, with the sentence above.',
  };
}
