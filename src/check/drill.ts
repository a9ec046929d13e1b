/** Checks of a drill: the general ones of the recovery site, and what only a drill can get wrong (invariants 3 and 12). */
import { drillOfSr, drillRemains } from '../domain/drill.ts';
import type { Finding } from '../domain/finding.ts';
import type { NetworkFacts, PoolFacts } from '../domain/pool.ts';
import type { NetworkMapping } from '../domain/settings.ts';
import { catalogRules, identityRules, runRules } from './check.ts';
import {
  type CheckContext,
  counted,
  labels,
  problem,
  type Rule,
  storageOf,
  usable,
  warning,
} from './context.ts';
import { gpusAreThere, memoryFits, vcpusFit } from './rules/capacity.ts';
import { buildsFit, cpusFit } from './rules/compatibility.ts';
import { consistencyGroupsHold, disksAreOfOneMoment } from './rules/consistency.ts';
import { groupMayMove } from './rules/group-state.ts';
import { recoveryPoolIsReady } from './rules/recovery-pool.ts';
import { disksAreReplicated, metadataFitsReplica, replicaIsThere } from './rules/replica.ts';
import { driversAreThere } from './rules/storage.ts';
import { haIsSound } from './rules/traps.ts';

const rules: readonly Rule[] = [
  groupMayBeDrilled,
  groupIsAtRest,
  ...identityRules,
  recoveryPoolIsReady,
  copiesFit(memoryFits),
  copiesFit(vcpusFit),
  gpusAreThere,
  cpusFit,
  buildsFit,
  driversAreThere,
  haIsSound,
  networksAreIsolated,
  arraysCanClone,
  srsAreUnknown,
  noDrillIsOpen,
  replicaMayBeOld,
  metadataFitsReplica,
  disksAreReplicated,
  consistencyGroupsHold,
  disksAreOfOneMoment,
  ...catalogRules,
];

/** Findings of all rules. `rehearsal` comes from the import rules over the documents as the copies get them. */
export function checkDrill(context: CheckContext, rehearsal: readonly Finding[]): Finding[] {
  return runRules(rules, context, rehearsal);
}

/** Between two states nobody knows what a clone of the replica would prove. */
function groupIsAtRest({ group, state }: CheckContext): Finding[] {
  if (state === null || !['migrating', 'failing-over', 'reprotecting'].includes(state.phase)) return [];
  return [
    problem({
      code: 'DR-DRILL-PHASE',
      about: 'group',
      name: group.name,
      what: `Group ${group.name} is ${state.phase}: a drill now would prove nothing`,
      evidence: [`since ${state.changedAt}${state.currentRun === null ? '' : `, run ${state.currentRun}`}`],
      next: `Bring that to its end first: lifeboat status ${group.name}`,
    }),
  ];
}

/** A copy is started beside whatever runs there, its own original included. */
function copiesFit(rule: Rule): Rule {
  return (context) => {
    const { point, recovery } = context;
    if (point === null || recovery === null) return [];
    const ours = new Set(point.vms.map((vm) => vm.uuid));
    return rule({
      ...context,
      recovery: { ...recovery, vms: recovery.vms.filter((vm) => !ours.has(vm.uuid)) },
    });
  };
}

/** A drill would take the place of the run that waits for a person, and that run could not be gone on with. */
function groupMayBeDrilled(context: CheckContext): Finding[] {
  const waits = context.state?.currentRun != null;
  return groupMayMove(context).map((found) =>
    waits && found.code === 'DR-GROUP-STUCK' ? { ...found, severity: 'problem' as const } : found,
  );
}

function networksAreIsolated({ group, recovery, point }: CheckContext): Finding[] {
  if (recovery === null || point === null) return [];
  const used = [...new Set(point.vms.flatMap((vm) => vm.networkNames))].sort();
  return used.flatMap((production) => {
    const vms = labels(point.vms.filter((vm) => vm.networkNames.includes(production)));
    const mapping = group.networks.find((each) => each.production === production);
    const name = mapping?.drill ?? null;
    const found = recovery.networks.filter((network) => network.nameLabel === name);
    const [network] = found;
    if (name === null || network === undefined || found.length > 1)
      return [notNamed(group.recovery, production, name, found.length, vms)];
    return networkFindings(group.networks, recovery, network, { production, vms, point });
  });
}

function notNamed(
  site: string,
  production: string,
  name: string | null,
  found: number,
  vms: readonly string[],
): Finding {
  const where = `groups.*.networks, ${production}, drill`;
  return problem({
    code: 'DR-DRILL-NETWORK',
    about: 'network',
    name: name ?? production,
    what:
      name === null
        ? `No isolated network is named for drills in place of ${production}`
        : found === 0
          ? `Site ${site} has no network named ${name}, which drills use in place of ${production}`
          : `Site ${site} has ${found} networks named ${name}, which drills use in place of ${production}`,
    vms,
    next:
      found > 1
        ? 'Rename all but one of them: an import takes any of them.'
        : `Create an internal network at site ${site} and name it in sites.yaml (${where}).`,
  });
}

interface Use {
  readonly production: string;
  readonly vms: readonly string[];
  readonly point: NonNullable<CheckContext['point']>;
}

function networkFindings(
  mappings: readonly NetworkMapping[],
  pool: PoolFacts,
  network: NetworkFacts,
  { vms, point }: Use,
): Finding[] {
  const about = { about: 'network' as const, name: network.nameLabel, uuid: network.uuid, vms };
  const findings: Finding[] = [];
  const real = mappings.filter((mapping) => mapping.recovery === network.nameLabel);
  if (real.length > 0)
    findings.push(
      problem({
        ...about,
        code: 'DR-DRILL-NETWORK',
        what: `Network ${network.nameLabel} is not isolated: a real failover uses it`,
        evidence: real.map((mapping) => `${mapping.production} is mapped to it`),
        next: 'Name another network for drills in sites.yaml.',
      }),
    );
  const tags = new Set(network.pifs.map((pif) => pif.vlan));
  const theirs = new Set(mappings.map((mapping) => mapping.recovery));
  const shared = pool.networks.filter(
    (other) => theirs.has(other.nameLabel) && other.pifs.some((pif) => tags.has(pif.vlan)),
  );
  if (shared.length > 0)
    findings.push(
      problem({
        ...about,
        code: 'DR-DRILL-NETWORK-VLAN',
        what: `Network ${network.nameLabel} is on the same VLAN as a network of the real failover`,
        evidence: shared.map((other) => `network ${other.nameLabel}`),
        next: 'Give the drill a VLAN of its own, or an internal network.',
      }),
    );
  const atProduction = point.networks.filter((other) => other.pifs.some((pif) => tags.has(pif.vlan)));
  if (atProduction.length > 0 && shared.length === 0)
    findings.push(
      warning({
        ...about,
        code: 'DR-DRILL-NETWORK-VLAN',
        what: `Network ${network.nameLabel} has a VLAN number that production uses too: make sure that the VLAN does not span both sites`,
        evidence: atProduction.map((other) => `network ${other.nameLabel} of production`),
        next: 'Take a VLAN that exists nowhere else, or an internal network.',
      }),
    );
  const hosts = usable(pool);
  if (network.pifs.length === 0 && hosts.length > 1 && vms.length > 1)
    findings.push(
      warning({
        ...about,
        code: 'DR-DRILL-NETWORK-HOST',
        what: `Network ${network.nameLabel} is internal to each host: copies on different hosts do not reach one another`,
        evidence: [`${counted(hosts.length, 'host')}, no interface on this network`],
        next: 'For a drill of services that talk to one another, use an isolated VLAN that all hosts carry.',
      }),
    );
  return findings;
}

function arraysCanClone({ group, observation }: CheckContext): Finding[] {
  return [...new Set(group.storage.map(({ target }) => target.array))].flatMap((array) => {
    const view = observation.arrays?.find((each) => each.array === array);
    const about = { about: 'array' as const, name: array };
    if (view?.capabilities == null)
      return [
        problem({
          ...about,
          code: 'DR-DRILL-NO-CLONE',
          what: `It is not known whether array ${array} can clone a replica`,
          evidence: view?.problem == null ? [] : [view.problem.what, ...(view.problem.known ?? [])],
          next: view?.problem?.next ?? `Check array ${array}.`,
        }),
      ];
    const { drill, drillPausesTransfer } = view.capabilities;
    if (drill === 'none')
      return [
        problem({
          ...about,
          code: 'DR-DRILL-NO-CLONE',
          what: `Array ${array} cannot clone a replica, and cannot open one for a test`,
          next: 'Drill by hand with a copy that the vendor makes, or on an array that can.',
        }),
      ];
    if (drill === 'in-place' || drillPausesTransfer)
      return [
        problem({
          ...about,
          code: 'DR-DRILL-DISTURBS',
          what:
            drill === 'in-place'
              ? `Array ${array} drills on the replica itself: nothing new is taken over while it lasts`
              : `Array ${array} holds up the replication while a drill lasts`,
          evidence: ['a disaster meanwhile would cost everything written since the drill began'],
          next: 'If that is accepted, say so: add --override "DR-DRILL-DISTURBS=REASON".',
        }),
      ];
    return [];
  });
}

/** Original and clone have one uuid, and a pool has room for one of them (xapi.md 7.6). */
function srsAreUnknown({ group, recovery, point }: CheckContext): Finding[] {
  return (point?.srs ?? []).flatMap((sr) => {
    const known = recovery?.srs.find((each) => each.uuid === sr.uuid);
    if (known === undefined || storageOf(group, sr) === undefined || drillOfSr(known) !== null) return [];
    return [
      problem({
        code: 'DR-DRILL-SR-KNOWN',
        about: 'sr',
        name: known.nameLabel,
        uuid: known.uuid,
        what: `Site ${group.recovery} knows SR ${known.nameLabel} already: its clone has the same uuid and cannot be attached beside it`,
        evidence: [`${counted(known.pbds.filter((pbd) => pbd.attached).length, 'host')} have it plugged`],
        next: `Forget the record at site ${group.recovery} if it is a remembered one (xe sr-forget touches no storage); drill in another pool if both sites are one.`,
      }),
    ];
  });
}

/** A clone has the uuid of its SR and may hold the replica: nothing planned begins beside it. */
export function noDrillIsOpen({ group, observation, recovery, state }: CheckContext): Finding[] {
  const remains = drillRemains(group, observation, recovery);
  if (remains.length === 0 && (state?.drill ?? null) === null) return [];
  return [
    problem({
      code: 'DR-DRILL-OPEN',
      about: 'group',
      name: group.name,
      what: `An earlier drill of group ${group.name} has not been cleaned up`,
      evidence: [
        ...(state?.drill == null
          ? []
          : [`drill ${state.drill.id} since ${state.drill.at}, run ${state.drill.run}`]),
        ...remains.map(
          ({ drill, vms, srs, clones }) =>
            `of drill ${drill} are there: ${counted(vms.length, 'VM')}, ${counted(srs.length, 'SR')}, ${counted(clones.length, 'clone')}`,
        ),
      ],
      vms: labels(remains.flatMap(({ vms }) => vms)),
      next: `Clean it up first: lifeboat drill cleanup ${group.name}`,
    }),
  ];
}

/** In a drill nothing is lost: an old replica is worth a word, since it is what the drill proves. */
function replicaMayBeOld(context: CheckContext): Finding[] {
  return replicaIsThere(context).map((finding) =>
    finding.code === 'DR-REPLICA-OLD'
      ? {
          ...finding,
          severity: 'warning' as const,
          next: 'The drill proves this old state; look at the replication besides.',
        }
      : finding,
  );
}
