/**
 * Checks before a planned migration or a failback: both sites live and in their roles, every guest able to stop, nobody
 * else on the storage, and no copy at the other side that could be the real one. The rules of any move come with them.
 */
import type { Finding } from '../domain/finding.ts';
import { capabilitiesOf } from '../domain/observation.ts';
import type { VmFacts } from '../domain/pool.ts';
import { isQuarantined } from '../domain/quarantine.ts';
import { vmsInScope } from '../domain/scope.ts';
import { moveRules, runRules } from './check.ts';
import {
  type CheckContext,
  counted,
  labels,
  problem,
  type Rule,
  storageOf,
  toldBy,
  warning,
} from './context.ts';
import { noDrillIsOpen } from './drill.ts';
import { membersServe } from './rules/put-away.ts';

const rules: readonly Rule[] = [
  sourceAnswers,
  (context) => membersServe(context.group, membersAtSource(context), false),
  pairIsInStep,
  arraysCanHandOver,
  guestsCanStop,
  storageIsOurs,
  copiesAreAway,
  noDrillIsOpen,
  ...moveRules,
];

/** What the final synchronisation and the last recovery point make good. */
const settledByTheMove = new Set(['DR-REPLICA-OLD', 'DR-POINT-OLD', 'DR-POINT-OTHER-SITE', 'DR-SKEW']);

export function checkMigrate(context: CheckContext, rehearsal: readonly Finding[]): Finding[] {
  return runRules(rules, context, rehearsal).filter(({ code }) => !settledByTheMove.has(code));
}

function sourceAnswers({ group, observation, production }: CheckContext): Finding[] {
  if (production !== null) return [];
  const site = observation.sites[group.production];
  return [
    problem({
      code: 'DR-SOURCE-UNREACHABLE',
      about: 'pool',
      name: group.production,
      what: `Site ${group.production} cannot be read: only a site that answers can be left in good order`,
      evidence: site?.reachable === false ? toldBy(site.problem) : [],
      next: `If the site is lost: lifeboat failover ${group.name}. Otherwise make it reachable first.`,
    }),
  ];
}

/** Only a source that replicates to its target over a living link can bring the last writes over. */
function pairIsInStep({ group, observation }: CheckContext): Finding[] {
  return group.storage.flatMap((storage) => {
    const pair = observation.pairs.find(({ sr }) => sr === storage.sr);
    const { source = null, target = null } = pair ?? {};
    const wrong = [
      // Demoted: an earlier migration got as far as the final synchronisation.
      ...(source !== null && source.role !== 'source' && source.role !== 'demoted'
        ? [
            `array ${storage.source.array} shows volume ${storage.source.volume} as ${source.role}, not source`,
          ]
        : []),
      ...(source === null ? [`array ${storage.source.array} was not reached`] : []),
      ...(target !== null && target.role !== 'target'
        ? [
            `array ${storage.target.array} shows volume ${storage.target.volume} as ${target.role}, not target`,
          ]
        : []),
      ...(source?.link === 'down' || target?.link === 'down' ? ['the replication link is down'] : []),
    ];
    if (wrong.length === 0) return [];
    return [
      problem({
        code: 'DR-PAIR-NOT-IN-STEP',
        about: 'array',
        name: `${storage.source.array} ${storage.source.volume}`,
        what: `The replication of SR ${storage.sr} cannot bring the last writes over`,
        evidence: wrong,
        next: `Bring the replication of volume ${storage.source.volume} in order first; after a failover that is lifeboat reprotect ${group.name}.`,
      }),
    ];
  });
}

function arraysCanHandOver({ group, observation }: CheckContext): Finding[] {
  const names = [...new Set(group.storage.flatMap(({ source, target }) => [source.array, target.array]))];
  return names.flatMap((name) => {
    const capabilities = capabilitiesOf(observation, name);
    if (capabilities === null) return [];
    const lacks = [
      ...(capabilities.prepare ? [] : ['it cannot refuse writes before the last point is cut']),
      ...(capabilities.reverse === 'none' ? ['it cannot replicate the other way'] : []),
    ];
    if (lacks.length === 0) return [];
    const about = { code: 'DR-ARRAY-CANNOT', about: 'array', name, evidence: lacks } as const;
    return capabilities.stated === true
      ? [
          problem({
            ...about,
            what: `Array ${name} cannot do what a move without loss needs, and nobody can see that a person did it`,
            next: `Shut the VMs down, see on the arrays that the last write has arrived, then use lifeboat failover ${group.name}.`,
          }),
        ]
      : [
          warning({
            ...about,
            what: `Array ${name} leaves a part of the move to a person`,
            next: 'Have somebody at hand who works the array: the run asks, and goes on once it sees what was done.',
          }),
        ];
  });
}

/** A guest that is paused or suspended has writes in memory that no shutdown brings to its disks. */
function guestsCanStop(context: CheckContext): Finding[] {
  const { group, decisions } = context;
  const ours = membersAtSource(context);
  const asleep = ours.filter((vm) => vm.powerState === 'Paused' || vm.powerState === 'Suspended');
  const silent = ours.filter(
    (vm) => vm.powerState === 'Running' && !(vm.guest?.driversDetected === true || vm.guest?.live === true),
  );
  const about = { about: 'group' as const, name: group.name };
  return [
    ...(asleep.length === 0
      ? []
      : [
          problem({
            ...about,
            code: 'DR-VM-SUSPENDED',
            what: `${counted(asleep.length, 'VM')} of group ${group.name} ${asleep.length === 1 ? 'is' : 'are'} paused or suspended: what is in memory would be lost`,
            vms: labels(asleep),
            next: 'Resume them, or shut them down.',
          }),
        ]),
    ...(silent.length === 0 || decisions.has('force-shutdown')
      ? []
      : [
          warning({
            ...about,
            code: 'DR-GUEST-NO-AGENT',
            what: `${counted(silent.length, 'VM')} of group ${group.name} ${silent.length === 1 ? 'has' : 'have'} no guest agent that reports: a clean shutdown may be refused`,
            vms: labels(silent),
            next: 'Install or start the guest agent, or shut them down from inside beforehand. --force-shutdown "REASON" switches off what does not stop.',
          }),
        ]),
  ];
}

/** A storage that somebody else writes to cannot be let go. */
function storageIsOurs(context: CheckContext): Finding[] {
  const { group, production } = context;
  if (production === null) return [];
  const ours = new Set(membersAtSource(context).map((vm) => vm.uuid));
  const srOf = new Map(production.vdis.map((vdi) => [vdi.uuid, vdi.srUuid]));
  return production.srs
    .filter((sr) => storageOf(group, sr) !== undefined)
    .flatMap((sr) => {
      const users = production.vms.filter(
        (vm) =>
          !ours.has(vm.uuid) &&
          !vm.isSnapshot &&
          vm.powerState !== 'Halted' &&
          vm.vbds.some((vbd) => vbd.vdiUuid !== null && srOf.get(vbd.vdiUuid) === sr.uuid),
      );
      if (users.length === 0) return [];
      return [
        problem({
          code: 'DR-SR-STILL-USED',
          about: 'sr',
          name: sr.nameLabel,
          uuid: sr.uuid,
          what: `${counted(users.length, 'VM')} outside group ${group.name} ${users.length === 1 ? 'uses' : 'use'} its SR ${sr.nameLabel}, which cannot be let go then`,
          vms: labels(users),
          next: `Take them into group ${group.name}, move their disks away, or shut them down.`,
        }),
      ];
    });
}

/** A halted copy is replaced by the import; one that runs, or that nobody put away, may be more than a copy. */
function copiesAreAway(context: CheckContext): Finding[] {
  const { group, recovery, point } = context;
  if (recovery === null) return [];
  // What moves is what is there now, which the newest point may not know yet.
  const ours = new Set([...(point?.vms ?? []), ...membersAtSource(context)].map((vm) => vm.uuid));
  const copies = recovery.vms.filter((vm) => ours.has(vm.uuid) && !vm.isSnapshot);
  const running = copies.filter((vm) => vm.powerState !== 'Halted');
  const unknown = copies.filter((vm) => vm.powerState === 'Halted' && !isQuarantined(vm));
  const about = { about: 'group' as const, name: group.name };
  return [
    ...(running.length === 0
      ? []
      : [
          problem({
            ...about,
            code: 'DR-VMS-AT-BOTH-SITES',
            what: `${counted(running.length, 'VM')} of group ${group.name} ${running.length === 1 ? 'runs' : 'run'} at site ${group.recovery} already`,
            vms: labels(running),
            next: `Find out which copy serves. Shut the other one down before anything is moved.`,
          }),
        ]),
    ...(unknown.length === 0
      ? []
      : [
          problem({
            ...about,
            code: 'DR-TWIN-UNMARKED',
            what: `${counted(unknown.length, 'VM')} of group ${group.name} ${unknown.length === 1 ? 'is' : 'are'} at site ${group.recovery} already, halted and not put there by Lifeboat`,
            evidence: ['the import would replace them'],
            vms: labels(unknown),
            next: `Look at them. If they may be replaced: --override DR-TWIN-UNMARKED="REASON".`,
          }),
        ]),
  ];
}

function membersAtSource({ group, production }: CheckContext): VmFacts[] {
  if (production === null) return [];
  const members = new Set(vmsInScope(production, group.scope).map((vm) => vm.uuid));
  return production.vms.filter((vm) => members.has(vm.uuid));
}
