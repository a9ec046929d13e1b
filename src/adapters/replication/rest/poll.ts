/** Waiting for a job or a state of an array: with growing pauses, a few lost answers forgiven, and an end. */
import { PortError } from '../../../domain/errors.ts';
import type { Clock } from '../../../ports/system.ts';
import { stopped } from './errors.ts';

export interface Waiting {
  readonly endpoint: { readonly array: string; readonly url: string };
  readonly clock: Clock;
  readonly pace: Pace;
  readonly signal: AbortSignal | undefined;
}

export interface Pace {
  readonly firstSeconds: number;
  readonly longestSeconds: number;
  /** Without any progress for so long the wait is over. */
  readonly patienceSeconds: number;
}

export const usualPace: Pace = { firstSeconds: 1, longestSeconds: 10, patienceSeconds: 600 };

const growth = 1.5;
const forgivenInARow = 3;

/**
 * Looks until `done`, and returns what was seen last. Up to three looks in a row may end `unreachable` or `busy`. Throws
 * what `late` makes of the last look when `progress` of it (its JSON where absent) has not changed for
 * `patienceSeconds`.
 */
export async function pollUntil<T>(
  { endpoint, clock, pace, signal }: Waiting,
  wait: {
    look(): Promise<T>;
    done(seen: T): boolean;
    progress?(seen: T): string;
    late(seen: T): PortError;
  },
): Promise<T> {
  const progress = wait.progress ?? ((seen: T) => JSON.stringify(seen) ?? '');
  const look = forgiving(wait.look);
  let pause = pace.firstSeconds;
  let last = { mark: '', since: clock.monotonicSeconds() };
  for (;;) {
    const seen = await look();
    if (seen !== null) {
      if (wait.done(seen.value)) return seen.value;
      const mark = progress(seen.value);
      if (last.mark !== mark) last = { mark, since: clock.monotonicSeconds() };
      else if (clock.monotonicSeconds() - last.since > pace.patienceSeconds) throw wait.late(seen.value);
    }
    await clock.sleep(pause, signal).catch((error: unknown) => {
      throw stopped(endpoint, error);
    });
    pause = Math.min(pause * growth, pace.longestSeconds);
  }
}

/** Null for a look that failed in passing. */
function forgiving<T>(look: () => Promise<T>): () => Promise<{ readonly value: T } | null> {
  let lost = 0;
  return async () => {
    try {
      const value = await look();
      lost = 0;
      return { value };
    } catch (error) {
      lost += 1;
      const passing = error instanceof PortError && (error.kind === 'unreachable' || error.kind === 'busy');
      if (!passing || lost > forgivenInARow) throw error;
      return null;
    }
  };
}
