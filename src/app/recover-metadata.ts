/**
 * `lifeboat catalog recover`, and what failover and drill do by themselves when the catalog has nothing: the metadata that
 * travelled with the storage is read from a clone of the replica, and kept as recovery points.
 */
import { createHash } from 'node:crypto';
import { openMove, unfinishedMove } from '../check/after-failover.ts';
import { applyOverrides } from '../check/override.ts';
import type { BackupWish } from '../domain/actions/recover.ts';
import { drillIdOf } from '../domain/drill.ts';
import { OperatorError } from '../domain/errors.ts';
import type { Finding } from '../domain/finding.ts';
import { oriented } from '../domain/orientation.ts';
import type { Uuid, VmFacts } from '../domain/pool.ts';
import { matchableVms } from '../domain/scope.ts';
import type { GroupSettings } from '../domain/settings.ts';
import type { BackupDesk, BackupToKeep } from '../execute/actions/world.ts';
import { planDigest } from '../execute/executor.ts';
import { planRecoverMetadata } from '../plan/recover-metadata.ts';
import type { ForeignBackup } from '../ports/foreign.ts';
import type { PlannedRun } from './app.ts';
import { keepBackup, membersOf } from './foreign.ts';
import { groupNamed } from './groups.ts';
import { confirmationOf, overridesOf, type Planning, planIdOf } from './planning/common.ts';
import { assertNobodyDrills } from './planning/drill.ts';
import type { AppPorts } from './ports.ts';

/** What failover and drill ask for: all that the newest whole date holds of the group. */
export const usualWish: BackupWish = { dates: 'newest', vms: 'group', legacy: null };

export async function recoverMetadataRun(planning: Planning<'recover-metadata'>): Promise<PlannedRun> {
  const { ports, group, observation, state, request } = planning;
  await assertNobodyDrills(ports, group.name, state);
  const plan = planRecoverMetadata({
    planId: planIdOf(ports, 'recover-metadata', group.name),
    drillId: drillIdOf(group.name, observation.takenAt, ports.entropy.hex(2)),
    group,
    configDigest: ports.settings.digest,
    generation: state?.generation ?? 0,
    observation,
    wish: request.wish,
  });
  return {
    plan,
    digest: planDigest(plan),
    findings: applyOverrides(findings(planning), overridesOf(request.decisions)),
    observation,
    decisions: request.decisions,
    confirm: confirmationOf({ ports, observation }, group.recovery),
  };
}

function findings({ group, state }: Planning<'recover-metadata'>): Finding[] {
  const open = openMove(state);
  return open === null ? [] : [unfinishedMove(group, open, false)];
}

/** The desk at which the steps of a run read and keep; undefined in programs that carry none out. */
export function backupDeskOver(ports: AppPorts): BackupDesk | undefined {
  const { metadataBackups } = ports;
  return metadataBackups === undefined
    ? undefined
    : { ...metadataBackups, keep: (wanted, signal) => keep(ports, wanted, signal) };
}

async function keep(
  ports: AppPorts,
  { group: name, backup: read, storage, only, before, pointId }: BackupToKeep,
  signal: AbortSignal,
): ReturnType<BackupDesk['keep']> {
  const configured = groupNamed(ports.settings, name);
  const group = oriented(configured, await (await ports.states()).get(name));
  const backup =
    before === null ? read : { ...read, failures: [...read.failures, ...missing(group, read, before)] };
  const takenAt = backup.made.at;
  const vms = only === null ? membersOf(group, backup) : chosen(group, backup, only);
  const id = pointIdOf(name, backup, vms);
  const { date } = storage;
  const told = { date, pointId: id, vms: vms.length, failures: backup.failures.length };
  const there = await (await ports.catalog()).list(name, signal);
  // What the date claims to hold is most likely still there; and another SR of the group may have held the same.
  const known = there.points.find((point) => point.good && point.group === name && point.id === pointId);
  if (known !== undefined && only === null) return { ...told, pointId: known.id, warnings: [] };
  if (there.points.some((point) => point.id === id)) return { ...told, warnings: [] };
  const { point, targets } = await keepBackup(ports, { group, backup, takenAt, vms, id, storage }, signal);
  return {
    ...told,
    warnings: [
      ...point.failures.map(({ nameLabel, reason }) => `${nameLabel} of date ${date}: ${reason}`),
      ...backup.remarks,
      ...targets.flatMap(({ target, ok, problem }) =>
        ok ? [] : [`target ${target} did not take the point: ${problem?.what ?? 'no reason given'}`],
      ),
    ],
  };
}

/** Members that the date before holds and this one does not: removed since, or never written. */
function missing(
  group: GroupSettings,
  { documents }: ForeignBackup,
  before: ForeignBackup,
): ForeignBackup['failures'] {
  return membersOf(group, before)
    .filter(({ uuid }) => !documents.has(uuid))
    .map(({ uuid, nameLabel }) => ({
      file: `${uuid}.vmmeta`,
      reason: `this date holds no document of VM ${nameLabel}, and the one before it does`,
    }));
}

/** The same documents of the same moment are the same point, however often and from wherever they are read. */
function pointIdOf(
  group: string,
  { made, documents, failures }: ForeignBackup,
  vms: readonly VmFacts[],
): string {
  const hash = createHash('sha256');
  for (const { uuid } of vms) hash.update(uuid).update(documents.get(uuid) ?? '');
  for (const { file } of failures) hash.update(`\n${file}`);
  return `${group}/${made.at.replace(/[-:]|\.\d+/g, '')}-${hash.digest('hex').slice(0, 4)}`;
}

function chosen(group: GroupSettings, backup: ForeignBackup, only: ReadonlySet<Uuid>): VmFacts[] {
  const wanted = new Set(matchableVms(backup.pool).map((vm) => vm.uuid));
  const vms = backup.pool.vms
    .filter((vm) => wanted.has(vm.uuid) && only.has(vm.uuid) && backup.documents.has(vm.uuid))
    .sort((a, b) => (a.nameLabel < b.nameLabel ? -1 : 1));
  if (vms.length > 0) return vms;
  throw new OperatorError({
    code: 'DR-FOREIGN-NO-VM',
    what: `The backup holds none of the VMs that were asked for, for group ${group.name}`,
    known: [`it holds ${backup.documents.size} VMs`],
    next: 'Ask for all of them with --vms all, or take another date',
  });
}
