/**
 * The rehearsal of Lifeboat itself: with production closed to it by construction, could this instance carry out every
 * failover now? And what `doctor` finds, which tries in the same words what only looks.
 */
import type { ArrayCheck } from './array-test.ts';
import type { Finding } from './finding.ts';
import type { Instant } from './time.ts';

/** What was tried on one thing: a site, an array, the catalog, the own disk. */
export interface TrialSection {
  /** `site tokyo`, `array filer-b`, `catalog`, `secrets`. */
  readonly about: string;
  readonly checks: readonly ArrayCheck[];
}

export type SelfOutcome = 'able' | 'able-with-warnings' | 'unable';

export interface SelfRehearsal {
  readonly takenAt: Instant;
  /** Of Lifeboat. */
  readonly version: string;
  readonly tookSeconds: number;
  readonly outcome: SelfOutcome;
  readonly sections: readonly TrialSection[];
  readonly groups: readonly RehearsedGroup[];
}

/** A failover of one group, planned and checked while its production site was closed. */
export interface RehearsedGroup {
  readonly group: string;
  /** The site that was taken for lost; null for a group that runs at its recovery site already. */
  readonly lostSite: string | null;
  readonly recovery: string;
  readonly outcome: GroupRehearsalOutcome;
  readonly steps: number;
  readonly pointId: string | null;
  readonly lossSeconds: number | null;
  readonly rpoSeconds: number;
  readonly forecastSeconds: number | null;
  readonly rtoSeconds: number;
  /** Problems and warnings of the checks, and what the plan waits for. */
  readonly findings: readonly Finding[];
}

export type GroupRehearsalOutcome =
  | 'ready'
  | 'ready-with-warnings'
  | 'not-ready'
  /** Nothing to rehearse: it has failed over and is not protected yet. */
  | 'moved'
  /** A run or a drill holds it just now. */
  | 'busy';

export type SelfRehearsalBrief = Pick<SelfRehearsal, 'takenAt' | 'outcome'> & {
  /** Trials that failed and groups that are not ready, each in a few words. */
  readonly against: readonly string[];
};

/** One failed trial or one group that is not ready is enough: at three in the morning there is no second try. */
export function selfOutcomeOf(
  sections: readonly TrialSection[],
  groups: readonly Pick<RehearsedGroup, 'outcome'>[],
): SelfOutcome {
  const trials = sections.flatMap(({ checks }) => checks.map(({ outcome }) => outcome));
  const outcomes = groups.map(({ outcome }) => outcome);
  if (trials.includes('failed') || outcomes.includes('not-ready')) return 'unable';
  const doubtful = outcomes.some((outcome) => outcome === 'ready-with-warnings' || outcome === 'busy');
  return doubtful || trials.includes('warning') ? 'able-with-warnings' : 'able';
}

export function briefOfRehearsal(rehearsal: SelfRehearsal): SelfRehearsalBrief {
  const failed = rehearsal.sections.flatMap(({ about, checks }) =>
    checks.filter(({ outcome }) => outcome === 'failed').map(({ verb }) => `${about}: ${verb}`),
  );
  const unready = rehearsal.groups
    .filter(({ outcome }) => outcome === 'not-ready')
    .map(({ group }) => `group ${group}`);
  return { takenAt: rehearsal.takenAt, outcome: rehearsal.outcome, against: [...failed, ...unready] };
}
