/** From the settings of an array of type `btrfs` to its adapter. */
import type { ArraySettings } from '../../../domain/settings.ts';
import type { Replication } from '../../../ports/replication.ts';
import { Filer } from '../send-receive/filer.ts';
import { Luns } from '../send-receive/luns/luns.ts';
import { capabilitiesOfFilers, type FilerSurroundings, openFilers } from '../send-receive/open.ts';
import { BtrfsStore } from './btrfs-store.ts';
import { btrfsOptions } from './options.ts';
import { explainBtrfs } from './words.ts';

export function openBtrfs(settings: ArraySettings, surroundings: FilerSurroundings): Replication {
  return openFilers(settings, surroundings, capabilitiesOfFilers, (array, around) => {
    const options = btrfsOptions(array);
    const filer = new Filer(array, options, around, explainBtrfs);
    const luns = options.expose === 'iscsi' ? new Luns(filer, options, around.secrets) : null;
    return { filer, store: new BtrfsStore(filer, options, luns) };
  });
}
