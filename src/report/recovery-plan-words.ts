/** What a recovery plan adds to a run, in an operator's words. */
import type { GuestAction } from '../domain/actions/guests.ts';
import type { AddressAndGateway, Moment } from '../domain/recovery-plan.ts';
import { formatBytes, formatDuration } from '../domain/time.ts';
import { clean } from './paper.ts';

const starting = 'Start the VMs, tier by tier';

const chapters: Readonly<Record<Moment['at'], string>> = {
  'before-promotion': 'Before anything changes',
  'after-storage': 'Attach the storage',
  'before-tier': starting,
  'after-tier': starting,
  'after-start': starting,
  end: 'Afterwards',
};

export function recoveryPlanChapter(action: GuestAction): string {
  switch (action.do) {
    case 'ask':
    case 'call-out':
      return chapters[action.occasion.at];
    case 'pause':
    case 'set-addresses':
      return starting;
    case 'adjust-vm':
      return 'Import the VMs';
  }
}

export function describeRecoveryPlan(action: GuestAction): string {
  switch (action.do) {
    case 'pause':
      return `Wait ${formatDuration(action.seconds)} before tier ${clean(action.tier)}`;
    case 'ask':
      return `Ask ${clean(action.name)}: "${clean(action.question)}"`;
    case 'call-out':
      return `Call ${clean(action.name)}: ${action.argv.map(clean).join(' ')}`;
    case 'adjust-vm':
      return `Change ${clean(action.vm.nameLabel)}: ${describeAdjustment(action).join(', ')}`;
    case 'set-addresses':
      return `Give ${clean(action.vm.nameLabel)} its addresses here: ${action.addresses
        .map((card) => `card ${card.device} ${describeAddresses([card.ipv4, card.ipv6])}`)
        .join('; ')}`;
  }
}

function describeAdjustment({ adjustment }: Extract<GuestAction, { readonly do: 'adjust-vm' }>): string[] {
  const { memory, vcpus, host } = adjustment;
  return [
    ...(memory === null ? [] : [`${formatBytes(memory.staticMax)} of memory${describeDynamic(memory)}`]),
    ...(vcpus === null ? [] : [vcpus === 1 ? '1 vCPU' : `${vcpus} vCPUs`]),
    ...(host === null ? [] : [`host ${clean(host.nameLabel)} preferred`]),
  ];
}

function describeDynamic(memory: {
  readonly staticMax: number;
  readonly dynamicMax: number;
  readonly dynamicMin: number;
}): string {
  const { staticMax, dynamicMax, dynamicMin } = memory;
  if (dynamicMin === staticMax) return '';
  return dynamicMin === dynamicMax
    ? ` (${formatBytes(dynamicMax)} in use)`
    : ` (${formatBytes(dynamicMin)} to ${formatBytes(dynamicMax)} in use)`;
}

function describeAddresses(addresses: readonly (AddressAndGateway | null)[]): string {
  return addresses
    .flatMap((each) => each ?? [])
    .map(({ address, gateway }) => (gateway === '' ? address : `${address} by way of ${gateway}`))
    .join(', ');
}
