/** A file in a subvolume as an iSCSI LUN, over two real filers with real tgtd. */
import t from 'tap';
import { btrfsKind } from './storage/btrfs-kind.ts';
import { startFilers, whyNoFilers } from './storage/filer.ts';
import { lunStory, openLuns, whyNoTargets } from './storage/lun-rig.ts';

const skip = whyNoFilers('btrfs') || whyNoTargets();
if (skip !== false) t.plan(0, skip);
else {
  const filers = await startFilers('btrfs', 51);
  t.teardown(() => filers.stop());
  const open = await openLuns(filers, btrfsKind);
  t.test(
    'written over iSCSI, replicated, drilled, promoted, read over iSCSI',
    { timeout: 120_000 },
    async (t) => lunStory(t, await open(t)),
  );
}
