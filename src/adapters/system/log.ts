/**
 * The log of the daemon: JSON lines on the standard output, each with the run that it belongs to. Secrets are taken out
 * twice: by the names of their fields, at any depth, and by their values, wherever these stand.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { writeSync } from 'node:fs';
import { type Logger, pino, stdTimeFunctions } from 'pino';

export type LogFields = Readonly<Record<string, unknown>>;

export interface DaemonLog {
  readonly logger: Logger;
  /** Every line that is logged meanwhile, by whomever, carries these fields as they are at that moment. */
  within<T>(fields: LogFields, work: () => Promise<T>): Promise<T>;
}

const secretName =
  /pass(word|phrase|wd)?$|secret|token|authorization|cookie|private_?key|api_?key|credential|session_?id/i;
const deepest = 8;
const hidden = '***';

/** `redact` takes known secrets out of a line; `write` is given for tests. */
export function daemonLog(options: {
  readonly level: string;
  readonly redact: (line: string) => string;
  readonly write?: (line: string) => void;
}): DaemonLog {
  const store = new AsyncLocalStorage<LogFields>();
  const write = options.write ?? toStandardOutput;
  const logger = pino(
    {
      name: 'lifeboat',
      level: options.level,
      timestamp: stdTimeFunctions.isoTime,
      formatters: {
        level: (label) => ({ level: label }),
        log: (fields) => withoutSecrets(fields, 0) as Record<string, unknown>,
      },
      mixin: () => ({ run: null, ...store.getStore() }),
    },
    // Synchronous: a log that a kill -9 swallows is of no use for finding out why.
    { write: (line: string) => write(options.redact(line)) },
  );
  return { logger, within: (fields, work) => store.run(fields, work) };
}

function withoutSecrets(value: unknown, depth: number): unknown {
  if (value === null || typeof value !== 'object') return value;
  if (depth >= deepest) return '…';
  if (value instanceof Error) return withoutSecrets({ name: value.name, message: value.message }, depth);
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Map) return withoutSecrets(Object.fromEntries(value), depth);
  if (Array.isArray(value)) return value.map((item) => withoutSecrets(item, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [
      name,
      secretName.test(name) && item !== null && item !== undefined ? hidden : withoutSecrets(item, depth + 1),
    ]),
  );
}

/** A log that nobody reads any more, or that is full for now, must not end the daemon. */
function toStandardOutput(line: string): void {
  try {
    writeSync(1, line);
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error)) throw error;
  }
}
