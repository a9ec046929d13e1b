/** What the catalog notes of a VM beside its document: enough to plan without opening it. */
import type { PointVm } from '../domain/recovery-point.ts';
import type { MetadataDocument } from './document.ts';
import type { VmObject } from './objects.ts';

export type VmSummary = Omit<PointVm, 'document'>;

/**
 * The summary of the VM that the document is about; null when there is none. `appliances` tells the appliance uuid by
 * VM uuid: the document names it by a reference that means nothing outside the pool (xapi.md 3.3).
 */
export function summarize(
  document: MetadataDocument,
  appliances: ReadonlyMap<string, string> = new Map(),
): VmSummary | null {
  const { vm } = document;
  return vm === null ? null : summarizeVm(vm, appliances);
}

export function summarizeVm(vm: VmObject, appliances: ReadonlyMap<string, string> = new Map()): VmSummary {
  const disks = vm.vbds.flatMap((vbd) => (vbd.vdi === null || vbd.vdi.sr?.isIso === true ? [] : [vbd.vdi]));
  if (vm.powerState === 'Suspended' && vm.suspendVdi !== null) disks.push(vm.suspendVdi);
  const unique = (texts: readonly string[]): string[] => [...new Set(texts)].sort();
  const summary: VmSummary = {
    uuid: vm.uuid,
    nameLabel: vm.nameLabel,
    powerState: vm.powerState,
    order: vm.int('order'),
    startDelaySeconds: vm.int('start_delay'),
    memoryStaticMax: vm.int('memory_static_max'),
    memoryDynamicMax: vm.int('memory_dynamic_max'),
    vcpusAtStartup: vm.int('VCPUs_at_startup'),
    haRestartPriority: vm.haRestartPriority,
    haAlwaysRun: vm.haAlwaysRun,
    tags: [...vm.tags],
    folder: vm.otherConfig['folder'] || null,
    srUuids: unique(disks.flatMap((vdi) => (vdi.sr === null ? [] : [vdi.sr.uuid]))),
    vdiUuids: unique(disks.map((vdi) => vdi.uuid)),
    networkNames: unique(vm.vifs.flatMap((vif) => (vif.network === null ? [] : [vif.network.nameLabel]))),
    applianceUuid: appliances.get(vm.uuid) ?? null,
  };
  // Texts of its own: a part of the document's text would keep the whole document in memory.
  return JSON.parse(JSON.stringify(summary)) as VmSummary;
}

/** The power state that a document of one VM tells; null when it tells none. Does not read a document that is still text. */
export function powerStateIn(document: MetadataDocument): string | null {
  // Texts of people are escaped: what looks like this tag is one. Only VMs have the field.
  if (document.written !== null)
    return /<name>power_state<\/name>\s*<value>([A-Za-z]+)<\/value>/.exec(document.written)?.[1] ?? null;
  return document.vm?.powerState ?? null;
}
