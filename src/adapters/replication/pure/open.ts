/** From the settings of an array of type `pure` to its adapter. Nobody is contacted before the first call. */
import type { ArraySettings } from '../../../domain/settings.ts';
import type { Replication } from '../../../ports/replication.ts';
import { restEndpointOf, restSecretOf } from '../rest/options.ts';
import { type Pace, usualPace } from '../rest/poll.ts';
import { capabilitiesOfFilers, type FilerSurroundings, openEnds } from '../send-receive/open.ts';
import { PureApi } from './api.ts';
import { pureOptions } from './options.ts';
import { placesAt } from './places.ts';
import { PureStore } from './pure-store.ts';
import { type PureEnd, snapshotTransport } from './transport.ts';

const capabilities = { ...capabilitiesOfFilers, expose: 'lun', consistencyGroups: true } as const;

/** @param pace - how long the pauses between two looks at a transfer are */
export function openPure(
  settings: ArraySettings,
  surroundings: FilerSurroundings,
  pace: Pace = usualPace,
): Replication {
  const endOf = (array: ArraySettings): ((volume: string) => PureEnd) => {
    const options = pureOptions(array);
    const secret = restSecretOf(array, surroundings.secrets);
    const api = new PureApi(restEndpointOf(array, options), options.api_version, secret);
    const store = new PureStore(api, options, placesAt(array, settings, surroundings));
    const filer = { array: array.name, clock: surroundings.clock, store, close: () => api.close() };
    return (volume) => ({ filer, store, volume });
  };
  return openEnds(settings, surroundings, capabilities, snapshotTransport(pace), endOf);
}
