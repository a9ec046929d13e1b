/** The VMs: imported in batches, started tier by tier, and given back what an import forgets. */

import type { PointVm } from '../../domain/recovery-point.ts';
import { byName } from '../../domain/scope.ts';
import { costs } from '../forecast.ts';
import type { StartOrder, Tier } from '../tiers.ts';
import type { RecoverDraft } from './draft.ts';

/** VMs per import document (performance.md 8: 50 to 100). Smaller at first: the first tier shall be up soon. */
export const importBatchSize = 50;

/** `attached`: per SR, the step after which its disks may be relied upon. */
export function bringUp(draft: RecoverDraft, order: StartOrder, attached: ReadonlyMap<string, string>): void {
  const importedBy = importAll(draft, order, attached);
  rebuildAppliances(draft, importedBy);
  const starts = startAll(draft, order.tiers, importedBy);
  restoreHa(draft, order.tiers, starts);
}

/**
 * Imports in tier order, so that the first tier starts while the rest is still being imported. Returns the importing
 * step of each VM.
 */
function importAll(
  draft: RecoverDraft,
  { tiers, halted }: StartOrder,
  attached: ReadonlyMap<string, string>,
): Map<string, string> {
  const { group } = draft.request;
  const { point } = draft.choice;
  const stayHalted = halted.map(({ vm }) => vm);
  const vdisInTarget = draft.pool.vdis.length + point.vdis.length;
  const importedBy = new Map<string, string>();
  let previous: string[] = [];
  const importBatches = (name: string, vms: readonly PointVm[]): void => {
    for (let at = 0; at < vms.length; at += importBatchSize) {
      const batch = vms.slice(at, at + importBatchSize);
      const storage = new Set(batch.flatMap((vm) => vm.srUuids));
      const disks = [...attached].filter(([sr]) => storage.has(sr)).map(([, step]) => step);
      const members = batch.map((vm) => draft.member(vm));
      const networks = draft.networksFor(batch);
      const drill = draft.request.drill?.id;
      const id = draft.add({
        id: draft.ids.of('import', name),
        after: [...disks, ...previous],
        needs: disks,
        action: {
          do: 'import-vms',
          site: group.recovery,
          pointId: point.id,
          vms: members,
          networks,
          ...(drill === undefined ? {} : { drill }),
        },
        holdsWhen: { is: 'vms-imported', site: group.recovery, vms: members, networks },
        repeatable: true,
        // One VM that is refused must not hold up the others; the report names it.
        onFailure: 'continue',
        uses: [`import:${group.recovery}`],
        timeoutSeconds: 600 + 10 * batch.length,
        forecastSeconds: costs.importSeconds(
          batch.length,
          batch.reduce((sum, vm) => sum + vm.vdiUuids.length, 0),
          vdisInTarget,
        ),
        why: `${batch.length} VMs in one document, with mapped networks, nothing attached, and HA parked`,
      });
      previous = [id];
      for (const vm of batch) importedBy.set(vm.uuid, id);
    }
  };
  for (const tier of tiers) importBatches(tier.name, tier.vms);
  importBatches('halted VMs', stayHalted);
  return importedBy;
}

/** An import clears the field `appliance` (xapi.md 4.5). */
function rebuildAppliances(draft: RecoverDraft, importedBy: ReadonlyMap<string, string>): void {
  const { group } = draft.request;
  const { point } = draft.choice;
  for (const appliance of point.appliances) {
    const vms = point.vms
      .filter((vm) => vm.applianceUuid === appliance.uuid && importedBy.has(vm.uuid))
      .sort(byName);
    if (vms.length === 0) continue;
    const members = vms.map((vm) => draft.member(vm));
    draft.add({
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
  }
}

/** Starts each tier when the one before it is ready; returns the ids of all starts. */
function startAll(
  draft: RecoverDraft,
  tiers: readonly Tier[],
  importedBy: ReadonlyMap<string, string>,
): string[] {
  const starts: string[] = [];
  let previous: string[] = [];
  for (const tier of tiers) {
    const gates: string[] = [];
    for (const vm of tier.vms) {
      const start = startOne(draft, tier, vm, importedBy.get(vm.uuid), previous);
      starts.push(start);
      const waits = tier.ready.some((gate) => gate.gate !== 'running');
      gates.push(waits ? awaitReady(draft, tier, vm, start) : start);
    }
    previous = gates;
  }
  return starts;
}

function startOne(
  draft: RecoverDraft,
  tier: Tier,
  vm: PointVm,
  imported: string | undefined,
  previous: readonly string[],
): string {
  const { group } = draft.request;
  const needs = imported === undefined ? [] : [imported];
  return draft.add({
    id: draft.ids.of('start', vm.nameLabel),
    after: [...needs, ...previous],
    needs,
    action: { do: 'start-vm', site: group.recovery, vm: draft.member(vm), twinSite: draft.twinSite },
    holdsWhen: { is: 'vm-running', site: group.recovery, vm: draft.member(vm) },
    repeatable: true,
    onFailure: tier.onTimeout,
    uses: [`start:${group.recovery}`],
    timeoutSeconds: 900 + vm.startDelaySeconds,
    forecastSeconds:
      costs.startSeconds(draft.pool.vms.length + draft.choice.point.vms.length) +
      (group.plan.honourStartDelay ? vm.startDelaySeconds : 0),
    why: `Tier ${tier.name}${vm.startDelaySeconds > 0 ? `; its own start_delay is ${vm.startDelaySeconds} s` : ''}`,
  });
}

function awaitReady(draft: RecoverDraft, tier: Tier, vm: PointVm, start: string): string {
  const { recovery } = draft.request.group;
  return draft.add({
    id: draft.ids.of('ready', vm.nameLabel),
    after: [start],
    action: { do: 'await-ready', site: recovery, vm: draft.member(vm), gates: tier.ready },
    holdsWhen: { is: 'vm-ready', site: recovery, vm: draft.member(vm), gates: tier.ready },
    repeatable: true,
    onFailure: tier.onTimeout,
    uses: [`ready:${recovery}`],
    timeoutSeconds: tier.timeoutSeconds,
    forecastSeconds: costs.bootSeconds,
    why: `The next tier needs the service, not the power state: ${tier.ready.map(describeGate).join(', ')}`,
  });
}

/** A VM with a priority and `ha_always_run` would be started by HA as soon as it is imported (xapi.md 8.5). */
function restoreHa(draft: RecoverDraft, tiers: readonly Tier[], starts: readonly string[]): void {
  const { group } = draft.request;
  const vms = tiers
    .flatMap((tier) => tier.vms)
    .filter((vm) => vm.haRestartPriority !== '')
    .map((vm) => ({ ...draft.member(vm), priority: vm.haRestartPriority }));
  if (vms.length === 0) return;
  draft.add({
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
}

function describeGate(gate: Tier['ready'][number]): string {
  switch (gate.gate) {
    case 'running':
      return 'running';
    case 'guest-agent':
      return 'guest agent reports';
    case 'address':
      return `an address in ${gate.subnet}`;
    case 'tcp':
      return `TCP port ${gate.port} answers`;
  }
}
