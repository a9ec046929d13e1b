/** Mail over SMTP. With `starttls` and `tls` nothing is sent, no password either, before the certificate is known to be good. */
import { createTransport } from 'nodemailer';
import type { Notice } from '../../domain/notice.ts';
import type { ChannelSettings, MailTransport } from '../../domain/notice-settings.ts';
import type { Secrets } from '../../ports/system.ts';
import type { Notifier } from '../../ports/watch.ts';
import { readCa } from './post.ts';
import { isDistrust, messageOf, notTaken } from './words.ts';

const connectSeconds = 15;
const idleSeconds = 30;
/** The library knows limits for each step alone: a server that says a word now and then would hold it for ever. */
const endWithinSeconds = 90;

export class MailNotifier implements Notifier {
  readonly #channel: ChannelSettings & MailTransport;
  readonly #secrets: Secrets;

  constructor(channel: ChannelSettings & MailTransport, secrets: Secrets) {
    this.#channel = channel;
    this.#secrets = secrets;
  }

  async send(notice: Notice, signal?: AbortSignal): Promise<void> {
    const { host, port, security, login, caFile, name } = this.#channel;
    const password = login === null ? null : await this.#secrets.resolve(login.password);
    const transport = createTransport({
      host,
      port,
      secure: security === 'tls',
      requireTLS: security === 'starttls',
      ignoreTLS: security === 'none',
      tls: { minVersion: 'TLSv1.2', ...(caFile === null ? {} : { ca: readCa(caFile, name) }) },
      ...(login === null || password === null ? {} : { auth: { user: login.username, pass: password } }),
      connectionTimeout: connectSeconds * 1000,
      greetingTimeout: connectSeconds * 1000,
      socketTimeout: idleSeconds * 1000,
      disableFileAccess: true,
      disableUrlAccess: true,
    });
    const limits = [AbortSignal.timeout(endWithinSeconds * 1000), ...(signal === undefined ? [] : [signal])];
    try {
      await unlessOver(transport.sendMail(this.#message(notice)), AbortSignal.any(limits));
    } catch (error) {
      throw this.#inWords(error);
    } finally {
      transport.close();
    }
  }

  #message(notice: Notice) {
    const { from, to, name } = this.#channel;
    const domain = /@([^<>@\s]+?)>?$/.exec(from)?.[1] ?? 'lifeboat';
    const thread = notice.alarms.length === 1 ? notice.alarms[0]?.id : undefined;
    const reference = thread === undefined ? undefined : `<${thread}.${name}@${domain}>`;
    const begins = notice.event === 'raised' && reference !== undefined;
    return {
      from,
      to: [...to],
      subject: `[Lifeboat] ${notice.subject}`,
      text: mailText(notice),
      date: new Date(notice.at),
      // What begins an alarm gives the thread its name; reminders and the end answer to it.
      messageId: begins ? reference : `<${notice.id}.${name}@${domain}>`,
      ...(reference === undefined || begins ? {} : { inReplyTo: reference, references: [reference] }),
      ...(notice.severity === 'critical' && notice.event !== 'closed' ? { priority: 'high' as const } : {}),
      headers: {
        // RFC 3834: no answers from people who are on holiday.
        'Auto-Submitted': 'auto-generated',
        'X-Lifeboat-Event': notice.event,
        'X-Lifeboat-Severity': notice.severity,
        'X-Lifeboat-Notice': notice.id,
      },
    };
  }

  #inWords(error: unknown): Error {
    const { name, host, port } = this.#channel;
    const server = `mail server ${host}:${port}`;
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    const status = error instanceof Error && 'responseCode' in error ? Number(error.responseCode) : 0;
    const kind = isDistrust(error)
      ? 'trust'
      : code === 'EAUTH'
        ? 'auth'
        : code === 'ETLS'
          ? 'trust'
          : status >= 500
            ? 'refused'
            : status >= 400
              ? 'busy'
              : code === 'EENVELOPE' || code === 'EMESSAGE'
                ? 'refused'
                : 'unreachable';
    return notTaken(kind, name, server, [messageOf(error)], error);
  }
}

/** What is given up goes on until its own limits end it; nobody waits for it, and nothing is made of its outcome. */
function unlessOver(sent: Promise<unknown>, over: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(new Error('it did not take the mail in time'));
    if (over.aborted) stop();
    over.addEventListener('abort', stop, { once: true });
    sent.then(() => resolve(), reject).finally(() => over.removeEventListener('abort', stop));
  });
}

export function mailText({ lines, facts, next, at, id }: Notice): string {
  const column = Math.max(0, ...facts.map(([label]) => label.length)) + 2;
  return [
    ...lines,
    ...(facts.length === 0
      ? []
      : ['', ...facts.map(([label, text]) => `${`${label}:`.padEnd(column)}${text}`)]),
    ...(next === null ? [] : ['', `Next: ${next}`]),
    '',
    '-- ',
    `Lifeboat, ${at}, notice ${id}`,
    '',
  ].join('\n');
}
