/** The isolated network that drills use at each site. */
import type { NetworkFacts, PoolFacts } from '../../../src/domain/pool.ts';
import { network } from '../../support/two-sites.ts';

export const drillNetworkName = 'Drill';

/** It spans the hosts by a VLAN of its own, which the other site does not have. */
export function networkTwin(pool: PoolFacts, number: number): NetworkFacts {
  const made = network(number, drillNetworkName, pool.hosts, `xapi${number}`);
  return { ...made, pifs: made.pifs.map((pif) => ({ ...pif, vlan: number })) };
}
