/** Guest agents: what a guest reports some time after its start (xapi.md 8.2). Off by default, as recorded. */
import { createHash } from 'node:crypto';
import type { Row } from '../core/database.ts';
import type { LabPool } from '../core/pool.ts';
import { struct } from '../core/values.ts';
import { vmState } from './state.ts';

/** `other_config` key of a VM: seconds until its agent reports, or `never`. For rehearsing slow and dead guests. */
export const agentKey = 'lab:agent';

/** A fresh record of guest metrics; a start throws the old one away. */
export function renewGuestMetrics(pool: LabPool, vm: Row): Row {
  pool.db.find('VM_guest_metrics', vm.text('guest_metrics'))?.destroy();
  const metrics = pool.db.create('VM_guest_metrics', { last_updated: pool.now(), live: true });
  vm.set({ guest_metrics: metrics.ref });
  return metrics;
}

/** Lets the agent of a guest that has just started report, in its time. */
export function startAgent(pool: LabPool, vm: Row, metrics: Row): void {
  const state = vmState(pool);
  const wish = vm.map('other_config')[agentKey];
  if (wish === 'never' || (!state.agents && wish === undefined)) return;
  const seconds = wish === undefined ? state.agentSeconds : Number(wish);
  void pool.clock.sleep(Number.isFinite(seconds) ? seconds : state.agentSeconds).then(() => {
    if (metrics.alive && vm.alive && vm.text('power_state') === 'Running') report(pool, vm, metrics);
  });
}

function report(pool: LabPool, vm: Row, metrics: Row): void {
  metrics.set({
    PV_drivers_detected: true,
    PV_drivers_up_to_date: true,
    PV_drivers_version: struct({ major: '8', minor: '3', micro: '0', build: '1' }),
    os_version: struct({ name: 'Lab guest 1.0', distro: 'lab', major: '1', minor: '0', uname: '6.1.0' }),
    networks: reportedNetworks(pool, vm),
    other: struct({
      'feature-shutdown': '1',
      'feature-reboot': '1',
      'feature-suspend': '1',
      'feature-static-ip-setting': '1',
      'data-updated': '1',
    }),
    can_use_hotplug_vbd: 'yes',
    can_use_hotplug_vif: 'yes',
    last_updated: pool.now(),
    live: true,
  });
}

/** Addresses of the plugged VIFs, by the keys of xapi.md 8.2. */
export function reportedNetworks(pool: LabPool, vm: Row): ReturnType<typeof struct> {
  const networks = struct();
  for (const vif of vm.rows('VIFs', 'VIF')) {
    if (!vif.bool('currently_attached')) continue;
    const device = vif.text('device');
    const address = addressOf(pool, vif);
    if (address !== null) {
      networks[`${device}/ip`] = address;
      networks[`${device}/ipv4/0`] = address;
    }
    const [fixed] = vif.texts('ipv6_addresses');
    if (vif.text('ipv6_configuration_mode') === 'Static' && fixed !== undefined)
      networks[`${device}/ipv6/0`] = fixed.replace(/\/.*$/, '');
  }
  return networks;
}

/** The guest's address: as configured on the VIF, or a stable one of the network's subnet. */
export function addressOf(pool: LabPool, vif: Row): string | null {
  const [fixed] = vif.texts('ipv4_addresses');
  if (vif.text('ipv4_configuration_mode') === 'Static' && fixed !== undefined)
    return fixed.replace(/\/.*$/, '');
  const network = vif.row('network', 'network');
  const subnet = network === undefined ? undefined : vmState(pool).subnets.get(network.uuid);
  const match = subnet === undefined ? null : /^(\d+)\.(\d+)\.(\d+)\.(\d+)\/(\d+)$/.exec(subnet);
  if (match === null) return null;
  const octets = match.slice(1, 5).map(Number);
  const base = octets.reduce((sum, octet) => sum * 256 + octet, 0);
  const size = 2 ** (32 - Number(match[5]));
  const number = createHash('md5').update(vif.text('MAC')).digest().readUInt32BE(0);
  const address = base + 1 + (number % Math.max(1, size - 2));
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join('.');
}
