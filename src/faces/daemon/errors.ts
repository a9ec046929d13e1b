/** Errors as fields of the log: problems for those who can act upon them, a stack for those who repair Lifeboat. */
import { OperatorError, PortError, type Problem } from '../../domain/errors.ts';
import type { LogFields } from './machine.ts';

export function fieldsOf(error: unknown): LogFields {
  const problems = problemsOf(error);
  if (problems.length > 0) return { problems };
  return error instanceof Error
    ? { defect: `${error.name}: ${error.message}`, stack: error.stack }
    : { defect: String(error) };
}

/** Empty for a defect. */
export function problemsOf(error: unknown): readonly Problem[] {
  if (error instanceof OperatorError) return error.problems;
  if (error instanceof PortError) return [error.problem];
  return [];
}
