/**
 * Which failures are worth another try, and how long (xapi.md 10): busy objects and booting hosts, since the server
 * did nothing. Everything else goes to the caller at once; an unknown outcome above all.
 */
import { PortError } from '../../domain/errors.ts';
import type { Clock } from '../../ports/system.ts';

interface Patience {
  readonly attempts: number;
  readonly firstSeconds: number;
  readonly mostSeconds: number;
}

const patience: Readonly<Record<string, Patience>> = {
  OTHER_OPERATION_IN_PROGRESS: { attempts: 10, firstSeconds: 1, mostSeconds: 20 },
  HOST_STILL_BOOTING: { attempts: 20, firstSeconds: 2, mostSeconds: 15 },
  TOO_MANY_PENDING_TASKS: { attempts: 10, firstSeconds: 1, mostSeconds: 15 },
  TOO_BUSY: { attempts: 10, firstSeconds: 1, mostSeconds: 15 },
  VDI_IN_USE: { attempts: 4, firstSeconds: 0.5, mostSeconds: 2 },
};

/** Runs `work`, and again after a wait while the pool says that it is busy. */
export async function withRetry<T>(
  work: () => Promise<T>,
  clock: Clock,
  signal: AbortSignal | undefined,
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      const rule = error instanceof PortError ? patience[error.peerCode ?? ''] : undefined;
      if (rule === undefined || attempt >= rule.attempts) throw error;
      await clock.sleep(Math.min(rule.firstSeconds * 2 ** (attempt - 1), rule.mostSeconds), signal);
    }
  }
}
