/**
 * Replication by the arrays of the lab. Options: `url` and `fingerprint` (and `username`, `admin` when absent) with the
 * array's secret as password; or `directory`, where the lab leaves `<array>.json` with all of it.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { exitCodes, OperatorError, PortError } from '../../../domain/errors.ts';
import {
  type Exposed,
  type PairView,
  promotionConfirmation,
  type ReplicaPoint,
} from '../../../domain/replication.ts';
import type { ArraySettings } from '../../../domain/settings.ts';
import type { Access, ArrayIdentity, Replication } from '../../../ports/replication.ts';
import type { Clock, Secrets } from '../../../ports/system.ts';
import { type ArrayEndpoint, call, failed } from './client.ts';

const fingerprint = z
  .string()
  .transform((text) => text.replaceAll(':', '').toLowerCase())
  .pipe(z.string().regex(/^[0-9a-f]{64}$/, 'must be a SHA-256 fingerprint: 64 hexadecimal digits'));

const direct = z.strictObject({
  url: z.url({ protocol: /^https$/ }),
  fingerprint,
  username: z.string().min(1).default('admin'),
});
const byDirectory = z.strictObject({ directory: z.string().min(1) });
const accessFile = z.object({
  url: z.url(),
  fingerprint,
  username: z.string(),
  password: z.string(),
});

const point = z.object({
  ref: z.string(),
  tag: z.string().nullable(),
  takenAt: z.string(),
  complete: z.boolean(),
});
const view = z.object({
  volume: z.string(),
  role: z.enum(['source', 'target', 'promoted', 'demoted', 'in-test', 'split', 'unpaired']),
  activity: z.string(),
  link: z.enum(['up', 'down', 'unknown']),
  health: z.object({ level: z.enum(['ok', 'warn', 'bad']), reasons: z.array(z.string()) }),
  newestComplete: point.nullable(),
  promotedFrom: z.string().nullable(),
  writable: z.boolean(),
  lagSeconds: z.number().nullable(),
  peer: z.object({ array: z.string(), serial: z.string(), volume: z.string() }).nullable(),
});
const answers = {
  identity: z.object({ vendor: z.string(), model: z.string(), serial: z.string(), clock: z.string() }),
  points: z.object({ points: z.array(point) }),
  synced: z.object({ point }),
  changed: z.object({ changed: z.boolean() }),
  exposed: z.object({ kind: z.literal('nfs'), server: z.string(), path: z.string() }),
};

/** Seconds between two looks at a transfer. */
const pollSeconds = 0.2;
/** A sync that takes longer than this is a matter for people. */
const syncSeconds = 3600;

export function openLabArray(
  settings: ArraySettings,
  surroundings: { readonly secrets: Secrets; readonly clock: Clock },
): Replication {
  return new LabReplication(settings, surroundings);
}

class LabReplication implements Replication {
  readonly array: string;
  readonly #settings: ArraySettings;
  readonly #secrets: Secrets;
  readonly #clock: Clock;
  readonly #closed = new AbortController();

  constructor(settings: ArraySettings, surroundings: { readonly secrets: Secrets; readonly clock: Clock }) {
    this.array = settings.name;
    this.#settings = settings;
    this.#secrets = surroundings.secrets;
    this.#clock = surroundings.clock;
  }

  async identify(signal?: AbortSignal): Promise<ArrayIdentity> {
    return this.#ask(answers.identity, 'GET', '/identity', undefined, signal);
  }

  async observe(volume: string, signal?: AbortSignal): Promise<PairView> {
    const path = volumePath(volume);
    const raw = await this.#ask(z.json(), 'GET', path, undefined, signal);
    const seen = this.#read(view, raw, path);
    return {
      pair: { array: this.array, volume },
      observedAt: this.#clock.now(),
      role: seen.role,
      link: seen.link,
      health: seen.health,
      newestComplete: seen.newestComplete === null ? null : replicaPoint(seen.newestComplete),
      writable: seen.writable,
      reportedLagSeconds: seen.lagSeconds,
      raw,
    };
  }

  async points(volume: string, signal?: AbortSignal): Promise<readonly ReplicaPoint[]> {
    const { points } = await this.#ask(
      answers.points,
      'GET',
      volumePath(volume, 'points'),
      undefined,
      signal,
    );
    return points.map(replicaPoint);
  }

  async syncNow(volume: string, tag: string, signal?: AbortSignal): Promise<ReplicaPoint> {
    const started = this.#clock.monotonicSeconds();
    for (;;) {
      const found = await this.#syncOnce(volume, tag, signal);
      if (found?.complete === true) return replicaPoint(found);
      if (this.#clock.monotonicSeconds() - started > syncSeconds)
        throw new PortError('busy', {
          code: 'DR-ARRAY-SYNC-LATE',
          what: `Point ${tag} of volume ${volume} has not arrived within ${syncSeconds / 60} min`,
          where: { object: `array ${this.array}` },
          next: 'Look at the link between the arrays; the transfer goes on by itself',
        });
      await this.#clock.sleep(pollSeconds, signal);
    }
  }

  /** Asking again with the same tag is asking how far it is; another transfer is waited for. */
  async #syncOnce(
    volume: string,
    tag: string,
    signal: AbortSignal | undefined,
  ): Promise<z.infer<typeof point> | null> {
    try {
      const answer = await this.#ask(answers.synced, 'POST', volumePath(volume, 'sync'), { tag }, signal);
      return answer.point;
    } catch (error) {
      if (error instanceof PortError && error.kind === 'busy') return null;
      throw error;
    }
  }

  async promote(
    volume: string,
    options: { readonly mode: 'planned' | 'unplanned'; readonly point: string; readonly confirm: string },
    signal?: AbortSignal,
  ): Promise<void> {
    if (options.confirm !== promotionConfirmation(volume, options.point))
      throw new PortError('refused', {
        code: 'DR-ARRAY-CONFIRM',
        what: `The confirmation does not name point ${options.point} of volume ${volume}`,
        where: { object: `array ${this.array}` },
        next: 'Make a new plan; this one was made for something else',
      });
    await this.#ask(answers.changed, 'POST', volumePath(volume, 'promote'), options, signal);
  }

  async expose(volume: string, access: Access, signal?: AbortSignal): Promise<Exposed> {
    return this.#ask(answers.exposed, 'POST', volumePath(volume, 'expose'), access, signal);
  }

  async fence(volume: string, signal?: AbortSignal): Promise<void> {
    await this.#ask(answers.changed, 'POST', volumePath(volume, 'fence'), {}, signal);
  }

  close(): Promise<void> {
    this.#closed.abort();
    return Promise.resolve();
  }

  async #ask<T>(
    schema: z.ZodType<T>,
    method: 'GET' | 'POST',
    path: string,
    body: unknown,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    const endpoint = await this.#endpoint();
    const over = signal === undefined ? this.#closed.signal : AbortSignal.any([this.#closed.signal, signal]);
    return this.#read(schema, await call(endpoint, method, path, body, over), path, endpoint);
  }

  #read<T>(schema: z.ZodType<T>, value: unknown, path: string, endpoint?: ArrayEndpoint): T {
    const result = schema.safeParse(value);
    if (result.success) return result.data;
    const at = endpoint ?? { array: this.array, url: path, fingerprint: '', username: '', password: '' };
    throw failed(
      at,
      'protocol',
      `The answer of array ${this.array} to ${path} is not understood`,
      result.error,
    );
  }

  /** Read at each call: a lab that was started anew has another port. */
  async #endpoint(): Promise<ArrayEndpoint> {
    const { options, secret } = this.#settings;
    if ('directory' in options) {
      const file = join(this.#options(byDirectory).directory, `${this.array}.json`);
      return { array: this.array, ...(await this.#accessFile(file)) };
    }
    const given = this.#options(direct);
    if (secret === null) throw this.#misconfigured(['secret: missing, it is the password of the array']);
    return { array: this.array, ...given, password: await this.#secrets.resolve(secret) };
  }

  async #accessFile(file: string): Promise<z.infer<typeof accessFile>> {
    try {
      return accessFile.parse(JSON.parse(await readFile(file, 'utf8')));
    } catch (error) {
      throw new PortError(
        'unreachable',
        {
          code: 'DR-ARRAY-UNREACHABLE',
          what: `How to reach array ${this.array} cannot be read from ${file}`,
          where: { file },
          known: [
            error instanceof SyntaxError || error instanceof z.ZodError
              ? 'the file is damaged'
              : 'the file is not there or cannot be read',
          ],
          next: 'Start the lab: `lifeboat lab up`',
        },
        { cause: error },
      );
    }
  }

  #options<T>(schema: z.ZodType<T>): T {
    const result = schema.safeParse(this.#settings.options);
    if (result.success) return result.data;
    throw this.#misconfigured(
      result.error.issues.map((issue) => `${issue.path.join('.') || 'options'}: ${issue.message}`),
    );
  }

  #misconfigured(known: readonly string[]): OperatorError {
    return new OperatorError(
      {
        code: 'DR-ARRAY-OPTIONS',
        what: `The settings of array ${this.array} are not those of a lab array`,
        where: { object: `array ${this.array}` },
        known,
        next: 'Give `url`, `fingerprint`, `username` and a secret, or the `directory` of a running lab',
      },
      { exitCode: exitCodes.usage },
    );
  }
}

function volumePath(volume: string, verb?: string): string {
  return `/volumes/${encodeURIComponent(volume)}${verb === undefined ? '' : `/${verb}`}`;
}

function replicaPoint(seen: z.infer<typeof point>): ReplicaPoint {
  return {
    ref: seen.ref,
    ...(seen.tag === null ? {} : { tag: seen.tag }),
    takenAt: seen.takenAt,
    clock: 'source',
    complete: seen.complete,
    consistency: 'crash',
  };
}
