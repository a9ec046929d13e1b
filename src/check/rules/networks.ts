/** Every network of the VMs: there once, by name, on every host, plugged, alike; and clear on the way back (xapi.md 4.8). */
import type { Finding } from '../../domain/finding.ts';
import type { NetworkFacts } from '../../domain/pool.ts';
import { type CheckContext, problem, usable, warning } from '../context.ts';

type NetworkContext = Pick<CheckContext, 'group' | 'recovery' | 'point'>;

/** Every network that the VMs use must be here exactly once, by the mapped name, on every host (invariant 12; xapi.md 4.8). */
export function networksAreThere(context: NetworkContext): Finding[] {
  const { group, recovery, point } = context;
  if (recovery === null || point === null) return [];
  const findings: Finding[] = [];
  for (const production of [...new Set(point.vms.flatMap((vm) => vm.networkNames))].sort()) {
    const vms = point.vms
      .filter((vm) => vm.networkNames.includes(production))
      .map((vm) => vm.nameLabel)
      .sort();
    const mapping = group.networks.find((m) => m.production === production);
    const wanted = mapping?.recovery ?? production;
    const found = recovery.networks.filter((network) => network.nameLabel === wanted);
    const [network] = found;
    const how =
      mapping === undefined ? 'no mapping names it, so the same name is looked for' : `mapped to ${wanted}`;
    if (network === undefined) {
      const sameBridge = recovery.networks.find(
        (n) => n.bridge === point.networks.find((p) => p.nameLabel === production)?.bridge,
      );
      findings.push(
        problem({
          code: 'DR-NETWORK-MISSING',
          about: 'network',
          name: wanted,
          what: `Site ${group.recovery} has no network named ${wanted}, where network ${production} belongs`,
          evidence: [
            how,
            sameBridge === undefined
              ? 'an import would create an empty network of that name'
              : `an import would connect the VMs to ${sameBridge.nameLabel}, only because its bridge is also called ${sameBridge.bridge}`,
          ],
          vms,
          next: `Create network ${wanted} at site ${group.recovery}, or map ${production} to one of: ${recovery.networks
            .map((n) => n.nameLabel)
            .sort()
            .join(', ')}.`,
        }),
      );
      continue;
    }
    if (found.length > 1) {
      findings.push(
        problem({
          code: 'DR-NETWORK-AMBIGUOUS',
          about: 'network',
          name: wanted,
          what: `Site ${group.recovery} has ${found.length} networks named ${wanted}`,
          evidence: [how, ...found.map((n) => `${n.uuid} on bridge ${n.bridge}`)],
          vms,
          next: 'Rename all but one of them: the import takes any of them.',
        }),
      );
      continue;
    }
    findings.push(...vlanFindings(context, network, production, vms));
    const without = usable(recovery).filter(
      (host) => !network.pifs.some((pif) => pif.hostUuid === host.uuid),
    );
    if (network.pifs.length > 0 && without.length > 0) {
      findings.push(
        warning({
          code: 'DR-NETWORK-NOT-EVERYWHERE',
          about: 'network',
          name: wanted,
          uuid: network.uuid,
          what: `Network ${wanted} is not on every host of site ${group.recovery}`,
          evidence: without.map((host) => `host ${host.nameLabel} has no interface on it`),
          vms,
          next: 'Add the interface there, or expect these VMs on fewer hosts.',
        }),
      );
    }
    if (network.pifs.length === 0) {
      findings.push(
        warning({
          code: 'DR-NETWORK-INTERNAL',
          about: 'network',
          name: wanted,
          uuid: network.uuid,
          what: `Network ${wanted} of site ${group.recovery} has no uplink: the VMs would talk to nobody outside`,
          vms,
          next: 'Add an interface or VLAN to it, or map to another network.',
        }),
      );
    }
    const original = point.networks.find((n) => n.nameLabel === production);
    if (original !== undefined && original.mtu !== network.mtu) {
      findings.push(
        warning({
          code: 'DR-NETWORK-MTU',
          about: 'network',
          name: wanted,
          uuid: network.uuid,
          what: `Network ${wanted} has an MTU of ${network.mtu}, network ${production} one of ${original.mtu}`,
          vms,
          next: 'Make them alike, or make sure that the guests do not need the larger one.',
        }),
      );
    }
  }
  return findings;
}

/** Interfaces that are down, hosts that disagree about the VLAN, and a like-named network in another VLAN. */
function vlanFindings(
  { group, recovery, point }: NetworkContext,
  network: NetworkFacts,
  production: string,
  vms: readonly string[],
): Finding[] {
  if (recovery === null) return [];
  const hosts = new Map(usable(recovery).map((host) => [host.uuid, host.nameLabel]));
  const pifs = network.pifs.filter((pif) => hosts.has(pif.hostUuid));
  const about = { about: 'network' as const, name: network.nameLabel, uuid: network.uuid, vms };
  const findings: Finding[] = [];
  const down = pifs.filter((pif) => !pif.attached);
  if (down.length > 0)
    findings.push(
      warning({
        ...about,
        code: 'DR-NETWORK-UNPLUGGED',
        what: `The interface of network ${network.nameLabel} is down on hosts of site ${group.recovery}: VMs on it do not start there`,
        evidence: down.map((pif) => `host ${hosts.get(pif.hostUuid)}: ${pif.device} is unplugged`).sort(),
        next: 'Plug the interface there, or expect these VMs on fewer hosts.',
      }),
    );
  const tags = vlansOf(pifs);
  const original = point?.networks.find((candidate) => candidate.nameLabel === production);
  const theirs = vlansOf(original?.pifs ?? []);
  if (tags.length > 1)
    findings.push(
      warning({
        ...about,
        code: 'DR-NETWORK-VLAN',
        what: `The hosts of site ${group.recovery} disagree about the VLAN of network ${network.nameLabel}`,
        evidence: pifs.map((pif) => `host ${hosts.get(pif.hostUuid)}: ${vlanText(pif.vlan)}`).sort(),
        next: 'Find out which is right, and correct the others.',
      }),
    );
  // A mapping to another name says that the networks differ; the same name promises that they are one.
  else if (
    network.nameLabel === production &&
    tags.length === 1 &&
    theirs.length === 1 &&
    tags[0] !== theirs[0]
  )
    findings.push(
      warning({
        ...about,
        code: 'DR-NETWORK-VLAN',
        what: `Network ${production} is ${vlanText(tags[0] ?? -1)} at site ${group.recovery} and ${vlanText(theirs[0] ?? -1)} at site ${group.production}`,
        evidence: ['no mapping names another network, so that both should be one'],
        next: 'Correct the VLAN, or map the network to the one that is meant.',
      }),
    );
  return findings;
}

function vlansOf(pifs: NetworkFacts['pifs']): number[] {
  return [...new Set(pifs.map((pif) => pif.vlan))].sort((a, b) => a - b);
}

const vlanText = (vlan: number): string => (vlan === -1 ? 'untagged' : `VLAN ${vlan}`);

/** Two production networks in one recovery network cannot be told apart on the way home. */
export function networksOnTheWayBack({ group, point }: CheckContext): Finding[] {
  const shared = Map.groupBy(group.networks, (mapping) => mapping.recovery);
  return [...shared].flatMap(([recovery, mappings]) => {
    if (mappings.length < 2) return [];
    const names = mappings.map((mapping) => mapping.production);
    return [
      warning({
        code: 'DR-NETWORK-WAY-BACK',
        about: 'network',
        name: recovery,
        what: `Networks ${names.join(' and ')} share network ${recovery} at site ${group.recovery}: on the way back all of its VMs land in ${names[0]}`,
        evidence: names.map((name) => `${name} is mapped to ${recovery}`),
        vms: (point?.vms ?? [])
          .filter((vm) => names.slice(1).some((name) => vm.networkNames.includes(name)))
          .map((vm) => vm.nameLabel)
          .sort(),
        next: `Give each of them a network of its own at site ${group.recovery}.`,
      }),
    ];
  });
}
