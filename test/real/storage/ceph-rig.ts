/** The rig of the contract suite over two real Ceph clusters. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Place, Rig, Side } from '../../contract/replication/rig.ts';
import type { CephPair } from './ceph.ts';

/** A case that takes longer than this says what the clusters are doing; the suite ends it soon after. */
const stuckSeconds = 150;

/** Over a fresh image. */
export async function openCephRig(
  pair: CephPair,
  volume: string,
  teardown: (work: () => Promise<void> | void) => void,
): Promise<Rig> {
  const open = (side: Side, changes: { readonly key?: string; readonly hostKey?: string } = {}) =>
    pair.open(side, [volume], changes);
  const stuck = setTimeout(() => pair.evidence().then(console.error), stuckSeconds * 1000);
  teardown(() => clearTimeout(stuck));
  teardown(() => pair.closeAdapters());
  const at = (place: Place): { readonly side: Side; readonly volume: string } => {
    if (place.as === 'stranger') throw new Error('a stranger has no key for the pool');
    return { side: place.side, volume: place.exposed?.path ?? volume };
  };
  return {
    source: open('source'),
    target: open('target'),
    volumes: { source: volume, target: volume },
    hosts: () => ({ addresses: ['10.79.1.7'], iqns: [] }),
    read: async (place, file) => pair.read(at(place).side, at(place).volume, file),
    write: async (place, file, text) => pair.write(at(place).side, at(place).volume, file, text),
    reopen: (side) => Promise.resolve(open(side)),
    patienceSeconds: 90,
    reportsSplit: false,
    secrets: [readFileSync(join(pair.root, 'id'), 'utf8')],
    cutLink: () => pair.cutLink(),
    mendLink: () => pair.mendLink(),
    powerOff: (side) => pair.powerOff(side),
    powerOn: (side) => pair.powerOn(side),
    holdTransfers: () => pair.holdTransfers(),
    roundTrips: (side) => Promise.resolve(pair.roundTrips(side)),
    wrongCredentials: (side) => {
      const key = join(pair.root, 'other-key');
      if (!existsSync(key)) execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key]);
      return Promise.resolve(open(side, { key }));
    },
    wrongTrust: (side) => Promise.resolve(open(side, { hostKey: 'A'.repeat(43) })),
  };
}
