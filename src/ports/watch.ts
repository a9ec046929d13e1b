/** What the watch remembers between two looks, and how notices leave the house. */
import type { Alarm } from '../domain/alarm.ts';
import type { LedgerEntry } from '../domain/drift.ts';
import type { ChannelStanding, Notice, QueuedNotice } from '../domain/notice.ts';
import type { ChannelSettings } from '../domain/notice-settings.ts';
import type { Readiness } from '../domain/status.ts';
import type { Instant } from '../domain/time.ts';
import type { AuditEntry } from './system.ts';

export interface WatchMemory {
  /** Differences that are there, and those that are gone for a short while: they may come back. */
  readonly ledger: readonly LedgerEntry[];
  /** Open alarms. */
  readonly alarms: readonly Alarm[];
  /** Since when each group is as ready as it is. */
  readonly readiness: readonly {
    readonly group: string;
    readonly readiness: Readiness;
    readonly since: Instant;
  }[];
  /** Day (`YYYY-MM-DD` in the zone of the digest) of the newest digest; null before any. */
  readonly digestOn: string | null;
}

/** What one look makes of the memory, and the notices that tell of it. */
export interface WatchChange extends WatchMemory {
  /** `alarms` hold those that were closed by this look as well. */
  readonly notices: readonly { readonly channel: string; readonly notice: Notice }[];
  /** What a person said beside the runs; it is kept as `lifeboat audit` shows it. */
  readonly audit?: readonly AuditEntry[];
}

export interface WatchStore {
  read(): Promise<WatchMemory>;
  /**
   * One transaction: `work` sees what is remembered, and what it returns is remembered instead, notices included, so that
   * no crash parts an alarm from its notice. It is called once and must not wait for anything.
   */
  change<T extends WatchChange>(work: (memory: WatchMemory) => T): Promise<T>;
  /** Alarms that were closed since then, newest first. */
  closedSince(since: Instant): Promise<readonly Alarm[]>;
  /** Notices that are due, oldest first, at most so many of each channel. */
  due(now: Instant, mostPerChannel: number): Promise<readonly QueuedNotice[]>;
  delivered(channel: string, noticeId: string, at: Instant): Promise<void>;
  /** It stays in the queue, and is tried again then. */
  failed(channel: string, noticeId: string, problem: string, dueAt: Instant): Promise<void>;
  /** Every channel for which something waits. */
  standing(): Promise<readonly ChannelStanding[]>;
  /** Takes what waits since before then for channels that are no more out of the queue; returns how many. */
  dropOthers(channels: readonly string[], before: Instant): Promise<number>;
}

/** One channel. `send` throws `PortError` when the other side did not take the notice; it may be called again with the same. */
export interface Notifier {
  send(notice: Notice, signal?: AbortSignal): Promise<void>;
}

export interface Watching {
  /** Opened at the first call. */
  store(): Promise<WatchStore>;
  notifier(channel: ChannelSettings): Notifier;
}
