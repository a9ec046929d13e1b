/** A message to people about alarms, or the daily digest: written once, and kept until its channel has taken it. */
import type { AlarmEvent, AlarmKind, Severity } from './alarm.ts';
import type { Instant } from './time.ts';

export interface Notice {
  /** Stays the same however often it is sent: a receiver can tell a repetition by it. */
  readonly id: string;
  readonly at: Instant;
  /** `several` tells of more alarms than one. */
  readonly event: AlarmEvent | 'several' | 'digest' | 'test';
  readonly severity: Severity | 'info';
  readonly groups: readonly string[];
  /** One line. */
  readonly subject: string;
  /** Paragraphs of plain text; may begin with `- ` for an item of a list. */
  readonly lines: readonly string[];
  readonly facts: readonly (readonly [label: string, text: string])[];
  /** What to do; null where there is nothing to do. */
  readonly next: string | null;
  /** The alarms that it tells of, for programs. */
  readonly alarms: readonly NoticedAlarm[];
}

export interface NoticedAlarm {
  readonly id: string;
  readonly key: string;
  readonly kind: AlarmKind;
  readonly event: AlarmEvent;
  readonly severity: Severity;
  readonly groups: readonly string[];
  readonly what: string;
  readonly raisedAt: Instant;
  readonly closedAt: Instant | null;
}

/** A notice on its way through one channel. */
export interface QueuedNotice {
  readonly channel: string;
  readonly notice: Notice;
  readonly attempts: number;
  readonly dueAt: Instant;
  /** Why the last attempt failed, as a sentence; null before any. */
  readonly problem: string | null;
}

/** How a channel fares. */
export interface ChannelStanding {
  readonly channel: string;
  readonly waiting: number;
  /** The oldest that waits was made then. */
  readonly waitingSince: Instant | null;
  readonly problem: string | null;
}
