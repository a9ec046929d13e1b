/** Plans every operation of every group in a process that does nothing else, and tells how much memory it had at most. */
import { openHouse } from './house.ts';
import type { PlanningOrder, PlanningReport } from './preflight.ts';

process.once('message', (message) => {
  plan(message as PlanningOrder).then(
    (answer) => process.send?.(answer, () => process.disconnect()),
    (error: unknown) =>
      process.send?.({ peakBytes: 0, seconds: 0, plans: 0, error: String(error) }, () =>
        process.disconnect(),
      ),
  );
});

async function plan({
  stateDirectory,
  catalogDirectory,
  groups,
  ...lab
}: PlanningOrder): Promise<PlanningReport> {
  const house = openHouse({
    lab,
    recovery: 'recovery',
    stateDirectory,
    catalogDirectory,
    ...(groups === undefined ? {} : { groups }),
  });
  const began = performance.now();
  try {
    const report = await house.app.check({ groups: [] });
    const planned = report.groups.flatMap(({ operations }) => operations);
    const whole = planned.filter(
      ({ operation, forecastSeconds }) => operation === 'failover' && forecastSeconds !== null,
    );
    if (whole.length !== groups?.length)
      throw new Error(`only ${whole.length} of ${groups?.length} groups have a plan of a failover`);
    return {
      // The kernel tells kibibytes.
      peakBytes: process.resourceUsage().maxRSS * 1024,
      seconds: (performance.now() - began) / 1000,
      plans: planned.length,
    };
  } finally {
    await house.close();
  }
}
