/** From the settings of an array of type `pure-activedr` to its adapter. Nobody is contacted before the first call. */
import { PortError } from '../../../../domain/errors.ts';
import type { ArraySettings } from '../../../../domain/settings.ts';
import type { Replication } from '../../../../ports/replication.ts';
import { restEndpointOf, restSecretOf } from '../../rest/options.ts';
import { type Pace, usualPace } from '../../rest/poll.ts';
import { capabilitiesOfFilers, endsOf, type FilerSurroundings } from '../../send-receive/open.ts';
import { PureApi } from '../api.ts';
import { activeDrOptions } from '../options.ts';
import { type PodEnd, PodReplication } from './pod-array.ts';
import { PodStore } from './pod-store.ts';
import { podOf } from './pods.ts';
import { podTransport } from './transport.ts';

const capabilities = {
  ...capabilitiesOfFilers,
  drill: 'in-place',
  promoteToPoint: false,
  consistencyGroups: true,
  expose: 'lun',
} as const;

/** @param pace - how long the pauses between two looks at a pod are */
export function openActiveDr(
  settings: ArraySettings,
  surroundings: FilerSurroundings,
  pace: Pace = usualPace,
): Replication {
  const endOf = (array: ArraySettings): ((volume: string) => PodEnd) => {
    const options = activeDrOptions(array);
    const secret = restSecretOf(array, surroundings.secrets);
    const api = new PureApi(restEndpointOf(array, options), options.api_version, secret);
    const { clock } = surroundings;
    const volumes = volumesAt(array, settings, surroundings);
    const store = new PodStore(api, { clock, pace, keepPoints: options.keep_points, volumes });
    const filer = { array: array.name, clock, store, close: () => api.close() };
    return (volume) => ({ filer, store, volume });
  };
  return new PodReplication(endsOf(settings, surroundings, capabilities, podTransport(pace), endOf));
}

/** The volumes that sites.yaml names on this array; a consistency group is a pod by its own name. */
function volumesAt(
  array: ArraySettings,
  own: ArraySettings,
  { peers }: Pick<FilerSurroundings, 'peers'>,
): readonly string[] {
  return [...peers].flatMap(([volume, peer]) => {
    if (peer.array.type !== own.type) return [];
    const group = peer.consistencyGroup;
    const found = [
      ...(array.name === own.name ? [{ volume, group: group?.here }] : []),
      ...(array.name === peer.array.name ? [{ volume: peer.volume, group: group?.there }] : []),
    ];
    return found.map((one) => mustBeOfPod(array.name, one.volume, one.group));
  });
}

function mustBeOfPod(array: string, volume: string, group: string | undefined): string {
  const pod = podOf(volume);
  if (pod !== '' && (group === undefined || group === pod)) return volume;
  throw new PortError('refused', {
    code: 'DR-ARRAY-VOLUME',
    what:
      pod === ''
        ? `${volume} is not the name of a volume in a pod`
        : `Volume ${volume} is not in pod ${group}`,
    where: { object: `array ${array}` },
    known: ['a volume is written POD::VOLUME, and its consistency_group, if any, is the pod'],
    next: 'Correct the volume in sites.yaml; `purepod list` and `purevol list` name both',
  });
}
