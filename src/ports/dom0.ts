/**
 * Programs of a host's control domain, over SSH (xapi.md 5.7). A pool needs it only for what XenAPI cannot do. Throws
 * `PortError`: DR-DOM0-UNSET where the settings have no login for the host; else those of SSH.
 */
import type { Uuid } from '../domain/pool.ts';

/** A host as XenAPI knows it: the settings name it by any of these. */
export interface Dom0Host {
  readonly uuid: Uuid;
  readonly nameLabel: string;
  readonly address: string;
}

export interface BackupScriptRun {
  readonly sr: Uuid;
  /** `-k`: so many dated directories stay, whoever wrote them. */
  readonly keep: number;
  readonly timeoutSeconds: number;
}

export interface ScriptEnd {
  /** Null when a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface BackupJob {
  readonly path: string;
  readonly period: 'daily' | 'weekly' | 'monthly';
}

export interface Dom0 {
  /** Whether the settings have logins for the hosts of this site. */
  knows(site: string): boolean;
  /**
   * `xe-backup-metadata -c -u SR -k N` to its end. Kind `outcome-unknown` when the connection broke or the time was over:
   * it may still be running, and its disk attached.
   */
  backupMetadata(
    site: string,
    host: Dom0Host,
    run: BackupScriptRun,
    signal?: AbortSignal,
  ): Promise<ScriptEnd>;
  /** Links that make cron of this host run the script (xapi.md 5.7). */
  backupJobs(site: string, host: Dom0Host, signal?: AbortSignal): Promise<readonly BackupJob[]>;
  close(): Promise<void>;
}
