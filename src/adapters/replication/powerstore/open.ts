/** From the settings of an array of type `powerstore` to its adapter. Nobody is contacted before the first call. */
import type { ArraySettings } from '../../../domain/settings.ts';
import type { Replication } from '../../../ports/replication.ts';
import { groupsHere, groupsThere } from '../consistency-group.ts';
import { unsupported } from '../rest/errors.ts';
import { restEndpointOf, restSecretOf } from '../rest/options.ts';
import { type Pace, usualPace } from '../rest/poll.ts';
import { mustExist } from '../send-receive/carry.ts';
import { capabilitiesOfFilers, endsOf, type FilerSurroundings } from '../send-receive/open.ts';
import { type Ends, SendReceiveReplication } from '../send-receive/replication.ts';
import { PowerStoreApi } from './api.ts';
import { powerStoreOptions } from './options.ts';
import { PowerStoreStore } from './powerstore-store.ts';
import { type PowerStoreEnd, sessionTransport } from './transport.ts';

const capabilities = {
  ...capabilitiesOfFilers,
  expose: 'lun',
  restore: false,
  consistencyGroups: true,
} as const;

class PowerStoreReplication extends SendReceiveReplication<PowerStoreEnd> {
  readonly #ends: Ends<PowerStoreEnd>;

  constructor(ends: Ends<PowerStoreEnd>) {
    super(ends);
    this.#ends = ends;
  }

  /** A session that was failed over goes back only by carrying everything back: reverse, and a planned move home. */
  override async restore(volume: string): Promise<void> {
    const side = this.#ends.side(volume);
    await mustExist(side);
    throw unsupported(
      side.store.api.endpoint,
      `Lifeboat cannot undo the promotion of ${volume} at a PowerStore`,
      'Demote the old source, reverse, and move back as planned; or turn the session round in PowerStore Manager',
    );
  }
}

/** @param pace - how long the pauses between two looks at a session are */
export function openPowerStore(
  settings: ArraySettings,
  surroundings: FilerSurroundings,
  pace: Pace = usualPace,
): Replication {
  const peersAt = (name: string) =>
    new Map([...surroundings.peers].filter(([, { array }]) => array.name === name));
  const endOf = (array: ArraySettings): ((volume: string) => PowerStoreEnd) => {
    const options = powerStoreOptions(array);
    const secret = restSecretOf(array, surroundings.secrets);
    const api = new PowerStoreApi(restEndpointOf(array, options), options.username, secret);
    const { clock } = surroundings;
    const groups =
      array.name === settings.name ? groupsHere(surroundings.peers) : groupsThere(peersAt(array.name));
    const store = new PowerStoreStore(api, { clock, pace, keepPoints: options.keep_points, groups });
    const filer = { array: array.name, clock, store, close: () => api.close() };
    return (volume) => ({ filer, store, volume });
  };
  return new PowerStoreReplication(
    endsOf(settings, surroundings, capabilities, sessionTransport(pace), endOf),
  );
}
