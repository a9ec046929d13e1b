/** The part of the daemon that tries notices again between two looks: a channel that was away hears soon after it is back. */
import { fieldsOf } from './errors.ts';
import type { DaemonPart, DaemonView } from './parts.ts';

export async function startNotices(daemon: DaemonView): Promise<DaemonPart> {
  return new NoticesPart(daemon);
}

class NoticesPart implements DaemonPart {
  readonly name = 'notices';
  readonly #daemon: DaemonView;
  readonly #stop = new AbortController();
  #sending: Promise<void> | null = null;

  constructor(daemon: DaemonView) {
    this.#daemon = daemon;
  }

  /** Not awaited by the beat: a slow mail server holds up no export. */
  ticked(): void {
    if (this.#sending !== null || this.#stop.signal.aborted) return;
    this.#sending = this.#send().finally(() => {
      this.#sending = null;
    });
  }

  async #send(): Promise<void> {
    try {
      // A server may be slow for longer than the settings last: what it has taken must still be written down as sent.
      await this.#daemon.use((app) => app.watching.deliver({ signal: this.#stop.signal }));
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#daemon.log.error(fieldsOf(error), 'notices cannot be sent');
    }
  }

  /** What is under way is broken off: it waits in the queue, and goes out when the daemon is back. */
  async stop(): Promise<void> {
    this.#stop.abort(new DOMException('the daemon was told to end', 'AbortError'));
    await this.#sending;
  }
}
