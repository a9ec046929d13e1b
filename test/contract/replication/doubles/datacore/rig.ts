/** Two SANsymphony server groups as a rig: two REST servers for all cases, groups of their own for each. */
import { openDatacoreArray } from '../../../../../src/adapters/replication/datacore/datacore-array.ts';
import type { OpenRig, Place, Rig, Side, Verb } from '../../rig.ts';
import { type DoubleRequest, type HttpsDouble, startHttpsDouble } from '../https-double.ts';
import { openedOver, PairOfArrays, quickPace, sides } from '../pair.ts';
import { type Disk, Group, type Link, pair } from './group.ts';
import { RestServer } from './server.ts';

export const volumes: Readonly<Record<Side, string>> = { source: 'shop', target: 'shop-replica' };
const serverHosts: Readonly<Record<Side, string>> = { source: '10.1.0.1', target: '10.2.0.1' };
const wrongPassword = 'not-the-password';

export interface DatacoreWorld {
  readonly servers: Readonly<Record<Side, RestServer>>;
  readonly https: Readonly<Record<Side, HttpsDouble>>;
  readonly link: Link;
  renew(): Promise<void>;
  readonly adapters: PairOfArrays;
  stop(): Promise<void>;
}

export async function startDatacoreWorld(): Promise<DatacoreWorld> {
  const link: Link = { up: true, held: false, bytes: 0 };
  const servers = {
    source: new RestServer(groupOf('source', link), 'password-of-osaka', serverHosts.source),
    target: new RestServer(groupOf('target', link), 'password-of-tokyo', serverHosts.target),
  };
  const https = {
    source: await startHttpsDouble((request) => servers.source.answer(request)),
    target: await startHttpsDouble((request) => servers.target.answer(request)),
  };
  const named = (side: Side) => ({
    name: `datacore-${side}`,
    options: {
      url: https[side].url,
      fingerprint: https[side].certificate.sha256,
      username: 'lifeboat',
      server_host: serverHosts[side],
      portals: `10.0.0.1:3260,10.0.0.2:3260`,
      target_iqn: `iqn.2000-08.com.datacore:${side}-1`,
    },
  });
  const adapters = new PairOfArrays({
    type: 'datacore',
    arrays: { source: named('source'), target: named('target') },
    secrets: { source: servers.source.password, target: servers.target.password },
    open: (settings, surroundings) => openDatacoreArray(settings, { ...surroundings, pace: quickPace }),
  });
  return {
    servers,
    https,
    link,
    adapters,
    renew: async () => {
      Object.assign(link, { up: true, held: false });
      for (const side of sides) {
        servers[side].group = groupOf(side, link);
        Object.assign(servers[side], { traps: [], dying: false, wrongTries: 0, busyOperations: 0 });
        await https[side].powerOn();
      }
    },
    stop: async () => {
      await adapters.close();
      for (const side of sides) await https[side].stop();
    },
  };
}

function groupOf(side: Side, link: Link): Group {
  const ports = new Map([
    [initiator(side), `host-${side}`],
    [initiator('stranger'), 'host-stranger'],
  ]);
  return new Group(`group-${side}`, ports, link);
}

function initiator(host: string): string {
  return `iqn.2026-01.org.example:${host}`;
}

export function datacoreRigs(world: DatacoreWorld): OpenRig {
  return async () => {
    await world.renew();
    const { source, target } = world.servers;
    const from = { group: source.group, disk: source.group.add(volumes.source) };
    const to = { group: target.group, disk: target.group.add(volumes.target) };
    pair(from, to);
    source.group.serve(from.disk.id, 'host-source');
    return rigOf(world);
  };
}

/** The request by which a verb can be known, and the side at which it is made. */
const effects: Readonly<Record<Verb, RegExp>> = {
  syncNow: /^PUT .*\/virtualdisks\//,
  prepare: /"Unserve"/,
  unprepare: /"Serve"/,
  promote: /"Activate"/,
  demote: /"Deactivate"/,
  reverse: /"Resume"/,
  restore: /^never/,
  expose: /"Serve"/,
  conceal: /"Unserve"/,
  drillStart: /"EnableTestMode"/,
  drillStop: /"DisableTestMode"/,
  fence: /"Unserve"/,
};

function trapFor(verb: Verb) {
  return ({ method, path, body }: DoubleRequest) =>
    effects[verb].test(`${method} ${path} ${body === null ? '' : JSON.stringify(body)}`);
}

function rigOf(world: DatacoreWorld): Rig {
  const { servers, https, link } = world;
  const at = ({ side, exposed, as }: Place): Disk => {
    const { group } = servers[side];
    if (!group.up) throw new Error('the site is dark');
    const host = as === 'host' ? `host-${side}` : 'host-stranger';
    const disk = [...group.disks.values()].find(({ naa, alias }) =>
      exposed === null ? alias === volumes[side] : `3${naa.toLowerCase()}` === exposed.scsiId,
    );
    if (disk === undefined || !disk.servedTo.has(host)) throw new Error('no such disk is served here');
    if (exposed !== null && exposed.lun !== disk.servedTo.get(host)) throw new Error('it is at another LUN');
    return disk;
  };
  return {
    ...openedOver(world.adapters, [{ volumes }], wrongPassword),
    hosts: (side) => ({ addresses: [], iqns: [initiator(side)] }),
    read: async (place, file) => {
      const disk = at(place);
      return (disk.testFiles ?? disk.files).get(file) ?? null;
    },
    write: async (place, file, text) => servers[place.side].group.write(at(place), file, text),
    reportsSplit: false,
    secrets: [...sides.flatMap((side) => [servers[side].password, servers[side].token]), wrongPassword],
    cutLink: async () => {
      link.up = false;
    },
    mendLink: async () => {
      link.up = true;
    },
    powerOff: async (side) => {
      servers[side].group.up = false;
      await https[side].powerOff();
    },
    powerOn: async (side) => {
      await https[side].powerOn();
      servers[side].group.up = true;
    },
    holdTransfers: async () => {
      link.held = true;
      return async () => {
        link.held = false;
      };
    },
    loseAnswer: async (side, verb) => {
      // The only thing that a sync changes is what it writes down at the destination.
      const there = verb === 'syncNow' ? 'target' : side;
      servers[there].traps.push({ matches: trapFor(verb), effect: 'lose' });
    },
    dieHalfway: async (side, verb) => {
      servers[side].traps.push({ matches: trapFor(verb), effect: 'die' });
    },
    lie: async (side) => {
      servers[side].group.lies = true;
    },
    skewClock: async (side, seconds) => {
      servers[side].group.skewSeconds = seconds;
    },
    roundTrips: async (side) => https[side].requests.length,
    bytesCarried: async () => link.bytes,
    crowd: async () =>
      Array.from({ length: 500 }, (_, i) => {
        const from = { group: servers.source.group, disk: servers.source.group.add(`crowd-${i}`) };
        const to = { group: servers.target.group, disk: servers.target.group.add(`crowd-${i}-replica`) };
        pair(from, to);
        return to.disk.alias;
      }),
  };
}
