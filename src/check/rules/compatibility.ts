/** Would the recovery pool understand what production wrote, and would its CPUs run it? (xapi.md 3.8, 8.2) */
import { commonFeatures, missingFeatures } from '../../domain/cpu.ts';
import type { Finding } from '../../domain/finding.ts';
import type { CpuFacts, HostFacts, PoolFacts, XapiBuild } from '../../domain/pool.ts';
import type { PointVm } from '../../domain/recovery-point.ts';
import type { GroupSettings } from '../../domain/settings.ts';
import { type CheckContext, counted, labels, problem, unknown, usable, warning } from '../context.ts';

const newer = (a: XapiBuild, b: XapiBuild): boolean =>
  a.major > b.major || (a.major === b.major && a.minor > b.minor);

/** Documents of a newer xapi are refused by an older one; before build 21.1 the major number had to be equal. */
export function refusesBuild(importing: XapiBuild, document: XapiBuild): boolean {
  const equalMajor = newer({ major: 21, minor: 1, text: '' }, importing);
  return newer(document, importing) || (equalMajor && document.major !== importing.major);
}

export function buildsFit({ group, point, production, recovery }: CheckContext): Finding[] {
  if (recovery === null) return [];
  const documents = point?.xapiBuild ?? production?.xapiBuild ?? null;
  if (documents === null) return [];
  if (refusesBuild(recovery.xapiBuild, documents)) return [gate(group.recovery, recovery, documents)];
  if (production !== null && refusesBuild(recovery.xapiBuild, production.xapiBuild))
    return [{ ...gate(group.recovery, recovery, production.xapiBuild), severity: 'warning' }];
  const home = production?.xapiBuild ?? documents;
  if (!refusesBuild(home, recovery.xapiBuild)) return [];
  return [
    warning({
      code: 'DR-BUILD-WAY-BACK',
      about: 'pool',
      name: recovery.nameLabel,
      uuid: recovery.uuid,
      what: `The way back is closed: site ${group.production} (xapi ${home.text}) would refuse documents of site ${group.recovery} (xapi ${recovery.xapiBuild.text})`,
      evidence: ['the build of the document must not be newer than that of the pool'],
      next: `Update the pool of site ${group.production} before the group comes home.`,
    }),
  ];
}

function gate(site: string, pool: PoolFacts, documents: XapiBuild): Finding {
  return problem({
    code: 'DR-BUILD-GATE',
    about: 'pool',
    name: pool.nameLabel,
    uuid: pool.uuid,
    what: `Pool ${pool.nameLabel} of site ${site} (xapi ${pool.xapiBuild.text}) refuses documents of xapi ${documents.text}`,
    evidence: ['the build of the document must not be newer than that of the pool'],
    next: `Update pool ${pool.nameLabel} to at least the version of the production pool.`,
  });
}

/** VMs start anew at the recovery site, so that a missing feature stops no start; software that uses it fails later. */
export function cpusFit({ group, point, recovery }: CheckContext): Finding[] {
  if (point === null || recovery === null) return [];
  const running = point.vms.filter((vm) => vm.powerState !== 'Halted');
  const hosts = usable(recovery);
  if (running.length === 0 || hosts.length === 0) return [];
  const home = homeCpu(point.hosts);
  const unknownVms = running.filter((vm) => cpuOf(vm, home) === null);
  const blind = hosts.filter((host) => host.cpuFeatures === '');
  const findings: Finding[] = [];
  if (unknownVms.length > 0 || blind.length > 0)
    findings.push(
      unknown({
        about: 'host',
        name: blind.length > 0 ? labels(blind).join(', ') : point.poolName,
        what:
          blind.length > 0
            ? `CPU features of ${labels(blind).join(', ')} at site ${group.recovery} are not known`
            : `CPU features of the hosts of pool ${point.poolName} are not in recovery point ${point.id}`,
        vms: labels(unknownVms),
      }),
    );
  const seen = hosts.filter((host) => host.cpuFeatures !== '');
  return [
    ...findings,
    ...otherMakes(group, seen, running, home),
    ...missingThere(group, seen, running, home),
  ];
}

function otherMakes(
  group: GroupSettings,
  hosts: readonly HostFacts[],
  vms: readonly PointVm[],
  home: CpuFacts | null,
): Finding[] {
  const foreign = hosts.map((host) => ({
    host,
    vms: labels(vms.filter((vm) => isForeign(cpuOf(vm, home), host))),
  }));
  return alike(foreign).map(({ hosts: those, vms: touched }) =>
    warning({
      code: 'DR-CPU-VENDOR',
      about: 'host',
      name: those,
      what: `CPUs of another make: ${counted(touched.length, 'VM')} never ran on those of ${those} at site ${group.recovery}`,
      evidence: [
        `there ${[...new Set(hosts.map((host) => host.cpuVendor))].join(', ')}`,
        `at production ${home?.vendor || 'not known'}`,
      ],
      vms: touched,
      next: 'Try their start in a drill: they start anew, but some software is bound to the make of the CPU.',
    }),
  );
}

function missingThere(
  group: GroupSettings,
  hosts: readonly HostFacts[],
  vms: readonly PointVm[],
  home: CpuFacts | null,
): Finding[] {
  const most = (host: HostFacts, vm: PointVm): number => {
    const cpu = cpuOf(vm, home);
    return cpu === null || isForeign(cpu, host) ? 0 : missingFeatures(cpu.features, host.cpuFeatures);
  };
  const lacking = hosts.map((host) => ({ host, vms: labels(vms.filter((vm) => most(host, vm) > 0)) }));
  return alike(lacking).map(({ hosts: those, vms: touched, first }) => {
    const number = Math.max(...vms.map((vm) => most(first, vm)));
    return warning({
      code: 'DR-CPU-FEATURES',
      about: 'host',
      name: those,
      what: `${counted(touched.length, 'VM')} saw up to ${counted(number, 'CPU feature')} at the last start that ${those} of site ${group.recovery} ${those.includes(',') ? 'lack' : 'lacks'}`,
      evidence: [
        `features there ${first.cpuFeatures}`,
        `features seen ${vms.find((vm) => vm.nameLabel === touched[0])?.bootCpu?.features ?? home?.features ?? 'not known'}`,
      ],
      vms: touched,
      next: 'Try their start in a drill: they start anew, but software that was built for these features may fail.',
    });
  });
}

/** What the VM saw at its last start, else what all hosts of production have. */
function cpuOf(vm: PointVm, home: CpuFacts | null): CpuFacts | null {
  return vm.bootCpu === undefined || vm.bootCpu.features === '' ? home : vm.bootCpu;
}

function isForeign(cpu: CpuFacts | null, host: HostFacts): boolean {
  return cpu !== null && cpu.vendor !== '' && host.cpuVendor !== '' && cpu.vendor !== host.cpuVendor;
}

/** Hosts that are short of the same things for the same VMs are told of once. */
function alike(
  found: readonly { readonly host: HostFacts; readonly vms: readonly string[] }[],
): { readonly hosts: string; readonly vms: readonly string[]; readonly first: HostFacts }[] {
  const short = found.filter(({ vms }) => vms.length > 0);
  const groups = Map.groupBy(short, ({ host, vms }) => JSON.stringify([host.cpuFeatures, vms]));
  return [...groups.values()].flatMap((members) => {
    const [first] = members;
    return first === undefined
      ? []
      : [{ hosts: labels(members.map(({ host }) => host)).join(', '), vms: first.vms, first: first.host }];
  });
}

/** What every host of production has: the level of its pool; null when one of them does not tell. */
function homeCpu(hosts: readonly HostFacts[]): CpuFacts | null {
  if (hosts.length === 0 || hosts.some((host) => host.cpuFeatures === '')) return null;
  return {
    vendor: hosts[0]?.cpuVendor ?? '',
    features: commonFeatures(hosts.map((host) => host.cpuFeatures)),
  };
}
