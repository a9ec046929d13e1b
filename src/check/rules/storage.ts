/** The SRs of the group: already known, visible twice, driven, plugged everywhere, and nobody else's (xapi.md 7.5, 7.6). */
import type { Finding } from '../../domain/finding.ts';
import { plainDeviceConfig } from '../../domain/pool.ts';
import type { PointSr } from '../../domain/recovery-point.ts';
import { vmsInScope } from '../../domain/scope.ts';
import {
  type CheckContext,
  counted,
  labels,
  problem,
  storageOf,
  unknown,
  usable,
  warning,
} from '../context.ts';

/** Keys of device_config that say which storage is meant (xapi.md 7.4). */
const addressKeys: readonly string[] = [
  'server',
  'serverpath',
  'target',
  'targetIQN',
  'SCSIid',
  'device',
  'location',
];

/** An SR of the same UUID may be the remembered original, a leftover, or the SR itself already attached. */
export function srsDoNotClash(context: CheckContext): Finding[] {
  const { group, recovery, point, production } = context;
  if (recovery === null || point === null) return [];
  const findings: Finding[] = [];
  for (const sr of point.srs) {
    if (storageOf(group, sr) === undefined) continue;
    const known = recovery.srs.find((s) => s.uuid === sr.uuid);
    if (known === undefined) continue;
    const plugged = known.pbds.filter((pbd) => pbd.attached);
    const stillThere =
      production?.srs.some((s) => s.uuid === sr.uuid && s.pbds.some((pbd) => pbd.attached)) ?? false;
    if (plugged.length > 0 && stillThere) {
      findings.push(
        problem({
          code: 'DR-SR-TWICE',
          about: 'sr',
          name: sr.nameLabel,
          uuid: sr.uuid,
          what: `SR ${sr.nameLabel} is attached at both sites at once`,
          evidence: [
            `${plugged.length} hosts of site ${group.recovery} have it plugged, and site ${group.production} too`,
          ],
          next: `Find out whether both see the same storage. Unplug it at site ${group.recovery} before anything else.`,
        }),
      );
    } else if (known.type !== sr.type) {
      findings.push(
        problem({
          code: 'DR-SR-TYPE',
          about: 'sr',
          name: sr.nameLabel,
          uuid: sr.uuid,
          what: `Site ${group.recovery} knows SR ${sr.nameLabel} as type ${known.type}; it is ${sr.type}`,
          next: `Forget the record at site ${group.recovery}: nothing is lost on the storage by that.`,
        }),
      );
    }
  }
  return findings;
}

/**
 * The recovery hosts have the SR plugged from the very address that production uses: what they see there is the
 * original, not the copy. Where the arrays share one address by design, the role of the replica tells them apart.
 */
export function originalIsNotVisible({ group, point, recovery, observation }: CheckContext): Finding[] {
  if (recovery === null || point === null) return [];
  return ourSrs({ group, point }).flatMap((sr) => {
    const known = recovery.srs.find((candidate) => candidate.uuid === sr.uuid);
    const promoted =
      observation.pairs.find((pair) => pair.sr === storageOf(group, sr)?.sr)?.target?.role === 'promoted';
    const theirs = sr.pbds[0];
    if (known === undefined || promoted || theirs === undefined) return [];
    const address = addressOf(theirs.deviceConfig);
    const seen = known.pbds.filter((pbd) => pbd.attached && addressOf(pbd.deviceConfig) === address);
    if (seen.length === 0 || address === '') return [];
    return [
      warning({
        code: 'DR-SR-ORIGINAL-VISIBLE',
        about: 'sr',
        name: sr.nameLabel,
        uuid: sr.uuid,
        what: `Site ${group.recovery} has SR ${sr.nameLabel} plugged from the storage of site ${group.production}: the original and its copy must never be visible together`,
        evidence: [`${counted(seen.length, 'host')} plugged from ${address}`],
        next: `Unplug SR ${sr.nameLabel} at site ${group.recovery}, and keep the volumes of site ${group.production} away from its hosts.`,
      }),
    ];
  });
}

function addressOf(config: PointSr['pbds'][number]['deviceConfig']): string {
  const plain = plainDeviceConfig(config);
  return addressKeys.flatMap((key) => (plain[key] === undefined ? [] : [`${key} ${plain[key]}`])).join(', ');
}

/** `SR.introduce` takes any type; only the plug finds out that there is no driver (xapi.md 7.2). */
export function driversAreThere({ group, point, recovery }: CheckContext): Finding[] {
  if (recovery === null || point === null) return [];
  const ours = ourSrs({ group, point });
  if (ours.length === 0) return [];
  if (recovery.storageDrivers === undefined)
    return [
      unknown({
        about: 'pool',
        name: recovery.nameLabel,
        uuid: recovery.uuid,
        what: `Which types of SR pool ${recovery.nameLabel} can attach is not known`,
        evidence: [`needed: ${[...new Set(ours.map((sr) => sr.type))].sort().join(', ')}`],
      }),
    ];
  const drivers = new Set(recovery.storageDrivers);
  return ours
    .filter((sr) => !drivers.has(sr.type))
    .map((sr) =>
      problem({
        code: 'DR-SR-NO-DRIVER',
        about: 'sr',
        name: sr.nameLabel,
        uuid: sr.uuid,
        what: `Pool ${recovery.nameLabel} has no driver for SR ${sr.nameLabel} of type ${sr.type}`,
        evidence: [`it drives ${[...drivers].join(', ')}`],
        vms: labels(point.vms.filter((vm) => vm.srUuids.includes(sr.uuid))),
        next: `Install the storage manager for ${sr.type} on every host of site ${group.recovery}.`,
      }),
    );
}

/** A shared SR that a host does not have plugged keeps its VMs off that host, and HA from protecting them. */
export function srsAreEverywhere({ group, point, production, recovery }: CheckContext): Finding[] {
  return [
    { site: group.production, pool: production },
    { site: group.recovery, pool: recovery },
  ].flatMap(({ site, pool }) => {
    if (pool === null) return [];
    const ours = new Set(point === null ? [] : ourSrs({ group, point }).map((sr) => sr.uuid));
    return pool.srs.flatMap((sr) => {
      const plugged = sr.pbds.filter((pbd) => pbd.attached);
      if (!sr.shared || plugged.length === 0 || !(ours.has(sr.uuid) || storageOf(group, sr) !== undefined))
        return [];
      const without = usable(pool).filter((host) => !plugged.some((pbd) => pbd.hostUuid === host.uuid));
      if (without.length === 0) return [];
      return [
        warning({
          code: 'DR-SR-NOT-EVERYWHERE',
          about: 'sr',
          name: sr.nameLabel,
          uuid: sr.uuid,
          what: `SR ${sr.nameLabel} is not plugged on every host of site ${site}`,
          evidence: without.map((host) => `host ${host.nameLabel} has it not plugged`).sort(),
          next: 'Plug it there: until then its VMs run on fewer hosts, and HA does not protect them.',
        }),
      ];
    });
  });
}

/** Whoever promotes a volume moves everything on it; VMs that are not in the group lose their disks. */
export function othersOnOurStorage({ group, production }: CheckContext): Finding[] {
  if (production === null) return [];
  const ours = new Set(vmsInScope(production, group.scope).map((vm) => vm.uuid));
  const disks = new Map(production.vdis.map((vdi) => [vdi.uuid, vdi.srUuid]));
  return production.srs.flatMap((sr) => {
    if (storageOf(group, sr) === undefined || sr.contentType === 'iso') return [];
    const others = production.vms.filter(
      (vm) =>
        !vm.isSnapshot &&
        !vm.isTemplate &&
        !ours.has(vm.uuid) &&
        vm.vbds.some((vbd) => vbd.vdiUuid !== null && disks.get(vbd.vdiUuid) === sr.uuid),
    );
    if (others.length === 0) return [];
    return [
      warning({
        code: 'DR-SR-OTHERS',
        about: 'sr',
        name: sr.nameLabel,
        uuid: sr.uuid,
        what: `${counted(others.length, 'VM')} outside group ${group.name} ${others.length === 1 ? 'has' : 'have'} disks on its SR ${sr.nameLabel}: the storage moves without ${others.length === 1 ? 'it' : 'them'}`,
        vms: labels(others),
        next: 'Take them into the group, or move their disks to another SR.',
      }),
    ];
  });
}

/** One volume is promoted for one group; a VM across two of them would come up with half of its disks. */
export function storageOfOneGroup({ group, point, otherGroups }: CheckContext): Finding[] {
  if (point === null || otherGroups === undefined) return [];
  return point.srs.flatMap((sr) => {
    const theirs = otherGroups.filter(
      (other) => other.production === group.production && storageOf(other, sr) !== undefined,
    );
    const vms = point.vms.filter((vm) => vm.srUuids.includes(sr.uuid));
    const [other] = theirs;
    if (other === undefined || vms.length === 0) return [];
    const names = theirs.map(({ name }) => name).join(', ');
    return [
      problem({
        code: 'DR-SR-TWO-GROUPS',
        about: 'sr',
        name: sr.nameLabel,
        uuid: sr.uuid,
        what:
          storageOf(group, sr) === undefined
            ? `${counted(vms.length, 'VM')} of group ${group.name} ${vms.length === 1 ? 'has' : 'have'} disks on SR ${sr.nameLabel}, which moves with group ${names}`
            : `SR ${sr.nameLabel} is storage of group ${group.name} and of group ${names}: it moves with the first of them`,
        vms: labels(vms),
        next: 'Put VMs and SRs that depend on each other into one group.',
      }),
    ];
  });
}

function ourSrs({
  group,
  point,
}: {
  readonly group: CheckContext['group'];
  readonly point: { readonly srs: readonly PointSr[] };
}): PointSr[] {
  return point.srs.filter((sr) => storageOf(group, sr) !== undefined);
}
