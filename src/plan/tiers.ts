/**
 * Start order: the recovery plan's tiers first, then what XenServer itself says of the rest: `order`, and vApps, whose
 * members follow one another and nobody else (xapi.md 8.1).
 */
import type { Uuid } from '../domain/pool.ts';
import type { PointVm, RecoveryPoint } from '../domain/recovery-point.ts';
import { assignToTiers, byName, compileMatch, nothing } from '../domain/scope.ts';
import type { ReadinessGate, RecoveryPlanSettings } from '../domain/settings.ts';
import { type StartGraph, startGraph } from './start-graph.ts';

export interface Tier {
  readonly name: string;
  /** In order of their names; they start together, unless one needs another. */
  readonly vms: readonly PointVm[];
  readonly ready: readonly ReadinessGate[];
  readonly timeoutSeconds: number;
  readonly onTimeout: 'stop' | 'continue';
  /** The tier that must be ready before this one starts; null for the first. */
  readonly follows: string | null;
  /** Slept after the tier before is ready. */
  readonly delaySeconds: number;
  /** How many of its VMs may be on their way up at once; null for all. */
  readonly atOnce: number | null;
}

export interface StartOrder extends StartGraph {
  /** Each stands behind the one that it follows. */
  readonly tiers: readonly Tier[];
  /** Imported, not started: each with the reason. */
  readonly halted: readonly { readonly vm: PointVm; readonly reason: string }[];
}

/** VMs outside the recovery plan are only waited for until they run; nothing says more about them. */
const plain = {
  ready: [{ gate: 'running' }],
  timeoutSeconds: 600,
  onTimeout: 'continue',
  delaySeconds: 0,
  atOnce: null,
} as const;

/** `inDrill`: whether the gates are those of a drill. `asked`: the others stay halted; null for all. */
export function startOrder(
  plan: RecoveryPlanSettings,
  point: RecoveryPoint,
  vms: readonly PointVm[],
  {
    inDrill = false,
    asked = null,
  }: { readonly inDrill?: boolean; readonly asked?: ReadonlySet<Uuid> | null } = {},
): StartOrder {
  const assigned = assignedTiers(plan, point, vms, inDrill, asked);
  return { ...assigned, ...startGraph(plan.dependencies ?? [], assigned.tiers, point) };
}

/** What keeps the VMs from being started in any order, as a plan says what it waits for. */
export function faultsOfOrder({ circle }: StartOrder): string[] {
  return circle === null ? [] : [`a recovery plan in which no VM waits for itself: ${circle}`];
}

function assignedTiers(
  plan: RecoveryPlanSettings,
  point: RecoveryPoint,
  vms: readonly PointVm[],
  inDrill: boolean,
  asked: ReadonlySet<Uuid> | null,
): Pick<StartOrder, 'tiers' | 'halted'> {
  const sorted = [...vms].sort(byName);
  const halted = stayHalted(plan, point, sorted, asked);
  const startable = sorted.filter((vm) => !halted.some((left) => left.vm === vm));
  const assigned = assignToTiers(startable, plan.tiers, point.srs);
  const named: Tier[] = plan.tiers.map((tier, index) => ({
    name: tier.name,
    vms: assigned.tiers[index] ?? [],
    ready: (inDrill ? tier.readyInDrill : undefined) ?? tier.ready,
    timeoutSeconds: tier.timeoutSeconds,
    onTimeout: tier.onTimeout,
    follows: plan.tiers[index - 1]?.name ?? null,
    delaySeconds: tier.delaySeconds ?? 0,
    atOnce: tier.atOnce ?? null,
  }));
  const last = named.at(-1)?.name ?? null;
  const others = assigned.others;
  switch (plan.others) {
    case 'leave-halted': {
      const unnamed = others.map((vm) => ({ vm, reason: 'no tier of the recovery plan names it' }));
      return { tiers: withoutEmpty(named), halted: [...halted, ...unnamed] };
    }
    case 'last':
      return {
        tiers: withoutEmpty([...named, { ...plain, name: 'all others', vms: others, follows: last }]),
        halted,
      };
    case 'by-order':
      return { tiers: withoutEmpty([...named, ...tiersByOrder(others, point, last)]), halted };
  }
}

function stayHalted(
  plan: RecoveryPlanSettings,
  point: RecoveryPoint,
  vms: readonly PointVm[],
  asked: ReadonlySet<Uuid> | null,
): { readonly vm: PointVm; readonly reason: string }[] {
  const leftOff = compileMatch(plan.leaveOff ?? nothing, point.srs);
  return vms.flatMap((vm) => {
    if (vm.powerState === 'Halted') return [{ vm, reason: 'it was halted when its metadata was taken' }];
    if (vm.powerState === 'Suspended')
      return [
        {
          vm,
          reason:
            'it was suspended when its metadata was taken; its memory is not brought over, so start it by hand',
        },
      ];
    if (asked?.has(vm.uuid) === false) return [{ vm, reason: 'it was not asked for' }];
    return leftOff(vm) === null ? [] : [{ vm, reason: 'the recovery plan leaves it off' }];
  });
}

/** Standing VMs by their order, and beside them each vApp by the order inside it: a vApp waits for no other one. */
function tiersByOrder(vms: readonly PointVm[], point: RecoveryPoint, last: string | null): Tier[] {
  const nameOf = new Map(point.appliances.map((appliance) => [appliance.uuid, appliance.nameLabel]));
  const units = new Map<string | null, PointVm[]>([[null, []]]);
  for (const vm of vms) {
    const unit = vm.applianceUuid !== null && nameOf.has(vm.applianceUuid) ? vm.applianceUuid : null;
    units.set(unit, [...(units.get(unit) ?? []), vm]);
  }
  const taken = new Set<string>();
  return [...units].flatMap(([unit, members]) => {
    const prefix = unit === null ? '' : `${unique(`vApp ${nameOf.get(unit) ?? unit}`, taken)} `;
    const orders = [...new Set(members.map((vm) => vm.order))].sort((a, b) => a - b);
    return orders.map((order, index) => ({
      ...plain,
      name: `${prefix}order ${order}`,
      vms: members.filter((vm) => vm.order === order),
      follows: index === 0 ? last : `${prefix}order ${orders[index - 1]}`,
    }));
  });
}

/** Names of vApps are not unique in a pool. */
function unique(name: string, taken: Set<string>): string {
  let candidate = name;
  for (let number = 2; taken.has(candidate); number += 1) candidate = `${name} (${number})`;
  taken.add(candidate);
  return candidate;
}

/** A tier without VMs is passed over: who follows it follows what it followed, and its delay is nobody's. */
function withoutEmpty(tiers: readonly Tier[]): Tier[] {
  const byNameOf = new Map(tiers.map((tier) => [tier.name, tier]));
  const standing = (name: string | null): string | null => {
    const tier = name === null ? undefined : byNameOf.get(name);
    return tier === undefined || tier.vms.length > 0 ? (tier?.name ?? null) : standing(tier.follows);
  };
  return tiers
    .filter((tier) => tier.vms.length > 0)
    .map((tier) => ({ ...tier, follows: standing(tier.follows) }));
}
