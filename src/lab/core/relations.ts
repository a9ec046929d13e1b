/**
 * References that xapi's database keeps in step by itself (xapi.md 1.3, the relation list of the data model): the
 * single reference on the left is written, the set on the right follows.
 */
export interface Relation {
  readonly one: readonly [cls: string, field: string];
  readonly many: readonly [cls: string, field: string];
}

const pairs = `
VBD.VM VM.VBDs|VIF.VM VM.VIFs|console.VM VM.consoles|crashdump.VM VM.crash_dumps|VTPM.VM VM.VTPMs|VGPU.VM VM.VGPUs
VUSB.VM VM.VUSBs|VM.snapshot_of VM.snapshots|VM.parent VM.children|VM.resident_on host.resident_VMs
VM.appliance VM_appliance.VMs|VM.protection_policy VMPP.VMs|VM.snapshot_schedule VMSS.VMs
VBD.VDI VDI.VBDs|crashdump.VDI VDI.crash_dumps|VDI.SR SR.VDIs|VDI.snapshot_of VDI.snapshots
PBD.host host.PBDs|PBD.SR SR.PBDs|SR.introduced_by DR_task.introduced_SRs
VIF.network network.VIFs|PIF.network network.PIFs|PIF.host host.PIFs|PIF.bond_slave_of Bond.slaves
Bond.master PIF.bond_master_of|VLAN.tagged_PIF PIF.VLAN_slave_of
tunnel.access_PIF PIF.tunnel_access_PIF_of|tunnel.transport_PIF PIF.tunnel_transport_PIF_of
host_cpu.host host.host_CPUs|host_crashdump.host host.crashdumps|Certificate.host host.certificates
PCI.host host.PCIs|PGPU.host host.PGPUs|PUSB.host host.PUSBs|Feature.host host.features
PGPU.GPU_group GPU_group.PGPUs|VGPU.GPU_group GPU_group.VGPUs|PUSB.USB_group USB_group.PUSBs
VUSB.USB_group USB_group.VUSBs|task.subtask_of task.subtasks
`;

export const relations: readonly Relation[] = pairs
  .trim()
  .split(/[|\n]/)
  .map((pair) => {
    const [one = '', many = ''] = pair.trim().split(' ');
    const [oneClass = '', oneField = ''] = one.split('.');
    const [manyClass = '', manyField = ''] = many.split('.');
    return { one: [oneClass, oneField], many: [manyClass, manyField] };
  });

const byOne = new Map(relations.map((r) => [r.one.join('.'), r.many]));
const byMany = new Map(relations.map((r) => [r.many.join('.'), r.one]));

/** Where the other end of a single reference is kept: `VBD.VM` gives `[VM, VBDs]`. */
export function manyEnd(cls: string, field: string): readonly [string, string] | undefined {
  return byOne.get(`${cls}.${field}`);
}

/** The single reference behind a set: `VM.VBDs` gives `[VBD, VM]`. */
export function oneEnd(cls: string, field: string): readonly [string, string] | undefined {
  return byMany.get(`${cls}.${field}`);
}
