/**
 * JSON to any program, signed as Standard Webhooks describes it (standardwebhooks.com): `webhook-id`, `webhook-timestamp`
 * and `webhook-signature: v1,BASE64`, an HMAC-SHA256 over `ID.TIMESTAMP.BODY`.
 */
import { createHmac } from 'node:crypto';
import type { Notice } from '../../domain/notice.ts';
import type { ChannelSettings, WebhookTransport } from '../../domain/notice-settings.ts';
import type { Clock, Secrets } from '../../ports/system.ts';
import type { Notifier } from '../../ports/watch.ts';
import { post } from './post.ts';
import { webhookBody } from './shapes.ts';

export class WebhookNotifier implements Notifier {
  readonly #channel: ChannelSettings & WebhookTransport;
  readonly #secrets: Secrets;
  readonly #clock: Clock;

  constructor(channel: ChannelSettings & WebhookTransport, secrets: Secrets, clock: Clock) {
    this.#channel = channel;
    this.#secrets = secrets;
    this.#clock = clock;
  }

  async send(notice: Notice, signal?: AbortSignal): Promise<void> {
    const { name, url: address, secret, caFile } = this.#channel;
    const url = typeof address === 'string' ? address : await this.#secrets.resolve(address);
    const body = JSON.stringify(webhookBody(notice));
    // The time of this attempt: receivers refuse what is old, to be safe from repetitions by others.
    const timestamp = String(Math.floor(Date.parse(this.#clock.now()) / 1000));
    const signed =
      secret === null
        ? {}
        : { 'webhook-signature': signature(await this.#secrets.resolve(secret), notice.id, timestamp, body) };
    const headers = { 'webhook-id': notice.id, 'webhook-timestamp': timestamp, ...signed };
    await post({ channel: name, url, caFile, body, headers }, signal);
  }
}

const prefix = 'whsec_';

/** Keys in the form of the standard (`whsec_` and Base64) are decoded; others are taken as they are. */
export function signature(secret: string, id: string, timestamp: string, body: string): string {
  const key = secret.startsWith(prefix)
    ? Buffer.from(secret.slice(prefix.length), 'base64')
    : Buffer.from(secret, 'utf8');
  return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`;
}
