/**
 * A beat every minute, whatever becomes of the wall clock. node-cron gives it; it falls silent when that clock is set back,
 * and sleeps on when it is set forward (libraries.md 5). A guard on the clock that never jumps starts it anew then.
 */
import { type ScheduledTask, schedule } from 'node-cron';

export interface HeartbeatOptions {
  readonly beat: () => void;
  /** Told when the beat had to be started anew, with the seconds of silence. */
  readonly onSilence: (seconds: number) => void;
  /** Seconds of a clock that never jumps. */
  readonly monotonicSeconds: () => number;
}

const guardEverySeconds = 15;
const silentSeconds = 75;
const nobody = {
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  debug: () => undefined,
};

/** Beats until the returned function is called. The first beat comes with the next minute. */
export function heartbeat({ beat, onSilence, monotonicSeconds }: HeartbeatOptions): () => void {
  let lastBeat = monotonicSeconds();
  const start = (): ScheduledTask =>
    schedule(
      '* * * * *',
      () => {
        lastBeat = monotonicSeconds();
        beat();
      },
      { timezone: 'UTC', logger: nobody },
    );
  let task = start();
  const guard = setInterval(() => {
    const seconds = monotonicSeconds() - lastBeat;
    if (seconds < silentSeconds) return;
    void task.destroy();
    task = start();
    lastBeat = monotonicSeconds();
    onSilence(seconds);
    beat();
  }, guardEverySeconds * 1000);
  return () => {
    clearInterval(guard);
    void task.destroy();
  };
}
