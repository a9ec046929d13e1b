/**
 * The machine on which this instance lives, as the rehearsal of Lifeboat itself asks it. Errors are `OperatorError` or
 * `PortError`.
 */
import type { SelfRehearsal } from '../domain/self-rehearsal.ts';
import type { Settings } from '../domain/settings.ts';
import type { Catalog } from './catalog.ts';
import type { Hypervisor } from './hypervisor.ts';
import type { Replication } from './replication.ts';
import type { Secrets } from './system.ts';

export interface Home {
  /** What runs the program: `Node 24.21.0`. */
  readonly runtime: string;
  readonly secrets: Secrets;
  /** Reads and checks sites.yaml and everything it names again, as the next start would. */
  readSettings(): Promise<Settings>;
  /**
   * Everything outside opened once more, as a new process with these settings would: no session and no key of the running
   * one is used, and what the settings do not name cannot be reached.
   */
  openAnew(settings: Settings): Outside;
  /** Of the file system that holds this path, or the nearest directory above it that exists. */
  space(path: string): Promise<Space>;
  /** Writes, syncs, reads back and removes a small file there; makes the directory when it is missing. */
  tryWriting(directory: string): Promise<void>;
  rehearsals(): Promise<Rehearsals>;
}

/** Pools, arrays and catalog, contacted at the first call on each. */
export interface Outside {
  hypervisor(site: string): Promise<Hypervisor>;
  array(name: string): Promise<Replication>;
  catalog(): Promise<Catalog>;
  /** Logs out everywhere; never throws. */
  close(): Promise<void>;
}

export interface Space {
  readonly freeBytes: number;
  readonly totalBytes: number;
  /** Files that can still be made; null where the file system does not count them. */
  readonly freeFiles: number | null;
}

/** What the rehearsals of Lifeboat itself found. Old ones are let go. */
export interface Rehearsals {
  save(rehearsal: SelfRehearsal): Promise<void>;
  newest(): Promise<SelfRehearsal | null>;
}
