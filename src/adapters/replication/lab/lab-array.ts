/** Replication by the arrays of the lab; `endpoint.ts` has the options. */
import type { z } from 'zod';
import { PortError } from '../../../domain/errors.ts';
import {
  type Capabilities,
  type Divergence,
  type DrillLeftover,
  discardConfirmation,
  type Exposed,
  type FoundPair,
  type PairView,
  promotionConfirmation,
  type ReplicaPoint,
} from '../../../domain/replication.ts';
import type { ArraySettings } from '../../../domain/settings.ts';
import type { Access, ArrayIdentity, Discarding, Replication } from '../../../ports/replication.ts';
import type { Clock, Secrets } from '../../../ports/system.ts';
import {
  answers,
  divergenceOf,
  foundPair,
  leftovers,
  type PointAnswer,
  pairView,
  replicaPoint,
  type ViewAnswer,
} from './answers.ts';
import { type ArrayEndpoint, call, failed } from './client.ts';
import { endpointOf } from './endpoint.ts';

/** Seconds between two looks at a transfer: soon at first, then twice as long each time. */
const poll = { firstSeconds: 0.02, mostSeconds: 2 };
/** A sync that takes longer than this is a matter for people. */
const syncSeconds = 3600;

interface Surroundings {
  readonly secrets: Secrets;
  readonly clock: Clock;
}

export function openLabArray(settings: ArraySettings, surroundings: Surroundings): Replication {
  return new LabReplication(settings, surroundings);
}

class LabReplication implements Replication {
  readonly array: string;
  readonly #settings: ArraySettings;
  readonly #secrets: Secrets;
  readonly #clock: Clock;
  readonly #closed = new AbortController();

  constructor(settings: ArraySettings, surroundings: Surroundings) {
    this.array = settings.name;
    this.#settings = settings;
    this.#secrets = surroundings.secrets;
    this.#clock = surroundings.clock;
  }

  identify(signal?: AbortSignal): Promise<ArrayIdentity> {
    return this.#get(answers.identity, '/identity', signal);
  }

  capabilities(signal?: AbortSignal): Promise<Capabilities> {
    return this.#get(answers.capabilities, '/capabilities', signal);
  }

  async discover(signal?: AbortSignal): Promise<readonly FoundPair[]> {
    const seen = [...(await this.#volumes(signal)).values()];
    return seen
      .map(({ view }) => view)
      .filter(({ peer }) => peer !== null)
      .map(foundPair);
  }

  async observe(volume: string, signal?: AbortSignal): Promise<PairView> {
    const path = volumePath(volume);
    const raw = await this.#get(answers.raw, path, signal);
    return pairView(this.array, this.#read(answers.view, raw, path), this.#clock.now(), raw);
  }

  async observeAll(
    volumes: readonly string[],
    signal?: AbortSignal,
  ): Promise<ReadonlyMap<string, PairView | PortError>> {
    const listed = await this.#volumes(signal);
    const observedAt = this.#clock.now();
    return new Map(
      volumes.map((volume) => {
        const seen = listed.get(volume);
        return [
          volume,
          seen === undefined
            ? this.#unknownVolume(volume)
            : pairView(this.array, seen.view, observedAt, seen.raw),
        ];
      }),
    );
  }

  async #volumes(
    signal: AbortSignal | undefined,
  ): Promise<ReadonlyMap<string, { readonly view: ViewAnswer; readonly raw: PairView['raw'] }>> {
    const { volumes } = await this.#get(answers.volumes, '/volumes', signal);
    return new Map(
      volumes.map((raw) => {
        const view = this.#read(answers.view, raw, '/volumes');
        return [view.volume, { view, raw }];
      }),
    );
  }

  #unknownVolume(volume: string): PortError {
    return new PortError(
      'refused',
      {
        code: 'DR-ARRAY-REFUSED',
        what: `Array ${this.array} has no volume ${volume}`,
        where: { object: `array ${this.array}` },
        next: 'Compare the pair in sites.yaml with what the array shows, then make a new plan',
      },
      { peerCode: 'not-found', peerParams: [volume] },
    );
  }

  async points(volume: string, signal?: AbortSignal): Promise<readonly ReplicaPoint[]> {
    const { points } = await this.#get(answers.points, volumePath(volume, 'points'), signal);
    return points.map(replicaPoint);
  }

  syncNow(volume: string, tag: string, signal?: AbortSignal): Promise<ReplicaPoint> {
    return this.#untilArrived(volume, 'syncNow', { tag }, signal);
  }

  prepare(volume: string, tag: string, signal?: AbortSignal): Promise<ReplicaPoint> {
    return this.#untilArrived(volume, 'prepare', { tag }, signal);
  }

  async unprepare(volume: string, signal?: AbortSignal): Promise<void> {
    await this.#act(answers.changed, volume, 'unprepare', {}, signal);
  }

  async promote(
    volume: string,
    options: { readonly mode: 'planned' | 'unplanned'; readonly point: string; readonly confirm: string },
    signal?: AbortSignal,
  ): Promise<void> {
    if (options.confirm !== promotionConfirmation(volume, options.point))
      throw this.#wrongConfirmation(`point ${options.point} of volume ${volume}`);
    await this.#act(answers.changed, volume, 'promote', options, signal);
  }

  async divergence(volume: string, signal?: AbortSignal): Promise<Divergence> {
    return divergenceOf(await this.#get(answers.divergence, volumePath(volume, 'divergence'), signal));
  }

  async demote(volume: string, options: Discarding, signal?: AbortSignal): Promise<void> {
    this.#mayDiscard('demote', volume, options);
    await this.#act(answers.changed, volume, 'demote', options, signal);
  }

  reverse(volume: string, tag: string, options: Discarding, signal?: AbortSignal): Promise<ReplicaPoint> {
    this.#mayDiscard('reverse', volume, options);
    return this.#untilArrived(volume, 'reverse', { tag, ...options }, signal);
  }

  async restore(volume: string, options: Discarding, signal?: AbortSignal): Promise<void> {
    this.#mayDiscard('restore', volume, options);
    await this.#act(answers.changed, volume, 'restore', options, signal);
  }

  expose(volume: string, access: Access, signal?: AbortSignal): Promise<Exposed> {
    const { addresses } = access;
    return this.#act(answers.exposed, volume, 'expose', { addresses }, signal);
  }

  async conceal(volume: string, access: Access, signal?: AbortSignal): Promise<void> {
    const { addresses } = access;
    await this.#act(answers.changed, volume, 'conceal', { addresses }, signal);
  }

  drillStart(
    volume: string,
    options: { readonly drill: string; readonly point: string; readonly access: Access },
    signal?: AbortSignal,
  ): Promise<Exposed> {
    const { drill, point, access } = options;
    const body = { drill, point, addresses: access.addresses };
    return this.#act(answers.exposed, volume, 'drillStart', body, signal);
  }

  async drillStop(volume: string, drill: string, signal?: AbortSignal): Promise<void> {
    await this.#act(answers.changed, volume, 'drillStop', { drill }, signal);
  }

  async drillList(signal?: AbortSignal): Promise<readonly DrillLeftover[]> {
    return leftovers(await this.#get(answers.drills, '/drills', signal));
  }

  async fence(volume: string, signal?: AbortSignal): Promise<void> {
    await this.#act(answers.changed, volume, 'fence', {}, signal);
  }

  close(): Promise<void> {
    this.#closed.abort();
    return Promise.resolve();
  }

  /** A confirmation that is not even of this verb and volume does not leave the house; the array checks the rest. */
  #mayDiscard(verb: 'demote' | 'reverse' | 'restore', volume: string, options: Discarding): void {
    const [start] = discardConfirmation(verb, volume, null).split('nothing');
    if (options.discard && !options.confirm.startsWith(start ?? ''))
      throw this.#wrongConfirmation(`what ${verb} of volume ${volume} throws away`);
  }

  #wrongConfirmation(what: string): PortError {
    return new PortError('refused', {
      code: 'DR-ARRAY-CONFIRM',
      what: `The confirmation does not name ${what}`,
      where: { object: `array ${this.array}` },
      next: 'Make a new plan; this one was made for something else',
    });
  }

  /** Asking again with the same tag is asking how far it is. */
  async #untilArrived(
    volume: string,
    verb: 'syncNow' | 'prepare' | 'reverse',
    body: { readonly tag: string },
    signal: AbortSignal | undefined,
  ): Promise<ReplicaPoint> {
    const started = this.#clock.monotonicSeconds();
    for (let wait = poll.firstSeconds; ; wait = Math.min(wait * 2, poll.mostSeconds)) {
      const found = await this.#sendOnce(volume, verb, body, signal);
      if (found?.complete === true) return replicaPoint(found);
      if (this.#clock.monotonicSeconds() - started > syncSeconds)
        throw new PortError('busy', {
          code: 'DR-ARRAY-SYNC-LATE',
          what: `Point ${body.tag} of volume ${volume} has not arrived within ${syncSeconds / 60} min`,
          where: { object: `array ${this.array}` },
          next: 'Look at the link between the arrays; the transfer goes on by itself',
        });
      await this.#pause(wait, signal);
    }
  }

  async #pause(seconds: number, signal: AbortSignal | undefined): Promise<void> {
    try {
      await this.#clock.sleep(seconds, signal);
    } catch (error) {
      if (signal?.aborted !== true) throw error;
      throw new PortError(
        'cancelled',
        {
          code: 'DR-CANCELLED',
          what: `Nobody waits any more for array ${this.array}`,
          next: 'Nothing is needed: the transfer goes on by itself, and the same tag finds it',
        },
        { cause: error },
      );
    }
  }

  /** Null while another transfer is under way. */
  async #sendOnce(
    volume: string,
    verb: string,
    body: unknown,
    signal: AbortSignal | undefined,
  ): Promise<PointAnswer | null> {
    try {
      return (await this.#act(answers.sent, volume, verb, body, signal)).point;
    } catch (error) {
      if (error instanceof PortError && error.kind === 'busy') return null;
      throw error;
    }
  }

  #get<T>(schema: z.ZodType<T>, path: string, signal: AbortSignal | undefined): Promise<T> {
    return this.#ask(schema, 'GET', path, undefined, signal);
  }

  #act<T>(
    schema: z.ZodType<T>,
    volume: string,
    verb: string,
    body: unknown,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    return this.#ask(schema, 'POST', volumePath(volume, verb), body, signal);
  }

  async #ask<T>(
    schema: z.ZodType<T>,
    method: 'GET' | 'POST',
    path: string,
    body: unknown,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    const endpoint = await endpointOf(this.#settings, this.#secrets);
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
}

function volumePath(volume: string, verb?: string): string {
  return `/volumes/${encodeURIComponent(volume)}${verb === undefined ? '' : `/${verb}`}`;
}
