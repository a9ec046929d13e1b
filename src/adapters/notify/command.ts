/** A program of this machine that passes the notice on. What it is about stands in its environment, never in its arguments. */
import type { Notice } from '../../domain/notice.ts';
import type { ChannelSettings, CommandTransport } from '../../domain/notice-settings.ts';
import type { RunProgram } from '../../ports/guests.ts';
import type { Notifier } from '../../ports/watch.ts';
import { webhookBody } from './shapes.ts';
import { messageOf, notTaken } from './words.ts';

/** Linux takes no more than 128 KiB in one variable. */
const environmentMost = 100_000;
const shownCharacters = 300;

export class CommandNotifier implements Notifier {
  readonly #channel: ChannelSettings & CommandTransport;
  readonly #run: RunProgram;

  constructor(channel: ChannelSettings & CommandTransport, run: RunProgram) {
    this.#channel = channel;
    this.#run = run;
  }

  async send(notice: Notice, signal?: AbortSignal): Promise<void> {
    const { name, argv, timeoutSeconds } = this.#channel;
    const program = argv[0] ?? '';
    const end = await this.#run({ argv, env: environment(notice), timeoutSeconds }, signal).catch(
      (error: unknown) => {
        throw notTaken('refused', name, program, [messageOf(error)], error);
      },
    );
    if (end.timedOut)
      throw notTaken('busy', name, program, [`it did not end within ${timeoutSeconds} s and was killed`]);
    if (end.code !== 0)
      throw notTaken('refused', name, program, [
        end.code === null ? `it was ended by ${end.signal}` : `it ended with exit code ${end.code}`,
        ...(end.stderr.trim() === '' ? [] : [end.stderr.trim().slice(-shownCharacters)]),
      ]);
  }
}

function environment(notice: Notice): Record<string, string> {
  const text = [...notice.lines, ...(notice.next === null ? [] : [`Next: ${notice.next}`])].join('\n');
  const json = JSON.stringify(webhookBody(notice));
  return {
    LIFEBOAT_NOTICE_ID: notice.id,
    LIFEBOAT_NOTICE_EVENT: notice.event,
    LIFEBOAT_NOTICE_SEVERITY: notice.severity,
    LIFEBOAT_NOTICE_GROUPS: notice.groups.join(' '),
    LIFEBOAT_NOTICE_SUBJECT: plain(notice.subject),
    LIFEBOAT_NOTICE_TEXT: plain(text.slice(0, environmentMost)),
    // Cut JSON is no JSON: a summary that is too long is left to the text.
    LIFEBOAT_NOTICE_JSON: json.length > environmentMost ? '' : json,
  };
}

/** The end of a C string would be the end of the variable, and `spawn` refuses it. */
const plain = (text: string): string => text.replaceAll('\0', '');
