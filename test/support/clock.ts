/** Worlds in which nothing is done on a clock: whoever asks for the ledger has made a mistake. */
import type { Clockwork } from '../../src/ports/schedule.ts';

const unexpected = async (): Promise<never> => {
  throw new Error('nothing is done on a clock here');
};

export const noClockwork: { readonly clockwork: Clockwork } = {
  clockwork: { ledger: unexpected, shelve: unexpected },
};
