/** The whole promise on two real btrfs filers. */
import t from 'tap';
import { startFilers, whyNoFilers } from './storage/filer.ts';
import { failoverStory } from './story.ts';
import { btrfsStory } from './story-kinds.ts';

t.setTimeout(1_700_000);

const skip = whyNoFilers('btrfs');
if (skip !== false) t.plan(0, skip);
else {
  const filers = await startFilers('btrfs', 19);
  t.teardown(() => filers.stop());
  await t.test('the story', { timeout: 1_600_000 }, (t) => failoverStory(t, filers, btrfsStory));
}
