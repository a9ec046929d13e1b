/** Whether a VM is as a recovery plan wants it. */
import type { Adjustment } from './actions/guests.ts';
import type { VmFacts } from './pool.ts';

/** What differs, in words; empty when all is as wanted. */
export function adjustmentFaults(
  vm: Pick<
    VmFacts,
    'memoryStaticMax' | 'memoryDynamicMax' | 'memoryDynamicMin' | 'vcpusAtStartup' | 'affinity'
  >,
  { memory, vcpus, host }: Adjustment,
): string[] {
  const faults: string[] = [];
  if (
    memory !== null &&
    (vm.memoryStaticMax !== memory.staticMax ||
      vm.memoryDynamicMax !== memory.dynamicMax ||
      vm.memoryDynamicMin !== memory.dynamicMin)
  )
    faults.push('other memory limits');
  if (vcpus !== null && vm.vcpusAtStartup !== vcpus)
    faults.push(`${vm.vcpusAtStartup} vCPUs instead of ${vcpus}`);
  if (host !== null && vm.affinity !== host.uuid) faults.push(`not bound to host ${host.nameLabel}`);
  return faults;
}
