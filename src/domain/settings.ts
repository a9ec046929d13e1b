/**
 * What sites.yaml and runbooks/*.yaml say, after reading: defaults filled in, units in seconds, references checked.
 * The planners see these values and never a file.
 */
import type { Calendar } from './calendar.ts';
import type { JobKind } from './jobs.ts';
import type { AlarmSettings, NoticeSettings } from './notice-settings.ts';
import type { RecoveryPlanSettings } from './recovery-plan.ts';
import type { ScopeRules } from './scope-rules.ts';

export type { ReadinessGate, RecoveryPlanSettings, TierSettings } from './recovery-plan.ts';
export type { ScopeMatch, ScopeRules } from './scope-rules.ts';

/** Where a secret comes from; the value itself is fetched when it is needed and kept in memory only. */
export type SecretRef =
  | { readonly from: 'env'; readonly name: string }
  | { readonly from: 'file'; readonly path: string }
  | { readonly from: 'command'; readonly argv: readonly string[] }
  | { readonly from: 'store'; readonly name: string };

export interface PoolSettings {
  /** Addresses of the hosts of the pool, in the order in which they are tried. */
  readonly hosts: readonly HostAddress[];
  readonly username: string;
  readonly password: SecretRef;
  /** Expected pool uuid; null until the first contact is confirmed in sites.yaml. */
  readonly poolUuid: string | null;
  /** A CA file in PEM, for pools whose certificates are signed. */
  readonly caFile: string | null;
  /** `auto` asks the server; `xmlrpc` and `jsonrpc` are for diagnosis. */
  readonly transport: 'auto' | 'xmlrpc' | 'jsonrpc';
  /** At most this many requests at once (performance.md 8: never more than 4). */
  readonly maxRequests: number;
  /** TLS 1.0 and old ciphers are accepted: hosts up to XenServer 6.5 speak nothing else (xapi.md 1.7). */
  readonly oldTls?: true;
  /** Logins to the control domains; absent where nothing needs them. */
  readonly ssh?: PoolSshSettings;
}

export interface PoolSshSettings {
  readonly username: string;
  readonly privateKeyFile: string | null;
  /** Passphrase of the key where there is one, else the password. */
  readonly password: SecretRef | null;
  readonly hosts: readonly PoolSshHost[];
}

export interface PoolSshHost {
  /** Name label, uuid or address of the host, as XenAPI has it. */
  readonly host: string;
  /** Where SSH answers; the host's own address when null. */
  readonly address: string | null;
  readonly port: number;
  /** Base64 SHA-256 of the host key, as `ssh-keygen -lf` prints it, without `SHA256:`. */
  readonly hostKey: string;
}

export interface HostAddress {
  /** `https://name[:port]`, without a path. */
  readonly url: string;
  /** SHA-256 of the certificate, 64 hexadecimal digits in lower case; null when a CA is used. */
  readonly fingerprint: string | null;
}

export interface ArraySettings {
  readonly name: string;
  readonly site: string;
  readonly type: string;
  /** Adapter-specific settings, checked by the adapter's own schema. */
  readonly options: Readonly<Record<string, string | number | boolean | readonly string[]>>;
  readonly secret: SecretRef | null;
}

export interface SiteSettings {
  readonly name: string;
  /** Shown to people beside the name. */
  readonly title: string;
  readonly pool: PoolSettings;
}

/** A volume as sites.yaml names it. */
export interface VolumeSettings {
  readonly array: string;
  /** The array's own name of the volume. */
  readonly volume: string;
  /** The array's own name of the consistency group that it belongs to: its volumes are kept at one moment. */
  readonly consistencyGroup?: string;
}

/** One replicated SR of a group: the volume that carries it on each side. */
export interface ReplicatedSr {
  /** SR by uuid or by name label at the production site. */
  readonly sr: string;
  readonly source: VolumeSettings;
  readonly target: VolumeSettings;
}

export interface GroupSettings {
  readonly name: string;
  readonly production: string;
  readonly recovery: string;
  readonly scope: ScopeRules;
  readonly storage: readonly ReplicatedSr[];
  readonly rpoSeconds: number;
  readonly rtoSeconds: number;
  readonly networks: readonly NetworkMapping[];
  readonly plan: RecoveryPlanSettings;
  readonly retention: RetentionSettings;
  /** Absent where no metadata travels with the storage. */
  readonly metadataBackup?: MetadataBackupSettings;
}

/** The Pool Metadata Backup VDI on each replicated SR (docs/metadata-backup.md). */
export interface MetadataBackupSettings {
  readonly method: 'xenapi' | 'host-script';
  /** Written with the first export after so long. */
  readonly everySeconds: number;
  /** So many dates stay. */
  readonly history: number;
  /** So many dumps of the pool's database stay; 0 writes none. */
  readonly dumps: number;
  /** Of a disk that has to be made. */
  readonly bytes: number;
}

/** Production network name → recovery network name, for a failover and for a drill. */
export interface NetworkMapping {
  readonly production: string;
  readonly recovery: string;
  /** Isolated network of the recovery pool. */
  readonly drill: string | null;
  /** Isolated network of the production pool: for drills there, once the sites have changed places. */
  readonly drillAtProduction: string | null;
}

/** How many recovery points of each kind are kept. The last good point is always kept. */
export interface RetentionSettings {
  readonly last: number;
  readonly hourly: number;
  readonly daily: number;
  readonly weekly: number;
  readonly monthly: number;
  readonly yearly: number;
  /** Points older than this go even when a count would keep them; null keeps them. */
  readonly maxAgeSeconds: number | null;
}

export type CatalogTargetSettings =
  | {
      readonly type: 'directory';
      readonly name: string;
      /** Where it stands; absent where nobody has said so. */
      readonly site?: string;
      readonly path: string;
    }
  | {
      readonly type: 'sftp';
      readonly name: string;
      readonly site?: string;
      readonly host: string;
      readonly port: number;
      readonly username: string;
      readonly path: string;
      /** Base64 SHA-256 of the host key, as `ssh-keygen -lf` prints it, without `SHA256:`. */
      readonly hostKey: string;
      readonly privateKeyFile: string | null;
      readonly password: SecretRef | null;
    };

export interface CatalogSettings {
  readonly targets: readonly CatalogTargetSettings[];
  readonly encryption: { readonly keyFile: string } | { readonly passphrase: SecretRef };
}

/** One job on the clock. */
export interface JobSettings {
  readonly job: JobKind;
  /** Null for a job of Lifeboat itself. */
  readonly group: string | null;
  readonly calendar: Calendar;
  /** Whether a turn that was missed is made up for, once, as soon as possible. */
  readonly catchUp: boolean;
}

export interface DaemonSettings {
  /** How often the world is looked at between the jobs. */
  readonly watchEverySeconds: number;
  /** At most so many jobs at once that ask the same pool. */
  readonly jobsPerPool: number;
  /** Jobs of one minute begin spread over so many seconds. */
  readonly spreadSeconds: number;
  /** How long a daemon that is told to stop waits for exports and verifications that are under way. */
  readonly finishWithinSeconds: number;
  /** How long the journals of exports and verifications are kept. */
  readonly keepJournalsSeconds: number;
  readonly reportsDirectory: string;
  /** Where metrics and health are shown; absent: nowhere. */
  readonly listen?: { readonly host: string; readonly port: number };
  readonly jobs: readonly JobSettings[];
}

export interface Settings {
  readonly file: string;
  /** SHA-256 of the canonical settings; a plan carries it and is refused when it changed. */
  readonly digest: string;
  /** Directory for journals, locks and state. */
  readonly stateDirectory: string;
  readonly sites: readonly SiteSettings[];
  readonly arrays: readonly ArraySettings[];
  readonly groups: readonly GroupSettings[];
  readonly catalog: CatalogSettings;
  /** What is done on a clock; absent where settings do not come from a file. */
  readonly daemon?: DaemonSettings;
  /** When something is wrong; `defaultAlarms` where absent. */
  readonly alarms?: AlarmSettings;
  /** Who hears of it; nobody where absent. */
  readonly notices?: NoticeSettings;
  /** Encrypted secret store, beside the state. */
  readonly secretsFile: string;
}
