/** The replicated SRs: there, of a type that the other site drives, with the same address on every host (xapi.md 7.2). */
import { counted } from '../check/context.ts';
import type { Difference } from '../domain/drift.ts';
import { plainDeviceConfig, type SrFacts } from '../domain/pool.ts';
import { difference, type SitePair, vmsWhere } from './pairs.ts';

/** Where an SR lies differs between two sites by nature; everything else of its device_config is how it is used. */
const address = new Set([
  'server',
  'serverpath',
  'location',
  'device',
  'target',
  'targetIQN',
  'multiSession',
  'multihomelist',
  'SCSIid',
  'LUNid',
  'port',
  'path',
  'uri',
  'fs',
  'masterhost',
  'datastores',
]);

export function storageDifferences(pair: SitePair): Difference[] {
  const named = new Set(pair.groups.flatMap(({ group }) => group.storage.map(({ sr }) => sr)));
  return [...named].sort().flatMap((name) => {
    const here = pair.home.srs.find(({ uuid, nameLabel }) => uuid === name || nameLabel === name);
    if (here === undefined) return [gone(pair, name)];
    const there = pair.away.srs.find(({ uuid }) => uuid === here.uuid);
    return [
      ...driver(pair, here),
      ...betweenHosts(pair, here),
      ...(there === undefined ? [] : [...type(pair, here, there), ...configs(pair, here, there)]),
    ];
  });
}

const usersOf = (pair: SitePair, sr: SrFacts): Difference['vms'] =>
  vmsWhere(pair, (vm) => vm.srUuids.includes(sr.uuid));

function gone(pair: SitePair, name: string): Difference {
  return difference(pair, {
    aspect: 'sr',
    identity: ['gone', name],
    object: name,
    what: `Site ${pair.production} has no SR ${name}, which sites.yaml calls replicated`,
    breaks: false,
    vms: pair.groups
      .filter(({ group }) => group.storage.some(({ sr }) => sr === name))
      .map(({ group }) => ({ group: group.name, names: [] })),
    codes: ['DR-SR-NOT-IN-POINT'],
    next: 'Correct its name in sites.yaml, or give it back its name.',
  });
}

function driver(pair: SitePair, sr: SrFacts): Difference[] {
  const { storageDrivers } = pair.away;
  if (storageDrivers === undefined || storageDrivers.includes(sr.type)) return [];
  return [
    difference(pair, {
      aspect: 'sr-type',
      identity: ['driver', sr.uuid, sr.type],
      object: sr.nameLabel,
      what: `Pool ${pair.away.nameLabel} has no driver for SR ${sr.nameLabel} of type ${sr.type}`,
      evidence: [`it drives ${[...storageDrivers].sort().join(', ')}`],
      breaks: true,
      vms: usersOf(pair, sr),
      codes: ['DR-SR-NO-DRIVER'],
      next: `Install the storage manager for ${sr.type} on every host of site ${pair.recovery}.`,
    }),
  ];
}

function type(pair: SitePair, here: SrFacts, there: SrFacts): Difference[] {
  if (here.type === there.type) return [];
  return [
    difference(pair, {
      aspect: 'sr-type',
      identity: ['type', here.uuid, here.type, there.type],
      object: here.nameLabel,
      what: `SR ${here.nameLabel} is of type ${here.type} at site ${pair.production} and of type ${there.type} at site ${pair.recovery}`,
      breaks: true,
      vms: usersOf(pair, here),
      codes: ['DR-SR-TYPE'],
      next: `Forget the SR at site ${pair.recovery}: a failover introduces it with the right type.`,
    }),
  ];
}

/** Hosts of one pool that reach the same SR in different ways: one of them is wrong, and nobody sees it before a restart. */
function betweenHosts(pair: SitePair, sr: SrFacts): Difference[] {
  const shapes = Map.groupBy(sr.pbds, ({ deviceConfig }) => configText(deviceConfig, false));
  if (shapes.size < 2) return [];
  const names = new Map(pair.home.hosts.map(({ uuid, nameLabel }) => [uuid, nameLabel]));
  const evidence = [...shapes]
    .map(
      ([text, pbds]) =>
        `${pbds
          .map(({ hostUuid }) => names.get(hostUuid) ?? hostUuid)
          .sort()
          .join(', ')}: ${text}`,
    )
    .sort();
  return [
    difference(pair, {
      aspect: 'device-config',
      identity: ['hosts', sr.uuid, ...evidence],
      object: sr.nameLabel,
      what: `The hosts of site ${pair.production} reach SR ${sr.nameLabel} in ${shapes.size} different ways`,
      evidence,
      breaks: false,
      vms: usersOf(pair, sr),
      next: 'Find out which PBD is right, and make the others alike.',
    }),
  ];
}

function configs(pair: SitePair, here: SrFacts, there: SrFacts): Difference[] {
  const shape = (sr: SrFacts): string =>
    [...new Set(sr.pbds.map(({ deviceConfig }) => configText(deviceConfig, true)))].sort().join(' | ');
  const [ours, theirs] = [shape(here), shape(there)];
  if (ours === theirs || here.pbds.length === 0 || there.pbds.length === 0) return [];
  return [
    difference(pair, {
      aspect: 'device-config',
      identity: ['sites', here.uuid, ours, theirs],
      object: here.nameLabel,
      what: `SR ${here.nameLabel} is attached with other options at site ${pair.recovery} than at site ${pair.production}`,
      evidence: [`${pair.production}: ${ours || 'none'}`, `${pair.recovery}: ${theirs || 'none'}`],
      breaks: false,
      vms: usersOf(pair, here),
      next: `Compare the device_config of ${counted(there.pbds.length, 'PBD')} at site ${pair.recovery} with those of production.`,
    }),
  ];
}

/** Secrets are left out: `plainDeviceConfig` knows them. */
function configText(config: Readonly<Record<string, string>>, withoutAddress: boolean): string {
  return Object.entries(plainDeviceConfig(config))
    .filter(([key]) => !withoutAddress || !address.has(key))
    .map(([key, value]) => `${key}=${value}`)
    .sort()
    .join(', ');
}
