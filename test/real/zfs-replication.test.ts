/**
 * The contract of the replication port over real ZFS and real sshd: two filers in name spaces of their own, with a
 * replication link that can be cut, and power that can be taken away.
 */
import t from 'tap';
import { replicationSuite } from '../contract/replication/suite.ts';
import { startFilers, whyNoFilers } from './storage/filer.ts';
import { openPair } from './storage/pair-rig.ts';
import { zfsKind } from './storage/zfs-kind.ts';

const skip = whyNoFilers('zfs');
if (skip !== false) t.plan(0, skip);
else {
  const filers = await startFilers('zfs', 11);
  t.teardown(() => filers.stop());
  replicationSuite('zfs', openPair(filers, zfsKind).open, {
    caseSeconds: 300,
    cannot: {
      lie: 'ZFS has no status of its own that could lie: what it shows are the points',
      skewClock: 'both filers run on one kernel, which has one clock',
    },
  });
}
