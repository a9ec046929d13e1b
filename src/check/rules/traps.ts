/** What starts VMs by itself, on both sides: HA and auto_poweron (xapi.md 8.4, 8.5). */
import type { Finding } from '../../domain/finding.ts';
import { type CheckContext, counted, labels, unknown, usable, warning } from '../context.ts';

/** Two hosts cannot tell who of them is cut off, and HA needs one to spare. */
const fewestHostsForHa = 3;

export function haIsSound({ group, recovery }: CheckContext): Finding[] {
  if (recovery === null || !recovery.haEnabled) return [];
  const about = { about: 'pool' as const, name: recovery.nameLabel, uuid: recovery.uuid };
  const hosts = usable(recovery);
  const findings: Finding[] = [];
  if (hosts.length < fewestHostsForHa)
    findings.push(
      warning({
        ...about,
        code: 'DR-HA-FEW-HOSTS',
        what: `HA is enabled at site ${group.recovery} with ${counted(hosts.length, 'host')} in service: one more failure may fence them all`,
        evidence: hosts.map((host) => `host ${host.nameLabel} is in service`),
        next: `Bring ${fewestHostsForHa} hosts into service there, or disable HA until then.`,
      }),
    );
  if (recovery.haPlan === undefined)
    findings.push(unknown({ ...about, what: `What HA of pool ${recovery.nameLabel} promises is not known` }));
  else if (recovery.haPlan.planExistsFor < recovery.haPlan.hostFailuresToTolerate)
    findings.push(
      warning({
        ...about,
        code: 'DR-HA-PLAN',
        what: `HA of site ${group.recovery} shall survive the loss of ${counted(recovery.haPlan.hostFailuresToTolerate, 'host')} and can survive ${recovery.haPlan.planExistsFor}: it may refuse starts`,
        evidence: [
          `ha_host_failures_to_tolerate ${recovery.haPlan.hostFailuresToTolerate}`,
          `ha_plan_exists_for ${recovery.haPlan.planExistsFor}`,
        ],
        next: 'Lower ha_host_failures_to_tolerate there, or add memory.',
      }),
    );
  return findings;
}

/** A site that was given up and comes back starts its copies by itself, beside those that have taken over (invariant 1). */
export function nothingStartsAtProduction({ group, point, production, standing }: CheckContext): Finding[] {
  // In quiet times HA and auto-start of production are what they are for.
  if (standing || point === null) return [];
  const about = {
    about: 'pool' as const,
    name: production?.nameLabel ?? point.poolName,
    uuid: production?.uuid ?? point.poolUuid,
  };
  const findings: Finding[] = [];
  if ((production?.otherConfig ?? point.poolOtherConfig)['auto_poweron'] === 'true')
    findings.push(
      warning({
        ...about,
        code: 'DR-AUTO-START',
        what: `Pool ${about.name} of site ${group.production} starts VMs marked auto_poweron whenever a host boots`,
        evidence: ['auto_poweron is true in other_config of the pool'],
        next: `Keep its hosts down, or cut off from network and storage, until group ${group.name} is reprotected.`,
      }),
    );
  const restarted = point.vms.filter((vm) => vm.haRestartPriority !== '');
  const enabled = production?.haEnabled ?? point.haEnabled;
  if (restarted.length > 0 && enabled !== false)
    findings.push(
      warning({
        ...about,
        code: 'DR-HA-RETURNS',
        what: `HA of pool ${about.name} at site ${group.production} starts ${counted(restarted.length, 'VM')} of the group by itself when the site returns`,
        evidence: [
          enabled === undefined
            ? 'whether HA is enabled there is not known: the recovery point is older than the question'
            : `HA ${production === null ? 'was' : 'is'} enabled there`,
        ],
        vms: labels(restarted),
        next: `Keep its hosts down, or cut off from network and storage, until group ${group.name} is reprotected.`,
      }),
    );
  return findings;
}
