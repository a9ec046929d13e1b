/** Two LINSTOR clusters as a rig: two controllers for all cases, clusters of their own for each. */
import { openLinstorArray } from '../../../../../src/adapters/replication/linstor/linstor-array.ts';
import type { OpenRig, Place, Rig, Side, Verb } from '../../rig.ts';
import { type DoubleRequest, type HttpsDouble, startHttpsDouble } from '../https-double.ts';
import { openedOver, PairOfArrays, quickPace, sides } from '../pair.ts';
import { Cluster, type Definition, type Link } from './cluster.ts';
import { Controller } from './controller.ts';

const hosts: Readonly<Record<Side, string>> = { source: '127.41.1.1', target: '127.41.2.1' };
const wrongToken = 'token-of-nobody';

export interface LinstorWorld {
  readonly controllers: Readonly<Record<Side, Controller>>;
  readonly servers: Readonly<Record<Side, HttpsDouble>>;
  readonly link: Link;
  /** Fresh clusters behind the same controllers. */
  renew(): Promise<void>;
  readonly adapters: PairOfArrays;
  stop(): Promise<void>;
}

const volumes: Readonly<Record<Side, string>> = { source: 'shop', target: 'shop-replica' };

export async function startLinstorWorld(): Promise<LinstorWorld> {
  const link: Link = { up: true, held: false, bytes: 0 };
  const controllers = {
    source: new Controller(clusterOf('source', link), 'token-of-osaka'),
    target: new Controller(clusterOf('target', link), 'token-of-tokyo'),
  };
  const servers = {
    source: await startHttpsDouble((request) => controllers.source.answer(request)),
    target: await startHttpsDouble((request) => controllers.target.answer(request)),
  };
  const named = (side: Side) => ({
    name: `linstor-${side}`,
    options: {
      url: servers[side].url,
      fingerprint: servers[side].certificate.sha256,
      remote: 'other',
    },
  });
  const adapters = new PairOfArrays({
    type: 'linstor',
    arrays: { source: named('source'), target: named('target') },
    secrets: { source: controllers.source.token, target: controllers.target.token },
    open: (settings, surroundings) => openLinstorArray(settings, { ...surroundings, pace: quickPace }),
  });
  const world: LinstorWorld = {
    controllers,
    servers,
    link,
    adapters,
    renew: async () => {
      Object.assign(link, { up: true, held: false });
      for (const side of sides) {
        controllers[side].cluster = clusterOf(side, link);
        controllers[side].traps = [];
        controllers[side].dying = false;
        await servers[side].powerOn();
      }
      const { source, target } = controllers;
      source.cluster.remotes.set('other', target.cluster);
      target.cluster.remotes.set('other', source.cluster);
    },
    stop: async () => {
      await adapters.close();
      for (const side of sides) await servers[side].stop();
    },
  };
  return world;
}

function clusterOf(side: Side, link: Link): Cluster {
  const nodes = new Map([
    [`${side}-storage`, side === 'source' ? '127.41.1.100' : '127.41.2.100'],
    [`${side}-1`, hosts[side]],
  ]);
  return new Cluster(`cluster-${side}`, nodes, link);
}

export function linstorRigs(world: LinstorWorld): OpenRig {
  return async () => {
    await world.renew();
    const { cluster } = world.controllers.source;
    cluster.deploy(volumes.source);
    cluster.cut(volumes.source, 'back_20260101_000000', {});
    cluster.ship('other', {
      src_rsc_name: volumes.source,
      src_snap_name: 'back_20260101_000000',
      dst_rsc_name: volumes.target,
      download_only: true,
    });
    for (let look = 0; look < 3; look += 1) cluster.advance();
    return rigOf(world);
  };
}

/** The request by which a verb can be known: its effect, not a look. */
const effects: Readonly<Record<Verb, RegExp>> = {
  syncNow: /^POST .*\/backups\/ship /,
  prepare: /^POST .*\/backups\/ship /,
  reverse: /^POST .*\/backups\/ship /,
  unprepare: /^PUT .*\/resource-definitions\//,
  promote: /^POST .*\/(snapshot-restore-resource|snapshot-rollback)\//,
  demote: /^PUT .*\/key-value-store\/.*demoted:/,
  restore: /^never/,
  expose: /^POST .*\/make-available /,
  conceal: /^DELETE .*\/resources\//,
  drillStart: /^POST .*\/snapshot-restore-resource\//,
  drillStop: /^DELETE .*\/resource-definitions\/lbdrill_/,
  fence: /^PUT .*\/resource-definitions\//,
};
const halves: Readonly<Record<'promote' | 'reverse' | 'drillStart' | 'prepare', RegExp>> = {
  promote: effects.promote,
  reverse: effects.reverse,
  prepare: /^PUT .*\/resource-definitions\//,
  drillStart: /^POST \/v1\/resource-definitions /,
};

function trapFor(pattern: RegExp) {
  return ({ method, path, body }: DoubleRequest) =>
    pattern.test(`${method} ${path} ${body === null ? '' : JSON.stringify(body)}`);
}

function rigOf(world: LinstorWorld): Rig {
  const { controllers, servers, link } = world;
  const at = ({ side, exposed, as }: Place): Definition => {
    const { cluster } = controllers[side];
    if (!cluster.up) throw new Error('the site is dark');
    const device = exposed?.path;
    const all = [...cluster.definitions.values()];
    const found =
      device === undefined
        ? cluster.definition(volumes[side])
        : all.find((one) => devicesOf(controllers[side], one.name).includes(device));
    const seen = found?.nodes.has(`${side}-1`) === true && as === 'host';
    if (found === undefined || found.files === null || (device !== undefined && !seen))
      throw new Error('there is no such device here');
    return found;
  };
  return {
    ...openedOver(world.adapters, [{ volumes }], wrongToken),
    hosts: (side) => ({ addresses: [hosts[side]], iqns: [] }),
    read: async (place, file) => at(place).files?.get(file) ?? null,
    write: async (place, file, text) => controllers[place.side].cluster.write(at(place).name, file, text),
    reportsSplit: false,
    secrets: [controllers.source.token, controllers.target.token, wrongToken],
    cutLink: async () => {
      link.up = false;
    },
    mendLink: async () => {
      link.up = true;
    },
    powerOff: async (side) => {
      controllers[side].cluster.up = false;
      await servers[side].powerOff();
    },
    powerOn: async (side) => {
      await servers[side].powerOn();
      controllers[side].cluster.up = true;
    },
    holdTransfers: async () => {
      link.held = true;
      return async () => {
        link.held = false;
      };
    },
    loseAnswer: async (side, verb) => {
      controllers[side].traps.push({ matches: trapFor(effects[verb]), effect: 'lose' });
    },
    dieHalfway: async (side, verb) => {
      controllers[side].traps.push({ matches: trapFor(halves[verb]), effect: 'die' });
    },
    skewClock: async (side, seconds) => {
      controllers[side].cluster.skewSeconds = seconds;
    },
    roundTrips: async (side) => servers[side].requests.length,
    bytesCarried: async () => link.bytes,
    crowd: async () => crowdIn(controllers.target.cluster),
    readKept: async (side, file) => {
      const { snaps } = controllers[side].cluster.definition(volumes[side]);
      const kept = [...snaps.values()].findLast(({ props }) => props['Aux/lifeboat/kept'] !== undefined);
      if (kept === undefined) throw new Error('nothing has been kept');
      return kept.files.get(file) ?? null;
    },
  };
}

function devicesOf(controller: Controller, definition: string): string[] {
  const answer = controller.answer({
    method: 'GET',
    path: '/v1/view/resources',
    query: new URLSearchParams({ resources: definition }),
    headers: { authorization: `Bearer ${controller.token}` },
    body: null,
  });
  const body = typeof answer === 'symbol' ? [] : (answer.body as { volumes: { device_path: string }[] }[]);
  return body.flatMap(({ volumes: all }) => all.map(({ device_path: path }) => path));
}

/** 500 replicas, each with one point received. */
function crowdIn(cluster: Cluster): string[] {
  return Array.from({ length: 500 }, (_, i) => {
    const name = `crowd-${i}`;
    const definition = cluster.deploy(name);
    cluster.cut(name, 'back_20260101_000000', {
      'Backup/Target/SourceSnapDfnUUID': `uuid-${i}`,
      'BackupShipping/Target/ShippingStatus': 'Success',
    });
    definition.nodes.clear();
    definition.files = null;
    return name;
  });
}
