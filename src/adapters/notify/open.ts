/** The notifier of a channel. Nobody is contacted, and no secret is resolved, before the first notice. */
import type { ChannelSettings } from '../../domain/notice-settings.ts';
import type { RunProgram } from '../../ports/guests.ts';
import type { Clock, Secrets } from '../../ports/system.ts';
import type { Notifier } from '../../ports/watch.ts';
import { ChatNotifier } from './chat.ts';
import { CommandNotifier } from './command.ts';
import { MailNotifier } from './mail.ts';
import { WebhookNotifier } from './webhook.ts';

export interface NotifyPorts {
  readonly secrets: Secrets;
  readonly clock: Clock;
  readonly runProgram: RunProgram;
}

export function openNotifier(
  channel: ChannelSettings,
  { secrets, clock, runProgram }: NotifyPorts,
): Notifier {
  switch (channel.type) {
    case 'mail':
      return new MailNotifier(channel, secrets);
    case 'webhook':
      return new WebhookNotifier(channel, secrets, clock);
    case 'command':
      return new CommandNotifier(channel, runProgram);
    case 'slack':
    case 'teams':
    case 'mattermost':
      return new ChatNotifier(channel, secrets);
  }
}
