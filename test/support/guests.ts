/** Worlds in which no recovery plan calls a program or asks a guest over HTTP or SSH: whoever does has made a mistake. */
import type { ProbeHttp, RunInGuest, RunProgram } from '../../src/ports/guests.ts';

const unexpected = async (): Promise<never> => {
  throw new Error('no step of this plan does that');
};

export const noGuests: {
  readonly probeHttp: ProbeHttp;
  readonly runInGuest: RunInGuest;
  readonly runProgram: RunProgram;
} = { probeHttp: unexpected, runInGuest: unexpected, runProgram: unexpected };
