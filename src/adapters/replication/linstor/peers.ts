/** The other side of a volume, asked through the controller that sites.yaml names for it; only by planned verbs. */
import type { ArraySettings } from '../../../domain/settings.ts';
import type { Secrets } from '../../../ports/system.ts';
import { noPeer } from '../rest/refusals.ts';
import { LinstorApi } from './api.ts';
import { look, type VolumeState } from './state.ts';

export interface Peer {
  readonly array: ArraySettings;
  readonly volume: string;
}

export interface OtherSide {
  readonly api: LinstorApi;
  readonly volume: string;
}

export class Peers {
  readonly #array: string;
  readonly #peers: ReadonlyMap<string, Peer>;
  readonly #secrets: Secrets;
  readonly #apis = new Map<string, LinstorApi>();

  constructor(array: string, peers: ReadonlyMap<string, Peer>, secrets: Secrets) {
    this.#array = array;
    this.#peers = peers;
    this.#secrets = secrets;
  }

  named(volume: string): Peer | null {
    return this.#peers.get(volume) ?? null;
  }

  /** DR-ARRAY-PEER when the settings name no other side of type linstor. */
  of(volume: string): OtherSide {
    const peer = this.#peers.get(volume);
    if (peer === undefined || peer.array.type !== 'linstor') throw noPeer(this.#array, volume, 'linstor');
    const { name } = peer.array;
    const api = this.#apis.get(name) ?? new LinstorApi(peer.array, this.#secrets);
    this.#apis.set(name, api);
    return { api, volume: peer.volume };
  }

  async close(): Promise<void> {
    await Promise.all([...this.#apis.values()].map((api) => api.close()));
  }
}

/** Null when there is nothing of that name yet: the first shipment makes it. */
export async function lookAcross(
  { api, volume }: OtherSide,
  signal: AbortSignal | undefined,
): Promise<VolumeState | null> {
  return (await look(api, volume, signal)).volumes.get(volume) ?? null;
}
