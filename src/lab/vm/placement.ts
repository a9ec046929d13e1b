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
  const image = vm.text('power_state') === 'Suspended' ? vm.text('suspend_VDI') : nullRef;
  const suspended = pool.db.find('VDI', image)?.row('SR', 'SR');
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
  if (!network.bool('managed')) return;
  // A network without cards lives inside one host: whoever runs on it first says where.
  const homes = network
    .rows('VIFs', 'VIF')
    .map((vif) => vif.row('VM', 'VM'))
    .filter((other) => other?.text('power_state') === 'Running')
    .map((other) => other?.text('resident_on'));
  if (homes.length > 0 && !homes.includes(host.row.ref)) fail('VM_REQUIRES_NETWORK', vm.ref, network.ref);
}

/** Raises the first reason why a VM cannot boot on a host. */
export function needBootable(pool: LabPool, vm: Row, host: LabHost, checkMemory = true): void {
  needSoundParameters(vm);
  if (!isLive(host)) fail('HOST_NOT_LIVE');
  const here = vm.text('power_state') === 'Running' && vm.text('resident_on') === host.row.ref;
  if (!here && !vm.bool('is_control_domain') && !host.row.bool('enabled'))
    fail('HOST_DISABLED', host.row.ref);
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
  if (checkMemory) {
    const needed = neededMemory(vm);
    const available = freeMemory(host);
    if (needed > available) fail('HOST_NOT_ENOUGH_FREE_MEMORY', String(needed), String(available));
  }
  const cpus = BigInt(host.row.map('cpu_info')['cpu_count'] ?? '0');
  const unrestricted = vm.map('platform')['vcpu-unrestricted'] === 'true';
  if (cpus > 0n && vm.int('VCPUs_max') > cpus && !unrestricted)
    fail('HOST_NOT_ENOUGH_PCPUS', String(vm.int('VCPUs_max')), String(cpus));
}

/** VM.create takes any numbers; whether they make sense is looked at here. */
function needSoundParameters(vm: Row): void {
  const [most, first] = [vm.int('VCPUs_max'), vm.int('VCPUs_at_startup')];
  if (most < 1n) fail('INVALID_VALUE', 'VCPUs_max', String(most));
  if (first < 1n) fail('INVALID_VALUE', 'VCPUs-at-startup', String(first));
  if (first > most)
    fail('VALUE_NOT_SUPPORTED', 'VCPUs-at-startup', String(first), 'value greater than VCPUs-max');
  const bytes = (field: string): bigint => vm.int(`memory_${field}`);
  if (bytes('static_max') < bytes('static_min') || bytes('dynamic_max') < bytes('dynamic_min'))
    fail('MEMORY_CONSTRAINT_VIOLATION');
}

/** Some host must see every SR of the VM: who copies or reverts works there. */
export function needAccess(pool: LabPool, vm: Row): void {
  const srs = neededSrs(pool, vm);
  const able = pool.hosts.some((host) => isLive(host) && srs.every((sr) => pluggedOn(sr, host.row.ref)));
  if (!able) fail('NO_HOSTS_AVAILABLE');
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

/** Every enabled host reaches the SR (xapi.md 8.5). */
export function needSharedSr(pool: LabPool, sr: Row): void {
  const everywhere = enabledHosts(pool).every((host) => pluggedOn(sr, host.row.ref));
  if (!sr.bool('shared') || !everywhere) fail('HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED', sr.ref);
}

/** Every enabled host has a card on the network that is no part of a bond. */
export function needSharedNetwork(pool: LabPool, network: Row): void {
  const reached = new Set(
    network
      .rows('PIFs', 'PIF')
      .filter((pif) => pool.db.find('Bond', pif.text('bond_slave_of')) === undefined)
      .map((pif) => pif.text('host')),
  );
  if (!enabledHosts(pool).every((host) => reached.has(host.row.ref)))
    fail('HA_CONSTRAINT_VIOLATION_NETWORK_NOT_SHARED', network.ref);
}

const enabledHosts = (pool: LabPool): LabHost[] => pool.hosts.filter((host) => host.row.bool('enabled'));

/** HA may restart the VM anywhere. */
export function needAgile(pool: LabPool, vm: Row): void {
  if (vm.texts('VGPUs').length > 0) fail('VM_HAS_VGPU', vm.ref);
  if (vm.texts('VUSBs').length > 0) fail('VM_HAS_VUSBS', vm.ref);
  for (const vbd of vm.rows('VBDs', 'VBD')) {
    const sr = vbd.bool('empty') ? undefined : vbd.row('VDI', 'VDI')?.row('SR', 'SR');
    if (sr !== undefined) needSharedSr(pool, sr);
  }
  for (const vif of vm.rows('VIFs', 'VIF')) {
    const network = vif.row('network', 'network');
    if (network !== undefined) needSharedNetwork(pool, network);
  }
}

/** A VM that high availability would restart: its devices must be reachable from every host. */
export function isProtected(pool: LabPool, vm: Row): boolean {
  const settings = pool.row;
  return (
    settings.bool('ha_enabled') &&
    !settings.bool('ha_allow_overcommit') &&
    vm.bool('ha_always_run') &&
    vm.text('ha_restart_priority') === 'restart'
  );
}
