/** Backups that other tools made: files of `xe vm-export`, trees of `xe-backup-metadata`, dumps of a pool's database. */
import type { PoolFacts, TextMap, Uuid } from '../domain/pool.ts';
import type { ForeignKind } from '../domain/recovery-point.ts';
import type { Instant } from '../domain/time.ts';

export interface ForeignBackups {
  /**
   * Reads what lies under these paths as one backup of one pool. A file that cannot be read is a failure of the backup,
   * and not of the call. Throws `OperatorError`: DR-FOREIGN-NOTHING when nothing is a backup, DR-FOREIGN-MIXED when the
   * paths hold backups of several kinds or times, DR-FOREIGN-READ when a path cannot be opened.
   */
  read(paths: readonly string[], signal?: AbortSignal): Promise<ForeignBackup>;
}

export interface ForeignBackup {
  readonly kind: ForeignKind;
  /** The files that it was read from. */
  readonly files: readonly string[];
  /** When it was made, by the name of its directory or, failing that, by the newest of its files. */
  readonly made: { readonly at: Instant; readonly by: 'name' | 'file' | 'lifeboat' };
  /** What the backup tells of its pool; what it does not tell is empty. */
  readonly pool: PoolFacts;
  /** One archive per VM, as `/export_metadata` makes it, without snapshots. */
  readonly documents: ReadonlyMap<Uuid, Uint8Array>;
  /** Files that are no backup of a VM although they should be one. */
  readonly failures: readonly { readonly file: string; readonly reason: string }[];
  /** Passwords of device_config, in clear text, by SR. */
  readonly secretDeviceConfig: ReadonlyMap<Uuid, TextMap>;
  /** The dump itself; null for the other kinds. */
  readonly database: Uint8Array | null;
  /** What a person must know of what was read and of what was not. */
  readonly remarks: readonly string[];
}
