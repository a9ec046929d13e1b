/** What changed between two looks at the sites, and which VMs it touches. Pure; unknown on one side is no difference. */
import { missingFeatures } from '../domain/cpu.ts';
import { type Finding, sortFindings } from '../domain/finding.ts';
import type { PointVm } from '../domain/recovery-point.ts';
import type { GroupSettings } from '../domain/settings.ts';
import type { LookedAtHost, SiteLook, SitesLook } from '../domain/site-look.ts';
import { formatBytes } from '../domain/time.ts';
import { counted, labels, problem, warning } from './context.ts';
import { refusesBuild } from './rules/compatibility.ts';

/** Memory comes and goes with every VM; a loss of this part of what was free is worth a word. */
const memoryWorthAWord = 0.25;

export interface DriftRequest {
  readonly group: GroupSettings;
  readonly before: SitesLook;
  readonly now: SitesLook;
  /** VMs of the newest recovery point, with their SRs' types; empty without one. */
  readonly vms: readonly Pick<PointVm, 'nameLabel' | 'networkNames' | 'srUuids'>[];
  readonly srTypes: ReadonlyMap<string, string>;
}

export function driftBetween(request: DriftRequest): Finding[] {
  const { before, now, group } = request;
  return sortFindings([
    ...siteDrift({
      ...request,
      site: group.production,
      was: before.production,
      is: now.production,
      side: 'production',
    }),
    ...siteDrift({
      ...request,
      site: group.recovery,
      was: before.recovery,
      is: now.recovery,
      side: 'recovery',
    }),
  ]);
}

interface Side extends DriftRequest {
  readonly site: string;
  readonly side: 'production' | 'recovery';
  readonly was: SiteLook;
  readonly is: SiteLook;
}

function siteDrift(
  side: Omit<Side, 'was' | 'is'> & { was: SiteLook | null; is: SiteLook | null },
): Finding[] {
  const { was, is } = side;
  if (was === null || is === null) return [];
  const both: Side = { ...side, was, is };
  if (was.poolUuid !== is.poolUuid) return [otherPool(both)];
  return [...buildDrift(both), ...hostDrift(both), ...networkDrift(both), ...storageDrift(both)];
}

function otherPool({ site, was, is, vms }: Side): Finding {
  return problem({
    code: 'DR-DRIFT-POOL',
    about: 'pool',
    name: is.poolName,
    uuid: is.poolUuid,
    what: `Site ${site} is another pool than at the last look`,
    evidence: [`then ${was.poolName} (${was.poolUuid})`, `now ${is.poolName} (${is.poolUuid})`],
    vms: labels(vms),
    next: 'Check the addresses of the hosts in sites.yaml.',
  });
}

function buildDrift({ site, side, was, is, now, vms }: Side): Finding[] {
  const about = { about: 'pool' as const, name: is.poolName, uuid: is.poolUuid };
  const findings: Finding[] = [];
  if (was.xapiBuild.text !== is.xapiBuild.text || was.productVersion !== is.productVersion) {
    const recovery = now.recovery;
    const shut = side === 'production' && recovery !== null && refusesBuild(recovery.xapiBuild, is.xapiBuild);
    findings.push(
      (shut ? problem : warning)({
        ...about,
        code: 'DR-DRIFT-BUILD',
        what: `Pool ${is.poolName} of site ${site} went from xapi ${was.xapiBuild.text} to ${is.xapiBuild.text}${shut ? `, and pool ${recovery.poolName} refuses its documents from now on` : ''}`,
        evidence: [`product ${was.productVersion} then, ${is.productVersion} now`],
        vms: shut ? labels(vms) : [],
        next: shut
          ? `Update pool ${recovery.poolName} to the same version.`
          : 'Keep both sites at the same version; the recovery site is updated first.',
      }),
    );
  }
  if (was.haEnabled !== is.haEnabled)
    findings.push(
      warning({
        ...about,
        code: 'DR-DRIFT-HA',
        what: `HA of pool ${is.poolName} at site ${site} was ${is.haEnabled ? 'enabled' : 'disabled'}`,
        next: 'Make sure that this is meant: HA keeps memory free, and restarts VMs by itself.',
      }),
    );
  return findings;
}

function hostDrift({ site, side, was, is, vms }: Side): Finding[] {
  const before = new Map(was.hosts.map((host) => [host.uuid, host]));
  const here = new Set(is.hosts.map((host) => host.uuid));
  const gone = was.hosts.filter((host) => !here.has(host.uuid));
  const out = is.hosts.filter((host) => !host.inService && before.get(host.uuid)?.inService === true);
  const added = is.hosts.filter((host) => !before.has(host.uuid));
  const told = (hosts: readonly LookedAtHost[], what: string, next: string): Finding[] =>
    hosts.map((host) =>
      warning({
        code: 'DR-DRIFT-HOST',
        about: 'host',
        name: host.nameLabel,
        uuid: host.uuid,
        what: `Host ${host.nameLabel} of site ${site} ${what}`,
        evidence: [`${host.cpuCount} CPUs, ${formatBytes(host.memoryTotal)} of memory`],
        next,
      }),
    );
  return [
    ...told(gone, 'has left the pool', 'See whether what is left can carry the group: lifeboat check'),
    ...told(out, 'went out of service', 'Bring it back, or do without it.'),
    ...told(
      added,
      'is new in the pool',
      'Let the array serve it as well, and put its address into sites.yaml.',
    ),
    ...is.hosts.flatMap((host) =>
      cpuDrift(site, before.get(host.uuid), host, side === 'recovery' ? labels(vms) : []),
    ),
    ...(side === 'recovery' ? memoryDrift(site, was, is) : []),
  ];
}

function cpuDrift(
  site: string,
  was: LookedAtHost | undefined,
  is: LookedAtHost,
  vms: readonly string[],
): Finding[] {
  if (was === undefined || was.cpuFeatures === '' || is.cpuFeatures === '') return [];
  const lost = missingFeatures(was.cpuFeatures, is.cpuFeatures);
  const won = missingFeatures(is.cpuFeatures, was.cpuFeatures);
  if (lost === 0 && won === 0) return [];
  return [
    warning({
      code: 'DR-DRIFT-CPU',
      about: 'host',
      name: is.nameLabel,
      uuid: is.uuid,
      what: `The CPU of host ${is.nameLabel} at site ${site} has ${counted(lost, 'feature')} less and ${won} more than at the last look`,
      evidence: [`then ${was.cpuFeatures}`, `now ${is.cpuFeatures}`],
      vms: lost > 0 ? vms : [],
      next: 'Compare both sites: VMs that saw a feature at their start may miss it at the other site.',
    }),
  ];
}

function memoryDrift(site: string, was: SiteLook, is: SiteLook): Finding[] {
  const free = (look: SiteLook): number =>
    look.hosts.filter((host) => host.inService).reduce((sum, host) => sum + host.memoryFree, 0);
  const [then, now] = [free(was), free(is)];
  if (now >= then * (1 - memoryWorthAWord)) return [];
  return [
    warning({
      code: 'DR-DRIFT-MEMORY',
      about: 'pool',
      name: is.poolName,
      uuid: is.poolUuid,
      what: `Site ${site} has ${formatBytes(then - now)} less free memory than at the last look`,
      evidence: [`${formatBytes(then)} then, ${formatBytes(now)} now`],
      next: 'See whether the group still fits: lifeboat check',
    }),
  ];
}

function networkDrift({ site, side, group, was, is, vms }: Side): Finding[] {
  const users = (name: string): string[] =>
    labels(
      vms.filter((vm) =>
        vm.networkNames.some((production) =>
          side === 'production' ? production === name : recoveryNameOf(group, production) === name,
        ),
      ),
    );
  const now = new Map(is.networks.map((network) => [network.uuid, network]));
  return was.networks.flatMap((then) => {
    const touched = users(then.nameLabel);
    // Networks that no VM of the group uses may come and go.
    if (touched.length === 0) return [];
    const network = now.get(then.uuid);
    const about = {
      code: 'DR-DRIFT-NETWORK' as const,
      about: 'network' as const,
      name: then.nameLabel,
      uuid: then.uuid,
      vms: touched,
    };
    if (network === undefined)
      return [
        (side === 'recovery' ? problem : warning)({
          ...about,
          what: `Network ${then.nameLabel} is gone from site ${site}`,
          next: `Make it again, or correct the networks of group ${group.name}.`,
        }),
      ];
    if (network.nameLabel !== then.nameLabel)
      return [
        (side === 'recovery' ? problem : warning)({
          ...about,
          what: `Network ${then.nameLabel} of site ${site} is called ${network.nameLabel} now`,
          evidence: ['networks are mapped by name'],
          next: `Rename it back, or correct the networks of group ${group.name}.`,
        }),
      ];
    const changes = [
      ...(network.mtu === then.mtu ? [] : [`MTU ${then.mtu} then, ${network.mtu} now`]),
      ...(`${network.vlans}` === `${then.vlans}`
        ? []
        : [`VLANs ${vlanList(then.vlans)} then, ${vlanList(network.vlans)} now`]),
      ...(network.hosts >= then.hosts
        ? []
        : [`on ${counted(then.hosts, 'host')} then, on ${network.hosts} now`]),
    ];
    return changes.length === 0
      ? []
      : [
          warning({
            ...about,
            what: `Network ${then.nameLabel} of site ${site} has changed`,
            evidence: changes,
            next: 'Make sure that both sites still fit together.',
          }),
        ];
  });
}

const recoveryNameOf = (group: GroupSettings, production: string): string =>
  group.networks.find((mapping) => mapping.production === production)?.recovery ?? production;

const vlanList = (vlans: readonly number[]): string =>
  vlans.length === 0 ? 'none' : vlans.map((vlan) => (vlan === -1 ? 'untagged' : `${vlan}`)).join(', ');

function storageDrift({ site, side, group, was, is, vms, srTypes }: Side): Finding[] {
  const findings: Finding[] = [];
  const here = new Set(is.drivers ?? []);
  for (const type of is.drivers === null ? [] : (was.drivers ?? [])) {
    const touched = vms.filter((vm) => vm.srUuids.some((uuid) => srTypes.get(uuid) === type));
    if (side !== 'recovery' || here.has(type) || touched.length === 0) continue;
    findings.push(
      problem({
        code: 'DR-DRIFT-DRIVER',
        about: 'pool',
        name: is.poolName,
        uuid: is.poolUuid,
        what: `Pool ${is.poolName} of site ${site} has lost its driver for SRs of type ${type}`,
        vms: labels(touched),
        next: `Install the storage manager for ${type} on every host of site ${site}.`,
      }),
    );
  }
  const now = new Map(is.srs.map((sr) => [sr.uuid, sr]));
  for (const then of was.srs) {
    const ours = group.storage.some((storage) => storage.sr === then.uuid || storage.sr === then.nameLabel);
    if (side !== 'production' || !ours) continue;
    const sr = now.get(then.uuid);
    const changed =
      sr === undefined
        ? 'is gone'
        : sr.nameLabel !== then.nameLabel
          ? `is called ${sr.nameLabel} now`
          : sr.plugged < then.plugged
            ? `is plugged on ${counted(sr.plugged, 'host')}, it was on ${then.plugged}`
            : null;
    if (changed === null) continue;
    findings.push(
      warning({
        code: 'DR-DRIFT-SR',
        about: 'sr',
        name: then.nameLabel,
        uuid: then.uuid,
        what: `SR ${then.nameLabel} of site ${site} ${changed}`,
        vms: labels(vms.filter((vm) => vm.srUuids.includes(then.uuid))),
        next: `Compare it with the storage of group ${group.name} in sites.yaml.`,
      }),
    );
  }
  return findings;
}
