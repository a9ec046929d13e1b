/** Which hosts have an image open: RBD keeps no list of who may, only of who does. */
import { watcherList } from './answers.ts';
import { type Image, imageSpec } from './options.ts';
import type { Side } from './peers.ts';
import type { Rbd } from './rbd.ts';
import { inUse } from './refusals.ts';

/** Addresses of the connections that watch an image, as `address:port/nonce`. */
export async function watchersOf(rbd: Rbd, image: Image, signal: AbortSignal | undefined): Promise<string[]> {
  const seen = await rbd.read(watcherList, ['status', imageSpec(image)], signal);
  return (seen?.watchers ?? []).map(({ address }) => address);
}

/**
 * Throws when a host has the source open. The rbd-mirror of the other cluster watches it too: it runs where that cluster's
 * own image is watched, or where the settings say.
 */
export async function mustBeUnused(
  rbd: Rbd,
  image: Image,
  other: Side,
  mirrorHosts: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const [here, there] = await Promise.all([
    watchersOf(rbd, image, signal),
    watchersOf(other.rbd, other.image, signal),
  ]);
  const mirrors = new Set([...there.map(hostOf), ...mirrorHosts.split(',').map((text) => text.trim())]);
  const still = here.filter((address) => !mirrors.has(hostOf(address)));
  if (still.length > 0) throw inUse(rbd, imageSpec(image), still);
}

/** The host of `address:port/nonce`, for IPv4 and IPv6. */
export function hostOf(address: string): string {
  return address
    .replace(/^v\d:/, '')
    .replace(/:\d+\/\d+$/, '')
    .replace(/^\[(.*)\]$/, '$1');
}
