/**
 * Images of the metadata backup's disk (xapi.md 5): private files of this machine, looked into and written without a
 * mount and without root. What comes from a disk is not trusted: sizes are bounded, links in it are never followed, and
 * nothing in it is executed. Every method throws `PortError`.
 */
import type { BackupProvenance } from '../domain/backup-vdi.ts';
import type { Uuid } from '../domain/pool.ts';
import type { Instant } from '../domain/time.ts';
import type { ForeignBackup } from './foreign.ts';

/** A private copy of a disk. Removed by `release`, at the latest when the process ends. */
export interface BackupImage {
  readonly path: string;
  readonly bytes: number;
  /** SHA-256 over all that is not zeros, with its place: equal for equal disks. As it was received or last written. */
  readonly sha256: string;
}

export interface BackupContents {
  /** Text of the marker; null for a file system without one. */
  readonly format: string | null;
  /** Oldest first. */
  readonly dates: readonly BackupDateEntry[];
  /** Dumps of pool databases, the newest generation (0) of each pool first. */
  readonly databases: readonly {
    readonly pool: Uuid;
    readonly generation: number;
    readonly bytes: number;
  }[];
  /** Part of the file system that is used, 0 to 1. */
  readonly usedShare: number;
}

export interface BackupDateEntry {
  readonly name: string;
  /** When its storage names were written, by the clock of who wrote them: a host names dates by its local time. */
  readonly writtenAt: Instant | null;
  /** Documents in `all/`. */
  readonly documents: number;
  /** As `LIFEBOAT.json` says; null where a host's script wrote the date. */
  readonly provenance: BackupProvenance | null;
}

/** What one dated directory holds. */
export interface BackupTree {
  readonly date: string;
  /** SRMETA.xml; null when it is absent. */
  readonly srMeta: Uint8Array | null;
  /** Archives as `/export_metadata` sends them (xapi.md 3.3). */
  readonly documents: readonly { readonly vm: Uuid; readonly archive: Uint8Array }[];
  /** Which VM has a disk on which SR: the links of `by-sr`. */
  readonly links: readonly { readonly sr: Uuid; readonly vm: Uuid }[];
  readonly provenance: BackupProvenance | null;
}

/** What is to be written as a new date. */
export interface BackupToWrite {
  readonly vdi: Uuid;
  readonly pool: Uuid;
  readonly date: string;
  readonly srMeta: Uint8Array;
  readonly documents: readonly {
    readonly vm: Uuid;
    /** SHA-256 of the archive: a document that the disk holds already is linked, and not written again. */
    readonly sha256: string;
    readonly archive: () => Promise<Uint8Array>;
  }[];
  readonly links: readonly { readonly sr: Uuid; readonly vm: Uuid }[];
  readonly provenance: BackupProvenance;
  /** Dump of the pool's database (xapi.md 3.7); null leaves what is there. */
  readonly database: AsyncIterable<Uint8Array> | null;
  /** So many dates of this pool, written by Lifeboat, stay, the new one among them. */
  readonly history: number;
  /** So many dumps of this pool stay, the new one among them. */
  readonly dumps: number;
}

export interface BackupWritten {
  readonly image: BackupImage;
  readonly documentsWritten: number;
  readonly documentsLinked: number;
  readonly bytesNew: number;
  readonly removedDates: readonly string[];
  readonly usedShare: number;
}

/** One stretch of an image that differs from another; offsets and lengths are multiples of 4096. */
export interface Extent {
  readonly offset: number;
  readonly bytes: number;
}

/** The reading half. */
export interface BackupImageReader {
  /** Takes a disk into a private file. Kind `protocol`, code DR-BACKUP-CUT, when it is not `bytes` long. */
  receive(content: AsyncIterable<Uint8Array>, bytes: number, signal?: AbortSignal): Promise<BackupImage>;
  /**
   * What is on it. Kind `refused`: DR-BACKUP-NOT-A-BACKUP for what is no file system or lacks the marker,
   * DR-BACKUP-DAMAGED for one that cannot be repaired on the copy.
   */
  contents(image: BackupImage, signal?: AbortSignal): Promise<BackupContents>;
  /** One date. Kind `refused`, DR-BACKUP-NO-DATE, when it is not there. */
  read(image: BackupImage, date: string, signal?: AbortSignal): Promise<BackupTree>;
  /** A dump of a pool's database, the newest (generation 0) when none is said; null when there is none. */
  readDatabase(
    image: BackupImage,
    pool: Uuid,
    options?: { readonly generation?: number; readonly signal?: AbortSignal },
  ): Promise<AsyncIterable<Uint8Array> | null>;
  /** Removes the file; never throws. */
  release(image: BackupImage): Promise<void>;
}

/** The writing half: every result is checked with e2fsck and compared with what was to be written before it is returned. */
export interface BackupImageWriter {
  /** An empty disk of this size. */
  build(bytes: number, tree: BackupToWrite, signal?: AbortSignal): Promise<BackupWritten>;
  /**
   * Adds a date to a copy of the image. Whatever others wrote stays. Kind `refused`, DR-BACKUP-FULL, when more than
   * `backupFullShare` would be used.
   */
  append(image: BackupImage, tree: BackupToWrite, signal?: AbortSignal): Promise<BackupWritten>;
  /** Where `to` differs from `from`, in the order in which it should be written: what was free in `from` first. */
  changes(from: BackupImage, to: BackupImage, signal?: AbortSignal): Promise<readonly Extent[]>;
  /** `sha256` of a disk that is only looked at. Kind `protocol`, DR-BACKUP-CUT, when it is not `bytes` long. */
  digestOf(content: AsyncIterable<Uint8Array>, bytes: number, signal?: AbortSignal): Promise<string>;
  /** Stretches of an image that are not all zeros. */
  filled(image: BackupImage, signal?: AbortSignal): Promise<readonly Extent[]>;
  /**
   * Keeps, beside the private copies and beyond the end of this process, what these stretches held: a write that breaks
   * off is taken back from it.
   */
  keepUndo(vdi: Uuid, from: BackupImage, extents: readonly Extent[], signal?: AbortSignal): Promise<void>;
  /** The disk as it was before a write that was kept and broke off; null when `image` is no such half-written disk. */
  undone(vdi: Uuid, image: BackupImage, signal?: AbortSignal): Promise<BackupImage | null>;
  /** The write has ended well, or was taken back; never throws. */
  forgetUndo(vdi: Uuid): Promise<void>;
  /** Content of these stretches, in this order, each in pieces of at most 1 MiB. */
  content(image: BackupImage, extents: readonly Extent[]): AsyncIterable<DiskPiece>;
  release(image: BackupImage): Promise<void>;
}

export interface DiskPiece {
  readonly offset: number;
  readonly content: Uint8Array;
}

export type BackupImages = BackupImageReader & BackupImageWriter;

/**
 * One date as the facts and documents of its pool. `database` is the dump that was made with it, null where there is none.
 * Kind `refused`, DR-BACKUP-EMPTY, when nothing of it can be read.
 */
export type ReadBackupFacts = (
  tree: BackupTree,
  database: Uint8Array | null,
  made: ForeignBackup['made'],
) => ForeignBackup;
