/** Start order: the recovery plan's tiers first, then what XenServer's own `order` says of the rest (xapi.md 8.1). */
import type { PointVm, RecoveryPoint } from '../domain/recovery-point.ts';
import { assignToTiers, byName } from '../domain/scope.ts';
import type { ReadinessGate, RecoveryPlanSettings } from '../domain/settings.ts';

export interface Tier {
  readonly name: string;
  /** Started together, in order of their names. */
  readonly vms: readonly PointVm[];
  readonly ready: readonly ReadinessGate[];
  readonly timeoutSeconds: number;
  readonly onTimeout: 'stop' | 'continue';
}

export interface StartOrder {
  readonly tiers: readonly Tier[];
  /** Imported, not started: each with the reason. */
  readonly halted: readonly { readonly vm: PointVm; readonly reason: string }[];
}

/** VMs outside the recovery plan are only waited for until they run; nothing says more about them. */
const othersReady: readonly ReadinessGate[] = [{ gate: 'running' }];
const othersTimeoutSeconds = 600;

export function startOrder(
  plan: RecoveryPlanSettings,
  point: RecoveryPoint,
  vms: readonly PointVm[],
): StartOrder {
  const halted: { vm: PointVm; reason: string }[] = [];
  const startable: PointVm[] = [];
  for (const vm of [...vms].sort(byName)) {
    if (vm.powerState === 'Halted') halted.push({ vm, reason: 'it was halted when its metadata was taken' });
    else if (vm.powerState === 'Suspended')
      halted.push({
        vm,
        reason:
          'it was suspended when its metadata was taken; its memory is not brought over, so start it by hand',
      });
    else startable.push(vm);
  }
  const assigned = assignToTiers(startable, plan.tiers, point.srs);
  const tiers: Tier[] = plan.tiers.map((tier, index) => ({
    name: tier.name,
    vms: assigned.tiers[index] ?? [],
    ready: tier.ready,
    timeoutSeconds: tier.timeoutSeconds,
    onTimeout: tier.onTimeout,
  }));
  const rest = assigned.others;
  if (plan.others === 'leave-halted') {
    for (const vm of rest) halted.push({ vm, reason: 'no tier of the recovery plan names it' });
  } else if (plan.others === 'last') {
    tiers.push(other('others', rest));
  } else {
    for (const order of [...new Set(rest.map((vm) => vm.order))].sort((a, b) => a - b)) {
      tiers.push(
        other(
          `order ${order}`,
          rest.filter((vm) => vm.order === order),
        ),
      );
    }
  }
  return { tiers: tiers.filter((tier) => tier.vms.length > 0), halted };
}

function other(name: string, vms: readonly PointVm[]): Tier {
  return { name, vms, ready: othersReady, timeoutSeconds: othersTimeoutSeconds, onTimeout: 'continue' };
}
