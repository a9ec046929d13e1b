/** Rigs over two clusters in memory, whatever face they have: REST or the CLI. */

import type { OntapReplication } from '../../../../../src/adapters/replication/ontap/ontap-array.ts';
import { systemClock } from '../../../../../src/adapters/system/clock.ts';
import type { Clock } from '../../../../../src/ports/system.ts';
import type { Place, Rig, Side, Verb } from '../../rig.ts';
import type { NamedPair } from '../pair.ts';
import { Fabric, OntapCluster } from './model.ts';

export const volumes: Readonly<Record<Side, string>> = { source: 'svm1:shop', target: 'svm2:shop_dst' };
const host: Readonly<Record<Side, string>> = { source: '192.0.2.101', target: '192.0.2.102' };
const stranger = '192.0.2.250';

export type Clusters = Readonly<Record<Side, OntapCluster>>;

/** What differs between REST and the CLI. */
export interface Face {
  open(
    side: Side,
    changes?: { readonly password?: string; readonly trust?: string },
    pairs?: readonly NamedPair[],
  ): OntapReplication;
  reset(): void;
  powerOff(side: Side): Promise<void>;
  powerOn(side: Side): Promise<void>;
  lose(side: Side, verb: Verb): void;
  dieHalfway(side: Side, verb: 'promote' | 'reverse' | 'drillStart' | 'prepare'): void;
  requests(side: Side): number;
  readonly secrets: readonly string[];
  readonly wrongTrust: string;
}

export function makeClusters(): Clusters {
  const fabric = new Fabric();
  const clusters = {
    source: new OntapCluster('osaka-aff', fabric),
    target: new OntapCluster('tokyo-fas', fabric),
  };
  clusters.source.peer = clusters.target;
  clusters.target.peer = clusters.source;
  return clusters;
}

/** With the link down, and so with nothing that could still come, waiting is over at the second look. */
export function clockOf({ source }: Clusters): Clock {
  let skipped = 0;
  return {
    ...systemClock,
    monotonicSeconds() {
      if (!source.fabric.linked) skipped += 1000;
      return systemClock.monotonicSeconds() + skipped;
    },
  };
}

/** A healthy pair as a site has it: the source mounted by its hosts, everything arrived. */
export function populate(clusters: Clusters, from = volumes.source, to = volumes.target): void {
  const { source, target } = clusters;
  for (const side of [source, target])
    for (const svm of ['svm1', 'svm2'])
      if (!side.policies.some((one) => one.svm === svm && one.name === 'default')) {
        const policy = side.addPolicy(svm, 'default');
        if (side === source) side.addRule(policy, host.source);
      }
  const base = source.addVolume(from, { junction: `/${from.split(':')[1]}` });
  target.addVolume(to, { type: 'dp' });
  const relationship = target.relate(from, to, 'MirrorAllSnapshots');
  source.snapshot(from, 'snapmirror.base', null);
  const [first] = base.snapshots;
  if (first !== undefined) target.volume(to).snapshots.push({ ...first, uuid: source.fabric.id() });
  relationship.state = 'snapmirrored';
  relationship.exported = 'snapmirror.base';
}

export function resetClusters(clusters: Clusters): void {
  const { fabric } = clusters.source;
  fabric.linked = true;
  fabric.holding = false;
  for (const cluster of Object.values(clusters)) cluster.reset();
  populate(clusters);
}

/** Two volumes of one consistency group that is mirrored as a whole; everything has arrived. */
export function together(clusters: Clusters, face: Face): readonly [Rig, Rig] {
  const { source, target } = clusters;
  const groups = { source: 'shop_group', target: 'shop_group_dst' };
  const member = (what: string): NamedPair => ({
    volumes: { source: `svm1:${what}`, target: `svm2:${what}_dst` },
    groups,
  });
  const [log, data] = [member('log'), member('data')];
  const pairs = [log, data].map(({ volumes: one }) => ({ source: one.source, destination: one.target }));
  for (const { source: from, destination: to } of pairs) {
    source.addVolume(from, { junction: `/${from.split(':')[1]}` });
    target.addVolume(to, { type: 'dp' });
    source.snapshot(from, 'snapmirror.base', null);
    const [first] = source.volume(from).snapshots;
    if (first !== undefined) target.volume(to).snapshots.push({ ...first, uuid: source.fabric.id() });
  }
  const ends = { source: `svm1:/cg/${groups.source}`, target: `svm2:/cg/${groups.target}` };
  source.addGroup(
    ends.source,
    pairs.map((one) => one.source),
  );
  target.addGroup(
    ends.target,
    pairs.map((one) => one.destination),
  );
  const relationship = target.relate(ends.source, ends.target, 'Asynchronous', pairs);
  relationship.state = 'snapmirrored';
  relationship.exported = 'snapmirror.base';
  const rigOf = (own: NamedPair): Rig => {
    const open = (side: Side) => face.open(side, {}, [log, data]);
    return ontapRig(clusters, face, { source: open('source'), target: open('target') }, own.volumes);
  };
  return [rigOf(log), rigOf(data)];
}

export function ontapRig(
  clusters: Clusters,
  face: Face,
  adapters: Readonly<Record<Side, OntapReplication>>,
  own: Readonly<Record<Side, string>> = volumes,
): Rig {
  const { fabric } = clusters.source;
  const at = ({ side, exposed, as }: Place) => {
    const client = as === 'host' ? host[side] : stranger;
    const junction = clusters[side].volumes.get(own[side])?.junction ?? '';
    return clusters[side].mounted(exposed?.path ?? junction, client);
  };
  return {
    ...adapters,
    volumes: own,
    hosts: (side) => ({ addresses: [host[side]], iqns: [`iqn.2026-01.test:${side}`] }),
    read: async (place, file) => at(place).files.get(file) ?? null,
    write: async (place, file, text) => {
      const volume = at(place);
      if (volume.type !== 'rw') throw new Error('read-only file system');
      volume.files.set(file, text);
    },
    reopen: (side) => Promise.resolve(face.open(side)),
    patienceSeconds: 60,
    reportsSplit: false,
    secrets: face.secrets,
    cutLink: async () => {
      fabric.linked = false;
    },
    mendLink: async () => {
      fabric.linked = true;
    },
    powerOff: (side) => face.powerOff(side),
    powerOn: (side) => face.powerOn(side),
    holdTransfers: async () => {
      fabric.holding = true;
      return async () => {
        fabric.holding = false;
      };
    },
    loseAnswer: async (side, verb) => face.lose(side, verb),
    dieHalfway: async (side, verb) => face.dieHalfway(side, verb),
    lie: async (side) => {
      clusters[side].lies = true;
    },
    skewClock: async (side, seconds) => {
      clusters[side].clockOffsetSeconds = seconds;
    },
    roundTrips: async (side) => face.requests(side),
    bytesCarried: async () => fabric.bytesCarried,
    crowd: async () =>
      Array.from({ length: 500 }, (_, index) => {
        populate(clusters, `svm1:crowd${index}`, `svm2:crowd${index}_dst`);
        return `svm2:crowd${index}_dst`;
      }),
    wrongCredentials: async (side) => face.open(side, { password: 'wrong-password' }),
    wrongTrust: async (side) => face.open(side, { trust: face.wrongTrust }),
  };
}
