/** How the groups stand, as one answer to `status` and `check`. Null means that it could not be learned, never zero. */
import type { Finding } from './finding.ts';
import type { GroupState, Phase } from './group.ts';
import type { Gap } from './observation.ts';
import type { Operation } from './plan.ts';
import type { ReplicaPoint } from './replication.ts';
import type { RunOutcome } from './run.ts';
import type { SelfRehearsalBrief } from './self-rehearsal.ts';
import type { Instant } from './time.ts';

export interface StatusReport {
  readonly takenAt: Instant;
  readonly sites: readonly SiteStatus[];
  readonly groups: readonly GroupStatus[];
  readonly gaps: readonly Gap[];
  /** The newest rehearsal of Lifeboat itself; null where there was none, absent where nobody looked. */
  readonly selfRehearsal?: SelfRehearsalBrief | null;
}

export interface SiteStatus {
  readonly site: string;
  readonly title: string;
  readonly reachable: boolean;
  /** Name of the pool when it was reached. */
  readonly pool: string | null;
  readonly hosts: number | null;
  readonly hostsLive: number | null;
  /** Why it was not reached, as a sentence. */
  readonly detail: string | null;
}

export interface GroupStatus {
  readonly group: string;
  readonly production: string;
  readonly recovery: string;
  readonly phase: Phase;
  readonly activeSite: string;
  readonly generation: number;
  readonly frozen: GroupState['frozen'];
  readonly rpoSeconds: number;
  readonly rtoSeconds: number;
  /** Newest good recovery point. */
  readonly point: {
    readonly id: string;
    readonly takenAt: Instant;
    readonly ageSeconds: number;
    readonly vmCount: number;
  } | null;
  readonly replicas: readonly ReplicaStatus[];
  /** What would be lost if production died now: the age of the oldest of the newest replica points. */
  readonly lossSeconds: number | null;
  /** Metadata time minus replica time: positive when the metadata is newer. */
  readonly skewSeconds: number | null;
  /** VMs that the rules of the group take in now; null when production was not reached. */
  readonly vmCount: number | null;
  /** Whether a failover would work now, by the checks of this moment. */
  readonly readiness: Readiness;
  readonly findings: readonly Finding[];
  /** Under way, stuck, or broken off: then no living process carries it out. */
  readonly currentRun: (RunBrief & { readonly brokenOff?: boolean }) | null;
  readonly lastRun: RunBrief | null;
  readonly lastDrill: RunBrief | null;
  /** The newest canary that was brought to an end; absent where there was none. */
  readonly lastCanary?: RunBrief;
}

export type Readiness = 'ready' | 'ready-with-warnings' | 'not-ready' | 'unknown';

export interface ReplicaStatus {
  readonly sr: string;
  readonly point: ReplicaPoint | null;
  readonly ageSeconds: number | null;
  /** State of the replication in a few words: `replicating`, `link down`, or why nothing is known. */
  readonly state: string;
}

export interface RunBrief {
  readonly id: string;
  readonly operation: Operation;
  readonly group: string;
  readonly by: string;
  readonly startedAt: Instant;
  readonly endedAt: Instant | null;
  readonly outcome: RunOutcome | null;
  readonly summary: string | null;
  /** What a canary measured: from the write at the source to its arrival at the replica; the worst of the SRs. */
  readonly measuredLagSeconds?: number;
}

/** Preflight of every operation of some groups, now. */
export interface CheckReport {
  readonly takenAt: Instant;
  readonly groups: readonly {
    readonly group: string;
    readonly operations: readonly {
      readonly operation: Operation;
      readonly findings: readonly Finding[];
      readonly forecastSeconds: number | null;
    }[];
  }[];
  readonly gaps: readonly Gap[];
}
