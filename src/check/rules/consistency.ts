/** Disks that must be of one moment: consistency groups of the arrays, and VMs whose disks no group keeps together. */
import { consistencyGroupKey, groupsKept } from '../../domain/consistency-group.ts';
import type { Finding } from '../../domain/finding.ts';
import { capabilitiesOf } from '../../domain/observation.ts';
import type { RecoveryPoint } from '../../domain/recovery-point.ts';
import type { GroupSettings, ReplicatedSr } from '../../domain/settings.ts';
import { type CheckContext, labels, problem, warning } from '../context.ts';

/** What sites.yaml calls one moment must be one on the array: it can do that, and all volumes hold a point of it. */
export function consistencyGroupsHold(context: CheckContext): Finding[] {
  return groupsKept(context.group.storage).flatMap((members) => [
    ...arraysCannot(context, members),
    ...noCommonPoint(context, members),
  ]);
}

/**
 * Replicas that are not of one moment tear what writes to several disks in order: a database whose log is older than its
 * data, a volume group with one leg behind. A planned move stops the VMs first and is not concerned.
 */
export function disksAreOfOneMoment({ group, point }: CheckContext): Finding[] {
  if (point === null) return [];
  const apart = point.vms.flatMap((vm) => {
    const moments = momentsOf(group, point, vm.vdiUuids);
    return moments.size > 1 ? [{ vm, moments }] : [];
  });
  const srs = new Map(apart.flatMap(({ moments }) => [...moments.values()]).map((sr) => [sr.uuid, sr]));
  const names = [...srs.values()].map(({ nameLabel }) => nameLabel).sort();
  const [first] = names;
  if (first === undefined) return [];
  return [
    warning({
      code: 'DR-DISKS-APART',
      about: 'vm',
      name: first,
      what: `Disks of ${apart.length === 1 ? 'one VM lie' : `${apart.length} VMs lie`} on SRs that are replicated apart (${names.join(', ')}): after a failover they are of different moments`,
      evidence: [
        'each replica is consistent in itself; between them the order of writes is lost: a database whose log lies on the one and whose data on the other may not start, or start with pages that never belonged together',
        'a planned move is not concerned: it stops the VMs before the last point',
      ],
      vms: labels(apart.map(({ vm }) => vm)),
      next: 'Move the disks of each VM to one SR; or put the volumes into one consistency group of the array and name it as consistency_group (docs/arrays.md).',
    }),
  ];
}

/** One SR for each moment: SRs of one consistency group are one moment. */
function momentsOf(
  group: GroupSettings,
  point: RecoveryPoint,
  disks: readonly string[],
): ReadonlyMap<string, { readonly uuid: string; readonly nameLabel: string }> {
  const used = new Set(point.vdis.filter(({ uuid }) => disks.includes(uuid)).map(({ srUuid }) => srUuid));
  return new Map(
    point.srs.flatMap((sr) => {
      const storage = group.storage.find((one) => one.sr === sr.uuid || one.sr === sr.nameLabel);
      if (storage === undefined || !used.has(sr.uuid)) return [];
      return [[consistencyGroupKey(storage.target) ?? sr.uuid, { uuid: sr.uuid, nameLabel: sr.nameLabel }]];
    }),
  );
}

function arraysCannot({ observation }: CheckContext, [first]: readonly ReplicatedSr[]): Finding[] {
  if (first === undefined) return [];
  return [first.source, first.target].flatMap(({ array, consistencyGroup = '' }) =>
    capabilitiesOf(observation, array)?.consistencyGroups === false
      ? [
          problem({
            code: 'DR-CONSISTENCY-GROUP-CANNOT',
            about: 'array',
            name: `${array} ${consistencyGroup}`,
            what: `Array ${array} cannot keep the volumes of consistency group ${consistencyGroup} at one moment`,
            evidence: ['asked of the array; `lifeboat array test` prints all that it can do'],
            next: 'Update the array if its documents say that a newer release can, or take consistency_group out of these volumes and keep the disks of each VM on one SR.',
          }),
        ]
      : [],
  );
}

function noCommonPoint({ observation }: CheckContext, members: readonly ReplicatedSr[]): Finding[] {
  const [first] = members;
  const pairs = members.map(({ sr }) => observation.pairs.find((pair) => pair.sr === sr));
  const isOpen = pairs.some((pair) => pair?.target?.role === 'promoted');
  if (first === undefined || isOpen || pairs.some((pair) => pair === undefined || pair.points === null))
    return [];
  const held = pairs.map(
    (pair) => new Set((pair?.points ?? []).filter(({ complete }) => complete).map(({ ref }) => ref)),
  );
  const [some = new Set<string>(), ...others] = held;
  if ([...some].some((ref) => others.every((refs) => refs.has(ref)))) return [];
  const { array, consistencyGroup = '' } = first.target;
  return [
    problem({
      code: 'DR-CONSISTENCY-GROUP-POINT',
      about: 'array',
      name: `${array} ${consistencyGroup}`,
      what: `Array ${array} holds no point that is whole on all volumes of consistency group ${consistencyGroup}`,
      evidence: members.map(
        ({ sr, target }, index) =>
          `SR ${sr}, volume ${target.volume}: ${held[index]?.size ?? 0} whole points`,
      ),
      next: 'Look on the array whether all these volumes belong to the group, and whether it is replicated as a whole; then `lifeboat verify --sync`.',
    }),
  ];
}
