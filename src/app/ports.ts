/** What the application is given: settings, and ports that open on first use. */
import type { Settings } from '../domain/settings.ts';
import type { BackupImageReader, BackupImages, ReadBackupFacts } from '../ports/backup-vdi.ts';
import type { Catalog } from '../ports/catalog.ts';
import type { Dom0 } from '../ports/dom0.ts';
import type { ForeignBackups } from '../ports/foreign.ts';
import type { ProbeHttp, RunInGuest, RunProgram } from '../ports/guests.ts';
import type { Home } from '../ports/home.ts';
import type { Hypervisor } from '../ports/hypervisor.ts';
import type { Replication } from '../ports/replication.ts';
import type { Clockwork } from '../ports/schedule.ts';
import type { Clock, Entropy, GroupStates, Journals, RunInbox } from '../ports/system.ts';
import type { Watching } from '../ports/watch.ts';

export interface AppPorts {
  readonly settings: Settings;
  readonly version: string;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly journals: Journals;
  /** Opened on first use: `status` must work while another process holds everything else. */
  states(): Promise<GroupStates>;
  /** Beside the states: messages to runs that other processes carry out. */
  inbox(): Promise<RunInbox>;
  /** Nobody is contacted before the first call on what is returned. */
  hypervisor(site: string): Promise<Hypervisor>;
  array(name: string): Promise<Replication>;
  catalog(): Promise<Catalog>;
  /** For what is done on a clock. */
  readonly clockwork: Clockwork;
  /** Backups of other tools, as files. */
  readonly foreign: ForeignBackups;
  /** Metadata backups on storage, read here; absent where nothing is recovered from them. */
  readonly metadataBackups?: {
    readonly images: BackupImageReader;
    readonly factsOf: ReadBackupFacts;
  };
  /** Images of metadata backups, for those who write them; absent where none are written. */
  readonly backupImages?: BackupImages;
  /** Control domains of the hosts; absent where none are reached. */
  readonly dom0?: Dom0;
  readonly secretStore: {
    list(): Promise<readonly string[]>;
    set(name: string, value: string): Promise<void>;
    remove(name: string): Promise<boolean>;
  };
  /** Whether something answers at this address and port: the TCP readiness gate. */
  probeTcp(address: string, port: number, signal?: AbortSignal): Promise<boolean>;
  readonly probeHttp: ProbeHttp;
  readonly runInGuest: RunInGuest;
  /** Callouts of recovery plans. */
  readonly runProgram: RunProgram;
  /** The machine below: for the rehearsal of Lifeboat itself, and `doctor`. */
  readonly home: Home;
  /** What the watch remembers, and the channels of its notices. */
  readonly watching: Watching;
  close(): Promise<void>;
}
