/**
 * The verbs, as the faces see them: one function per verb, plain arguments, plain answers. Everything that a person can
 * do something about is thrown as `OperatorError` or `PortError`; anything else that escapes is a defect.
 */
import type { BackupWish } from '../domain/actions/recover.ts';
import type { ArrayTest } from '../domain/array-test.ts';
import type { CatalogListing, PruneResult, VerifyResult } from '../domain/catalog.ts';
import type { Doctor } from '../domain/doctor.ts';
import type { ErrorCode, ExitCode, Problem } from '../domain/errors.ts';
import type { Finding } from '../domain/finding.ts';
import type { ForeignImport } from '../domain/foreign-import.ts';
import type { GroupState } from '../domain/group.ts';
import type { Observation } from '../domain/observation.ts';
import type { Plan } from '../domain/plan.ts';
import type { ObjectRef, RecoveryPoint } from '../domain/recovery-point.ts';
import type { Run, RunEvent } from '../domain/run.ts';
import type { ScopePreview } from '../domain/scope.ts';
import type { SelfRehearsal } from '../domain/self-rehearsal.ts';
import type { RetentionSettings, Settings } from '../domain/settings.ts';
import type { CheckReport, RunBrief, StatusReport } from '../domain/status.ts';
import type { Setup } from '../ports/setup.ts';
import type { AuditEntry, AuditedBy, RunMessage } from '../ports/system.ts';
import type { ForeignRequest } from './foreign.ts';
import type { XeFiles, XeRequest } from './foreign-xe.ts';
import type { ReadRunNews } from './run-news.ts';
import type { ClockVerbs } from './schedules.ts';
import type { Tick, WatchTick, WatchVerbs } from './watch.ts';

/** What the program offers before a configuration is read. */
export interface Programme {
  readonly version: string;
  /** Reads and checks the files, offline. `OperatorError` (exit code 2) with every problem at once. */
  validate(configFile: string): Promise<Settings>;
  /** Opens the application; contacts nobody and resolves no secret until a verb needs it. */
  open(configFile: string): Promise<App>;
  /** The operator's procedures that come with the program: the files of `runbooks/`, by name. */
  procedures?(): Promise<readonly { readonly file: string; readonly text: string }[]>;
  /** What `init` asks, for settings that will stand in this file. */
  setup(configFile: string): Setup;
  /** `lifeboat lab …`: the words after `lab`, as typed. */
  lab(
    words: readonly string[],
    options: { readonly json: boolean; readonly signal: AbortSignal },
  ): Promise<ExitCode>;
}

/** Every long-running verb takes these: how to stop it, and where to say what it is doing. */
export interface Context {
  readonly signal?: AbortSignal;
  /** One short sentence in the present tense, such as "Looking at site tokyo". */
  readonly onProgress?: (sentence: string) => void;
}

export interface App {
  readonly settings: Settings;

  /** An empty list of groups means all groups. Unknown names throw `DR-GROUP-UNKNOWN` (exit code 2). */
  status(request: { readonly groups: readonly string[] }, context?: Context): Promise<StatusReport>;
  check(request: { readonly groups: readonly string[] }, context?: Context): Promise<CheckReport>;
  /** Who is in, who is out and why, and which VMs of the pool nobody protects. */
  preview(request: { readonly group: string }, context?: Context): Promise<ScopePreview>;

  /** Observes, plans and checks; changes nothing. Findings are data here: only what hinders the planning itself throws. */
  plan(request: PlanRequest, context?: Context): Promise<PlannedRun>;
  /**
   * Executes exactly this plan: takes the lock, looks again whether plan, settings and generation are still current, and
   * refuses problems (exit code 10). Resolves with the run whatever its outcome; throws only when no run was started.
   * An aborted signal ends the run as `stopped`: the step under way is awaited or marked unknown, and it can be resumed.
   */
  run(planned: PlannedRun | FiledPlan, options: RunOptions): Promise<Run>;
  /** The plan as a value that can be put aside in a file, and be run from there. */
  filed(planned: PlannedRun): FiledPlan;
  /**
   * The plan of a file's text; `file` is its name. Throws when it was changed, made with other settings, for an older
   * generation, or rests on a look that is older than an hour (unless `acceptAge`).
   */
  openPlanFile(
    text: string,
    file: string,
    options: { readonly acceptAge: AuditedBy | null },
  ): Promise<FiledPlan>;

  /** Tries every verb of an array that only looks. Unknown names throw `DR-ARRAY-UNKNOWN` (exit code 2). */
  testArray(array: string, context?: Context): Promise<ArrayTest>;

  /** Tries everything that only looks on the real pools, arrays and catalog. Changes nothing. */
  doctor(context?: Context): Promise<Doctor>;
  /** Could this instance carry out every failover now, with production lost? Changes nothing; the result is kept. */
  rehearseSelf(context?: Context): Promise<SelfRehearsal>;

  /** Stops all automatic work on a group, and remembers who, when and why. */
  freeze(group: string, by: AuditedBy): Promise<GroupState>;
  unfreeze(group: string, by: AuditedBy): Promise<GroupState>;
  /**
   * Stops the drill of a group that another process carries out, and waits for its end: an emergency comes first. Returns
   * its run; null when none is under way. What it made stays, until a failover or `drill cleanup` takes it away.
   */
  stopDrill(group: string, by: AuditedBy, signal?: AbortSignal): Promise<string | null>;
  /** Takes the lock of a group from a holder on another machine; returns the runs that held it. */
  breakLock(group: string, by: AuditedBy): Promise<readonly string[]>;
  /** What people did to the groups beside the runs, newest first. */
  audit(request: { readonly group: string | null }): Promise<readonly AuditEntry[]>;

  readonly runs: {
    /** Newest first; of one group, or of all. */
    list(request: { readonly group: string | null }): Promise<readonly RunBrief[]>;
    /** `latest` names the newest run. Unknown ids throw `DR-RUN-UNKNOWN` (exit code 2). */
    read(runId: string): Promise<Run>;
    /** Calls `onEvent` for every event so far and each new one; resolves when the run has ended or nobody runs it. */
    follow(
      runId: string,
      options: { readonly onEvent: (event: RunEvent) => void; readonly signal?: AbortSignal },
    ): Promise<Run>;
    /** Goes on with a run that crashed, was stopped, or is stuck; `answers` settle the questions of stuck steps. */
    resume(
      runId: string,
      options: RunOptions & {
        readonly answers: readonly Answer[];
        /** What a person takes upon them now and had not before: `declare-lost`, `force-shutdown`. */
        readonly decisions?: readonly Decision[];
      },
    ): Promise<Run>;
    /** Gives a run up: its group leaves the phase of the run; nothing is undone. */
    abandon(runId: string, options: { readonly by: string; readonly reason: string }): Promise<Run>;
    /**
     * Takes back what a run has changed before its first point of no return. Throws after one (`DR-UNDO-TOO-LATE`), and
     * for a run that has ended well.
     */
    undo(runId: string, options: RunOptions & { readonly reason: string }): Promise<Run>;
    /**
     * Says something to a run that another process carries out; resolves when it stands in the journal. Throws when
     * nobody carries it out (`DR-RUN-IDLE`); an answer is kept for the next one who does.
     */
    tell(runId: string, message: RunMessage, signal?: AbortSignal): Promise<void>;
    /** A reader of what happens in runs from now on, whoever carries them out; for metrics. */
    news(): ReadRunNews;
    /** Path of the journal, for people who want to read it with cat. */
    journalPath(runId: string): string;
    /** SHA-256 of the journal's last line, which vouches for all of it; for reports that somebody may doubt. */
    journalHash(runId: string): Promise<string>;
  };

  readonly catalog: CatalogVerbs;

  /** The catalog and the world without Lifeboat: backups of other tools become points, points become files for `xe`. */
  readonly foreign: ForeignVerbs;

  /** What is done on a clock. */
  readonly schedules: ClockVerbs;
  /** One look at everything, for a tick of the daemon. */
  look(request: { readonly configProblems: readonly Problem[] }, context?: Context): Promise<Tick>;
  /** Says what changed since the last tick; absent where nobody watches. */
  readonly watch?: WatchTick;
  /** Differences, alarms, and who hears of them. */
  readonly watching: WatchVerbs;

  readonly secrets: {
    list(): Promise<readonly string[]>;
    set(name: string, value: string): Promise<void>;
    /** False when there was no such secret. */
    remove(name: string): Promise<boolean>;
  };

  /** Logs out, closes connections, releases locks; never throws. */
  close(): Promise<void>;
}

export interface ForeignVerbs {
  /** A recovery point from files of `xe vm-export`, a tree of `xe-backup-metadata`, or a dump of the database. */
  import(request: ForeignRequest, context?: Context): Promise<ForeignImport>;
  /** VMs of a recovery point as the numbered files of `xe vm-export --multiple`, with a script on request. */
  forXe(request: XeRequest, signal?: AbortSignal): Promise<XeFiles>;
}

/** The part of the catalog port that people use directly; the port itself satisfies it. */
export interface CatalogVerbs {
  list(group: string | null, signal?: AbortSignal): Promise<CatalogListing>;
  read(pointId: string, signal?: AbortSignal): Promise<RecoveryPoint>;
  get(object: ObjectRef, signal?: AbortSignal): Promise<Uint8Array>;
  verify(
    options: {
      readonly group?: string;
      readonly pointId?: string;
      readonly onProgress?: (done: number, total: number) => void;
    },
    signal?: AbortSignal,
  ): Promise<VerifyResult>;
  prune(
    group: string,
    rules: RetentionSettings,
    options: { readonly dryRun: boolean },
    signal?: AbortSignal,
  ): Promise<PruneResult>;
}

export type PlanRequest =
  | {
      readonly operation: 'export';
      readonly group: string;
      /** Fetches every document, changed or not. */
      readonly everything?: boolean;
    }
  | {
      readonly operation: 'verify';
      readonly group: string;
      /** Asks for a new point of every replica, however young the newest is. */
      readonly sync?: boolean;
      /** Reads every byte of every recovery point, and not of the newest alone. */
      readonly deep?: boolean;
    }
  | {
      readonly operation: 'migrate';
      readonly group: string;
      readonly decisions: readonly Decision[];
    }
  | {
      /** A migration in the other direction, once the sites have changed places. */
      readonly operation: 'failback';
      readonly group: string;
      readonly decisions: readonly Decision[];
    }
  | {
      readonly operation: 'reprotect';
      readonly group: string;
      readonly decisions: readonly Decision[];
      /** Only puts the copies of the site that is back away; nothing of the storage is touched. */
      readonly quarantineOnly: boolean;
    }
  | {
      readonly operation: 'failover';
      readonly group: string;
      /** A recovery point by id; null chooses the newest that fits the replica. */
      readonly pointId: string | null;
      /** Only these VMs are started, by name or uuid; all of them when absent. */
      readonly vms?: readonly string[];
      readonly decisions: readonly Decision[];
    }
  | {
      readonly operation: 'drill';
      readonly group: string;
      readonly pointId: string | null;
      /** Only these VMs of the point, by name or uuid; all of them when empty. */
      readonly vms: readonly string[];
      /** The copies stay until a clean-up of their own. */
      readonly keep: boolean;
      readonly decisions: readonly Decision[];
    }
  | { readonly operation: 'drill-cleanup'; readonly group: string }
  | { readonly operation: 'canary'; readonly group: string; readonly decisions: readonly Decision[] }
  | {
      /** Reads the metadata backup that travelled with the storage, and keeps it as recovery points. */
      readonly operation: 'recover-metadata';
      readonly group: string;
      readonly wish: BackupWish;
      readonly decisions: readonly Decision[];
    };

/** What a named person takes upon them; it lands in the journal, and turns the matching problem into a warning. */
export interface Decision {
  readonly decision: /** The production site is lost or given up, whatever still answers there (invariant 1). */
    | 'declare-lost'
    /** The replica is older than the RPO, and that is accepted (invariant 2). */
    | 'accept-loss'
    /** Guests that do not shut down by themselves are switched off. */
    | 'force-shutdown'
    /** Copies that run at the old site are stopped. */
    | 'stop-old'
    /** What the old site alone holds is thrown away. */
    | 'discard-changes'
    /** The plan of a file is older than it may be, and that is accepted. */
    | 'accept-age'
    /** A problem of this code is known and accepted; checks are overridden by name and never skipped. */
    | `override ${ErrorCode}`;
  readonly by: string;
  readonly reason: string;
}

/** A plan with everything that a person needs to say yes or no. */
export interface PlannedRun {
  /** The catalog has nothing of the group: its metadata has to be recovered from the storage before. */
  readonly lacksMetadata?: boolean;
  readonly plan: Plan;
  /** SHA-256 of the canonical plan. */
  readonly digest: string;
  readonly findings: readonly Finding[];
  readonly observation: Observation;
  readonly decisions: readonly Decision[];
  /** What must be typed before it runs: the name of the site that it changes. Null for operations that change nothing. */
  readonly confirm: {
    readonly site: string;
    readonly title: string;
    readonly pool: string;
    /** The other site, where that one is changed too. */
    readonly alsoChanges?: string;
  } | null;
}

/** A plan that was put aside in a file: what running it needs, under one seal. */
export interface FiledPlan
  extends Pick<PlannedRun, 'plan' | 'digest' | 'findings' | 'decisions' | 'confirm'> {
  readonly planFile: 1;
  /** Sites that did not answer when the plan was made. */
  readonly silentSites: readonly string[];
  /** SHA-256 over all the rest. */
  readonly seal: string;
}

/** What a person says about a stuck step: do it again, or take it as settled by hand. */
export interface Answer {
  readonly step: string;
  readonly answer: 'retry' | 'skip';
  readonly reason: string;
}

export interface RunOptions {
  readonly by: string;
  readonly onEvent: (event: RunEvent) => void;
  readonly signal?: AbortSignal;
  /** Nobody asked for it by hand: a schedule did. A frozen group refuses it, and a stuck one whatever takes its place. */
  readonly automatic?: boolean;
}
