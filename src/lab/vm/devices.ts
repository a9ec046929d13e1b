/** VBD, VIF and VTPM: create, destroy, plug, insert, eject, move (xapi.md 4.6, 8.6). */
import { isIP } from 'node:net';
import type { Row } from '../core/database.ts';
import { fail, internal } from '../core/failure.ts';
import type { LabPool } from '../core/pool.ts';
import type { Call, Registry } from '../core/registry.ts';
import { nullRef, type Struct } from '../core/values.ts';
import { reportedNetworks } from './agent.ts';
import { needDevice } from './device-operations.ts';
import { withOperation } from './operations.ts';
import { isProtected, needNetwork, needSharedNetwork, needSharedSr } from './placement.ts';
import { deviceName } from './power.ts';
import { macOf, needState } from './state.ts';

export function installDevices(registry: Registry): void {
  registry.on('VBD.create', createVbd);
  registry.on('VBD.destroy', (call) => {
    const vbd = call.row('VBD');
    if (vbd.bool('currently_attached'))
      fail(
        'OPERATION_NOT_ALLOWED',
        `VBD '${vbd.uuid}' still attached to '${vbd.row('VM', 'VM')?.uuid ?? ''}'`,
      );
    vbd.destroy();
    return '';
  });
  registry.on('VBD.insert', insert);
  registry.on('VBD.eject', eject);
  registry.on('VIF.create', createVif);
  registry.on('VIF.destroy', (call) => {
    const vif = call.row('VIF');
    const hasDomain = vif.row('VM', 'VM')?.int('domid') !== -1n;
    if (hasDomain && vif.bool('currently_attached'))
      fail('OPERATION_NOT_ALLOWED', 'VIF currently attached to a running VM');
    vif.destroy();
    return '';
  });
  registry.on('VBD.set_mode', (call) => {
    const vbd = call.row('VBD');
    needState(owner(call.pool, vbd), 'halted');
    vbd.set({ mode: call.text(1) });
    return '';
  });
  registry.on('VBD.insert', insert);
  registry.on('VBD.eject', eject);
  registry.on('VIF.create', createVif);
  registry.on('VIF.destroy', (call) => {
    const vif = call.row('VIF');
    const hasDomain = vif.row('VM', 'VM')?.int('domid') !== -1n;
    if (hasDomain && vif.bool('currently_attached'))
      fail('OPERATION_NOT_ALLOWED', 'VIF currently attached to a running VM');
    vif.destroy();
    return '';
  });
  registry.on('VBD.set_mode', (call) => {
    const vbd = call.row('VBD');
    needState(owner(call.pool, vbd), 'halted');
    vbd.set({ mode: call.text(1) });
    return '';
  });
  for (const operation of ['pause', 'unpause'] as const)
    registry.on(`VBD.${operation}`, (call) => {
      const vbd = call.row('VBD');
      needDevice(vbd, operation);
      fail('SR_OPERATION_NOT_SUPPORTED', vbd.row('VDI', 'VDI')?.text('SR') ?? nullRef);
    });
  registry.on('VIF.move', moveVif);
  registry.on('VIF.configure_ipv4', (call) => configureAddress(call, 'ipv4'));
  registry.on('VIF.configure_ipv6', (call) => configureAddress(call, 'ipv6'));
  for (const cls of ['VBD', 'VIF'] as const) {
    registry.on(`${cls}.plug`, (call) => plug(call, cls));
    registry.on(`${cls}.unplug`, (call) => unplug(call, cls, false));
    registry.on(`${cls}.unplug_force`, (call) => unplug(call, cls, true));
  }
  registry.on('VBD.assert_attachable', (call) => {
    needDevice(call.row('VBD'), 'attach');
    return '';
  });
  registry.on('VM.get_allowed_VBD_devices', (call) => freeDrives(call.row('VM')));
  registry.on('VM.get_allowed_VIF_devices', (call) => {
    const used = new Set(
      call
        .row('VM')
        .rows('VIFs', 'VIF')
        .map((vif) => vif.text('device')),
    );
    return Array.from({ length: interfaces }, (_, i) => String(i)).filter((device) => !used.has(device));
  });
  registry.on('VTPM.create', async (call) => {
    const { pool } = call;
    const vm = call.row('VM');
    return withOperation(pool, vm, 'create_vtpm', call.operationRef, () => {
      const made = { VM: vm.ref, is_unique: call.bool(1), is_protected: false, persistence_backend: 'xapi' };
      return pool.db.create('VTPM', made).ref;
    });
  });
  registry.on('VTPM.destroy', (call) => {
    const vtpm = call.row('VTPM');
    needState(owner(call.pool, vtpm), 'halted', 'suspended');
    vtpm.destroy();
    return '';
  });
}

/** Positions that a VM has for drives and interfaces. */
const drives = 255;
const interfaces = 16;

/** Position behind the name of a drive: `1`, `xvdb`, `hdb` and `sdb` are one. */
function positionOf(name: string): number | null {
  if (/^\d+$/.test(name)) return Number(name);
  const letters = /^(?:xvd|hd|sd)([a-z]{1,2})\d*$/.exec(name)?.[1];
  if (letters === undefined) return null;
  return [...letters].reduce((sum, letter) => sum * 26 + letter.charCodeAt(0) - 96, 0) - 1;
}

/** What is taken, by the name that was asked for or by the one that the guest saw. */
function takenPositions(vm: Row): Set<number | null> {
  return new Set(
    vm.rows('VBDs', 'VBD').flatMap((vbd) => [vbd.text('userdevice'), vbd.text('device')].map(positionOf)),
  );
}

function freeDrives(vm: Row): string[] {
  const taken = takenPositions(vm);
  return Array.from({ length: drives }, (_, i) => i)
    .filter((position) => !taken.has(position))
    .map(String);
}

const text = (record: Struct, name: string): string => {
  const value = record[name];
  return typeof value === 'string' ? value : '';
};

/** Disks of these types belong to the pool, not to VMs. */
const poolsOwn = new Set(['ha_statefile', 'redo_log', 'cbt_metadata']);

function createVbd(call: Call): string {
  const { pool } = call;
  const { db } = pool;
  const record = call.struct(0);
  const vm = db.row('VM', text(record, 'VM'));
  const type = text(record, 'type') || 'Disk';
  const empty = record['empty'] === true;
  const mode = text(record, 'mode');
  const vdi = empty ? null : db.row('VDI', text(record, 'VDI'));
  if (vdi !== null && poolsOwn.has(vdi.text('type')))
    fail('VDI_INCOMPATIBLE_TYPE', vdi.ref, vdi.text('type'));
  if (type === 'CD' && mode !== 'RO') fail('VBD_CDS_MUST_BE_READONLY');
  if (type !== 'CD' && empty) fail('VBD_NOT_REMOVABLE_MEDIA', 'in constructor');
  if (vdi !== null && mode === 'RW' && vdi.bool('read_only')) fail('VDI_READONLY', vdi.ref);
  const going = Object.entries(vm.map('current_operations')).find(([, name]) => name.includes('migrate'));
  if (going !== undefined) fail('OTHER_OPERATION_IN_PROGRESS', 'VM', vm.ref, going[1], going[0]);
  let userdevice = text(record, 'userdevice');
  if (userdevice === 'autodetect') userdevice = freeDrives(vm)[0] ?? fail('INVALID_DEVICE', userdevice);
  const position = positionOf(userdevice);
  if (position === null) fail('INVALID_DEVICE', userdevice);
  if (takenPositions(vm).has(position)) fail('DEVICE_ALREADY_EXISTS', userdevice);
  const sr = vdi?.row('SR', 'SR');
  if (sr !== undefined && isProtected(pool, vm)) needSharedSr(pool, sr);
  const suspended = vm.text('power_state') === 'Suspended';
  return db.create('VBD', {
    ...record,
    userdevice,
    type,
    VDI: vdi?.ref ?? nullRef,
    device: suspended ? text(record, 'device') : '',
    currently_attached: suspended && record['currently_attached'] === true,
  }).ref;
}

function insert(call: Call): string {
  const vbd = call.row('VBD');
  const vdi = call.row('VDI', 1);
  needDevice(vbd, 'insert');
  if (!vdi.bool('managed')) fail('VDI_NOT_MANAGED', vdi.ref);
  const vm = owner(call.pool, vbd);
  const sr = vdi.row('SR', 'SR');
  if (sr !== undefined && isProtected(call.pool, vm)) needSharedSr(call.pool, sr);
  // As on the recorded machine, whose emulator has no drive to put the disc into.
  if (vbd.bool('currently_attached')) internal(`vbd_insert_hvm: The VBD ${vbd.ref} is empty`);
  vbd.set({ VDI: vdi.ref, empty: false });
  return '';
}

function eject(call: Call): string {
  const vbd = call.row('VBD');
  needDevice(vbd, 'eject');
  vbd.set({ VDI: nullRef, empty: true });
  return '';
}

function createVif(call: Call): string {
  const { pool } = call;
  const { db } = pool;
  const record = call.struct(0);
  const vm = db.row('VM', text(record, 'VM'));
  const network = db.row('network', text(record, 'network'));
  const device = text(record, 'device');
  if (!/^\d+$/.test(device)) fail('INVALID_DEVICE', device);
  const given = text(record, 'MAC');
  const seed = vm.map('other_config')['mac_seed'];
  const mac = given === '' && seed !== undefined ? macOf(seed, device) : given;
  if (!/^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/i.test(mac)) fail('MAC_INVALID', mac);
  if (isProtected(pool, vm)) needSharedNetwork(pool, network);
  if (vm.rows('VIFs', 'VIF').some((vif) => Number(vif.text('device')) === Number(device)))
    fail('DEVICE_ALREADY_EXISTS', device);
  return db.create('VIF', {
    ...record,
    device,
    VM: vm.ref,
    network: network.ref,
    MAC: mac,
    MAC_autogenerated: given === '',
    currently_attached: vm.text('power_state') === 'Suspended' && record['currently_attached'] === true,
  }).ref;
}

function moveVif(call: Call): string {
  const { pool } = call;
  const vif = call.row('VIF');
  const network = call.row('network', 1);
  const vm = vif.row('VM', 'VM');
  const host = vm === undefined ? undefined : pool.hostOf(vm.text('resident_on'));
  if (vm !== undefined && host !== undefined && vif.bool('currently_attached'))
    try {
      needNetwork(pool, vm, network, host);
    } catch {
      fail('HOST_CANNOT_ATTACH_NETWORK', host.row.ref, network.ref);
    }
  vif.set({ network: network.ref });
  return '';
}

/** Through the guest agent, so the guest must run with one (xapi.md 8.6); it then reports the address. */
function configureAddress(call: Call, family: 'ipv4' | 'ipv6'): string {
  const vif = call.row('VIF');
  const [mode, address, gateway] = [call.text(1), call.text(2), call.text(3)];
  const version = family === 'ipv4' ? 4 : 6;
  if (mode === 'Static') {
    const [host = '', length = ''] = address.split('/');
    if (isIP(host) !== version || !/^\d+$/.test(length) || Number(length) > (version === 4 ? 32 : 128))
      fail('INVALID_CIDR_ADDRESS_SPECIFIED', 'address');
    const locked = vif.text('locking_mode') === 'locked';
    if (locked && !vif.texts(`${family}_allowed`).includes(host))
      fail('ADDRESS_VIOLATES_LOCKING_CONSTRAINT', address);
    if (gateway !== '' && isIP(gateway) !== version) fail('INVALID_IP_ADDRESS_SPECIFIED', 'gateway');
  }
  const vm = owner(call.pool, vif);
  const metrics = vm.row('guest_metrics', 'VM_guest_metrics');
  if (metrics?.map('other')['feature-static-ip-setting'] !== '1') fail('VM_LACKS_FEATURE', vm.ref);
  vif.set({
    [`${family}_configuration_mode`]: mode,
    [`${family}_addresses`]: [address],
    [`${family}_gateway`]: gateway,
  });
  if (metrics !== undefined) metrics.set({ networks: reportedNetworks(call.pool, vm) });
  return '';
}

function owner(pool: LabPool, row: Row): Row {
  return row.row('VM', 'VM') ?? pool.db.row('VM', row.text('VM'));
}

function plug(call: Call, cls: 'VBD' | 'VIF'): string {
  const { pool } = call;
  const row = call.row(cls);
  const vm = owner(pool, row);
  needDevice(row, 'plug');
  if (cls === 'VBD' && vm.text('domain_type') === 'hvm' && row.text('mode') === 'RO')
    fail('DISK_VBD_MUST_BE_READWRITE_FOR_HVM', row.ref);
  if (cls === 'VIF') {
    const host = pool.hostOf(vm.text('resident_on'));
    const network = row.row('network', 'network');
    if (host !== undefined && network !== undefined) needNetwork(pool, vm, network, host);
  }
  const device = cls === 'VBD' ? { device: deviceName(row.text('userdevice')) } : {};
  row.set({ currently_attached: true, ...device });
  return '';
}

/** A forced one needs the guest's drivers all the same; it only does not wait for the guest. */
function unplug(call: Call, cls: 'VBD' | 'VIF', force: boolean): string {
  const row = call.row(cls);
  owner(call.pool, row);
  needDevice(row, cls === 'VBD' && force ? 'unplug_force' : 'unplug');
  row.set({ currently_attached: false });
  return '';
}
