/** Decisions of a person that the executor understands: fixed words, so that the journal can be asked for them. */
import type { Run } from '../domain/run.ts';

/** A named person says that a site is lost: what ran there does not run any more. */
export const declareLost = 'declare-lost';

export function lossDeclared(
  decisions: Run['decisions'],
): { readonly by: string; readonly reason: string } | null {
  return decisions.find((decision) => decision.decision === declareLost) ?? null;
}
