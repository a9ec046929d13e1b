/** From the settings of an array of type `zfs` to its adapter. */
import type { ArraySettings } from '../../../domain/settings.ts';
import type { Replication } from '../../../ports/replication.ts';
import { Filer } from '../send-receive/filer.ts';
import { Luns } from '../send-receive/luns/luns.ts';
import { capabilitiesOfFilers, type FilerSurroundings, openFilers } from '../send-receive/open.ts';
import { zfsOptions } from './options.ts';
import { explainZfs } from './words.ts';
import { ZfsStore } from './zfs-store.ts';

export function openZfs(settings: ArraySettings, surroundings: FilerSurroundings): Replication {
  return openFilers(settings, surroundings, capabilitiesOfFilers, (array, around) => {
    const options = zfsOptions(array);
    const filer = new Filer(array, options, around, explainZfs);
    const luns = options.expose === 'iscsi' ? new Luns(filer, options, around.secrets) : null;
    return { filer, store: new ZfsStore(filer, options, luns) };
  });
}
