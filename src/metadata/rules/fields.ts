/** Fields that make a VM act by itself after the import, and fields that the import loses (xapi.md 4.5, 8.4, 8.5). */
import type { HostFacts, PbdFacts } from '../../domain/pool.ts';
import type { VmObject } from '../objects.ts';
import { problem, type RuleContext, refusal, warning } from './context.ts';

export function highAvailability(context: RuleContext): void {
  const { document, pool } = context;
  for (const vm of document.vms) {
    const protectedVm = vm.haAlwaysRun && vm.haRestartPriority === 'restart';
    const startsItself = protectedVm || vm.haRestartPriority === 'best-effort';
    if (!startsItself || vm.isASnapshot || vm.isATemplate) continue;
    const about = { about: 'vm' as const, name: vm.nameLabel, uuid: vm.uuid };
    const evidence = [
      `ha_restart_priority ${vm.haRestartPriority}`,
      `ha_always_run ${String(vm.haAlwaysRun)}`,
    ];
    const next = 'Park the HA fields in the document and restore them after a controlled start.';
    if (pool.facts.haEnabled)
      problem(
        context,
        {
          ...about,
          code: 'DR-IMPORT-HA-STARTS',
          what: `High availability of pool ${pool.facts.nameLabel} starts ${vm.nameLabel} by itself once it is imported`,
          evidence,
          next,
        },
        [vm],
      );
    else
      warning(
        context,
        {
          ...about,
          code: 'DR-IMPORT-HA-FIELDS',
          what: `VM ${vm.nameLabel} is imported with HA fields: it starts by itself when HA is enabled in pool ${pool.facts.nameLabel}`,
          evidence,
          next,
        },
        [vm],
      );
    if (pool.facts.haEnabled && protectedVm) agility(context, vm);
  }
}

/** A protected VM needs storage and networks on every enabled host; its devices are refused otherwise. */
function agility(context: RuleContext, vm: VmObject): void {
  const { pool } = context;
  const hosts = pool.facts.hosts.filter((host) => host.enabled);
  for (const vbd of vm.vbds) {
    const match = vbd.vdi === null ? undefined : context.disks.get(vbd.vdi.object);
    const sr = match?.kind === 'found' ? pool.srs.get(match.vdi.srUuid) : undefined;
    if (sr === undefined || (sr.shared && everywhere(hosts, sr.pbds))) continue;
    problem(
      context,
      {
        code: 'DR-IMPORT-HA-CONSTRAINT',
        about: 'sr',
        name: sr.nameLabel,
        uuid: sr.uuid,
        what: `SR ${sr.nameLabel} is not on every host of pool ${pool.facts.nameLabel}, which a VM protected by HA requires: the import is refused`,
        evidence: [`SR ${sr.uuid}`],
        next: 'Park the HA fields in the document, or plug the SR on every host.',
        refusal: refusal(
          context,
          vbd.object,
          { code: 'HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED', params: [sr.uuid] },
          'import',
        ),
      },
      [vm],
    );
  }
  for (const vif of vm.vifs) {
    // A network that the import would make itself has no card anywhere; that it is made is a problem of its own.
    const [network] =
      pool.networksByName.get(vif.network?.nameLabel ?? '') ??
      pool.networksByBridge.get(vif.network?.bridge ?? '') ??
      [];
    if (
      network === undefined ||
      everywhere(
        hosts,
        network.pifs.map((pif) => ({ ...pif, attached: true })),
      )
    )
      continue;
    problem(
      context,
      {
        code: 'DR-IMPORT-HA-CONSTRAINT',
        about: 'network',
        name: network.nameLabel,
        uuid: network.uuid,
        what: `Network ${network.nameLabel} is not on every host of pool ${pool.facts.nameLabel}, which a VM protected by HA requires: the import is refused`,
        evidence: [`network ${network.uuid}`],
        next: 'Park the HA fields in the document, or bring the network to every host.',
        refusal: refusal(
          context,
          vif.object,
          { code: 'HA_CONSTRAINT_VIOLATION_NETWORK_NOT_SHARED', params: [network.uuid] },
          'import',
        ),
      },
      [vm],
    );
  }
}

function everywhere(
  hosts: readonly HostFacts[],
  places: readonly Pick<PbdFacts, 'hostUuid' | 'attached'>[],
): boolean {
  return hosts.every((host) => places.some((place) => place.hostUuid === host.uuid && place.attached));
}

export function autoPowerOn(context: RuleContext): void {
  if (context.pool.facts.otherConfig['auto_poweron'] !== 'true') return;
  for (const vm of context.document.vms) {
    if (vm.otherConfig['auto_poweron'] !== 'true' || vm.isASnapshot) continue;
    warning(
      context,
      {
        code: 'DR-IMPORT-AUTO-POWERON',
        about: 'vm',
        name: vm.nameLabel,
        uuid: vm.uuid,
        what: `VM ${vm.nameLabel} carries auto_poweron, and so does pool ${context.pool.facts.nameLabel}: it starts whenever a host boots`,
        evidence: ['other_config of the VM and of the pool'],
        next: 'Remove auto_poweron in the document, at the latest before the way back.',
      },
      [vm],
    );
  }
}

/** What the import drops without a word (xapi.md 4.3, 4.5, 4.9). */
export function losses(context: RuleContext): void {
  const { document, pool } = context;
  const { nameLabel } = pool.facts;
  const told = { about: 'pool' as const, name: nameLabel, uuid: pool.facts.uuid };
  const machines = document.vms.filter((vm) => !vm.isASnapshot);
  const lost = (code: `DR-${string}`, what: string, next: string, vms: VmObject[]): void => {
    if (vms.length > 0)
      warning(
        context,
        { ...told, code, what, evidence: [`${vms.length} of ${machines.length} VMs`], next },
        vms,
      );
  };
  lost(
    'DR-IMPORT-AFFINITY-LOST',
    'Home servers are lost: they name hosts of another pool',
    'Set the affinity anew if placement matters.',
    machines.filter((vm) => vm.affinity !== null && !pool.hosts.has(vm.affinity.uuid)),
  );
  lost(
    'DR-IMPORT-APPLIANCE-LOST',
    'Membership in an appliance is lost by every import',
    'Rebuild the appliances after the import.',
    machines.filter((vm) => isRef(vm.text('appliance'))),
  );
  lost(
    'DR-IMPORT-BLOCKED-OPERATIONS-LOST',
    'Blocked operations are lost by every import, whoever set them',
    'Set them anew after the start where they are wanted.',
    machines.filter((vm) => Object.keys(vm.map('blocked_operations')).length > 0),
  );
  lost(
    'DR-IMPORT-ADDRESSES-LOST',
    'Static addresses that were set on interfaces from outside the guest are lost by every import',
    'Set them anew after the start, or use DHCP reservations: MAC addresses are kept by a restore.',
    machines.filter((vm) =>
      vm.vifs.some(
        (vif) =>
          vif.text('ipv4_configuration_mode') === 'Static' ||
          vif.text('ipv6_configuration_mode') === 'Static',
      ),
    ),
  );
}

function isRef(text: string): boolean {
  return text !== '' && text !== 'OpaqueRef:NULL';
}
