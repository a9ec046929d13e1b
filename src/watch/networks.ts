/** Networks of both sites: there under the mapped name, in which VLANs, with which MTU, on which hosts (xapi.md 4.8). */
import { counted, usable } from '../check/context.ts';
import type { Difference } from '../domain/drift.ts';
import type { NetworkFacts, PoolFacts } from '../domain/pool.ts';
import type { GroupSettings } from '../domain/settings.ts';
import { difference, type SitePair, vmsWhere } from './pairs.ts';

/** A network of production and the name under which it is looked for at the recovery site. */
interface Mapped {
  readonly name: string;
  readonly wanted: string;
}

export function networkDifferences(pair: SitePair): Difference[] {
  return mappings(pair).flatMap((mapped) => {
    const theirs = pair.away.networks.filter(({ nameLabel }) => nameLabel === mapped.wanted);
    const [there, another] = theirs;
    if (there === undefined) return [missing(pair, mapped)];
    if (another !== undefined) return [ambiguous(pair, mapped, theirs)];
    const ours = pair.home.networks.filter(({ nameLabel }) => nameLabel === mapped.name);
    const here = ours.length === 1 ? ours[0] : undefined;
    return [
      ...(here === undefined
        ? []
        : [...vlans(pair, mapped, here, there), ...mtus(pair, mapped, here, there)]),
      ...reach(pair, mapped, there),
    ];
  });
}

const wantedName = (group: GroupSettings, name: string): string =>
  group.networks.find((mapping) => mapping.production === name)?.recovery ?? name;

/** Each network that a VM of some group uses, once per name that it has at the other site. */
function mappings(pair: SitePair): Mapped[] {
  const found = new Map<string, Mapped>();
  for (const { group, vms } of pair.groups)
    for (const name of new Set(vms.flatMap((vm) => vm.networkNames))) {
      const mapped = { name, wanted: wantedName(group, name) };
      found.set(`${mapped.name}\u0000${mapped.wanted}`, mapped);
    }
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, mapped]) => mapped);
}

const users = (pair: SitePair, { name, wanted }: Mapped): Difference['vms'] =>
  vmsWhere(pair, (vm, group) => vm.networkNames.includes(name) && wantedName(group, name) === wanted);

function missing(pair: SitePair, mapped: Mapped): Difference {
  return difference(pair, {
    aspect: 'network',
    identity: ['missing', mapped.name, mapped.wanted],
    object: mapped.wanted,
    what: `Site ${pair.recovery} has no network named ${mapped.wanted}, where network ${mapped.name} belongs`,
    breaks: true,
    vms: users(pair, mapped),
    codes: ['DR-NETWORK-MISSING'],
    next: `Create network ${mapped.wanted} at site ${pair.recovery}, or map ${mapped.name} to another one.`,
  });
}

function ambiguous(pair: SitePair, mapped: Mapped, found: readonly NetworkFacts[]): Difference {
  return difference(pair, {
    aspect: 'network',
    identity: ['ambiguous', mapped.name, mapped.wanted, ...found.map(({ uuid }) => uuid).sort()],
    object: mapped.wanted,
    what: `Site ${pair.recovery} has ${found.length} networks named ${mapped.wanted}`,
    evidence: found.map(({ uuid, bridge }) => `${uuid} on bridge ${bridge}`).sort(),
    breaks: true,
    vms: users(pair, mapped),
    codes: ['DR-NETWORK-AMBIGUOUS'],
    next: 'Rename all but one of them: an import takes any of them.',
  });
}

function vlans(pair: SitePair, mapped: Mapped, here: NetworkFacts, there: NetworkFacts): Difference[] {
  const [ours, theirs] = [vlansOf(here), vlansOf(there)];
  if (ours === theirs) return [];
  return [
    difference(pair, {
      aspect: 'vlan',
      identity: [mapped.name, mapped.wanted, ours, theirs],
      object: mapped.wanted,
      what: `Network ${mapped.name} is ${ours} at site ${pair.production}, and ${mapped.wanted} is ${theirs} at site ${pair.recovery}`,
      evidence:
        mapped.name === mapped.wanted ? ['no mapping names another network, so that both should be one'] : [],
      breaks: false,
      vms: users(pair, mapped),
      codes: ['DR-NETWORK-VLAN', 'DR-NETWORK-INTERNAL'],
      next: 'Make sure that it is meant, and accept it; else correct the VLAN or the mapping.',
    }),
  ];
}

function vlansOf({ pifs }: NetworkFacts): string {
  const tags = [...new Set(pifs.map(({ vlan }) => vlan))].sort((a, b) => a - b);
  if (tags.length === 0) return 'internal';
  return tags.map((tag) => (tag === -1 ? 'untagged' : `VLAN ${tag}`)).join(' and ');
}

function mtus(pair: SitePair, mapped: Mapped, here: NetworkFacts, there: NetworkFacts): Difference[] {
  if (here.mtu === there.mtu) return [];
  return [
    difference(pair, {
      aspect: 'mtu',
      identity: [mapped.name, mapped.wanted, here.mtu, there.mtu],
      object: mapped.wanted,
      what: `Network ${mapped.name} has an MTU of ${here.mtu} at site ${pair.production}, and ${mapped.wanted} one of ${there.mtu} at site ${pair.recovery}`,
      breaks: false,
      vms: users(pair, mapped),
      codes: ['DR-NETWORK-MTU'],
      next: 'Make them alike, or make sure that the guests do not need the larger one.',
    }),
  ];
}

function reach(pair: SitePair, mapped: Mapped, there: NetworkFacts): Difference[] {
  if (there.pifs.length === 0) return [];
  const without = hostsWithout(pair.away, there);
  if (without.length === 0) return [];
  return [
    difference(pair, {
      aspect: 'network',
      identity: ['reach', mapped.name, mapped.wanted, ...without],
      object: mapped.wanted,
      what: `Network ${mapped.wanted} is missing on ${counted(without.length, 'host')} of site ${pair.recovery}`,
      evidence: without.map((name) => `host ${name} has no interface on it, or it is unplugged`),
      breaks: without.length === usable(pair.away).length,
      vms: users(pair, mapped),
      codes: ['DR-NETWORK-NOT-EVERYWHERE', 'DR-NETWORK-UNPLUGGED'],
      next: 'Add or plug the interface there, or expect these VMs on fewer hosts.',
    }),
  ];
}

function hostsWithout(pool: PoolFacts, network: NetworkFacts): string[] {
  const on = new Set(network.pifs.filter(({ attached }) => attached).map(({ hostUuid }) => hostUuid));
  return usable(pool)
    .filter(({ uuid }) => !on.has(uuid))
    .map(({ nameLabel }) => nameLabel)
    .sort();
}
