/** What the watch judges: one look at everything, with what is known beside it. */
import type { AlarmKind, Condition } from '../domain/alarm.ts';
import type { Problem } from '../domain/errors.ts';
import type { GroupState } from '../domain/group.ts';
import type { JobKind, JobStanding } from '../domain/jobs.ts';
import type { ChannelStanding } from '../domain/notice.ts';
import type { AlarmSettings } from '../domain/notice-settings.ts';
import type { Observation } from '../domain/observation.ts';
import type { SelfRehearsal } from '../domain/self-rehearsal.ts';
import type { GroupSettings } from '../domain/settings.ts';
import type { GroupStatus, RunBrief } from '../domain/status.ts';
import type { Instant } from '../domain/time.ts';
import type { ReadinessView } from './readiness.ts';

export interface WatchedGroup {
  /** As it is oriented now. */
  readonly group: GroupSettings;
  readonly state: GroupState | null;
  readonly status: GroupStatus;
  readonly view: ReadinessView;
}

export interface WatchFacts {
  readonly now: Instant;
  readonly limits: AlarmSettings;
  readonly observation: Observation;
  readonly groups: readonly WatchedGroup[];
  /** Site of each array. */
  readonly arrays: ReadonlyMap<string, string>;
  /** Fingerprints that the settings pin, by site. */
  readonly pins: ReadonlyMap<string, readonly string[]>;
  readonly jobs: readonly JobStanding[];
  readonly interrupted: readonly RunBrief[];
  readonly configProblems: readonly Problem[];
  /** The newest rehearsal of Lifeboat itself; null before any. */
  readonly rehearsal: SelfRehearsal | null;
  readonly channels: readonly ChannelStanding[];
}

/** Conditions of one family, and the keys of those about which nothing can be said. */
export interface Found {
  readonly conditions: readonly Condition[];
  readonly unknown: readonly string[];
}

export const none: Found = { conditions: [], unknown: [] };

export function together(parts: readonly Found[]): Found {
  return {
    conditions: parts.flatMap(({ conditions }) => conditions),
    unknown: parts.flatMap(({ unknown }) => unknown),
  };
}

export const wrong = (
  kind: AlarmKind,
  key: string,
  rest: Omit<Condition, 'kind' | 'key' | 'evidence'> & { readonly evidence?: readonly string[] },
): Found => ({ conditions: [{ kind, key, evidence: [], ...rest }], unknown: [] });

export const notKnown = (...keys: readonly string[]): Found => ({ conditions: [], unknown: keys });

export function jobOf(
  { jobs }: Pick<WatchFacts, 'jobs'>,
  job: JobKind,
  group: string | null,
): JobStanding | null {
  return jobs.find((standing) => standing.job === job && standing.group === group) ?? null;
}

/** A group on its way between the sites is judged again when it has arrived; its run speaks for it until then. */
export function isOnItsWay({ state }: Pick<WatchedGroup, 'state'>): boolean {
  return state !== null && ['migrating', 'failing-over', 'reprotecting'].includes(state.phase);
}

/** Whether exports and replication are what protects it: before any export, and after a failover, nothing does. */
export function isProtected({ status }: Pick<WatchedGroup, 'status'>): boolean {
  return status.phase === 'protected' || status.phase === 'drilling';
}
