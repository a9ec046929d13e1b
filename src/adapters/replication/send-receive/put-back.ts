/** What stands in the way of a reversal at the old source, and goes only by its exact name. */
import type { Discarding } from '../../../ports/replication.ts';
import type { End } from './carry.ts';
import { mustDiscard } from './guards.ts';
import type { VolumeState } from './store.ts';
import { after, commonOf } from './views.ts';

/**
 * A demoted volume takes no writes, but points may have been cut there since, by a schedule of the filer as a rule: they
 * are kept beside it. Where there is no common point the transfer says so.
 */
export async function putBack(
  array: string,
  state: VolumeState,
  peer: End,
  other: VolumeState,
  options: Discarding,
): Promise<void> {
  const common = commonOf(other, state);
  const newer = after(other, common).filter(({ complete }) => complete);
  if (common === null || newer.length === 0) return;
  const alone = [`only at ${peer.filer.array}: ${newer.map(({ name }) => name).join(', ')}`];
  mustDiscard(array, 'reverse', state.volume, common, alone, options);
  await peer.store.rewind(peer.volume, common);
}
