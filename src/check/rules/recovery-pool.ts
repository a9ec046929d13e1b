/** Can the recovery pool take the VMs: reachable, the right SRs, enough memory host by host, the right networks? */
import type { Finding } from '../../domain/finding.ts';
import type { HostFacts, PoolFacts } from '../../domain/pool.ts';
import type { PointVm } from '../../domain/recovery-point.ts';
import { formatBytes } from '../../domain/time.ts';
import { type CheckContext, problem, toldBy, warning } from '../context.ts';

export function recoveryPoolIsReady(context: CheckContext): Finding[] {
  const { group, observation, recovery } = context;
  if (recovery === null) {
    const site = observation.sites[group.recovery];
    return [
      problem({
        code: 'DR-RECOVERY-UNREACHABLE',
        about: 'pool',
        name: group.recovery,
        what: `The pool of site ${group.recovery} cannot be read`,
        evidence:
          site?.reachable === false
            ? [
                ...toldBy(site.problem),
                ...site.endpoints
                  .filter((e) => !site.problem.known?.some((line) => line.startsWith(`${e.url}:`)))
                  .map((e) => `${e.url}: ${e.detail}`),
              ]
            : [],
        next: site?.reachable === false ? site.problem.next : 'Run the command again.',
      }),
    ];
  }
  const findings: Finding[] = [];
  for (const host of recovery.hosts) {
    if (host.enabled && host.live) continue;
    findings.push(
      warning({
        code: 'DR-HOST-OUT',
        about: 'host',
        name: host.nameLabel,
        uuid: host.uuid,
        what: `Host ${host.nameLabel} of site ${group.recovery} is ${host.live ? 'disabled' : 'not alive'}: it takes no VMs`,
        evidence: [`enabled ${host.enabled}, live ${host.live}`],
        next: host.live ? 'Enable it, or do without it.' : 'Bring it up, or do without it.',
      }),
    );
  }
  const master = recovery.hosts.find((host) => host.uuid === recovery.masterUuid);
  if (master !== undefined && !(master.enabled && master.live)) {
    findings.push(
      problem({
        code: 'DR-MASTER-OUT',
        about: 'host',
        name: master.nameLabel,
        uuid: master.uuid,
        what: `The coordinator ${master.nameLabel} of site ${group.recovery} is out of service, and SRs are plugged there first`,
        next: 'Enable it, or make another host the coordinator.',
      }),
    );
  }
  return findings;
}

/** The memory of each VM must fit on one host; the sum of all hosts says nothing. First-fit by decreasing size. */
export function memoryFits(context: CheckContext): Finding[] {
  const { group, recovery, point } = context;
  if (recovery === null || point === null) return [];
  const here = new Set(recovery.vms.filter((vm) => vm.powerState === 'Running').map((vm) => vm.uuid));
  const wanted = point.vms
    .filter((vm) => vm.powerState === 'Running' && !here.has(vm.uuid))
    .sort((a, b) => memoryOf(b) - memoryOf(a) || (a.nameLabel < b.nameLabel ? -1 : 1));
  const free = new Map(usable(recovery).map((host) => [host.uuid, host.memoryFree]));
  const without: PointVm[] = [];
  for (const vm of wanted) {
    const [best] = [...free].filter(([, bytes]) => bytes >= memoryOf(vm)).sort((a, b) => a[1] - b[1]);
    if (best === undefined) without.push(vm);
    else free.set(best[0], best[1] - memoryOf(vm));
  }
  if (without.length === 0) return [];
  const missing = without.reduce((sum, vm) => sum + memoryOf(vm), 0);
  return [
    problem({
      code: 'DR-MEMORY',
      about: 'pool',
      name: recovery.nameLabel,
      uuid: recovery.uuid,
      what: `${without.length} VMs find no host with enough free memory at site ${group.recovery}: ${formatBytes(missing)} are missing`,
      evidence: usable(recovery).map(
        (host) =>
          `host ${host.nameLabel} has ${formatBytes(host.memoryFree)} free of ${formatBytes(host.memoryTotal)}`,
      ),
      vms: without.map((vm) => vm.nameLabel).sort(),
      next: 'Shut down what is not needed there, add memory, or leave VMs of the last tier halted.',
    }),
  ];
}

/** What the VM needs at its start, with an allowance for the hypervisor's own needs (one per cent and 20 MiB). */
function memoryOf(vm: PointVm): number {
  return vm.memoryDynamicMax * 1.01 + 20 * 1024 * 1024;
}

function usable(pool: PoolFacts): HostFacts[] {
  return pool.hosts.filter((host) => host.enabled && host.live);
}

/** Every network that the VMs use must be here exactly once, by the mapped name, on every host (invariant 12; xapi.md 4.8). */
export function networksAreThere(context: Pick<CheckContext, 'group' | 'recovery' | 'point'>): Finding[] {
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

/** An SR of the same UUID may be the remembered original, a leftover, or the SR itself already attached. */
export function srsDoNotClash(context: CheckContext): Finding[] {
  const { group, recovery, point, production } = context;
  if (recovery === null || point === null) return [];
  const findings: Finding[] = [];
  for (const sr of point.srs) {
    const storage = group.storage.find((s) => s.sr === sr.uuid || s.sr === sr.nameLabel);
    if (storage === undefined) continue;
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

/** VMs of the group that are at the recovery site already, and would be replaced or stand in the way. */
export function twinsAreNotThere(context: CheckContext): Finding[] {
  const { group, recovery, point } = context;
  if (recovery === null || point === null || context.state?.phase === 'failed-over') return [];
  const here = new Map(recovery.vms.filter((vm) => !vm.isSnapshot).map((vm) => [vm.uuid, vm]));
  const running = point.vms
    .filter((vm) => here.get(vm.uuid)?.powerState === 'Running')
    .map((vm) => vm.nameLabel);
  if (running.length === 0) return [];
  return [
    warning({
      code: 'DR-TWIN-RUNNING',
      about: 'group',
      name: group.name,
      what: `${running.length} VMs of the group run at site ${group.recovery} already`,
      vms: running.sort(),
      next: 'They are left as they are. If they come from a drill, shut them down and remove them first.',
    }),
  ];
}
