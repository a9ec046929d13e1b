/** Small ports: clock, chance, journal, state and secrets. */
import type { GroupState, Phase } from '../domain/group.ts';
import type { RunEvent } from '../domain/run.ts';
import type { SecretRef } from '../domain/settings.ts';
import type { Instant } from '../domain/time.ts';

export interface Clock {
  now(): Instant;
  /** Seconds of a clock that never jumps, for durations. */
  monotonicSeconds(): number;
  /** Resolves after so many seconds, or rejects when the signal aborts. */
  sleep(seconds: number, signal?: AbortSignal): Promise<void>;
}

export interface Entropy {
  uuid(): string;
  /** `bytes` random bytes as lower-case hexadecimal. */
  hex(bytes: number): string;
}

/** The journal of one run: append-only, synced before `append` returns, chained by hash, readable with cat. */
export interface Journal {
  append(event: RunEvent): Promise<void>;
  close(): Promise<void>;
}

export interface Journals {
  create(runId: string): Promise<Journal>;
  /** Opens an existing journal for appending, after checking its chain. A torn last line is cut off and told. */
  open(
    runId: string,
  ): Promise<{ readonly journal: Journal; readonly events: readonly RunEvent[]; readonly torn: boolean }>;
  read(runId: string): Promise<readonly RunEvent[]>;
  /** Run ids, newest first. */
  list(): Promise<readonly string[]>;
  pathOf(runId: string): string;
  /** SHA-256 of the last whole line of a journal, after checking the chain: it vouches for every line before it. */
  hashOf(runId: string): Promise<string>;
  /** Lets go of a journal for good; one that is not there is no error. */
  remove(runId: string): Promise<void>;
}

/** Phases, generations and locks of groups: what must be shared when more than one machine runs Lifeboat. */
export interface GroupStates {
  get(group: string): Promise<GroupState | null>;
  all(): Promise<readonly GroupState[]>;
  /** Compare and set on the generation: false when another run was faster. */
  change(group: string, expectedGeneration: number, next: GroupState): Promise<boolean>;
  /**
   * Takes the group's lock for a run. `OperatorError` with exit code 11 when a living process holds it; the error
   * names run, process, since when. A lock of a dead process is taken over.
   */
  lock(group: string, run: string): Promise<GroupLock>;
  /**
   * Stops all automatic work on the group, or allows it again (null). Raises no generation and waits for no lock: a run
   * that is under way goes on. `initial` is the state of a group for which nothing was ever done.
   */
  setFrozen(group: string, frozen: GroupState['frozen'], by: AuditedBy, initial: GroupState): Promise<void>;
  /**
   * Takes the locks of a group from holders on other machines that a person knows to be dead; returns their runs.
   * `OperatorError` with exit code 11 when a holder lives on this machine.
   */
  breakLock(group: string, by: AuditedBy): Promise<readonly string[]>;
  /** What people did to groups beside the runs, newest first; of one group, or of all. */
  audit(group: string | null): Promise<readonly AuditEntry[]>;
  /** Whether a living process carries out this run. True as well when it cannot be seen from here (another machine). */
  isCarriedOut(run: string): Promise<boolean>;
}

/** Who did something beside a run, and why. */
export interface AuditedBy {
  readonly by: string;
  readonly reason: string;
}

export interface AuditEntry extends AuditedBy {
  readonly at: Instant;
  readonly group: string;
  readonly did: 'freeze' | 'unfreeze' | 'break-lock' | 'accept-difference' | 'revoke-acceptance';
  /** One short sentence, such as whose lock it was. */
  readonly detail: string;
}

export interface GroupLock {
  /** Throws when the lock was lost (taken over): checked before every step. */
  assertHeld(): Promise<void>;
  release(): Promise<void>;
}

/** What a person says to a run that another process carries out. The reason lands in the journal with the name. */
export type RunMessage = { readonly by: string; readonly reason: string } & (
  | { readonly says: 'stop' }
  /** The step is to give up waiting; it ends by its own rule for failures. */
  | { readonly says: 'cancel-step'; readonly step: string }
  /** To a question that the step asks: one of the answers that its prompt offers. */
  | { readonly says: 'answer'; readonly step: string; readonly answer: string }
);

export interface PostedMessage {
  readonly id: number;
  readonly at: Instant;
  readonly message: RunMessage;
}

/**
 * The way from one process to the run that another one carries out. A message waits until it is settled, which happens
 * after its content stands in the journal: a crash in between repeats it and never loses it. The executor is the only
 * one that settles; steps find answers among the decisions of their run (`answerOf` of src/execute/decisions.ts).
 */
export interface RunInbox {
  /** Resolves when the message is on the disk. */
  post(run: string, message: RunMessage): Promise<void>;
  /** Oldest first. */
  waiting(run: string): Promise<readonly PostedMessage[]>;
  settle(id: number): Promise<void>;
}

export interface Secrets {
  /** The value; `OperatorError` names where it was looked for, never what was found. */
  resolve(ref: SecretRef): Promise<string>;
}

export type { Phase };
