/** Worlds in which nobody watches: whoever asks for the memory of the watch has made a mistake. */
import type { Watching } from '../../src/ports/watch.ts';

export const noWatching: { readonly watching: Watching } = {
  watching: {
    store: async () => {
      throw new Error('nobody watches here');
    },
    notifier: () => {
      throw new Error('nobody is told of anything here');
    },
  },
};
