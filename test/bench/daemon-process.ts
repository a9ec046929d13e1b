/** The daemon in a process that does nothing else: what a look costs, and what is held while it rests. */
import { setTimeout as pause } from 'node:timers/promises';
import { systemClock } from '../../src/adapters/system/clock.ts';
import { giveMemoryBack } from '../../src/adapters/system/memory.ts';
import { runDaemon } from '../../src/faces/daemon/daemon.ts';
import type { Machine } from '../../src/faces/daemon/machine.ts';
import { parts, type StartPart } from '../../src/faces/daemon/parts.ts';
import type { DaemonOrder, DaemonReport } from './daemon.ts';
import { openHouse } from './house.ts';

process.once('message', (message) => {
  watch(message as DaemonOrder).then(
    (answer) => process.send?.(answer, () => process.disconnect()),
    (error: unknown) =>
      process.send?.({ restBytes: 0, peakBytes: 0, lookSeconds: 0, error: String(error) }, () =>
        process.disconnect(),
      ),
  );
});

/** As many as half an hour brings. */
const looks = 6;
const watchEverySeconds = 300;
/** What is closed late, such as connections that were kept, is gone then. */
const restSeconds = 2;

async function watch({
  stateDirectory,
  catalogDirectory,
  groups,
  ...lab
}: DaemonOrder): Promise<DaemonReport> {
  const open = async () =>
    openHouse({
      lab,
      recovery: 'recovery',
      stateDirectory,
      catalogDirectory,
      ...(groups === undefined ? {} : { groups }),
    }).app;
  const stop = new AbortController();
  const looked = Promise.withResolvers<void>();
  // It ends as the daemon does, which may be before all looks were taken.
  looked.promise.catch(() => undefined);
  let lookSeconds = 0;
  const witness: StartPart = async () => ({
    name: 'bench',
    ticked: ({ tick, watch, durationSeconds }) => {
      if (tick === null) return;
      lookSeconds = durationSeconds;
      if (tick.status.groups.length !== groups?.length)
        looked.reject(new Error('not all groups were looked at'));
      if (watch === null) looked.reject(new Error('the watch failed'));
    },
    stop: async () => undefined,
  });
  const daemon = runDaemon({
    programme: { version: 'bench', open },
    machine: hurried(looks, looked),
    configFile: 'sites.yaml',
    signal: stop.signal,
    parts: [...parts, witness],
  });
  daemon.catch(looked.reject);
  try {
    await looked.promise;
    await pause(restSeconds * 1000);
    return {
      restBytes: process.memoryUsage.rss(),
      // The kernel tells kibibytes.
      peakBytes: process.resourceUsage().maxRSS * 1024,
      lookSeconds,
    };
  } finally {
    stop.abort();
    await daemon;
  }
}

/** A machine on which the time for the next look has come as soon as the last one is over. */
function hurried(
  wanted: number,
  looked: { readonly resolve: () => void; readonly reject: (error: unknown) => void },
): Machine {
  let leapSeconds = 0;
  let rests = 0;
  return {
    ...systemClock,
    monotonicSeconds: () => performance.now() / 1000 + leapSeconds,
    heartbeat: (beat) => {
      const timer = setInterval(beat, 250);
      return () => clearInterval(timer);
    },
    tell: async () => undefined,
    onReload: () => () => undefined,
    watchFiles: () => () => undefined,
    rest: () => {
      giveMemoryBack();
      rests += 1;
      if (rests < wanted) leapSeconds += watchEverySeconds;
      else looked.resolve();
    },
    log: {
      info: () => undefined,
      warn: () => undefined,
      error: (fields, message) => looked.reject(new Error(`${message}: ${JSON.stringify(fields)}`)),
    },
    within: (_fields, work) => work(),
  };
}
