/** The other side of a volume, as its own controller shows it; only for planned verbs. */
import type { SideOf } from '../rest/sides.ts';
import type { LinstorApi } from './api.ts';
import { look, type VolumeState } from './state.ts';

export type OtherSide = SideOf<LinstorApi>;

/** Null when there is nothing of that name yet: the first shipment makes it. */
export async function lookAcross(
  { api, volume }: OtherSide,
  signal: AbortSignal | undefined,
): Promise<VolumeState | null> {
  return (await look(api, volume, signal)).volumes.get(volume) ?? null;
}
