/** Worlds in which Lifeboat does not rehearse itself: whoever asks for the machine below has made a mistake. */
import type { Home } from '../../src/ports/home.ts';

const unexpected = async (): Promise<never> => {
  throw new Error('nobody rehearses Lifeboat itself here');
};

export const noHome: Home = {
  runtime: 'no program',
  secrets: { resolve: unexpected },
  readSettings: unexpected,
  openAnew: () => ({
    hypervisor: unexpected,
    array: unexpected,
    catalog: unexpected,
    close: async () => undefined,
  }),
  space: unexpected,
  tryWriting: unexpected,
  rehearsals: async () => ({ save: unexpected, newest: async () => null }),
};
