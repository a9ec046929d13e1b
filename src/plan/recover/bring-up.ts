/** The VMs: imported in batches, started tier by tier, and given back what an import forgets. */
import { byName } from '../../domain/scope.ts';
import type { StartOrder, Tier } from '../tiers.ts';
import type { RecoverDraft } from './draft.ts';
import { importAll } from './imports.ts';
import { atMoment } from './moments.ts';
import { differences } from './overrides.ts';
import { startAll } from './starts.ts';

/** `attached`: per SR, the step after which its disks may be relied upon. */
export function bringUp(draft: RecoverDraft, order: StartOrder, attached: ReadonlyMap<string, string>): void {
  const storage = [...attached.values()];
  const settled = atMoment(draft, { at: 'after-storage' }, storage, storage);
  const differenceOf = differences(draft);
  const importedBy = importAll(draft, order, { attached, settled, differenceOf });
  const appliances = rebuildAppliances(draft, importedBy);
  const { starts, ends } = startAll(draft, order, {
    importedBy,
    storage: settled.length === 0 ? storage : settled,
    differenceOf,
  });
  const ha = restoreHa(draft, order.tiers, starts);
  atMoment(draft, { at: 'end' }, [...appliances, ...ends, ...ha]);
}

/** An import clears the field `appliance` (xapi.md 4.5). */
function rebuildAppliances(draft: RecoverDraft, importedBy: ReadonlyMap<string, string>): string[] {
  const { group } = draft.request;
  const { point } = draft.choice;
  return point.appliances.flatMap((appliance) => {
    const vms = point.vms
      .filter((vm) => vm.applianceUuid === appliance.uuid && importedBy.has(vm.uuid))
      .sort(byName);
    if (vms.length === 0) return [];
    const members = vms.map((vm) => draft.member(vm));
    const id = draft.add({
      id: draft.ids.of('appliance', appliance.nameLabel),
      after: [...new Set(vms.flatMap((vm) => importedBy.get(vm.uuid) ?? []))],
      action: {
        do: 'rebuild-appliance',
        site: group.recovery,
        nameLabel: appliance.nameLabel,
        nameDescription: appliance.nameDescription,
        vms: members,
      },
      holdsWhen: {
        is: 'appliance-has',
        site: group.recovery,
        nameLabel: appliance.nameLabel,
        vms: members,
      },
      repeatable: true,
      onFailure: 'continue',
      timeoutSeconds: 300,
      forecastSeconds: 0.05 * vms.length,
      why: 'An import forgets which vApp a VM belongs to',
    });
    return [id];
  });
}

/** A VM with a priority and `ha_always_run` would be started by HA as soon as it is imported (xapi.md 8.5). */
function restoreHa(draft: RecoverDraft, tiers: readonly Tier[], starts: readonly string[]): string[] {
  const { group } = draft.request;
  const vms = tiers
    .flatMap((tier) => tier.vms)
    .filter((vm) => vm.haRestartPriority !== '')
    .map((vm) => ({ ...draft.member(vm), priority: vm.haRestartPriority }));
  if (vms.length === 0) return [];
  const id = draft.add({
    id: draft.ids.of('restore-ha', group.name),
    after: [...starts],
    needs: [],
    action: { do: 'restore-ha', site: group.recovery, vms },
    holdsWhen: { is: 'ha-restored', site: group.recovery, vms },
    repeatable: true,
    onFailure: 'continue',
    timeoutSeconds: 600,
    forecastSeconds: 0.1 * vms.length,
    why: 'HA priorities were parked, so that nothing started by itself during the import',
  });
  return [id];
}
