/** Arrays of type `ontap` (REST) and `ontap-cli` (SSH), and the other sides of their volumes. Nobody is contacted before the first call. */
import type { ArraySettings } from '../../../domain/settings.ts';
import type { Clock, Secrets } from '../../../ports/system.ts';
import { sshServerOf } from '../../ssh/options.ts';
import { SshRemote } from '../../ssh/pool.ts';
import type { Paired } from '../consistency-group.ts';
import { basicLogin, RestClient } from '../rest/client.ts';
import { restEndpointOf, restSecretOf } from '../rest/options.ts';
import { type Pace, usualPace } from '../rest/poll.ts';
import { OntapCli } from './cli-control.ts';
import type { OntapControl, Patience } from './control.ts';
import type { Side } from './direction.ts';
import { type Groups, groupsOfOwn, groupsOfPeer } from './groups.ts';
import { OntapReplication } from './ontap-array.ts';
import { checkedPath, type OntapOptions, ontapCliOptions, ontapRestOptions } from './options.ts';
import { noPeer } from './refusals.ts';
import { OntapRest } from './rest-control.ts';
import { OntapRequests } from './rest-requests.ts';

export interface OntapPeer extends Paired {
  readonly array: ArraySettings;
}

export interface OpenSurroundings {
  readonly secrets: Secrets;
  readonly clock: Clock;
  readonly peers: ReadonlyMap<string, OntapPeer>;
  /** For tests; the usual one when absent. */
  readonly pace?: Pick<Pace, 'firstSeconds' | 'longestSeconds'>;
}

interface Opened {
  readonly control: OntapControl;
  readonly options: OntapOptions;
  readonly patience: Patience;
}

export function openOntap(settings: ArraySettings, surroundings: OpenSurroundings): OntapReplication {
  return assembled(openRest(settings, surroundings, groupsOfOwn(surroundings.peers)), surroundings);
}

export function openOntapCli(settings: ArraySettings, surroundings: OpenSurroundings): OntapReplication {
  return assembled(openCli(settings, surroundings), surroundings);
}

function assembled({ control, options, patience }: Opened, surroundings: OpenSurroundings): OntapReplication {
  const open = new Map<string, OntapControl>();
  const peer = (volume: string): Side => {
    const known = surroundings.peers.get(volume);
    const opener = known === undefined ? undefined : openers[known.array.type];
    if (known === undefined || opener === undefined) throw noPeer(control, volume);
    const { name } = known.array;
    const paired = new Map([...surroundings.peers].filter(([, { array }]) => array.name === name));
    const other = open.get(name) ?? opener(known.array, surroundings, groupsOfPeer(paired)).control;
    open.set(name, other);
    return { control: other, path: checkedPath(name, known.volume) };
  };
  return new OntapReplication(control, {
    options,
    patience,
    volumes: [...surroundings.peers.keys()],
    peer,
    closePeers: async () => {
      await Promise.all([...open.values()].map((one) => one.close()));
    },
  });
}

const openers: Readonly<
  Record<string, (settings: ArraySettings, surroundings: OpenSurroundings, groups: Groups) => Opened>
> = {
  ontap: openRest,
  'ontap-cli': openCli,
};

function openRest(settings: ArraySettings, surroundings: OpenSurroundings, groups: Groups): Opened {
  const options = ontapRestOptions(settings);
  const login = basicLogin(options.username, restSecretOf(settings, surroundings.secrets));
  const client = new RestClient(restEndpointOf(settings, options), login);
  const patience = patienceOf(options, surroundings);
  const requests = new OntapRequests(client, options.username, patience);
  return { control: new OntapRest(requests, options.protocol, groups), options, patience };
}

function openCli(settings: ArraySettings, surroundings: OpenSurroundings): Opened {
  const options = ontapCliOptions(settings);
  const remote = new SshRemote(sshServerOf(settings, options, surroundings.secrets));
  return {
    control: new OntapCli(settings.name, remote, options),
    options,
    patience: patienceOf(options, surroundings),
  };
}

function patienceOf(options: OntapOptions, { clock, pace }: OpenSurroundings): Patience {
  return { clock, pace: { ...usualPace, ...pace, patienceSeconds: options.stall_seconds } };
}
