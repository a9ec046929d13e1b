/** Is there room, host by host: memory with what HA keeps free, virtual CPUs, graphics cards? */
import type { Finding } from '../../domain/finding.ts';
import type { HostFacts, PoolFacts } from '../../domain/pool.ts';
import type { VmOverride } from '../../domain/recovery-plan.ts';
import type { PointVm } from '../../domain/recovery-point.ts';
import { compileMatch } from '../../domain/scope.ts';
import { formatBytes } from '../../domain/time.ts';
import { type CheckContext, counted, labels, problem, unknown, usable, warning } from '../context.ts';

/** Beyond so many virtual CPUs for each CPU, guests wait for one another. */
const crowdedRatio = 8;
const mib = 1024 * 1024;

/** The memory of each VM must fit on one host; the sum of all hosts says nothing. First-fit by decreasing size. */
export function memoryFits(context: CheckContext): Finding[] {
  const { recovery } = context;
  if (recovery === null) return [];
  const wanted = toBeStarted(context);
  const hosts = usable(recovery);
  const without = unplaced(wanted, hosts);
  if (without.length > 0) return [noRoom(context, recovery, without, [])];
  const reserved = keptFree(recovery);
  if (reserved === null)
    return [
      unknown({
        about: 'pool',
        name: recovery.nameLabel,
        uuid: recovery.uuid,
        what: `How much memory HA of pool ${recovery.nameLabel} keeps free is not known`,
        evidence: ['HA is enabled there'],
      }),
    ];
  const spare = hosts.filter((host) => !reserved.includes(host));
  const beyond = unplaced(wanted, spare);
  return beyond.length === 0 ? [] : [noRoom(context, recovery, beyond, reserved)];
}

function noRoom(
  { group }: CheckContext,
  pool: PoolFacts,
  without: readonly PointVm[],
  reserved: readonly HostFacts[],
): Finding {
  const one = without.length === 1;
  const missing = without.reduce((sum, vm) => sum + memoryOf(vm), 0);
  return problem({
    code: reserved.length > 0 ? 'DR-MEMORY-HA' : 'DR-MEMORY',
    about: 'pool',
    name: pool.nameLabel,
    uuid: pool.uuid,
    what:
      reserved.length > 0
        ? `${counted(without.length, 'VM')} ${one ? 'fits' : 'fit'} at site ${group.recovery} only in the memory that HA keeps free: ${one ? 'it needs' : 'they need'} ${formatBytes(missing)}`
        : `${counted(without.length, 'VM')} ${one ? 'finds' : 'find'} no host with enough free memory at site ${group.recovery}: ${one ? 'it needs' : 'they need'} ${formatBytes(missing)}`,
    evidence: [
      ...(usable(pool).length === 0 ? ['no host is in service there'] : []),
      ...usable(pool).map(
        (host) =>
          `host ${host.nameLabel} has ${formatBytes(host.memoryFree)} free of ${formatBytes(host.memoryTotal)}`,
      ),
      ...(reserved.length === 0
        ? []
        : [
            `HA shall survive the loss of ${counted(reserved.length, 'host')}, and refuses starts that use its reserve`,
          ]),
    ],
    vms: labels(without),
    next:
      reserved.length > 0
        ? 'Lower ha_host_failures_to_tolerate there, shut down what is not needed, or leave VMs of the last tier halted.'
        : 'Shut down what is not needed there, add memory, or leave VMs of the last tier halted.',
  });
}

/** The hosts whose memory HA holds back: those that would be missed most; null when it cannot be known. */
function keptFree(pool: PoolFacts): HostFacts[] | null {
  if (!pool.haEnabled) return [];
  if (pool.haPlan === undefined) return null;
  const { hostFailuresToTolerate, allowOvercommit } = pool.haPlan;
  if (allowOvercommit) return [];
  return usable(pool)
    .sort((a, b) => b.memoryFree - a.memoryFree)
    .slice(0, hostFailuresToTolerate);
}

function unplaced(vms: readonly PointVm[], hosts: readonly HostFacts[]): PointVm[] {
  const free = new Map(hosts.map((host) => [host, host.memoryFree]));
  const without: PointVm[] = [];
  const bySize = [...vms].sort((a, b) => memoryOf(b) - memoryOf(a) || (a.nameLabel < b.nameLabel ? -1 : 1));
  for (const vm of bySize) {
    const [best] = [...free]
      .filter(([host, bytes]) => bytes >= memoryOf(vm) && hasCardFor(host, vm))
      .sort((a, b) => a[1] - b[1]);
    if (best === undefined) without.push(vm);
    else free.set(best[0], best[1] - memoryOf(vm));
  }
  return without;
}

/** What the VM needs at its start; an older point does not know the overhead, which is about one per cent and 20 MiB. */
function memoryOf(vm: PointVm): number {
  return vm.memoryDynamicMax + (vm.memoryOverhead || vm.memoryDynamicMax * 0.01 + 20 * mib);
}

/** A host of which no card is known is left to `gpusAreThere`. */
function hasCardFor(host: HostFacts, vm: PointVm): boolean {
  return vm.hasVgpu !== true || host.gpuGroupUuids === undefined || host.gpuGroupUuids.length > 0;
}

/** The VMs of the point that a failover starts and that do not run there yet, as the recovery plan wants them there. */
function toBeStarted({ group, recovery, point }: CheckContext): PointVm[] {
  if (recovery === null || point === null) return [];
  const here = new Set(recovery.vms.filter((vm) => vm.powerState === 'Running').map((vm) => vm.uuid));
  const overrides = (group.plan.overrides ?? [])
    .filter(({ site }) => site === group.recovery)
    .map((override) => ({ override, names: compileMatch(override.vms, point.srs) }));
  return point.vms
    .filter((vm) => vm.powerState === 'Running' && !here.has(vm.uuid))
    .map((vm) =>
      overridden(
        vm,
        overrides.filter(({ names }) => names(vm) !== null).map(({ override }) => override),
      ),
    );
}

/** Of several overrides the first that says something decides, as in the plan (src/plan/recover/overrides.ts). */
function overridden(vm: PointVm, overrides: readonly VmOverride[]): PointVm {
  const memory = overrides.find((override) => override.memory !== null)?.memory ?? null;
  const vcpus = overrides.find((override) => override.vcpus !== null)?.vcpus ?? null;
  return {
    ...vm,
    ...(memory === null
      ? {}
      : {
          memoryStaticMax: memory.staticMax,
          memoryDynamicMax: memory.dynamicMax,
          // The overhead that the pool told belongs to the old size; `memoryOf` estimates that of the new one.
          ...(memory.staticMax === vm.memoryStaticMax ? {} : { memoryOverhead: 0 }),
        }),
    ...(vcpus === null ? {} : { vcpusAtStartup: vcpus }),
  };
}

/** A VM with more virtual CPUs than a host has CPUs is refused there (xapi.md 8.2, HOST_NOT_ENOUGH_PCPUS). */
export function vcpusFit(context: CheckContext): Finding[] {
  const { group, recovery } = context;
  const wanted = toBeStarted(context);
  if (recovery === null || wanted.length === 0) return [];
  const hosts = usable(recovery);
  const blind = hosts.filter((host) => host.cpuCount === 0);
  if (blind.length > 0)
    return [
      unknown({
        about: 'host',
        name: labels(blind).join(', '),
        what: `How many CPUs ${labels(blind).join(', ')} of site ${group.recovery} ${blind.length === 1 ? 'has' : 'have'} is not known`,
      }),
    ];
  const most = Math.max(0, ...hosts.map((host) => host.cpuCount));
  const tooWide = hosts.length === 0 ? [] : wanted.filter((vm) => vm.vcpusAtStartup > most);
  const findings: Finding[] = [];
  if (tooWide.length > 0)
    findings.push(
      problem({
        code: 'DR-VCPUS',
        about: 'pool',
        name: recovery.nameLabel,
        uuid: recovery.uuid,
        what: `${counted(tooWide.length, 'VM')} ${tooWide.length === 1 ? 'has' : 'have'} more virtual CPUs than any host of site ${group.recovery} has CPUs`,
        evidence: [
          `the largest host has ${most} CPUs`,
          ...tooWide.map((vm) => `${vm.nameLabel} has ${vm.vcpusAtStartup} virtual CPUs`).sort(),
        ],
        vms: labels(tooWide),
        next: 'Lower their number of virtual CPUs, or bring in a larger host.',
      }),
    );
  const physical = hosts.reduce((sum, host) => sum + host.cpuCount, 0);
  const virtual = [...wanted, ...recovery.vms.filter((vm) => vm.powerState === 'Running')].reduce(
    (sum, vm) => sum + vm.vcpusAtStartup,
    0,
  );
  if (physical > 0 && virtual > crowdedRatio * physical)
    findings.push(
      warning({
        code: 'DR-VCPU-RATIO',
        about: 'pool',
        name: recovery.nameLabel,
        uuid: recovery.uuid,
        what: `Site ${group.recovery} would run ${virtual} virtual CPUs on ${physical} CPUs: ${(virtual / physical).toFixed(1)} for each`,
        evidence: [`more than ${crowdedRatio} for each make guests wait for one another`],
        next: 'Expect slower VMs, or leave VMs of the last tier halted.',
      }),
    );
  return findings;
}

/** VMs with a virtual GPU need a host with a card; whether its type fits is told by the rehearsal (xapi.md 4.9). */
export function gpusAreThere(context: CheckContext): Finding[] {
  const { group, recovery } = context;
  const wanted = toBeStarted(context).filter((vm) => vm.hasVgpu === true);
  if (recovery === null || wanted.length === 0) return [];
  const hosts = usable(recovery);
  if (hosts.some((host) => host.gpuGroupUuids === undefined))
    return [
      unknown({
        about: 'pool',
        name: recovery.nameLabel,
        uuid: recovery.uuid,
        what: `Which hosts of site ${group.recovery} have graphics cards is not known`,
        vms: labels(wanted),
      }),
    ];
  if (hosts.some((host) => (host.gpuGroupUuids ?? []).length > 0)) return [];
  return [
    problem({
      code: 'DR-GPU-NONE',
      about: 'pool',
      name: recovery.nameLabel,
      uuid: recovery.uuid,
      what: `${counted(wanted.length, 'VM')} ${wanted.length === 1 ? 'has a virtual GPU' : 'have virtual GPUs'}, and no host of site ${group.recovery} has a graphics card`,
      evidence: hosts.map((host) => `host ${host.nameLabel} has none`),
      vms: labels(wanted),
      next: 'Put equal cards into the recovery hosts, or take the virtual GPUs away.',
    }),
  ];
}
