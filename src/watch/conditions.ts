/** What is wrong at this moment, and what cannot be known at this moment. */
import type { Assessment } from './alarms.ts';
import { cover } from './covering.ts';
import { nearEndings } from './endings.ts';
import { together, type WatchFacts } from './facts.ts';
import { lostPlaces } from './places.ts';
import { brokenPromises } from './promises.ts';
import { troubledWork } from './work.ts';

export type { WatchedGroup, WatchFacts } from './facts.ts';

export function assess(facts: WatchFacts): Assessment {
  const found = together([lostPlaces(facts), brokenPromises(facts), nearEndings(facts), troubledWork(facts)]);
  const { conditions, covered } = cover(found.conditions, facts);
  return { conditions, covered, unknown: new Set(found.unknown) };
}
