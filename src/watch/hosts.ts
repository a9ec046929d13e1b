/** Hosts of both sites: how many, how much memory, which CPUs, which build of xapi (xapi.md 3.8, 8.2). */
import { counted, usable } from '../check/context.ts';
import { refusesBuild } from '../check/rules/compatibility.ts';
import { commonFeatures, missingFeatures } from '../domain/cpu.ts';
import type { Difference } from '../domain/drift.ts';
import type { HostFacts, PoolFacts } from '../domain/pool.ts';
import { formatBytes } from '../domain/time.ts';
import { difference, type SitePair } from './pairs.ts';

export function hostDifferences(pair: SitePair): Difference[] {
  return [...hostCount(pair), ...installedMemory(pair), ...roomForAll(pair), ...cpus(pair), ...builds(pair)];
}

function hostCount(pair: SitePair): Difference[] {
  const [ours, theirs] = [usable(pair.home).length, usable(pair.away).length];
  if (theirs >= ours) return [];
  return [
    difference(pair, {
      aspect: 'hosts',
      identity: [ours, theirs],
      object: pair.away.nameLabel,
      what: `Site ${pair.recovery} has ${counted(theirs, 'host')} in service, site ${pair.production} has ${ours}`,
      evidence: outOfService(pair.away),
      breaks: false,
      codes: ['DR-HOST-OUT'],
      next: 'See whether the groups fit with one host less as well: lifeboat check',
    }),
  ];
}

const outOfService = (pool: PoolFacts): string[] =>
  pool.hosts
    .filter(({ enabled, live }) => !enabled || !live)
    .map(({ nameLabel, live }) => `host ${nameLabel} is ${live ? 'disabled' : 'not alive'}`)
    .sort();

const sum = (hosts: readonly HostFacts[], of: (host: HostFacts) => number): number =>
  hosts.reduce((total, host) => total + of(host), 0);

function installedMemory(pair: SitePair): Difference[] {
  const total = (pool: PoolFacts): number => sum(usable(pool), ({ memoryTotal }) => memoryTotal);
  const [ours, theirs] = [total(pair.home), total(pair.away)];
  if (theirs >= ours) return [];
  return [
    difference(pair, {
      aspect: 'memory',
      identity: ['installed', formatBytes(ours), formatBytes(theirs)],
      object: pair.away.nameLabel,
      what: `The hosts of site ${pair.recovery} have ${formatBytes(theirs)} of memory, those of site ${pair.production} ${formatBytes(ours)}`,
      breaks: false,
      next: 'Make sure that what has to run after a disaster fits, and accept it.',
    }),
  ];
}

/** A check looks at one group; a site is lost with all of them. What is free moves all the time, so it is no part of the identity. */
function roomForAll(pair: SitePair): Difference[] {
  const running = pair.groups.flatMap(({ vms }) => vms.filter(({ powerState }) => powerState === 'Running'));
  const needed = running.reduce((total, vm) => total + vm.memoryDynamicMax + (vm.memoryOverhead ?? 0), 0);
  const free = sum(usable(pair.away), ({ memoryFree }) => memoryFree);
  if (needed <= free) return [];
  return [
    difference(pair, {
      aspect: 'memory',
      identity: ['room'],
      object: pair.away.nameLabel,
      what: `Site ${pair.recovery} has no room for all groups of site ${pair.production} at once`,
      evidence: [
        `${counted(running.length, 'running VM')} need ${formatBytes(needed)}`,
        `${formatBytes(free)} are free`,
      ],
      breaks: false,
      codes: ['DR-MEMORY'],
      next: 'Add memory, or decide which groups come first and accept it.',
    }),
  ];
}

function cpus(pair: SitePair): Difference[] {
  const [home, away] = [usable(pair.home), usable(pair.away)];
  if (
    [...home, ...away].some(({ cpuFeatures }) => cpuFeatures === '') ||
    home.length === 0 ||
    away.length === 0
  )
    return [];
  const makes = (hosts: readonly HostFacts[]): string =>
    [...new Set(hosts.map(({ cpuVendor }) => cpuVendor))].sort().join(', ');
  const [ours, theirs] = [makes(home), makes(away)];
  if (ours !== theirs)
    return [
      difference(pair, {
        aspect: 'cpu',
        identity: ['make', ours, theirs],
        object: pair.away.nameLabel,
        what: `The CPUs of site ${pair.recovery} are of another make: ${theirs}, at site ${pair.production} ${ours}`,
        breaks: false,
        codes: ['DR-CPU-VENDOR'],
        next: 'Try the VMs in a drill: they start anew, but some software is bound to the make of the CPU.',
      }),
    ];
  const level = (hosts: readonly HostFacts[]): string =>
    commonFeatures(hosts.map(({ cpuFeatures }) => cpuFeatures));
  const lacking = missingFeatures(level(home), level(away));
  if (lacking === 0) return [];
  return [
    difference(pair, {
      aspect: 'cpu',
      identity: ['features', level(home), level(away)],
      object: pair.away.nameLabel,
      what: `The CPUs of site ${pair.recovery} lack ${counted(lacking, 'feature')} that those of site ${pair.production} have`,
      evidence: [`${pair.production} ${level(home)}`, `${pair.recovery} ${level(away)}`],
      breaks: false,
      codes: ['DR-CPU-FEATURES'],
      next: 'Try the VMs in a drill: software that was built for these features may fail.',
    }),
  ];
}

function builds(pair: SitePair): Difference[] {
  const { home, away } = pair;
  const said = (pool: PoolFacts): string =>
    `${pool.productBrand} ${pool.productVersion}, xapi ${pool.xapiBuild.text}`.trim();
  if (said(home) === said(away)) return [];
  const refused = refusesBuild(away.xapiBuild, home.xapiBuild);
  const wayBack = refusesBuild(home.xapiBuild, away.xapiBuild);
  return [
    difference(pair, {
      aspect: 'build',
      identity: [said(home), said(away)],
      object: away.nameLabel,
      what: refused
        ? `Pool ${away.nameLabel} of site ${pair.recovery} refuses the documents of pool ${home.nameLabel}: its xapi is older`
        : `The sites run different versions${wayBack ? ': the groups can move, and not come back' : ''}`,
      evidence: [`${pair.production}: ${said(home)}`, `${pair.recovery}: ${said(away)}`],
      breaks: refused,
      codes: ['DR-BUILD-GATE', 'DR-IMPORT-VERSION', 'DR-BUILD-WAY-BACK'],
      next: refused
        ? `Update pool ${away.nameLabel} to the same version.`
        : 'Keep both sites at the same version; the recovery site is updated first.',
    }),
  ];
}
