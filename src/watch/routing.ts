/** Which channel hears which news, and in how many messages. */
import type { AlarmNews } from '../domain/alarm.ts';
import { globExpression } from '../domain/glob.ts';
import type { ChannelSettings, Transport } from '../domain/notice-settings.ts';

export interface Delivery {
  readonly channel: string;
  /** Told in one message. */
  readonly news: readonly AlarmNews[];
}

/** Programs take one message for each alarm; people are not sent more than this at once. */
const messagesAtOnce = 5;
const forPeople: ReadonlySet<Transport['type']> = new Set(['mail', 'slack', 'teams', 'mattermost']);

export function route(news: readonly AlarmNews[], channels: readonly ChannelSettings[]): Delivery[] {
  return channels.flatMap((channel) => {
    const heard = news.filter((item) => hears(channel, item));
    if (heard.length === 0) return [];
    return forPeople.has(channel.type) && heard.length > messagesAtOnce
      ? [{ channel: channel.name, news: heard }]
      : heard.map((item) => ({ channel: channel.name, news: [item] }));
  });
}

export function hears(channel: ChannelSettings, { alarm }: AlarmNews): boolean {
  if (channel.atLeast === 'critical' && alarm.severity !== 'critical') return false;
  return hearsOf(channel, alarm.groups);
}

/** What concerns no group concerns everybody. */
export function hearsOf(channel: ChannelSettings, groups: readonly string[]): boolean {
  if (channel.groups.length === 0 || groups.length === 0) return true;
  const globs = channel.groups.map(globExpression);
  return groups.some((group) => globs.some((glob) => glob.test(group)));
}
