/** Can the recovery pool be worked with at all: reachable, its hosts in service, its coordinator alive? */
import type { Finding } from '../../domain/finding.ts';
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
