/** What an error of an act means for the next move: try again, look at the world, or take it as an answer. */
import { OperatorError, PortError, type Problem } from '../domain/errors.ts';

export type Meaning =
  /** Nothing was done: safe to try again. */
  | 'transient'
  /** Perhaps it was done: only the world can tell. */
  | 'unknown'
  /** It was refused, for a reason that trying again does not change. */
  | 'refused';

export interface Failure {
  readonly meaning: Meaning;
  readonly problem: Problem;
  /** The world was looked at afterwards and shows no effect. */
  readonly seenUndone?: boolean;
}

/** `interrupted`: our own deadline, or a person, aborted the act while it ran. */
export function failureOf(error: unknown, interrupted: Problem | null): Failure {
  if (error instanceof PortError) {
    switch (error.kind) {
      case 'unreachable':
      case 'busy':
        return {
          meaning: interrupted === null ? 'transient' : 'refused',
          problem: interrupted ?? error.problem,
        };
      case 'refused':
      case 'auth':
      case 'trust':
        return { meaning: 'refused', problem: error.problem };
      case 'outcome-unknown':
      case 'protocol':
      case 'cancelled':
        return { meaning: 'unknown', problem: interrupted ?? error.problem };
    }
  }
  if (error instanceof OperatorError) return { meaning: 'refused', problem: firstProblem(error) };
  if (interrupted !== null) return { meaning: 'unknown', problem: interrupted };
  return {
    meaning: 'unknown',
    problem: {
      code: 'DR-DEFECT',
      what: 'The program made a mistake of its own',
      known: [error instanceof Error ? `${error.name}: ${error.message}` : String(error)],
      next: 'Keep the journal, report the mistake, and look at the world before you resume the run',
    },
  };
}

function firstProblem(error: OperatorError): Problem {
  const [first, ...others] = error.problems;
  if (first === undefined)
    return { code: 'DR-UNKNOWN', what: error.message, next: 'Look at the journal of the run' };
  if (others.length === 0) return first;
  return { ...first, known: [...(first.known ?? []), ...others.map((other) => other.what)] };
}
