/**
 * Some VMs of a group: the storage is promoted for all of them, since a volume cannot move in part, and the others are
 * imported and stay halted, so that nobody is lost and nobody runs twice.
 */
import type { Uuid } from '../../domain/pool.ts';
import type { RecoveryPoint } from '../../domain/recovery-point.ts';
import type { StartOrder } from '../tiers.ts';
import type { RecoverDraft } from './draft.ts';

/** The VMs of the point that were asked for, by name or uuid; null for all of them. */
export function askedVms(
  only: readonly string[] | undefined,
  point: RecoveryPoint,
): ReadonlySet<Uuid> | null {
  if (only === undefined || only.length === 0) return null;
  return new Set(point.vms.filter((vm) => isAskedFor(only, vm)).map((vm) => vm.uuid));
}

/** Whether a VM was asked for by name or uuid; every one is where nobody was named. The same for drills and failovers. */
export function isAskedFor(
  only: readonly string[],
  vm: { readonly uuid: Uuid; readonly nameLabel: string },
): boolean {
  return only.length === 0 || only.includes(vm.uuid) || only.includes(vm.nameLabel);
}

/** A name that fits nobody is most often misspelt: the plan waits, and starts no part of what was meant. */
export function faultsOfAsking(only: readonly string[] | undefined, point: RecoveryPoint): string[] {
  return (only ?? []).flatMap((name) => {
    const fitting = point.vms.filter((vm) => vm.uuid === name || vm.nameLabel === name);
    if (fitting.length === 0) return [`a VM ${name}, which recovery point ${point.id} does not hold`];
    if (fitting.length > 1)
      return [`one VM of the name ${name}: name it by its uuid (${fitting.map((vm) => vm.uuid).join(', ')})`];
    return [];
  });
}

/** What it means for those that were not asked for. Empty when all were. */
export function notesOfPart(draft: RecoverDraft, order: StartOrder): string[] {
  const { group, only } = draft.request;
  const { point } = draft.choice;
  const asked = askedVms(only, point);
  if (asked === null) return [];
  const started = new Set(order.tiers.flatMap((tier) => tier.vms.map((vm) => vm.uuid)));
  const others = point.vms.filter((vm) => !asked.has(vm.uuid)).length;
  const notes = [
    `Only ${started.size} of ${point.vms.length} VMs are started. The storage of the whole group is promoted all the same: the ${others} others are imported and stay halted, and must not run at site ${group.production} any more`,
  ];
  for (const { sr } of draft.storage) {
    const users = point.vms.filter((vm) => vm.srUuids.includes(sr.uuid));
    const left = users.filter((vm) => !asked.has(vm.uuid)).length;
    if (left > 0)
      notes.push(
        left === users.length
          ? `SR ${sr.nameLabel} is used by none of the VMs that were asked for, and moves with the group`
          : `On SR ${sr.nameLabel} ${left} of ${users.length} VMs were not asked for`,
      );
  }
  return notes;
}
