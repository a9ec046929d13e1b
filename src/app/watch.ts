/**
 * Where the watch meets the clock. The daemon looks at the world once per tick and hands the look over; the watch says
 * what changed since the last one, raises and closes alarms, and sends what is to be sent.
 */
import type { DriftReport, LedgerEntry } from '../domain/drift.ts';
import type { Problem } from '../domain/errors.ts';
import type { GroupState } from '../domain/group.ts';
import type { JobStanding } from '../domain/jobs.ts';
import type { Observation } from '../domain/observation.ts';
import type { Readiness, RunBrief, StatusReport } from '../domain/status.ts';
import type { Instant } from '../domain/time.ts';
import type { AuditedBy } from '../ports/system.ts';
import type { AlarmsReport } from '../report/watch.ts';
import type { Context } from './app.ts';
import type { AcceptRequest } from './drift.ts';
import type { ChannelTest } from './notices.ts';

/** One look at everything, shared by all who ask in one tick. */
export interface Tick {
  /** The wall clock at the tick. It may have jumped since the last one, either way. */
  readonly now: Instant;
  /** What status and observation are made of is one and the same look. */
  readonly status: StatusReport;
  readonly observation: Observation;
  /** Of all groups for which something was ever done. */
  readonly states: readonly GroupState[];
  /** Every job of every group; empty where nothing is scheduled. */
  readonly jobs: readonly JobStanding[];
  /** Runs that a crash broke off and that wait for a person: nobody carries them out. */
  readonly interrupted: readonly RunBrief[];
  /** Why the newest configuration was refused; empty while the one on the disk is in force. */
  readonly configProblems: readonly Problem[];
}

/** How things stand after a tick: for logs, metrics and the face of the daemon. */
export interface WatchResult {
  readonly at: Instant;
  readonly groups: readonly {
    readonly group: string;
    readonly readiness: Readiness;
    /** Since when it is so, as far back as the watch remembers. */
    readonly since: Instant;
    /** One sentence for each thing that keeps the group from being ready. */
    readonly because: readonly string[];
  }[];
  readonly alarms: readonly OpenAlarm[];
  /** What changed with this tick. */
  readonly raised: number;
  readonly closed: number;
  /** Notices that wait to be sent. */
  readonly noticesWaiting: number;
}

export interface OpenAlarm {
  /** Stable while the alarm is open. */
  readonly id: string;
  readonly kind: string;
  readonly severity: 'critical' | 'warning';
  /** The groups that it concerns; empty for Lifeboat itself. */
  readonly groups: readonly string[];
  readonly what: string;
  readonly since: Instant;
}

/** What people ask of the watch, and say to it. */
export interface WatchVerbs {
  /** Both sites of every group compared now; what concerns these groups (all for an empty list). */
  drift(request: { readonly groups: readonly string[] }, context?: Context): Promise<DriftReport>;
  /** A role answers for a difference until a day. Throws `DR-DRIFT-UNKNOWN`, `DR-DRIFT-UNTIL` (exit code 2). */
  accept(request: AcceptRequest): Promise<LedgerEntry>;
  revoke(id: string, by: AuditedBy): Promise<LedgerEntry>;
  /** As the newest tick left them; nobody is asked. */
  alarms(): Promise<AlarmsReport>;
  /** Sends the notices that are due; what a channel does not take waits. The tick does it as well. */
  deliver(context?: Context): Promise<void>;
  /** Sends a notice at once, through one channel or each. Unknown ones throw `DR-NOTICE-NO-CHANNEL` (exit code 2). */
  testChannels(channel: string | null, context?: Context): Promise<readonly ChannelTest[]>;
}

/** Called once per tick, never two at a time. What it throws is logged, and the next tick comes all the same. */
export type WatchTick = (tick: Tick, context?: Context) => Promise<WatchResult>;
