/** The whole promise on two real ZFS filers. */
import t from 'tap';
import { startFilers, whyNoFilers } from './storage/filer.ts';
import { failoverStory } from './story.ts';
import { zfsStory } from './story-kinds.ts';

t.setTimeout(1_700_000);

const skip = whyNoFilers('zfs');
if (skip !== false) t.plan(0, skip);
else {
  const filers = await startFilers('zfs', 17);
  t.teardown(() => filers.stop());
  await t.test('the story', { timeout: 1_600_000 }, (t) => failoverStory(t, filers, zfsStory));
}
