/** What an array knows of one volume, and how it refuses. */

import type { Exposed } from '../../domain/replication.ts';
import type { Share } from '../storage/fabric.ts';
import type { LabArray } from './array.ts';
import type { Drill } from './drill.ts';

/** `demoted`: prepared, fenced, or an old source that is to become the replica; hosts may read it. */
export type State = 'standalone' | 'source' | 'demoted' | 'target' | 'promoted';

export interface Point {
  readonly ref: string;
  readonly tag: string | null;
  /** Milliseconds since 1970 on the clock of the array that cut it. */
  readonly takenAt: number;
  complete: boolean;
}

/** What a verb would have thrown away; out of reach of hosts, and never pruned. */
export interface Kept {
  readonly ref: string;
  readonly directory: string;
  readonly takenAt: number;
  readonly why: string;
}

export interface Peer {
  readonly array: LabArray;
  readonly volume: string;
}

export interface Volume {
  readonly name: string;
  readonly directory: string;
  readonly exportPath: string;
  state: State;
  peer: Peer | null;
  /** Points that this array holds, oldest first. The source keeps the record, and the tag, of one whose copy is gone. */
  points: Point[];
  /** The point that it was promoted from. */
  promotedFrom: string | null;
  /** The direction was turned, and no point has arrived since. */
  awaitsFirst: boolean;
  /** Host addresses that may mount it; null for all. */
  admitted: readonly string[] | null;
  /** Host addresses from which it was concealed. */
  readonly concealed: Set<string>;
  intervalSeconds: number | null;
  /** Somebody follows the schedule from this side. */
  scheduled: boolean;
  /** A transfer that runs from here. */
  transfer: { readonly point: Point; readonly over: AbortController; readonly done: Promise<void> } | null;
  promoting: Promise<void> | null;
  /** Why the last transfer failed; null when it did not. */
  lastFailure: string | null;
  readonly kept: Kept[];
  readonly drills: Map<string, Drill>;
  /** Lets the hosts that reach this volume see another share of the array; returns how to take it away. */
  present: (share: Share) => () => void;
  /** How hosts reach what is presented under this path: the volume itself, or a copy for a drill. */
  offer: (exportPath: string) => Exposed;
}

export type RefusalCode = 'not-found' | 'busy' | 'wrong-state' | 'refused' | 'link-down';

/** What an array refuses: `busy` passes, the others do not. */
export class ArrayRefusal extends Error {
  readonly code: RefusalCode;
  constructor(code: RefusalCode, message: string) {
    super(message);
    this.name = 'ArrayRefusal';
    this.code = code;
  }
}

export function refuse(code: RefusalCode, message: string): never {
  throw new ArrayRefusal(code, message);
}

/** The array died in the middle of a verb: whoever asked gets no answer. */
export class ArrayDied extends Error {
  constructor() {
    super('the array died in the middle of its work');
    this.name = 'ArrayDied';
  }
}
