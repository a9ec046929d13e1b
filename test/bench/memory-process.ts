/** One export in a process that does nothing else; tells how much memory it had at most. Started by memory.ts. */
import { join } from 'node:path';
import { exportOnce } from './export.ts';
import { openHouse } from './house.ts';
import type { MemoryOrder, MemoryReport } from './memory.ts';

process.once('message', (message) => {
  report(message as MemoryOrder).then(
    (answer) => process.send?.(answer, () => process.disconnect()),
    (error: unknown) =>
      process.send?.({ peakBytes: 0, seconds: 0, error: String(error) }, () => process.disconnect()),
  );
});

async function report({ directory, ...lab }: MemoryOrder): Promise<MemoryReport> {
  const house = openHouse({
    lab,
    recovery: 'recovery',
    stateDirectory: join(directory, 'state'),
    catalogDirectory: join(directory, 'catalog'),
  });
  const began = performance.now();
  try {
    await exportOnce(house);
  } finally {
    await house.close();
  }
  // The kernel tells kibibytes.
  return {
    peakBytes: process.resourceUsage().maxRSS * 1024,
    seconds: (performance.now() - began) / 1000,
  };
}
