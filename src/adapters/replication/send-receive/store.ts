/**
 * What a filer must be able to do with a volume so that `SendReceiveReplication` can replicate it: look, cut a point,
 * stream it, close and open the volume, go back to a point, copy one for a drill. ZFS and btrfs implement it.
 */
import type { Capabilities, Exposed } from '../../../domain/replication.ts';
import type { Access } from '../../../ports/replication.ts';

/** Written on the volume itself, so that after a crash the array tells what was done (storage.md B.4.3). */
export interface Mark {
  /**
   * target: a replica of ours · prepared: closed before a planned move · promoting: on its way · promoted: writable at
   * the recovery site · demoted: an old source that may be overwritten · fenced: closed without more.
   */
  readonly role: 'target' | 'prepared' | 'promoting' | 'promoted' | 'demoted' | 'fenced';
  /** Ref of the point that the mark is about; null when there is none. */
  readonly point: string | null;
}

export interface StoredPoint {
  /** The same on every filer that holds the point. */
  readonly ref: string;
  readonly name: string;
  readonly tag: string | null;
  readonly takenAtSeconds: number;
  /** Everything of it is here. */
  readonly complete: boolean;
  /** Cut by Lifeboat. Nothing else is ever removed. */
  readonly ours: boolean;
  readonly consistency: 'crash' | 'group';
}

export interface VolumeState {
  readonly volume: string;
  readonly writable: boolean;
  /** In the order in which they came to be on this filer, oldest first. */
  readonly points: readonly StoredPoint[];
  readonly mark: Mark | null;
  /** Points that are gone here and from which a stream can begin all the same (bookmarks), oldest first. */
  readonly remembered?: readonly StoredPoint[];
  /** Nothing is on it but what has been received: no grant to hosts, no snapshot of others, never a sender. */
  readonly asReceived?: boolean;
  /** A stream from or to this volume is under way. */
  readonly transferring: boolean;
  /** Ref of the newest point that is known to have arrived at the other side; null at a target. */
  readonly sent: string | null;
  /** Bytes written since the newest point; null where the filer cannot tell. */
  readonly bytesSinceNewest: number | null;
  /** Evidence, without secrets. */
  readonly raw: Readonly<Record<string, string>>;
}

export interface StoreLook {
  /** The filer's clock, seconds since 1970. */
  readonly clockSeconds: number;
  /** Volumes that are not there are missing. */
  readonly volumes: ReadonlyMap<string, VolumeState>;
}

/** Where a point is to arrive. */
export interface StreamTarget {
  readonly volume: string;
  /** Null when it is not there yet. */
  readonly state: VolumeState | null;
  readonly store: Store;
}

/** One stream of a transfer: a command that sends, and the one that takes it at the other filer. */
export interface Stream {
  readonly send: readonly string[];
  readonly receive: readonly string[];
  /** Where it goes on with what broke off: `check` tells at the sender whether it still can, `abandon` drops it at the receiver. */
  readonly resume?: { readonly check: readonly string[]; readonly abandon: readonly string[] };
}

export interface DrillCopy {
  readonly volume: string;
  readonly drill: string;
  readonly name: string;
  readonly point: string | null;
  readonly madeAtSeconds: number | null;
}

export interface StoreIdentity {
  readonly vendor: string;
  readonly model: string;
  readonly serial: string;
  readonly clockSeconds: number;
}

/** What the verbs need, however points travel. */
export interface VolumeStore {
  /** What this filer can do with these volumes, where that differs from what its kind can do. */
  capable?(volumes: readonly string[], signal?: AbortSignal): Promise<Partial<Capabilities>>;
  identify(signal?: AbortSignal): Promise<StoreIdentity>;
  /** A constant number of commands, however many volumes. */
  look(volumes: readonly string[], signal?: AbortSignal): Promise<StoreLook>;
  /** Every volume that carries a mark of ours. */
  marked(signal?: AbortSignal): Promise<readonly string[]>;
  mark(volume: string, mark: Mark | null): Promise<void>;
  /** From here on nothing is written; hosts lose it. */
  close(volume: string): Promise<void>;
  /** Writable, at its usual place. */
  open(volume: string): Promise<void>;
  /** Whether anything was written since the point, which is the newest; may cut a point of its own and remove it. */
  changedSince(volume: string, point: StoredPoint): Promise<boolean>;
  /** The closed volume becomes what it was at the point. What it was until now is kept beside it. */
  rewind(volume: string, point: StoredPoint): Promise<void>;
  /** Finishes a `rewind` that was broken off; quiet when there is none. */
  finishRewind(volume: string): Promise<void>;
  /** Stops a stream that is arriving for this volume. */
  stopArriving(volume: string): Promise<void>;
  /** A writable copy of a point beside the volume, marked with the drill; returns its name. The one that is there already is kept. */
  copy(volume: string, point: StoredPoint, drill: string): Promise<string>;
  copies(signal?: AbortSignal): Promise<readonly DrillCopy[]>;
  removeCopy(copy: DrillCopy): Promise<void>;
  /** `name` is a volume or a copy. */
  publish(name: string, access: Access): Promise<Exposed>;
  unpublish(name: string, access: Access): Promise<void>;
  /** By which names hosts find it as a LUN, and who is at it now. */
  describe?(name: string, signal?: AbortSignal): Promise<Readonly<Record<string, string>>>;
}

/** A store whose points travel as streams between programs. */
export interface Store extends VolumeStore {
  /** The program that prints the marks of these volumes, and what its output says; other filers run it over the link. */
  marksProgram(volumes: readonly string[]): readonly string[];
  readMarks(stdout: string): ReadonlyMap<string, Mark>;
  /** A point of the volume and all below it, at one moment. */
  cut(volume: string, tag: string): Promise<void>;
  /**
   * What to run here and at the other filer so that `point` arrives there, one after the other; empty when all of it is
   * there. Both exit with 75 when another transfer of the volume is under way, with 76 when the other side has been
   * promoted.
   */
  streams(here: VolumeState, point: StoredPoint, there: StreamTarget): readonly Stream[];
  /**
   * After an arrival: keeps this point, the newest common one, from being destroyed, lets go of the one before it, and
   * removes old points of ours. `sent` is remembered at the sending side.
   */
  settle(state: VolumeState, point: StoredPoint, side: 'sender' | 'receiver'): Promise<void>;
}
