/** Drives of VMs: what VBD.create refuses, what is taken as found, and what stays attached (xapi.md 4.6). */
import { type VbdObject, VbdObject as VbdView, type VmObject } from '../objects.ts';
import { danglingError, problem, type RuleContext, refusal, warning } from './context.ts';

export function drives(context: RuleContext): void {
  /** Devices of the drives that the import makes, by VM. */
  const devices = new Map<VmObject, Set<string>>();
  for (const object of context.document.ofClass('VBD')) {
    const vbd = context.document.typed(object);
    if (vbd instanceof VbdView) drive(context, vbd, devices);
  }
  for (const vm of context.document.vms) staysAttached(context, vm);
}

function drive(context: RuleContext, vbd: VbdObject, devices: Map<VmObject, Set<string>>): void {
  const { vm, vdi } = vbd;
  const { pool, options } = context;
  const owner = options.restore ? pool.vbdOwners.get(vbd.uuid) : undefined;
  const ownerReplaced = owner !== undefined && replaced(context, owner.uuid);
  const reused = owner !== undefined && !ownerReplaced;
  const name = `drive ${vbd.userdevice} of ${vm?.nameLabel ?? 'a VM that is not in the document'}`;
  const about = { about: 'vdi' as const, name: vdi?.nameLabel || vbd.uuid, uuid: vdi?.uuid ?? vbd.uuid };
  // A dry run finds the drives of a VM that the import would have replaced by then.
  const seenBy = owner === undefined ? 'both' : 'import';
  const decision = vm === null ? undefined : context.decisions.get(vm);
  if (reused) {
    if (decision?.kind !== 'skip' && owner.uuid !== vm?.uuid)
      problem(
        context,
        {
          ...about,
          code: 'DR-IMPORT-DRIVE-TAKEN',
          what: `A drive with the uuid of ${name} exists at ${owner.nameLabel}: the import leaves it there, and ${vm?.nameLabel ?? 'the VM'} comes up without it`,
          evidence: [`VBD ${vbd.uuid}`],
          next: `Destroy ${owner.nameLabel} if it is a left copy; its disks stay.`,
        },
        vm === null ? [] : [vm],
      );
    return;
  }
  if (vm === null || decision?.kind === 'skip') {
    const id = vbd.text('VM');
    problem(
      context,
      {
        ...about,
        code: 'DR-IMPORT-DANGLING',
        what: `The document has a drive of ${vm === null ? 'a VM that is not in it' : `${vm.nameLabel}, which the import skips`}`,
        evidence: [`VM ${id}`],
        next: vm === null ? 'Export the VM again.' : `Leave ${vm.nameLabel} out of the batch.`,
        refusal: refusal(context, vbd.object, danglingError(id), seenBy),
      },
      vm === null ? context.document.vms : [vm],
    );
    return;
  }
  const match = vdi === null ? undefined : context.disks.get(vdi.object);
  const resolved = match !== undefined && match.kind !== 'missing';
  if (!resolved) {
    if (vbd.currentlyAttached && !(vbd.type === 'CD' && vm.isHvm))
      problem(
        context,
        {
          ...about,
          code: 'DR-IMPORT-ATTACHED-MISSING',
          what: `${name} was attached at the export and its disk is not here: the import is refused, and force does not help`,
          evidence: ['currently_attached'],
          next: 'Bring the disk, or mark the drive as detached in the document.',
          refusal: refusal(
            context,
            vbd.object,
            { code: 'IMPORT_ERROR_ATTACHED_DISKS_NOT_FOUND', params: [] },
            seenBy,
          ),
        },
        [vm],
      );
    else if (vbd.type === 'Disk' && vdi?.sr?.isIso === true)
      warning(
        context,
        {
          ...about,
          code: 'DR-IMPORT-DISK-OMITTED',
          what: `${name} holds an ISO as a disk, which is not here: the drive is left out without a word`,
          evidence: [`VBD ${vbd.uuid}`],
          next: 'Copy the ISO to the recovery site if the VM needs it.',
        },
        [vm],
      );
    if (vbd.type !== 'Disk') sameDevice(context, vm, vbd, devices);
    return;
  }
  sameDevice(context, vm, vbd, devices);
  if (vbd.type === 'Disk' && vbd.mode === 'RW' && match.kind === 'found' && match.vdi.readOnly)
    problem(
      context,
      {
        ...about,
        code: 'DR-IMPORT-DISK-READ-ONLY',
        what: `The disk of ${name} is read-only in pool ${pool.facts.nameLabel}, the drive writes: the import is refused`,
        evidence: [`VDI ${match.vdi.uuid}`],
        next: 'Promote the replica so that it can be written, or make the drive read-only.',
        refusal: refusal(context, vbd.object, { code: 'VDI_READONLY', params: [match.vdi.uuid] }, 'import'),
      },
      [vm],
    );
  if (vbd.type === 'CD' && vbd.mode === 'RW')
    problem(
      context,
      {
        ...about,
        code: 'DR-IMPORT-CD-WRITABLE',
        what: `${name} is a CD drive that writes: the import is refused`,
        evidence: ['mode RW'],
        next: 'Set the mode of the drive to RO.',
        refusal: refusal(context, vbd.object, { code: 'VBD_CDS_MUST_BE_READONLY', params: [] }, 'import'),
      },
      [vm],
    );
}

/** True when the import destroys this VM before it makes the new one. */
export function replaced(context: RuleContext, uuid: string): boolean {
  for (const decision of context.decisions.values())
    if (decision.kind === 'replace' && decision.existing.uuid === uuid) return true;
  return false;
}

function sameDevice(
  context: RuleContext,
  vm: VmObject,
  vbd: VbdObject,
  devices: Map<VmObject, Set<string>>,
): void {
  const device = vbd.userdevice;
  if (device === '' || device === 'autodetect') return;
  const taken = devices.get(vm) ?? new Set<string>();
  devices.set(vm, taken);
  if (taken.has(device))
    problem(
      context,
      {
        code: 'DR-IMPORT-SAME-DEVICE',
        about: 'vm',
        name: vm.nameLabel,
        uuid: vm.uuid,
        what: `Two drives of ${vm.nameLabel} are device ${device}: the import is refused`,
        evidence: [`VBD ${vbd.uuid}`],
        next: `Remove one of them at the production pool and export ${vm.nameLabel} again.`,
        refusal: refusal(context, vbd.object, { code: 'DEVICE_ALREADY_EXISTS', params: [device] }, 'import'),
      },
      [vm],
    );
  taken.add(device);
}

function staysAttached(context: RuleContext, vm: VmObject): void {
  if (vm.powerState === 'Suspended' || !vm.vbds.some((vbd) => vbd.currentlyAttached)) return;
  warning(
    context,
    {
      code: 'DR-IMPORT-STAYS-ATTACHED',
      about: 'vm',
      name: vm.nameLabel,
      uuid: vm.uuid,
      what: `VM ${vm.nameLabel} was ${vm.powerState} at the export: it is imported halted with drives that count as attached`,
      evidence: [`power_state ${vm.powerState}`],
      next: 'Mark the drives as detached in the document, or run VM.power_state_reset after the import.',
    },
    [vm],
  );
}
