/** Is the catalog whole, read back lately, and does its newest point know the VMs of today? */
import type { Finding } from '../../domain/finding.ts';
import { vmsInScope } from '../../domain/scope.ts';
import { formatDuration, secondsBetween } from '../../domain/time.ts';
import { type CheckContext, counted, labels, toldBy, warning } from '../context.ts';

const verifiedWithinSeconds = 7 * 86_400;

/** Every target that does not answer is one copy less of what a failover needs. */
export function catalogTargetsAnswer({ observation }: CheckContext): Finding[] {
  return observation.gaps
    .filter((gap) => gap.source.startsWith('catalog target '))
    .map(({ source, problem }) =>
      warning({
        code: 'DR-CATALOG-TARGET-LOST',
        about: 'catalog',
        name: source.slice('catalog target '.length),
        what: `Catalog target ${source.slice('catalog target '.length)} cannot be read: its copies of the recovery points do not count`,
        evidence: toldBy(problem),
        next: problem.next,
      }),
    );
}

/** A copy that nobody read back for long may have gone bad (invariant 7). */
export function catalogWasVerified({ group, unverifiedSince, observation }: CheckContext): Finding[] {
  if (unverifiedSince === undefined || unverifiedSince === null) return [];
  const ageSeconds = secondsBetween(unverifiedSince, observation.takenAt);
  if (ageSeconds <= verifiedWithinSeconds) return [];
  return [
    warning({
      code: 'DR-CATALOG-UNVERIFIED',
      about: 'catalog',
      name: group.name,
      what: `No verification has read the recovery points of group ${group.name} back for ${formatDuration(ageSeconds)}`,
      evidence: [`one is due every ${formatDuration(verifiedWithinSeconds)}`],
      next: `Run: lifeboat verify ${group.name}`,
    }),
  ];
}

/** The promise covers metadata too: what was changed since the newest point is lost with the site. */
export function metadataIsYoung({ group, observation, point, standing }: CheckContext): Finding[] {
  const newest = observation.catalog.points.find((candidate) => candidate.group === group.name) ?? point;
  if (newest === null || !standing) return [];
  const ageSeconds = secondsBetween(newest.takenAt, observation.takenAt);
  if (ageSeconds <= group.rpoSeconds) return [];
  return [
    warning({
      code: 'DR-POINT-OLD',
      about: 'catalog',
      name: newest.id,
      what: `The newest recovery point of group ${group.name} is ${formatDuration(ageSeconds)} old, the RPO is ${formatDuration(group.rpoSeconds)}`,
      evidence: [`taken at ${newest.takenAt}`],
      next: `Run: lifeboat export ${group.name}`,
    }),
  ];
}

/** VMs that the rules take in now and that no point knows: a failover would leave them behind. */
export function pointKnowsEveryVm({ group, point, production }: CheckContext): Finding[] {
  if (point === null || production === null) return [];
  const known = new Set([...point.vms, ...point.failures].map((vm) => vm.uuid));
  const missing = vmsInScope(production, group.scope).filter((vm) => !known.has(vm.uuid));
  if (missing.length === 0) return [];
  return [
    warning({
      code: 'DR-VM-NOT-SAVED',
      about: 'group',
      name: group.name,
      what: `${counted(missing.length, 'VM')} of group ${group.name} ${missing.length === 1 ? 'is' : 'are'} not in recovery point ${point.id}: a failover would leave ${missing.length === 1 ? 'it' : 'them'} behind`,
      evidence: [`the point is of ${point.takenAt}`],
      vms: labels(missing),
      next: `Run: lifeboat export ${group.name}`,
    }),
  ];
}
