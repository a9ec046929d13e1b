/** The machine's own clock: the only place, beside the lab, where time is read. */
import type { Instant } from '../../domain/time.ts';
import type { Clock } from '../../ports/system.ts';

export const systemClock: Clock = {
  now: (): Instant => new Date().toISOString(),
  monotonicSeconds: () => performance.now() / 1000,
  sleep: (seconds, signal) =>
    new Promise<void>((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const stop = (): void => {
        clearTimeout(timer);
        reject(signal?.reason);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener('abort', stop);
        resolve();
      }, Math.max(0, seconds) * 1000);
      signal?.addEventListener('abort', stop, { once: true });
    }),
};
