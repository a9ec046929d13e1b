/** Is the production site really dead? Two copies of one database are worse than none for an hour (invariant 1). */
import type { Finding } from '../../domain/finding.ts';
import { type CheckContext, problem, toldBy, warning } from '../context.ts';

export function sourceIsDead(context: CheckContext): Finding[] {
  const { group, observation, standing } = context;
  const site = observation.sites[group.production];
  if (standing) return site?.reachable === false ? [unreachableInQuietTimes(context)] : [];
  const declared = context.decisions.has('declare-lost');
  const say = declared ? warning : problem;
  if (site === undefined) {
    return [
      problem({
        code: 'DR-SOURCE-UNSEEN',
        about: 'group',
        name: group.name,
        what: `Site ${group.production} was not looked at`,
        next: 'Run the command again.',
      }),
    ];
  }
  if (site.reachable) {
    const ours = runningTwins(context);
    return [
      say({
        code: 'DR-SOURCE-ALIVE',
        about: 'pool',
        name: site.pool.nameLabel,
        uuid: site.pool.uuid,
        what: `Site ${group.production} still answers${ours.length > 0 ? `, and ${ours.length} VMs of the group run there` : ''}`,
        evidence: [`pool ${site.pool.nameLabel} answered at ${site.pool.observedAt}`],
        vms: ours,
        next: declared
          ? 'Nothing: its copies are stopped and blocked before ours start.'
          : `If the site must be given up all the same, say so: add --declare-lost "REASON". Otherwise leave it running.`,
      }),
    ];
  }
  const answering = site.endpoints.filter((endpoint) => endpoint.answered);
  if (answering.length > 0) {
    return [
      say({
        code: 'DR-SOURCE-HALF-DEAD',
        about: 'pool',
        name: group.production,
        what: `Hosts of site ${group.production} answer, but the pool could not be read: its VMs may still run`,
        evidence: [site.problem.what, ...answering.map((endpoint) => `${endpoint.url}: ${endpoint.detail}`)],
        next: declared
          ? `Make sure that nothing of the group runs at site ${group.production}: it cannot be fenced from here.`
          : `Look at site ${group.production}. If it must be given up, add --declare-lost "REASON".`,
      }),
    ];
  }
  const array = observation.pairs.find((pair) => pair.source !== null);
  if (array?.source != null) {
    return [
      warning({
        code: 'DR-SOURCE-ARRAY-ALIVE',
        about: 'array',
        name: array.source.pair.array,
        what: `No host of site ${group.production} answers, but its array ${array.source.pair.array} does`,
        evidence: [`volume ${array.source.pair.volume} is ${array.source.role}, link ${array.source.link}`],
        next: 'Make sure that the hosts are down and not merely cut off from here.',
      }),
    ];
  }
  return [];
}

function runningTwins(context: CheckContext): string[] {
  const wanted = new Set(context.point?.vms.map((vm) => vm.uuid) ?? []);
  return (context.production?.vms ?? [])
    .filter((vm) => wanted.has(vm.uuid) && vm.powerState !== 'Halted')
    .map((vm) => vm.nameLabel)
    .sort();
}

function unreachableInQuietTimes(context: CheckContext): Finding {
  const { group, observation } = context;
  const site = observation.sites[group.production];
  return problem({
    code: 'DR-SOURCE-UNREACHABLE',
    about: 'pool',
    name: group.production,
    what: `Site ${group.production} cannot be read, so that nothing new is being protected`,
    evidence: site?.reachable === false ? toldBy(site.problem) : [],
    next: site?.reachable === false ? site.problem.next : 'Run the command again.',
  });
}
