/**
 * Listens, while a run is carried out, to what people say from other terminals. What they say is written down before
 * it counts and settled afterwards: a crash in between repeats a message and loses none.
 */
import type { Clock, RunInbox, RunMessage } from '../ports/system.ts';

/** A person does not see the difference between this and at once. */
const listenEverySeconds = 1;

export interface ListenerParts {
  readonly inbox: RunInbox;
  readonly clock: Clock;
  readonly runId: string;
  /** Writes the message down and acts upon it. */
  readonly heed: (message: RunMessage) => Promise<void>;
}

export class Listener {
  readonly #parts: ListenerParts;
  readonly #end = new AbortController();
  #listening: Promise<void> = Promise.resolve();

  constructor(parts: ListenerParts) {
    this.#parts = parts;
  }

  /**
   * What was said to an earlier sitting is settled first: a stop that came too late must not stop the next one. The
   * answer to a question of the run is still wanted.
   */
  async start(): Promise<void> {
    await this.#read(({ says }) => says === 'answer');
    this.#listening = this.#listen();
  }

  async stop(): Promise<void> {
    this.#end.abort();
    await this.#listening;
  }

  async #listen(): Promise<void> {
    const { clock } = this.#parts;
    for (;;) {
      try {
        await clock.sleep(listenEverySeconds, this.#end.signal);
      } catch {
        return;
      }
      await this.#read(() => true);
    }
  }

  /** A message that cannot be read now is read at the next look: it must not hold up a failover. */
  async #read(counts: (message: RunMessage) => boolean): Promise<void> {
    const { inbox, runId, heed } = this.#parts;
    try {
      for (const { id, message } of await inbox.waiting(runId)) {
        if (counts(message)) await heed(message);
        await inbox.settle(id);
      }
    } catch {
      return;
    }
  }
}
