/** What a recovery plan changes about a VM here: memory, vCPUs and host before its start, addresses after it. */
import { adjustmentFaults } from '../../domain/adjustment.ts';
import { OperatorError, PortError } from '../../domain/errors.ts';
import type { NamedVm } from '../../domain/plan.ts';
import type { AddressAndGateway, StaticAddress } from '../../domain/recovery-plan.ts';
import type { ActionOf, ActResult, ConditionOf, StepContext, Verdict } from '../handlers.ts';
import type { GuestWatch } from './guests.ts';
import type { World } from './world.ts';

export async function adjustVm(
  world: World,
  { site, vm, adjustment }: ActionOf<'adjust-vm'>,
  { signal }: StepContext,
): Promise<ActResult> {
  const hypervisor = await world.hypervisor(site);
  const state = (await hypervisor.vmStates([vm.uuid], signal)).get(vm.uuid);
  if (state === undefined) throw notThere(vm, site);
  await hypervisor.adjustVm(vm.uuid, adjustment, signal);
  return { output: null, warnings: [] };
}

export async function isAdjusted(
  world: World,
  { site, vm, adjustment }: ConditionOf<'vm-adjusted'>,
  signal: AbortSignal,
): Promise<Verdict> {
  const shape = await (await world.hypervisor(site)).vmShape(vm.uuid, signal);
  if (shape === null) return { holds: false, because: `VM ${vm.nameLabel} is not in the pool` };
  const faults = adjustmentFaults(shape, adjustment);
  return faults.length === 0
    ? { holds: true }
    : { holds: false, because: `VM ${vm.nameLabel} has ${faults.join(', ')}` };
}

/** Waits for the guest agent, which is told again and again until it can do it, or the step's time is over. */
export async function setAddresses(
  world: World,
  watch: GuestWatch,
  { site, vm, addresses }: ActionOf<'set-addresses'>,
  { signal }: StepContext,
): Promise<ActResult> {
  const hypervisor = await world.hypervisor(site);
  for (;;) {
    const state = await watch.next(vm.uuid, signal);
    if (state === undefined) throw notThere(vm, site);
    if (state.powerState !== 'Running' || state.guest === null) continue;
    try {
      for (const address of addresses) await hypervisor.setVifAddress(vm.uuid, address, signal);
      return { output: null, warnings: [] };
    } catch (error) {
      if (!(error instanceof PortError) || error.peerCode !== 'VM_LACKS_FEATURE') throw error;
    }
  }
}

export async function areAddressesSet(
  world: World,
  { site, vm, addresses }: ConditionOf<'addresses-set'>,
  signal: AbortSignal,
): Promise<Verdict> {
  const hypervisor = await world.hypervisor(site);
  const state = (await hypervisor.vmStates([vm.uuid], signal)).get(vm.uuid);
  if (state === undefined) return { holds: false, because: `VM ${vm.nameLabel} is not in the pool` };
  const there = new Map((await hypervisor.vifAddresses(vm.uuid, signal)).map((vif) => [vif.device, vif]));
  const open = addresses.filter((wanted) => !isSet(wanted, there.get(wanted.device)));
  if (open.length === 0) return { holds: true };
  const cards = open.map(({ device }) => device).join(', ');
  const because = state.guest === null ? ': its guest agent has not reported' : '';
  return { holds: false, because: `VM ${vm.nameLabel} has other addresses on card ${cards}${because}` };
}

function isSet(wanted: StaticAddress, there: StaticAddress | undefined): boolean {
  const same = (a: AddressAndGateway | null, b: AddressAndGateway | null | undefined): boolean =>
    a === null ||
    (a.address.toLowerCase() === b?.address.toLowerCase() &&
      a.gateway.toLowerCase() === b.gateway.toLowerCase());
  return same(wanted.ipv4, there?.ipv4) && same(wanted.ipv6, there?.ipv6);
}

function notThere(vm: NamedVm, site: string): OperatorError {
  return new OperatorError({
    code: 'DR-VM-NOT-THERE',
    what: `VM ${vm.nameLabel} cannot be changed: it is not in the pool`,
    where: { site },
    next: 'Remove the reason and resume the run, which tries the import again',
  });
}
