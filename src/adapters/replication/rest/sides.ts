/** What an adapter between two controllers of one type is made of: its own, and those of the other sides. */
import type { ArraySettings } from '../../../domain/settings.ts';
import type { Clock, Secrets } from '../../../ports/system.ts';
import type { Pace } from './poll.ts';
import { noPeer } from './refusals.ts';

export interface RestSurroundings {
  readonly secrets: Secrets;
  readonly clock: Clock;
  readonly peers: ReadonlyMap<string, Peer>;
  /** For tests; the usual one when absent. */
  readonly pace?: Pace;
}

export interface Peer {
  readonly array: ArraySettings;
  readonly volume: string;
}

/** A volume at the controller that knows it. */
export interface SideOf<Api> {
  readonly api: Api;
  readonly volume: string;
}

interface Closing {
  close(): Promise<void>;
}

/** The controllers that sites.yaml names; each is opened once, and asked by planned verbs only. */
export class Sides<Api extends Closing> {
  readonly own: Api;
  readonly #settings: ArraySettings;
  readonly #peers: RestSurroundings['peers'];
  readonly #open: (array: ArraySettings) => Api;
  readonly #others = new Map<string, Api>();

  constructor(
    settings: ArraySettings,
    { peers }: Pick<RestSurroundings, 'peers'>,
    open: (array: ArraySettings) => Api,
  ) {
    this.own = open(settings);
    this.#settings = settings;
    this.#peers = peers;
    this.#open = open;
  }

  named(volume: string): Peer | null {
    return this.#peers.get(volume) ?? null;
  }

  /** DR-ARRAY-PEER when the settings name no other side of the same type. */
  of(volume: string): SideOf<Api> {
    const peer = this.#peers.get(volume);
    const { name, type } = this.#settings;
    if (peer === undefined || peer.array.type !== type) throw noPeer(name, volume, type);
    const api = this.#others.get(peer.array.name) ?? this.#open(peer.array);
    this.#others.set(peer.array.name, api);
    return { api, volume: peer.volume };
  }

  async close(): Promise<void> {
    await Promise.all([this.own, ...this.#others.values()].map((api) => api.close()));
  }
}
