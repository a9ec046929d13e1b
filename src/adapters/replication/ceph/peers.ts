/** The other side of each volume, asked through the admin host that sites.yaml names for it. */
import { PortError } from '../../../domain/errors.ts';
import type { ArraySettings } from '../../../domain/settings.ts';
import type { Secrets } from '../../../ports/system.ts';
import { sshServerOf } from '../../ssh/options.ts';
import { SshRemote } from '../../ssh/pool.ts';
import { cephOptions, type Image, parseImage } from './options.ts';
import { type Limits, Rbd } from './rbd.ts';
import { noPeer } from './refusals.ts';
import { type ImageState, readState } from './state.ts';

/** One cluster and one image in it. */
export interface Side {
  readonly rbd: Rbd;
  readonly image: Image;
}

export interface Peer {
  readonly array: ArraySettings;
  readonly volume: string;
}

export class Peers {
  readonly #own: Rbd;
  readonly #peers: ReadonlyMap<string, Peer>;
  readonly #secrets: Secrets;
  readonly #limits: Limits;
  readonly #open = new Map<string, { readonly remote: SshRemote; readonly rbd: Rbd }>();

  constructor(own: Rbd, peers: ReadonlyMap<string, Peer>, secrets: Secrets, limits: Limits) {
    this.#own = own;
    this.#peers = peers;
    this.#secrets = secrets;
    this.#limits = limits;
  }

  /** Nobody is contacted yet. */
  side(volume: string): Side {
    const peer = this.#peers.get(volume);
    if (peer === undefined || peer.array.type !== 'ceph') throw noPeer(this.#own, volume);
    return { rbd: this.#rbd(peer.array), image: parseImage(peer.array.name, peer.volume) };
  }

  /** Null while the other side has no image yet, or has thrown it away to copy it anew. */
  async state(volume: string, signal: AbortSignal | undefined): Promise<ImageState | null> {
    const { rbd, image } = this.side(volume);
    try {
      return await readState(rbd, image, signal);
    } catch (error) {
      if (error instanceof PortError && error.peerCode === 'not-found') return null;
      throw error;
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#open.values()].map(({ remote }) => remote.close()));
  }

  #rbd(array: ArraySettings): Rbd {
    const known = this.#open.get(array.name);
    if (known !== undefined) return known.rbd;
    const options = cephOptions(array);
    const remote = new SshRemote(sshServerOf(array, options, this.#secrets));
    const rbd = new Rbd(array.name, remote, options, this.#limits);
    this.#open.set(array.name, { remote, rbd });
    return rbd;
  }
}
