/** From the settings of an array of type `truenas` to its adapter. Nobody is contacted before the first call. */
import type { ArraySettings } from '../../../domain/settings.ts';
import type { Replication } from '../../../ports/replication.ts';
import { restEndpointOf, restSecretOf } from '../rest/options.ts';
import { type Pace, usualPace } from '../rest/poll.ts';
import { capabilitiesOfFilers, type FilerSurroundings, openEnds } from '../send-receive/open.ts';
import { trueNasOptions } from './options.ts';
import { TrueNasApi } from './rpc.ts';
import { jobTransport, type TrueNasEnd } from './transport.ts';
import { TrueNasStore } from './truenas-store.ts';

/** @param pace - how long the pauses between two looks at a job are */
export function openTrueNas(
  settings: ArraySettings,
  surroundings: FilerSurroundings,
  pace: Pace = usualPace,
): Replication {
  const endOf = (array: ArraySettings): ((volume: string) => TrueNasEnd) => {
    const options = trueNasOptions(array);
    const key = { username: options.username, secret: restSecretOf(array, surroundings.secrets) };
    const api = new TrueNasApi(restEndpointOf(array, options), key);
    const store = new TrueNasStore(api, options, surroundings.clock);
    const filer = { array: array.name, clock: surroundings.clock, close: () => api.close() };
    return (volume) => ({ filer, store, volume, connection: options.ssh_connection });
  };
  return openEnds(settings, surroundings, capabilitiesOfFilers, jobTransport(pace), endOf);
}
