/** What `doctor` found: every verb that only looks, tried on the real pools, arrays and catalog. */
import type { TrialSection } from './self-rehearsal.ts';
import type { Instant } from './time.ts';

export interface Doctor {
  readonly takenAt: Instant;
  readonly sections: readonly TrialSection[];
}
