/** Networks and interfaces: matched by name, then by bridge, else created; never by uuid (xapi.md 4.8, 4.9, 8.6). */
import { type VifObject, VifObject as VifView, type VmObject } from '../objects.ts';
import { danglingError, problem, type RuleContext, refusal, warning } from './context.ts';
import { replaced } from './drives.ts';

export function networks(context: RuleContext): void {
  const { document, pool } = context;
  const pooled = pool.facts.nameLabel;
  for (const network of document.networks) {
    const users = new Set<VmObject>();
    for (const object of document.referring('VIF', 'network', network.id)) {
      const vif = document.typed(object);
      if (vif instanceof VifView && vif.vm !== null) users.add(vif.vm);
    }
    const byName = pool.networksByName.get(network.nameLabel) ?? [];
    const byBridge = pool.networksByBridge.get(network.bridge) ?? [];
    const about = { about: 'network' as const, name: network.nameLabel, uuid: network.uuid };
    const next = `Map network ${network.nameLabel} to one of pool ${pooled}, or give one there this name.`;
    if (byName.length > 1)
      problem(
        context,
        {
          ...about,
          code: 'DR-IMPORT-NETWORK-AMBIGUOUS',
          what: `Pool ${pooled} has ${byName.length} networks called ${network.nameLabel}: the import takes any of them`,
          evidence: byName.map((here) => `network ${here.uuid} on bridge ${here.bridge}`),
          next: `Rename all but one network ${network.nameLabel} in pool ${pooled}.`,
        },
        [...users],
      );
    else if (byName.length === 1) continue;
    else if (byBridge.length > 0)
      problem(
        context,
        {
          ...about,
          code: 'DR-IMPORT-NETWORK-BRIDGE',
          what: `Network ${network.nameLabel} is not in pool ${pooled} by name; the import connects its VMs to ${byBridge.map((here) => here.nameLabel).join(' or ')}, which has the same bridge ${network.bridge} by chance`,
          evidence: [`bridge ${network.bridge}`, 'bridges are numbered alike in every pool'],
          next,
        },
        [...users],
      );
    else
      problem(
        context,
        {
          ...about,
          code: 'DR-IMPORT-NETWORK-CREATED',
          what: `Network ${network.nameLabel} is not in pool ${pooled}: the import creates an internal one without uplink, and its VMs start with no connection`,
          evidence: [`bridge ${network.bridge}`],
          next,
        },
        [...users],
      );
  }
}

export function interfaces(context: RuleContext): void {
  const devices = new Map<VmObject, Set<string>>();
  for (const object of context.document.ofClass('VIF')) {
    const vif = context.document.typed(object);
    if (vif instanceof VifView) oneInterface(context, vif, devices);
  }
}

function oneInterface(context: RuleContext, vif: VifObject, devices: Map<VmObject, Set<string>>): void {
  const { pool, options } = context;
  const { vm } = vif;
  const decision = vm === null ? undefined : context.decisions.get(vm);
  const owner = options.restore ? pool.vifOwners.get(vif.uuid) : undefined;
  const reused = owner !== undefined && !replaced(context, owner.uuid);
  const vms = vm === null ? [] : [vm];
  const about = { about: 'vm' as const, name: vm?.nameLabel ?? vif.uuid, uuid: vm?.uuid ?? vif.uuid };
  if (reused) {
    if (decision?.kind !== 'skip' && owner.uuid !== vm?.uuid)
      problem(
        context,
        {
          ...about,
          code: 'DR-IMPORT-INTERFACE-TAKEN',
          what: `An interface with the uuid of interface ${vif.device} of ${about.name} exists at ${owner.nameLabel}: the import leaves it there, and ${about.name} comes up without it`,
          evidence: [`VIF ${vif.uuid}`],
          next: `Destroy ${owner.nameLabel} if it is a left copy; its disks stay.`,
        },
        vms,
      );
    return;
  }
  const skipped = decision?.kind === 'skip';
  const dangling =
    vm === null || skipped ? 'VM' : vif.network === null && mapsTo(vif) === null ? 'network' : null;
  if (dangling !== null) {
    const id = vif.text(dangling);
    problem(
      context,
      {
        ...about,
        code: 'DR-IMPORT-DANGLING',
        what: `Interface ${vif.device} of ${about.name} names a ${dangling} that ${skipped ? 'the import skips' : 'is not in the document'}`,
        evidence: [`${dangling} ${id}`],
        next: skipped ? `Leave ${about.name} out of the batch.` : 'Export the VM again.',
        refusal: refusal(context, vif.object, danglingError(id), owner === undefined ? 'both' : 'import'),
      },
      vm === null ? context.document.vms : vms,
    );
    return;
  }
  if (vm === null) return;
  const taken = devices.get(vm) ?? new Set<string>();
  devices.set(vm, taken);
  if (taken.has(vif.device))
    problem(
      context,
      {
        ...about,
        code: 'DR-IMPORT-SAME-DEVICE',
        what: `Two interfaces of ${vm.nameLabel} are device ${vif.device}: the import is refused`,
        evidence: [`VIF ${vif.uuid}`],
        next: `Remove one of them at the production pool and export ${vm.nameLabel} again.`,
        refusal: refusal(
          context,
          vif.object,
          { code: 'DEVICE_ALREADY_EXISTS', params: [vif.device] },
          'import',
        ),
      },
      vms,
    );
  taken.add(vif.device);
  if (options.restore) macInUse(context, vif, vm);
}

function mapsTo(vif: VifObject): string | null {
  return vif.otherConfig['maps_to'] ?? null;
}

/** xapi does not look at MAC addresses; two of a kind on one network disturb both VMs. */
function macInUse(context: RuleContext, vif: VifObject, vm: VmObject): void {
  if (vm.isASnapshot || vm.isATemplate) return;
  const [target] = context.pool.networksByName.get(vif.network?.nameLabel ?? '') ?? [];
  for (const owner of context.pool.macOwners.get(vif.mac.toLowerCase()) ?? []) {
    if (owner.vm.uuid === vm.uuid || target?.uuid !== owner.networkUuid) continue;
    warning(
      context,
      {
        code: 'DR-IMPORT-MAC-IN-USE',
        about: 'vm',
        name: vm.nameLabel,
        uuid: vm.uuid,
        what: `MAC address ${vif.mac} of ${vm.nameLabel} is that of ${owner.vm.nameLabel} on the same network ${target.nameLabel}`,
        evidence: [`VM ${owner.vm.uuid}`],
        next: `Do not run both at once, or move ${owner.vm.nameLabel} to another network.`,
      },
      [vm],
    );
  }
}
