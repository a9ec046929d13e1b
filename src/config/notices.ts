/** The shape of `alarms` and `notices` in sites.yaml, and the settings that follow from them. */
import { z } from 'zod';
import { assertTimeZone } from '../domain/calendar.ts';
import type {
  AlarmSettings,
  ChannelRoute,
  ChannelSettings,
  NoticeSettings,
} from '../domain/notice-settings.ts';
import type { SecretRef } from '../domain/settings.ts';
import { clearSecret, complain, duration, globText, name, secret, text } from './fields.ts';

const date = z
  .string()
  .describe('A day as 2027-01-31')
  .transform((written, context) => {
    const at = Date.parse(`${written}T00:00:00.000Z`);
    return /^\d{4}-\d{2}-\d{2}$/.test(written) && !Number.isNaN(at)
      ? new Date(at).toISOString()
      : complain(context, `${JSON.stringify(written)} is not a day`, 'write it as 2027-01-31');
  });

export const alarms = z.strictObject({
  drill_every: z
    .union([z.literal('never'), duration])
    .prefault('90d')
    .describe('A drill that ends well is due so often; never asks for none'),
  skew: duration.prefault('1h').describe('How far apart metadata and replica may be'),
  expiry_within: duration
    .prefault('30d')
    .describe('How long before they end certificates, licences and passwords are told of'),
  expiries: z
    .array(
      z.strictObject({ name: text.describe('What ends, such as: password of array-recovery'), at: date }),
    )
    .default([])
    .describe('Passwords and keys whose end no pool or array tells'),
});

const route = {
  at_least: z.enum(['warning', 'critical']).default('warning').describe('critical leaves warnings out'),
  groups: z
    .array(globText)
    .default([])
    .describe('Globs over names of groups; all when absent. What concerns no group is told everywhere'),
  digest: z.boolean().default(true).describe('Whether the daily digest goes here as well'),
};

const caFile = text.optional().describe('CA certificates in PEM, where the system does not know them');

/** Whoever knows the address of a chat can write there. */
const secretUrl = secret.describe('Where the address comes from: whoever knows it can write there');

const clearUrl = z
  .string()
  .describe('https://…')
  .transform((written, context) => {
    const url = URL.parse(written);
    if (url === null) return complain(context, 'this is not an address', 'write it as https://NAME/PATH');
    if (url.username !== '' || url.password !== '')
      return complain(context, clearSecret.what, clearSecret.next, clearSecret.code);
    if (url.protocol !== 'https:' && !isLoopback(url.hostname))
      return complain(
        context,
        `${url.protocol.slice(0, -1)} is not encrypted`,
        'write an address that begins with https://',
      );
    return written;
  });

const isLoopback = (host: string): boolean => /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(host);

const address = z
  .string()
  .describe('NAME@HOST, or Somebody <NAME@HOST>')
  .transform((written, context) =>
    /^(?:[^<>@\s]+@[^<>@\s]+|[^<>\r\n]*<[^<>@\s]+@[^<>@\s]+>)$/.test(written)
      ? written
      : complain(
          context,
          `${JSON.stringify(written)} is not an address`,
          'write it as oncall@example.org, or as Lifeboat <lifeboat@example.org>',
        ),
  );

const mail = z
  .strictObject({
    type: z.literal('mail'),
    host: text.describe('The mail server'),
    port: z.int().min(1).max(65535).optional().describe('587 for starttls, 465 for tls, 25 for none'),
    security: z
      .enum(['starttls', 'tls', 'none'])
      .default('starttls')
      .describe('none is for a mail server of this machine'),
    ca_file: caFile,
    username: text.optional(),
    password: secret.optional(),
    from: address,
    to: z.array(address).min(1),
    ...route,
  })
  .superRefine(({ host, security, username, password }, context) => {
    const told = (path: string, message: string, next: string): void =>
      context.addIssue({ code: 'custom', message, path: [path], params: { code: 'DR-CONFIG-VALUE', next } });
    if ((username === undefined) !== (password === undefined))
      told(
        username === undefined ? 'password' : 'username',
        'username and password belong together',
        'write both, or none',
      );
    if (security === 'none' && !isLoopback(host))
      told(
        'security',
        'mail would leave this machine without encryption',
        'write starttls or tls, or send through a mail server on localhost',
      );
  });

const webhook = z.strictObject({
  type: z.literal('webhook'),
  url: z.union([clearUrl, secret]),
  secret: secret.optional().describe('Key of the signature (Standard Webhooks); unsigned without it'),
  ca_file: caFile,
  ...route,
});

const chat = z.strictObject({
  type: z.enum(['slack', 'teams', 'mattermost']),
  url: secretUrl,
  ca_file: caFile,
  ...route,
});

const command = z.strictObject({
  type: z.literal('command'),
  command: z.array(text).min(1).describe('A program and its arguments; the notice is in its environment'),
  timeout: duration.prefault('30s'),
  ...route,
});

const channel = z.discriminatedUnion('type', [mail, webhook, chat, command]);

const timeOfDay = z
  .string()
  .describe('Time of day, HH:MM')
  .transform((written, context) =>
    /^([01]\d|2[0-3]):[0-5]\d$/.test(written)
      ? written
      : complain(context, `${JSON.stringify(written)} is not a time of day`, "write it as '07:30'"),
  );

const timeZone = text.default('UTC').transform((written, context) => {
  try {
    assertTimeZone(written);
    return written;
  } catch {
    return complain(
      context,
      `there is no time zone ${JSON.stringify(written)}`,
      'write it as in Europe/Zurich, or UTC',
    );
  }
});

export const notices = z.strictObject({
  channels: z.record(name, channel).default({}).describe('Where notices go'),
  remind: z
    .strictObject({ critical: duration.prefault('4h'), warning: duration.prefault('1d') })
    .prefault({})
    .describe('How often people are reminded of an alarm that lasts'),
  settle: duration.prefault('5min').describe('An alarm is closed when it has been over for so long'),
  digest: z
    .strictObject({ at: timeOfDay, timezone: timeZone })
    .optional()
    .describe('A daily summary: alarms, readiness, differences'),
});

type Channel = z.output<typeof channel>;

interface Paths {
  beside(written: string): string;
  secretAt(secret: SecretRef): SecretRef;
}

export function alarmSettings(written: z.output<typeof alarms>): AlarmSettings {
  return {
    drillEverySeconds: written.drill_every === 'never' ? null : written.drill_every,
    skewSeconds: written.skew,
    expiryWithinSeconds: written.expiry_within,
    expiries: written.expiries,
  };
}

export function noticeSettings(written: z.output<typeof notices>, paths: Paths): NoticeSettings {
  return {
    channels: Object.entries(written.channels).map(([channelName, each]) =>
      channelSettings(channelName, each, paths),
    ),
    remindSeconds: written.remind,
    settleSeconds: written.settle,
    digest:
      written.digest === undefined ? null : { at: written.digest.at, timeZone: written.digest.timezone },
  };
}

const usualPort = { starttls: 587, tls: 465, none: 25 } as const;

function channelSettings(channelName: string, written: Channel, paths: Paths): ChannelSettings {
  const common: ChannelRoute = {
    name: channelName,
    atLeast: written.at_least,
    groups: written.groups,
    digest: written.digest,
  };
  switch (written.type) {
    case 'mail': {
      const { type, host, security, from, to, username, password } = written;
      const login =
        username === undefined || password === undefined
          ? null
          : { username, password: paths.secretAt(password) };
      const port = written.port ?? usualPort[security];
      return { ...common, type, host, port, security, caFile: caAt(written, paths), login, from, to };
    }
    case 'webhook':
      return {
        ...common,
        type: written.type,
        url: typeof written.url === 'string' ? written.url : paths.secretAt(written.url),
        secret: written.secret === undefined ? null : paths.secretAt(written.secret),
        caFile: caAt(written, paths),
      };
    case 'command':
      return { ...common, type: written.type, argv: written.command, timeoutSeconds: written.timeout };
    default:
      return {
        ...common,
        type: written.type,
        url: paths.secretAt(written.url),
        caFile: caAt(written, paths),
      };
  }
}

const caAt = ({ ca_file: file }: { readonly ca_file?: string | undefined }, paths: Paths): string | null =>
  file === undefined ? null : paths.beside(file);
