/** What the settings say about alarms, and where notices go. */
import type { Severity } from './alarm.ts';
import type { SecretRef } from './settings.ts';
import type { Instant } from './time.ts';

export interface AlarmSettings {
  /** A drill that ended well is due so often; null where none is wanted. */
  readonly drillEverySeconds: number | null;
  /** Metadata and replica may be so far apart. */
  readonly skewSeconds: number;
  /** Certificates, licences and passwords are told of so long before they end. */
  readonly expiryWithinSeconds: number;
  /** Passwords and keys that no pool or array tells the end of. */
  readonly expiries: readonly { readonly name: string; readonly at: Instant }[];
}

export const defaultAlarms: AlarmSettings = {
  drillEverySeconds: 90 * 86_400,
  skewSeconds: 3600,
  expiryWithinSeconds: 30 * 86_400,
  expiries: [],
};

export interface NoticeSettings {
  readonly channels: readonly ChannelSettings[];
  readonly remindSeconds: Readonly<Record<Severity, number>>;
  /** An alarm is closed when it has been over for so long. */
  readonly settleSeconds: number;
  /** `at` is the time of day `HH:MM` in the zone; null for no digest. */
  readonly digest: { readonly at: string; readonly timeZone: string } | null;
}

export const defaultNotices: NoticeSettings = {
  channels: [],
  remindSeconds: { critical: 4 * 3600, warning: 24 * 3600 },
  settleSeconds: 300,
  digest: null,
};

/** Which notices a channel hears. */
export interface ChannelRoute {
  readonly name: string;
  /** `critical` leaves warnings out. */
  readonly atLeast: Severity;
  /** Globs over names of groups; what concerns no group goes everywhere. Empty for all. */
  readonly groups: readonly string[];
  readonly digest: boolean;
}

export type ChannelSettings = ChannelRoute & Transport;

export type Transport = MailTransport | WebhookTransport | ChatTransport | CommandTransport;

export interface MailTransport {
  readonly type: 'mail';
  readonly host: string;
  readonly port: number;
  /** `starttls` refuses to go on without encryption; `none` is for a mail server of the same machine. */
  readonly security: 'tls' | 'starttls' | 'none';
  readonly caFile: string | null;
  readonly login: { readonly username: string; readonly password: SecretRef } | null;
  readonly from: string;
  readonly to: readonly string[];
}

export interface WebhookTransport {
  readonly type: 'webhook';
  readonly url: string | SecretRef;
  /** Key of the signature; null sends without one. */
  readonly secret: SecretRef | null;
  readonly caFile: string | null;
}

/** The address is the password: whoever knows it can write there. */
export interface ChatTransport {
  readonly type: 'slack' | 'teams' | 'mattermost';
  readonly url: SecretRef;
  readonly caFile: string | null;
}

export interface CommandTransport {
  readonly type: 'command';
  readonly argv: readonly string[];
  readonly timeoutSeconds: number;
}
