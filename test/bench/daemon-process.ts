/** Looks of a daemon in a process that does nothing else: what each costs, and what is held while it rests. */
import { setTimeout as pause } from 'node:timers/promises';
import { giveMemoryBack } from '../../src/adapters/system/memory.ts';
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
/** What is closed late, such as connections that were kept, is gone then. */
const restSeconds = 2;

async function watch({
  stateDirectory,
  catalogDirectory,
  groups,
  ...lab
}: DaemonOrder): Promise<DaemonReport> {
  const house = openHouse({
    lab,
    recovery: 'recovery',
    stateDirectory,
    catalogDirectory,
    ...(groups === undefined ? {} : { groups }),
  });
  try {
    let lookSeconds = 0;
    for (let look = 0; look < looks; look += 1) {
      const began = performance.now();
      const { status } = await house.app.look({ configProblems: [] });
      lookSeconds = (performance.now() - began) / 1000;
      if (status.groups.length !== groups?.length) throw new Error('not all groups were looked at');
      await house.app.schedules.begin([]);
    }
    giveMemoryBack();
    await pause(restSeconds * 1000);
    return {
      restBytes: process.memoryUsage.rss(),
      // The kernel tells kibibytes.
      peakBytes: process.resourceUsage().maxRSS * 1024,
      lookSeconds,
    };
  } finally {
    await house.close();
  }
}
