/** Operations on a replication, each awaited until the disk shows what it was for. */
import { PortError } from '../../../domain/errors.ts';
import type { Clock } from '../../../ports/system.ts';
import { busy } from '../rest/errors.ts';
import { type Pace, pollUntil } from '../rest/poll.ts';
import { operations, statusWords, type VirtualDisk } from './answers.ts';
import type { DatacoreApi } from './api.ts';
import { type Stand, standOf } from './state.ts';

export interface Operating {
  readonly api: DatacoreApi;
  readonly clock: Clock;
  readonly pace: Pace;
  readonly signal: AbortSignal | undefined;
}

/**
 * Sends the operation until it is accepted, and looks until the disk stands so. An earlier call may have been accepted
 * without our hearing of it: then this one is told to wait, or that it is not valid any more.
 */
export async function bring(
  operating: Operating,
  disk: VirtualDisk,
  operation: keyof typeof operations,
  wanted: Stand,
): Promise<void> {
  const { api, clock, pace, signal } = operating;
  const standNow = async (): Promise<Stand> => standOf(await api.disk(disk.Alias, signal));
  let accepted = false;
  const look = async (): Promise<Stand> => {
    const stand = await standNow();
    if (stand === wanted || accepted) return stand;
    try {
      await operate(operating, disk, operation);
      accepted = true;
    } catch (error) {
      if (!(error instanceof PortError) || (error.kind !== 'busy' && error.kind !== 'refused')) throw error;
      const after = await standNow();
      if (error.kind === 'refused' && after !== wanted) throw error;
      return after;
    }
    return stand;
  };
  await pollUntil(
    { endpoint: api.endpoint, clock, pace, signal },
    {
      look,
      done: (seen) => seen === wanted,
      late: (seen) =>
        busy(api.endpoint, `${disk.Alias} stays ${seen} after ${operations[operation]}`, 'late'),
    },
  );
}

/** Transfers in the direction that the disk's side gives, where they stand still. */
export async function resume(operating: Operating, disk: VirtualDisk): Promise<void> {
  if (statusWords.stopped.test(disk.VirtualDiskReplicationData?.TransferStatus ?? ''))
    await operate(operating, disk, 'resume');
}

async function operate(
  { api, signal }: Operating,
  disk: VirtualDisk,
  operation: keyof typeof operations,
): Promise<void> {
  const id = encodeURIComponent(disk.VirtualDiskReplicationData?.Id ?? '');
  // A promotion has been confirmed by its point; it must also succeed with the other side gone.
  const body = { Operation: operations[operation], ...(operation === 'activate' ? { Force: true } : {}) };
  await api.act('POST', `replications/${id}`, body, signal);
}
