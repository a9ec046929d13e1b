/** A caller of its own: asks for one sync with the settings of its argument, so that a test can kill it in the middle. */
import { openReplication } from '../../../src/adapters/replication/open.ts';
import { systemClock } from '../../../src/adapters/system/clock.ts';
import type { ArraySettings } from '../../../src/domain/settings.ts';

const [own, other, volume, tag] = JSON.parse(process.argv[2] ?? '') as [
  ArraySettings,
  ArraySettings,
  string,
  string,
];
const adapter = openReplication(own, {
  secrets: { resolve: () => Promise.reject(new Error('no secret is needed')) },
  clock: systemClock,
  peers: new Map([[volume, { array: other, volume }]]),
});
await adapter.syncNow(volume, tag);
await adapter.close();
