/**
 * The contract of the replication port over real btrfs and real sshd: the second implementation, which keeps the first one honest: two filers in name spaces of their own, with a
 * replication link that can be cut, and power that can be taken away.
 */
import t from 'tap';
import { replicationSuite } from '../contract/replication/suite.ts';
import { btrfsKind } from './storage/btrfs-kind.ts';
import { startFilers, whyNoFilers } from './storage/filer.ts';
import { openPair } from './storage/pair-rig.ts';

const skip = whyNoFilers('btrfs');
if (skip !== false) t.plan(0, skip);
else {
  const filers = await startFilers('btrfs', 13);
  t.teardown(() => filers.stop());
  replicationSuite('btrfs', openPair(filers, btrfsKind).open, {
    caseSeconds: 300,
    cannot: {
      lie: 'btrfs has no status of its own that could lie: what it shows are the points',
      loseAnswer: 'the marks are written by a script, which no program of the filer stands behind',
      skewClock: 'both filers run on one kernel, which has one clock',
    },
  });
}
