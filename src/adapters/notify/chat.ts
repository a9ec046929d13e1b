/** Incoming webhooks of chats. */
import type { Notice } from '../../domain/notice.ts';
import type { ChannelSettings, ChatTransport } from '../../domain/notice-settings.ts';
import type { Secrets } from '../../ports/system.ts';
import type { Notifier } from '../../ports/watch.ts';
import { post } from './post.ts';
import { mattermostBody, slackBody, teamsBody } from './shapes.ts';

const shapes = { slack: slackBody, teams: teamsBody, mattermost: mattermostBody } as const;

export class ChatNotifier implements Notifier {
  readonly #channel: ChannelSettings & ChatTransport;
  readonly #secrets: Secrets;

  constructor(channel: ChannelSettings & ChatTransport, secrets: Secrets) {
    this.#channel = channel;
    this.#secrets = secrets;
  }

  async send(notice: Notice, signal?: AbortSignal): Promise<void> {
    const { name, type, caFile } = this.#channel;
    const url = await this.#secrets.resolve(this.#channel.url);
    await post({ channel: name, url, caFile, body: JSON.stringify(shapes[type](notice)) }, signal);
  }
}
