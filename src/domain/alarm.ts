/** Alarms: what is wrong now, told when it begins, from time to time while it lasts, and when it is over. */
import type { Instant } from './time.ts';

export type Severity = 'critical' | 'warning';

export type AlarmKind =
  /** No host of a pool answers. */
  | 'site-lost'
  /** An array answers nobody. */
  | 'array-lost'
  /** A password, key or certificate is refused. */
  | 'credential'
  /** One target of the catalog cannot be read, or nothing of it. */
  | 'catalog'
  /** No new recovery point: the export failed, or none was made in time. */
  | 'export'
  /** What is to be done on a schedule failed, or was not done. */
  | 'job'
  | 'rpo'
  | 'skew'
  | 'readiness'
  | 'drill'
  /** A certificate, licence or password is about to end. */
  | 'expiry'
  /** The disk with the metadata backup was not written. */
  | 'metadata-backup'
  /** A site that was given up answers again. */
  | 'site-returned'
  /** A run is stuck, or broke off and nobody goes on with it. */
  | 'run'
  /** A new configuration was refused. */
  | 'config'
  /** Lifeboat itself could not act if production were gone. */
  | 'rehearsal'
  /** Notices do not arrive. */
  | 'channel';

/** What is wrong at this moment, by the facts of one look. */
export interface Condition {
  /** What makes it the same alarm the next time: `rpo:shop`. */
  readonly key: string;
  readonly kind: AlarmKind;
  readonly severity: Severity;
  /** Groups that it concerns; empty for Lifeboat itself. */
  readonly groups: readonly string[];
  readonly what: string;
  readonly evidence: readonly string[];
  readonly next: string;
}

export interface Alarm extends Condition {
  /** Such as `rpo-4f1c2a`; another one when the same trouble comes back later. */
  readonly id: string;
  readonly raisedAt: Instant;
  /** When people were last told of it. */
  readonly toldAt: Instant;
  /** How often they were reminded. */
  readonly reminders: number;
  /** Since when it is over; it is closed when it has been over for a while, so that what flutters is told once. */
  readonly overSince: Instant | null;
  readonly closedAt: Instant | null;
}

export type AlarmEvent = 'raised' | 'worsened' | 'reminded' | 'closed';

/** What people have to be told. */
export interface AlarmNews {
  readonly event: AlarmEvent;
  readonly alarm: Alarm;
}
