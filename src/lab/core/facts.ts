/** Messages about the pool, its hosts, networks, notes and plug-ins: what a client asks before it does anything. */

import { nextBridge } from './build.ts';
import type { Row } from './database.ts';
import { fail } from './failure.ts';
import type { Lab } from './lab.ts';
import type { Call, Registry } from './registry.ts';
import { DateTime } from './values.ts';

export function installFacts(lab: Lab): void {
  installHost(lab);
  installPool(lab);
  installMessage(lab.registry);
  installNetwork(lab.registry);
}

/** What a host has left for guests: its memory without Xen's share and what its guests may take (xapi.md 6.3). */
function freeMemory(host: Row): bigint {
  let free = (host.row('metrics', 'host_metrics')?.int('memory_total') ?? 0n) - host.int('memory_overhead');
  for (const vm of host.rows('resident_VMs', 'VM')) {
    if (vm.bool('is_control_domain')) continue;
    free -= vm.int('memory_dynamic_max') + vm.int('memory_overhead');
  }
  return free;
}

function installHost(lab: Lab): void {
  const { registry } = lab;
  registry.on('host.get_servertime', (call) => {
    call.row('host');
    return call.pool.now();
  });
  registry.on('host.get_server_localtime', (call) => {
    call.row('host');
    return new DateTime(call.pool.now().text.replace('Z', ''));
  });
  registry.on('host.get_server_certificate', (call) => {
    const row = call.row('host');
    return call.pool.hostOf(row.ref)?.certificate.cert ?? '';
  });
  registry.on('host.compute_free_memory', (call) => freeMemory(call.row('host')));
  registry.on('host.compute_memory_overhead', (call) => call.row('host').int('memory_overhead'));
  registry.on('host.list_methods', () => fail('NOT_IMPLEMENTED', 'list_method'));
  registry.on('host.enable', (call) => {
    call.row('host').set({ enabled: true });
    return '';
  });
  registry.on('host.disable', (call) => {
    call.row('host').set({ enabled: false });
    return '';
  });
  registry.on('host.restart_agent', (call) => {
    const host = call.pool.hostOf(call.row('host').ref);
    if (host !== undefined) lab.restartToolstackSoon(host);
    return '';
  });
  registry.on('host.call_plugin', (call) => {
    call.row('host');
    const plugin = registry.plugin(call.text(1));
    if (plugin === undefined) fail('XENAPI_MISSING_PLUGIN', call.text(1));
    const handler = plugin.get(call.text(2));
    if (handler === undefined) fail('UNKNOWN_XENAPI_PLUGIN_FUNCTION', call.text(2));
    return handler(call, call.map(3));
  });
  registry.addPlugin('echo', 'main', (_call, args) => {
    const text = Object.entries(args).map(([key, value]) => `'${key}': '${value}'`);
    return `args were: {${text.join(', ')}}`;
  });
}

function installPool(lab: Lab): void {
  const { registry } = lab;
  registry.on('pool.designate_new_master', (call) => {
    const host = call.pool.hostOf(call.row('host').ref);
    if (host !== undefined) lab.changeMasterSoon(call.pool, host);
    return '';
  });
  // Both are given to a surviving member with a local session (xapi.md 1.5).
  registry.on('pool.emergency_transition_to_master', (call) => {
    lab.changeMaster(call.pool, call.host);
    return '';
  });
  registry.on('pool.recover_slaves', (call) =>
    call.pool.hosts.filter((host) => host !== call.host && host.up).map((host) => host.row.ref),
  );
  registry.on('pool.has_extension', () => false);
}

const messageClasses: Readonly<Record<string, string>> = { Host: 'host', Pool: 'pool' };

function installMessage(registry: Registry): void {
  registry.on('message.create', (call) => {
    const [name, cls, uuid, body] = [call.text(0), call.text(2), call.text(3), call.text(4)];
    if (call.pool.db.findByUuid(messageClasses[cls] ?? cls, uuid) === undefined)
      fail('UUID_INVALID', cls, uuid);
    return call.pool.message(name, call.int(1), cls, uuid, body).ref;
  });
  const since = (call: Call, index: number, takes: (row: Row) => boolean): Record<string, Row> => {
    const from = call.date(index).millis;
    const rows = call.pool.db.all('message').filter((m) => takes(m) && m.date('timestamp').millis >= from);
    return Object.fromEntries(rows.map((row) => [row.ref, row]));
  };
  registry.on('message.get', (call) => {
    const [cls, uuid] = [call.text(0), call.text(1)];
    if (call.pool.db.findByUuid(messageClasses[cls] ?? cls, uuid) === undefined) fail('UUID_INVALID');
    return since(call, 2, (m) => m.get('cls') === cls && m.get('obj_uuid') === uuid);
  });
  registry.on('message.get_since', (call) => since(call, 0, () => true));
  registry.on('message.destroy_all', (call) => {
    const { before, after, priority } = call.map(0);
    for (const message of call.pool.db.all('message')) {
      const at = message.date('timestamp').millis;
      if (before !== undefined && at >= new DateTime(before).millis) continue;
      if (after !== undefined && at <= new DateTime(after).millis) continue;
      if (priority !== undefined && message.int('priority') !== BigInt(priority)) continue;
      message.destroy();
    }
    return '';
  });
  registry.on('message.destroy_many', (call) => {
    for (const ref of call.texts(0)) call.pool.db.row('message', ref).destroy();
    return '';
  });
}

/** Beginnings of bridge names that only the toolstack gives. */
const reservedBridges = ['xen', 'xapi', 'vif', 'tap', 'eth'];

function installNetwork(registry: Registry): void {
  registry.on('network.create', (call) => {
    const given = call.struct(0);
    const bridge = given['bridge'];
    const named = typeof bridge === 'string' && bridge !== '';
    if (named) {
      if (bridge.length > 15 || reservedBridges.some((prefix) => bridge.startsWith(prefix)))
        fail('INVALID_VALUE', 'bridge', bridge);
      if (call.pool.db.all('network').some((network) => network.get('bridge') === bridge))
        fail('BRIDGE_NAME_EXISTS', bridge);
    }
    const mtu = given['MTU'];
    return call.pool.db.create('network', {
      ...given,
      bridge: named ? bridge : nextBridge(call.pool),
      MTU: typeof mtu === 'bigint' && mtu > 0n ? mtu : 1500n,
    }).ref;
  });
  registry.on('network.add_purpose', (call) => {
    const network = call.row('network');
    const purpose = call.text(1);
    if (!network.bool('managed')) fail('NETWORK_UNMANAGED', network.ref);
    const purposes = network.texts('purpose');
    if (purposes.includes(purpose)) return '';
    const rival = purpose === 'nbd' ? 'insecure_nbd' : 'nbd';
    if (call.pool.db.all('network').some((other) => other.texts('purpose').includes(rival)))
      fail('NETWORK_INCOMPATIBLE_PURPOSES', purpose, rival);
    network.set({ purpose: [purpose, ...purposes] });
    return '';
  });
  registry.on('network.set_default_locking_mode', (call) => {
    const network = call.row('network');
    const used = network.rows('VIFs', 'VIF').find((vif) => vif.bool('currently_attached'));
    if (used !== undefined) fail('VIF_IN_USE', network.ref, used.ref);
    network.set({ default_locking_mode: call.text(1) });
    return '';
  });
  registry.on('network.destroy', (call) => {
    const network = call.row('network');
    const attached = network.rows('VIFs', 'VIF').filter((vif) => vif.bool('currently_attached'));
    if (attached.length > 0) fail('NETWORK_CONTAINS_VIF', ...attached.map((vif) => vif.ref));
    const pifs = network.texts('PIFs');
    if (pifs.length > 0) fail('NETWORK_CONTAINS_PIF', ...pifs);
    for (const vif of network.rows('VIFs', 'VIF')) vif.destroy();
    network.destroy();
    return '';
  });
}
