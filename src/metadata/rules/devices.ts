/** Graphics, virtual TPMs, PVS, passed-through hardware (xapi.md 3.3, 4.9, 8.5). */
import { GpuGroupObject, PvsProxyObject, VgpuObject, type VmObject, VtpmObject } from '../objects.ts';
import { danglingError, problem, type RuleContext, refusal, warning } from './context.ts';

export function graphics(context: RuleContext): void {
  const { document, pool } = context;
  for (const object of document.ofClass('GPU_group')) {
    const group = document.typed(object);
    if (!(group instanceof GpuGroupObject)) continue;
    const wanted = JSON.stringify(group.gpuTypes);
    if (pool.facts.gpuGroups.some((here) => JSON.stringify(here.gpuTypes) === wanted)) continue;
    problem(
      context,
      {
        code: 'DR-IMPORT-GPU-GROUP',
        about: 'host',
        name: group.nameLabel || group.uuid,
        uuid: group.uuid,
        what: `No GPU group of pool ${pool.facts.nameLabel} has the very types of ${group.nameLabel || 'the GPU group'}: the import is refused, and force does not help`,
        evidence: [`GPU types ${group.gpuTypes.join(', ') || 'none'}`],
        next: 'Drop the virtual GPUs from the document, or put equal cards into the recovery hosts.',
        refusal: refusal(context, object, {
          code: 'IMPORT_ERROR',
          params: [`Unable to find GPU group with matching GPU_types = '[${group.gpuTypes.join(',')}]'`],
        }),
      },
      usersOfGroup(context, group),
    );
  }
  for (const object of document.ofClass('VGPU')) {
    const vgpu = document.typed(object);
    if (!(vgpu instanceof VgpuObject)) continue;
    const field = vmMissing(context, vgpu.vm)
      ? 'VM'
      : vgpu.gpuGroup === null
        ? 'GPU_group'
        : vgpu.type === null
          ? 'type'
          : null;
    const vms = vgpu.vm === null ? document.vms : [vgpu.vm];
    if (field !== null)
      problem(
        context,
        {
          code: 'DR-IMPORT-DANGLING',
          about: 'vm',
          name: vgpu.vm?.nameLabel ?? vgpu.uuid,
          what: `A virtual GPU of ${vgpu.vm?.nameLabel ?? 'a VM'} names a ${field} that the import does not have`,
          evidence: [`${field} ${vgpu.text(field)}`],
          next: 'Drop the virtual GPU from the document, or export the VM again.',
          refusal: refusal(context, object, danglingError(vgpu.text(field))),
        },
        vms,
      );
    else
      warning(
        context,
        {
          code: 'DR-IMPORT-VGPU',
          about: 'vm',
          name: vgpu.vm?.nameLabel ?? vgpu.uuid,
          uuid: vgpu.vm?.uuid ?? vgpu.uuid,
          what: `${vgpu.vm === null ? 'A VM' : `VM ${vgpu.vm.nameLabel}`} has a virtual GPU (${vgpu.type?.modelName || vgpu.type?.identifier || 'type unknown'}): it starts only on a host with such a card free`,
          evidence: [`virtual GPU ${vgpu.uuid}`],
          next: 'Try its start in a drill.',
        },
        vms,
      );
  }
}

/** VMs with a GPU of the group; all of the document when none says so, since the group alone fails the import. */
function usersOfGroup(context: RuleContext, group: GpuGroupObject): readonly VmObject[] {
  const users = new Set<VmObject>();
  for (const object of context.document.ofClass('VGPU')) {
    const vgpu = context.document.typed(object);
    if (vgpu instanceof VgpuObject && vgpu.gpuGroup === group && vgpu.vm !== null) users.add(vgpu.vm);
  }
  return users.size === 0 ? context.document.vms : [...users];
}

function vmMissing(context: RuleContext, vm: VmObject | null): boolean {
  return vm === null || context.decisions.get(vm)?.kind === 'skip';
}

export function virtualTpms(context: RuleContext): void {
  const { document, pool, options } = context;
  for (const object of document.ofClass('VTPM')) {
    const vtpm = document.typed(object);
    if (!(vtpm instanceof VtpmObject)) continue;
    const { vm } = vtpm;
    const vms = vm === null ? document.vms : [vm];
    const about = { about: 'vm' as const, name: vm?.nameLabel ?? vtpm.uuid, uuid: vm?.uuid ?? vtpm.uuid };
    if (pool.facts.xapiBuild.major < 23)
      problem(
        context,
        {
          ...about,
          code: 'DR-IMPORT-VTPM-LOST',
          what: `VM ${about.name} has a virtual TPM, which pool ${pool.facts.nameLabel} (xapi ${pool.facts.xapiBuild.text}) does not know: keys in it are lost`,
          evidence: [`vTPM ${vtpm.uuid}`],
          next: `Update pool ${pool.facts.nameLabel}, or keep the recovery keys of the guest's disks at hand.`,
        },
        vms,
      );
    if (options.restore && pool.vtpms.has(vtpm.uuid)) {
      const decision = vm === null ? undefined : context.decisions.get(vm);
      const goesFirst = decision?.kind === 'replace' && decision.existing.vtpms.includes(vtpm.uuid);
      const refused = refusal(
        context,
        object,
        { code: 'IMPORT_ERROR', params: [`A VTPM with UUID ${vtpm.uuid} already exists`] },
        goesFirst ? 'dry-run' : 'both',
      );
      if (goesFirst)
        warning(
          context,
          {
            ...about,
            code: 'DR-IMPORT-VTPM-REPLACED',
            what: `The virtual TPM of ${about.name} is replaced with its VM; a dry run reports it as a collision all the same`,
            evidence: [`vTPM ${vtpm.uuid}`],
            next: 'Nothing.',
            refusal: refused,
          },
          vms,
        );
      else
        problem(
          context,
          {
            ...about,
            code: 'DR-IMPORT-VTPM-EXISTS',
            what: `The virtual TPM of ${about.name} exists in pool ${pool.facts.nameLabel} already: the import is refused, and force does not help`,
            evidence: [`vTPM ${vtpm.uuid}`],
            next: 'Destroy the VM that holds it if that is a left copy.',
            refusal: refused,
          },
          vms,
        );
    } else if (vmMissing(context, vm))
      problem(
        context,
        {
          ...about,
          code: 'DR-IMPORT-DANGLING',
          what: 'The document has a virtual TPM of a VM that the import does not have',
          evidence: [`VM ${vtpm.text("vTPM'_VM")}`],
          next: 'Export the VM again.',
          refusal: refusal(context, object, danglingError(vtpm.text("vTPM'_VM")), 'import'),
        },
        vms,
      );
  }
}

export function otherHardware(context: RuleContext): void {
  const { document, pool } = context;
  for (const object of document.ofClass('PVS_proxy')) {
    const proxy = document.typed(object);
    if (!(proxy instanceof PvsProxyObject)) continue;
    const vm = proxy.vif?.vm ?? null;
    warning(
      context,
      {
        code: 'DR-IMPORT-PVS-PROXY',
        about: 'vm',
        name: vm?.nameLabel ?? proxy.uuid,
        what: `${vm == null ? 'A VM' : `VM ${vm.nameLabel}`} streams from a PVS site: the proxy is dropped unless pool ${pool.facts.nameLabel} has the same site`,
        evidence: [`PVS site ${proxy.site?.pvsUuid || 'unknown'}`],
        next: 'Make sure that the PVS site exists at the recovery site.',
      },
      vm === null ? [] : [vm],
    );
  }
  for (const vm of document.vms) {
    const pci = vm.otherConfig['pci'];
    if (pci !== undefined && pci !== '')
      problem(
        context,
        {
          code: 'DR-IMPORT-PCI',
          about: 'vm',
          name: vm.nameLabel,
          uuid: vm.uuid,
          what: `VM ${vm.nameLabel} passes through PCI device ${pci} of a production host; at the recovery site that address is another device or none`,
          evidence: ['other_config holds pci'],
          next: `Remove pci from other_config of ${vm.nameLabel} after the import, before its start.`,
        },
        [vm],
      );
    if (vm.texts('VUSBs').length > 0)
      warning(
        context,
        {
          code: 'DR-IMPORT-USB',
          about: 'vm',
          name: vm.nameLabel,
          uuid: vm.uuid,
          what: `VM ${vm.nameLabel} has USB devices passed through, which no export holds`,
          evidence: [`${vm.texts('VUSBs').length} virtual USB devices`],
          next: `Plug such a device into a recovery host and pass it through to ${vm.nameLabel} by hand.`,
        },
        [vm],
      );
  }
}
