/** The worlds that a lab can start with. */

import { addNetwork, addPool } from './core/build.ts';
import type { Lab } from './core/lab.ts';
import { demoWorld } from './demo.ts';

export const worlds: Readonly<Record<string, (lab: Lab) => void | Promise<void>>> = {
  demo: demoWorld,
  recordings: recordingsWorld,
};

/**
 * What the recorded scenarios assume: pool `prod` of one host, pool `dr` of a master and a member, networks and NFS
 * exports, no SR attached, no guest agents.
 */
function recordingsWorld(lab: Lab): void {
  const prod = addPool(lab, {
    name: 'prod',
    site: 'prod',
    label: 'prod-pool',
    hosts: [{ name: 'prod', address: '127.0.0.2' }],
  });
  addNetwork(prod, 'prod-lan');
  const dr = addPool(lab, {
    name: 'dr',
    site: 'dr',
    label: 'dr-pool',
    hosts: [
      { name: 'dr', address: '127.0.0.3' },
      { name: 'dr2', address: '127.0.0.4' },
    ],
  });
  addNetwork(dr, 'dr-lan');
  const prod1 = lab.directory('prod1');
  const dr1 = lab.directory('dr1');
  // "of any server": both pools can mount either export.
  for (const pool of [prod, dr]) {
    pool.exports.set('/exports/prod1', prod1);
    pool.exports.set('/exports/dr1', dr1);
  }
}
