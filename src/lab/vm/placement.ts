/** Which host takes a VM, and why another does not (xapi.md 8.2, 8.5). */
import type { Row } from '../core/database.ts';
import { fail, XenFailure } from '../core/failure.ts';
import type { LabHost, LabPool } from '../core/pool.ts';
import { nullRef } from '../core/values.ts';

/** Bytes that a VM holds: its dynamic maximum and the overhead of its domain. The lab's guests never balloon. */
export function neededMemory(vm: Row): bigint {
  return vm.int('memory_dynamic_max') + vm.int('memory_overhead');
}

/** Bytes that a host has left, as `host.compute_free_memory` counts them. */
export function freeMemory(host: LabHost): bigint {
  const total = host.row.row('metrics', 'host_metrics')?.int('memory_total') ?? 0n;
  const used = host.row
    .rows('resident_VMs', 'VM')
    .filter((vm) => !vm.bool('is_control_domain'))
    .reduce((sum, vm) => sum + neededMemory(vm), host.row.int('memory_overhead'));
  return total > used ? total - used : 0n;
}

function isLive(host: LabHost): boolean {
  return host.row.row('metrics', 'host_metrics')?.bool('live') === true;
}

/** SRs that hold a disk or an inserted image of the VM. */
function neededSrs(pool: LabPool, vm: Row): Row[] {
  const found = new Map<string, Row>();
  for (const vbd of vm.rows('VBDs', 'VBD')) {
    const sr = vbd.bool('empty') ? undefined : vbd.row('VDI', 'VDI')?.row('SR', 'SR');
    if (sr !== undefined) found.set(sr.ref, sr);
  }
  const suspended = pool.db.find('VDI', vm.text('suspend_VDI'))?.row('SR', 'SR');
  if (suspended !== undefined) found.set(suspended.ref, suspended);
  return [...found.values()];
}

function pluggedOn(sr: Row, host: string): boolean {
  return sr.rows('PBDs', 'PBD').some((pbd) => pbd.text('host') === host && pbd.bool('currently_attached'));
}

/** Can guests of this host be plugged into the network? Failure otherwise. */
export function needNetwork(pool: LabPool, vm: Row, network: Row, host: LabHost): void {
  const pifs = network.rows('PIFs', 'PIF');
  if (pifs.length > 0) {
    const here = pifs.find((pif) => pif.text('host') === host.row.ref);
    if (here === undefined) fail('VM_REQUIRES_NETWORK', vm.ref, network.ref);
    if (
      here.text('bond_slave_of') !== nullRef &&
      pool.db.find('Bond', here.text('bond_slave_of')) !== undefined
    )
      fail('HOST_CANNOT_ATTACH_NETWORK', host.row.ref, network.ref);
    return;
  }
  if (network.map('other_config')['assume_network_is_shared'] === 'true') return;
  // A network without cards lives inside one host: whoever runs on it first says where.
  const elsewhere = network.rows('VIFs', 'VIF').some((vif) => {
    if (!vif.bool('currently_attached')) return false;
    const at = vif.row('VM', 'VM')?.text('resident_on');
    return at !== undefined && at !== nullRef && at !== host.row.ref;
  });
  if (elsewhere) fail('HOST_CANNOT_ATTACH_NETWORK', host.row.ref, network.ref);
}

/** Raises the first reason why a VM cannot boot on a host. */
export function needBootable(pool: LabPool, vm: Row, host: LabHost, checkMemory = true): void {
  if (!host.row.bool('enabled')) fail('HOST_DISABLED', host.row.ref);
  if (!isLive(host)) fail('HOST_NOT_LIVE');
  const version = vm.int('hardware_platform_version');
  const known = host.row.get('virtual_hardware_platform_versions');
  if (Array.isArray(known) && !known.includes(version))
    fail(
      'VM_HOST_INCOMPATIBLE_VIRTUAL_HARDWARE_PLATFORM_VERSION',
      host.row.ref,
      `[${known.join('; ')}]`,
      vm.ref,
      String(version),
    );
  for (const sr of neededSrs(pool, vm))
    if (!pluggedOn(sr, host.row.ref)) fail('VM_REQUIRES_SR', vm.ref, sr.ref);
  for (const vif of vm.rows('VIFs', 'VIF')) {
    const network = vif.row('network', 'network');
    if (network !== undefined) needNetwork(pool, vm, network, host);
  }
  if (!checkMemory) return;
  const needed = neededMemory(vm);
  const available = freeMemory(host);
  if (needed > available) fail('HOST_NOT_ENOUGH_FREE_MEMORY', String(needed), String(available));
}

export function canBoot(pool: LabPool, vm: Row, host: LabHost, checkMemory = true): boolean {
  try {
    needBootable(pool, vm, host, checkMemory);
    return true;
  } catch (error) {
    if (error instanceof XenFailure) return false;
    throw error;
  }
}

export function possibleHosts(pool: LabPool, vm: Row): LabHost[] {
  return pool.hosts.filter((host) => canBoot(pool, vm, host));
}

/** Affinity first, then room; a second round ignores memory; `NO_HOSTS_AVAILABLE []` without reasons. */
export function chooseHost(pool: LabPool, vm: Row): LabHost {
  for (const checkMemory of [true, false]) {
    const candidates = pool.hosts.filter((host) => canBoot(pool, vm, host, checkMemory));
    const preferred = candidates.find((host) => host.row.ref === vm.text('affinity'));
    if (preferred !== undefined) return preferred;
    const roomy = candidates
      .map((host) => ({ host, free: freeMemory(host) }))
      .sort((a, b) => (a.free > b.free ? -1 : a.free < b.free ? 1 : 0));
    const [best] = roomy;
    if (best !== undefined) return best.host;
  }
  fail('NO_HOSTS_AVAILABLE');
}

/** HA may restart the VM anywhere: every enabled host reaches its SRs and networks (xapi.md 8.5). */
export function needAgile(pool: LabPool, vm: Row): void {
  const enabled = pool.hosts.filter((host) => host.row.bool('enabled'));
  for (const sr of neededSrs(pool, vm)) {
    const everywhere = enabled.every((host) => pluggedOn(sr, host.row.ref));
    if (!sr.bool('shared') || !everywhere) fail('HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED', sr.ref);
  }
  for (const vif of vm.rows('VIFs', 'VIF')) {
    const network = vif.row('network', 'network');
    if (network === undefined || network.map('other_config')['assume_network_is_shared'] === 'true') continue;
    const pifs = network.rows('PIFs', 'PIF');
    const everywhere = enabled.every((host) => pifs.some((pif) => pif.text('host') === host.row.ref));
    if (!everywhere) fail('HA_CONSTRAINT_VIOLATION_NETWORK_NOT_SHARED', network.ref);
  }
  if (vm.texts('VGPUs').length > 0) fail('VM_HAS_VGPU', vm.ref);
  if (vm.texts('VUSBs').length > 0) fail('VM_HAS_VUSBS', vm.ref);
}
