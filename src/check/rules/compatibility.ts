/** Would the recovery pool understand what production wrote, and would its CPUs run it? (xapi.md 3.8, 8.2) */
import { commonFeatures, missingFeatures } from '../../domain/cpu.ts';
import type { Finding } from '../../domain/finding.ts';
import type { CpuFacts, HostFacts, PoolFacts, XapiBuild } from '../../domain/pool.ts';
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
  const unknownVms = running.filter((vm) => (vm.bootCpu ?? home) === null);
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
  for (const host of hosts) {
    if (host.cpuFeatures === '') continue;
    const foreign: string[] = [];
    const lacking: { readonly nameLabel: string; readonly missing: number }[] = [];
    for (const vm of running) {
      const cpu = vm.bootCpu ?? home;
      if (cpu === null) continue;
      if (cpu.vendor !== '' && host.cpuVendor !== '' && cpu.vendor !== host.cpuVendor)
        foreign.push(vm.nameLabel);
      else {
        const missing = missingFeatures(cpu.features, host.cpuFeatures);
        if (missing > 0) lacking.push({ nameLabel: vm.nameLabel, missing });
      }
    }
    const about = { about: 'host' as const, name: host.nameLabel, uuid: host.uuid };
    if (foreign.length > 0)
      findings.push(
        warning({
          ...about,
          code: 'DR-CPU-VENDOR',
          what: `Host ${host.nameLabel} of site ${group.recovery} has a CPU of ${host.cpuVendor}, ${counted(foreign.length, 'VM')} ran on another make`,
          evidence: [`production has ${home?.vendor || 'another make'}`],
          vms: foreign.sort(),
          next: 'Try their start in a drill: they start anew, but some software is bound to the make of the CPU.',
        }),
      );
    if (lacking.length > 0)
      findings.push(
        warning({
          ...about,
          code: 'DR-CPU-FEATURES',
          what: `Host ${host.nameLabel} of site ${group.recovery} lacks ${counted(Math.max(...lacking.map((vm) => vm.missing)), 'CPU feature')} that ${counted(lacking.length, 'VM')} saw at the last start`,
          evidence: [
            `features ${host.cpuFeatures}`,
            ...(home === null ? [] : [`production ${home.features}`]),
          ],
          vms: labels(lacking),
          next: 'Try their start in a drill: they start anew, but software that was built for these features may fail.',
        }),
      );
  }
  return findings;
}

/** What every host of production has: the level of its pool; null when one of them does not tell. */
function homeCpu(hosts: readonly HostFacts[]): CpuFacts | null {
  if (hosts.length === 0 || hosts.some((host) => host.cpuFeatures === '')) return null;
  return {
    vendor: hosts[0]?.cpuVendor ?? '',
    features: commonFeatures(hosts.map((host) => host.cpuFeatures)),
  };
}
