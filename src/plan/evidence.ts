/** What speaks for and against the death of the production site. */
import type { Observation } from '../domain/observation.ts';
import type { GroupSettings } from '../domain/settings.ts';

/** Why we believe that the production site is dead, or what speaks against it: one sentence per observation. */
export function evidenceOfDeath(group: GroupSettings, observation: Observation): string[] {
  const site = observation.sites[group.production];
  const evidence: string[] = [];
  if (site === undefined) evidence.push(`site ${group.production} was not looked at`);
  else if (site.reachable) {
    const running = site.pool.vms.filter(
      (vm) => vm.powerState === 'Running' && !vm.isTemplate && !vm.isSnapshot,
    ).length;
    evidence.push(
      `pool ${site.pool.nameLabel} of site ${group.production} answers, with ${running} VMs running`,
    );
  } else {
    for (const endpoint of site.endpoints)
      evidence.push(
        `${endpoint.url} ${endpoint.answered ? 'answers' : 'does not answer'}: ${endpoint.detail}`,
      );
    if (site.endpoints.length === 0) evidence.push(`site ${group.production}: ${site.problem.what}`);
  }
  for (const pair of observation.pairs) {
    const storage = group.storage.find((s) => s.sr === pair.sr);
    if (storage === undefined) continue;
    if (pair.source === null)
      evidence.push(`array ${storage.source.array} of site ${group.production} does not answer`);
    else
      evidence.push(
        `array ${storage.source.array} answers: volume ${storage.source.volume} is ${pair.source.role}`,
      );
    if (pair.target !== null)
      evidence.push(`array ${storage.target.array} sees the replication link ${pair.target.link}`);
  }
  return evidence;
}
