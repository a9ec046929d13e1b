/** The adapter for Ceph RBD mirroring over two real clusters of Debian's packages: the contract of every adapter. */
import t from 'tap';
import { replicationSuite } from '../contract/replication/suite.ts';
import { CephPair, caseSeconds } from './storage/ceph.ts';
import { whyNoCeph } from './storage/ceph-place.ts';
import { openCephRig } from './storage/ceph-rig.ts';

const missing = whyNoCeph();
if (missing !== null && process.env['LIFEBOAT_REAL'] !== undefined) throw new Error(missing);

if (missing !== null) t.test('two real Ceph clusters', { skip: missing }, () => undefined);
else {
  // Two clusters on a busy machine: each case has a limit of its own, the file a generous one.
  t.setTimeout(1_800_000);
  const pair = new CephPair();
  // Also where the runner gives the file up: nothing of it may stay behind.
  process.once('exit', () => pair.stop());
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => process.exit(1));
  t.teardown(() => pair.stop());
  t.before(() => pair.start());

  replicationSuite(
    'ceph',
    async (teardown) => {
      await pair.mended();
      return openCephRig(pair, await pair.readyImage(), teardown);
    },
    {
      caseSeconds,
      cannot: {
        lie: 'a real cluster does not lie on request',
        skewClock: 'both clusters share the clock of this machine',
        bytesCarried: 'Ceph counts no bytes per image',
        readKept: 'a resync takes the place of what was there: nothing is kept aside',
        crowd: 'counted by the double, where twenty images cost no minute',
        loseAnswer: 'played by the double, which knows when a command has had its effect',
        dieHalfway: 'played by the double, which knows the steps of a verb',
      },
    },
  );
}
