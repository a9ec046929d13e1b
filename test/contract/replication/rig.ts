/**
 * What an adapter's tests must build so that the contract of `Replication` can be tried on it: a pair of volumes on two
 * arrays, hosts that read and write, and as many ways to break it as there are. The suite asks for a rig per case and
 * expects a fresh pair each time: `source` replicates to `target`, nothing is promoted, no drill is open. A point may be
 * there already.
 */
import type { Exposed, ReplicaPoint } from '../../../src/domain/replication.ts';
import type { Access, Replication } from '../../../src/ports/replication.ts';

export type Side = 'source' | 'target';

/** Verbs whose answer can be lost, or that can end half done. */
export type Verb =
  | 'syncNow'
  | 'prepare'
  | 'unprepare'
  | 'promote'
  | 'demote'
  | 'reverse'
  | 'restore'
  | 'expose'
  | 'conceal'
  | 'drillStart'
  | 'drillStop'
  | 'fence';

/** Where a host looks: at the volume of a side, or at what a verb of that side has exposed. */
export interface Place {
  readonly side: Side;
  /** What `expose` or `drillStart` returned; null: the volume as the rig's own host of that side has it. */
  readonly exposed: Exposed | null;
  /** `host`: one that `hosts` names. `stranger`: one that it does not name. */
  readonly as: 'host' | 'stranger';
}

/** What the suite would like to do to the arrays. One that is left out must be explained to the suite. */
export interface Mishaps {
  /** The replication link; both sides still answer us. A transfer under way breaks off. */
  cutLink(): Promise<void>;
  mendLink(): Promise<void>;
  /** The array and its site go dark; what it holds survives. */
  powerOff(side: Side): Promise<void>;
  powerOn(side: Side): Promise<void>;
  /** Transfers that start from now on stay under way until the returned function is called. */
  holdTransfers(): Promise<() => Promise<void>>;
  /** The next call of this verb has its effect; its answer is lost. */
  loseAnswer(side: Side, verb: Verb): Promise<void>;
  /** The next call of this verb dies between two of its steps: the first has its effect, the last has not. */
  dieHalfway(side: Side, verb: 'promote' | 'reverse' | 'drillStart' | 'prepare'): Promise<void>;
  /** From now on the array claims health and no lag, whatever is true. */
  lie(side: Side): Promise<void>;
  /** The clock of the array is off by so many seconds. */
  skewClock(side: Side, seconds: number): Promise<void>;
  /** Requests that this array has received: HTTP requests, SSH commands, whatever costs a round trip. */
  roundTrips(side: Side): Promise<number>;
  /** Bytes that transfers of this pair have carried so far, in both directions. */
  bytesCarried(): Promise<number>;
  /** Makes many more pairs beside this one and returns their volumes at the target; at least 20. */
  crowd(): Promise<readonly string[]>;
  /** What a `demote` or `reverse` with `discard` has put aside at that side; null when there is no such file in it. */
  readKept(side: Side, file: string): Promise<string | null>;
  /** The same array with a wrong password, token or key. */
  wrongCredentials(side: Side): Promise<Replication>;
  /** The same array with another certificate or host key pinned than it shows. */
  wrongTrust(side: Side): Promise<Replication>;
}

export interface Rig extends Partial<Mishaps> {
  readonly source: Replication;
  readonly target: Replication;
  /** The volume on each side, as the adapter is told it. */
  readonly volumes: Readonly<Record<Side, string>>;
  /** Hosts of a side, for `expose` and `drillStart`. */
  hosts(side: Side): Access;
  /** A text file in the volume; a rig over block devices keeps each name at a place of its own. Null: no such file. Rejects when the place cannot be reached. */
  read(place: Place, file: string): Promise<string | null>;
  /** Durable when it returns. Rejects when the place cannot be reached or is read-only. */
  write(place: Place, file: string, text: string): Promise<void>;
  /** A second instance of the adapter for that side, which remembers nothing. The rig closes it. */
  reopen(side: Side): Promise<Replication>;
  /** The array carries a point by itself; only asked for where `syncNow` is not among the capabilities. Returns once it has arrived. */
  replicate?(): Promise<ReplicaPoint>;
  /** Two fresh pairs in one consistency group of their arrays, with the same adapters; where the capabilities claim groups. */
  together?(): Promise<readonly [Rig, Rig]>;
  /** Longest time from an effect to its being seen. Generous: it only ends a test that has failed. */
  readonly patienceSeconds: number;
  /** True when the old source, back again and in reach, says `split` itself. */
  readonly reportsSplit: boolean;
  /** Texts that must not occur in any error: passwords, tokens, keys. */
  readonly secrets: readonly string[];
}

/** @param teardown - run when the case has ended; the rig closes its adapters there */
export type OpenRig = (teardown: (work: () => Promise<void> | void) => void) => Promise<Rig>;
