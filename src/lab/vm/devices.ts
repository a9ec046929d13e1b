/** VBD, VIF and VTPM: create, destroy, plug, insert, eject, move (xapi.md 4.6, 8.6). */
import type { Row } from '../core/database.ts';
import { fail, internal } from '../core/failure.ts';
import type { LabPool } from '../core/pool.ts';
import type { Call, Registry } from '../core/registry.ts';
import { nullRef, type Struct } from '../core/values.ts';
import { needNetwork } from './placement.ts';
import { hasAgent, macOf, needState } from './state.ts';

export function installDevices(registry: Registry): void {
  registry.on('VBD.create', createVbd);
  registry.on('VBD.destroy', (call) => {
    needDetached(call.row('VBD')).destroy();
    return '';
  });
  registry.on('VBD.insert', insert);
  registry.on('VBD.eject', eject);
  registry.on('VIF.create', createVif);
  registry.on('VIF.destroy', (call) => {
    needDetached(call.row('VIF')).destroy();
    return '';
  });
  registry.on('VIF.move', moveVif);
  registry.on('VIF.configure_ipv4', configureIpv4);
  for (const cls of ['VBD', 'VIF'] as const) {
    registry.on(`${cls}.plug`, (call) => plug(call, cls));
    registry.on(`${cls}.unplug`, (call) => unplug(call, cls, false));
    registry.on(`${cls}.unplug_force`, (call) => unplug(call, cls, true));
  }
  registry.on('VBD.assert_attachable', (call) => {
    call.row('VBD');
    return '';
  });
  registry.on('VM.get_allowed_VBD_devices', (call) =>
    freeDevices(call.row('VM'), 'VBDs', 'VBD', 'userdevice', 16),
  );
  registry.on('VM.get_allowed_VIF_devices', (call) =>
    freeDevices(call.row('VM'), 'VIFs', 'VIF', 'device', 7),
  );
  registry.on('VTPM.create', (call) => {
    const vm = call.row('VM');
    needState(vm, 'halted');
    if (vm.texts('VTPMs').length > 0) fail('VTPM_MAX_AMOUNT_REACHED', '1');
    return call.pool.db.create('VTPM', {
      VM: vm.ref,
      is_unique: call.bool(1),
      is_protected: false,
      persistence_backend: 'xapi',
    }).ref;
  });
  registry.on('VTPM.destroy', (call) => {
    const vtpm = call.row('VTPM');
    const vm = vtpm.row('VM', 'VM');
    if (vm !== undefined) needState(vm, 'halted');
    vtpm.destroy();
    return '';
  });
}

function freeDevices(vm: Row, field: string, cls: string, name: string, count: number): string[] {
  const used = new Set(vm.rows(field, cls).map((row) => row.text(name)));
  return Array.from({ length: count }, (_, i) => String(i)).filter((device) => !used.has(device));
}

/** `OPERATION_NOT_ALLOWED [VBD '...' still attached to '...']`. */
function needDetached(row: Row): Row {
  if (row.bool('currently_attached'))
    fail(
      'OPERATION_NOT_ALLOWED',
      `${row.cls} '${row.uuid}' still attached to '${row.row('VM', 'VM')?.uuid ?? ''}'`,
    );
  return row;
}

const text = (record: Struct, name: string): string => {
  const value = record[name];
  return typeof value === 'string' ? value : '';
};

function createVbd(call: Call): string {
  const { db } = call.pool;
  const record = call.struct(0);
  const vm = db.row('VM', text(record, 'VM'));
  const type = text(record, 'type') || 'Disk';
  const empty = record['empty'] === true;
  const mode = text(record, 'mode');
  if (type === 'CD' && mode !== 'RO') fail('VBD_CDS_MUST_BE_READONLY');
  if (type === 'Disk' && empty) fail('VBD_NOT_REMOVABLE_MEDIA', 'in constructor');
  const vdi = empty ? null : db.row('VDI', text(record, 'VDI'));
  if (vdi !== null) {
    if (!vdi.bool('managed')) fail('VDI_NOT_MANAGED', vdi.ref);
    if (mode === 'RW' && vdi.bool('read_only')) fail('VDI_READONLY', vdi.ref);
  }
  let userdevice = text(record, 'userdevice');
  const free = freeDevices(vm, 'VBDs', 'VBD', 'userdevice', 255);
  if (userdevice === 'autodetect') userdevice = free[0] ?? fail('INVALID_DEVICE', userdevice);
  const taken = vm.rows('VBDs', 'VBD').some((vbd) => vbd.text('userdevice') === userdevice);
  if (taken) fail('DEVICE_ALREADY_EXISTS', userdevice);
  return db.create('VBD', {
    ...record,
    userdevice,
    type,
    VDI: vdi?.ref ?? nullRef,
    device: '',
    currently_attached: false,
  }).ref;
}

function insert(call: Call): string {
  const vbd = call.row('VBD');
  const vdi = call.row('VDI', 1);
  if (vbd.text('type') === 'Disk') fail('VBD_NOT_REMOVABLE_MEDIA', vbd.ref);
  if (!vbd.bool('empty')) fail('VBD_NOT_EMPTY', vbd.ref);
  // As on the recorded machine, whose emulator has no drive to put the disc into.
  if (vbd.bool('currently_attached')) internal(`vbd_insert_hvm: The VBD ${vbd.ref} is empty`);
  vbd.set({ VDI: vdi.ref, empty: false });
  return '';
}

function eject(call: Call): string {
  const vbd = call.row('VBD');
  if (vbd.text('type') === 'Disk') fail('VBD_NOT_REMOVABLE_MEDIA', vbd.ref);
  if (vbd.bool('empty')) fail('VBD_IS_EMPTY', vbd.ref);
  vbd.set({ VDI: nullRef, empty: true });
  return '';
}

function createVif(call: Call): string {
  const { db } = call.pool;
  const record = call.struct(0);
  const network = db.row('network', text(record, 'network'));
  const vm = db.row('VM', text(record, 'VM'));
  const given = text(record, 'MAC');
  if (given !== '' && !/^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/i.test(given)) fail('MAC_INVALID', given);
  let device = text(record, 'device');
  if (device === 'autodetect')
    device = freeDevices(vm, 'VIFs', 'VIF', 'device', 255)[0] ?? fail('INVALID_DEVICE', device);
  if (!/^\d+$/.test(device)) fail('INVALID_DEVICE', device);
  if (vm.rows('VIFs', 'VIF').some((vif) => vif.text('device') === device))
    fail('DEVICE_ALREADY_EXISTS', device);
  const seed = vm.map('other_config')['mac_seed'] ?? vm.uuid;
  return db.create('VIF', {
    ...record,
    device,
    VM: vm.ref,
    network: network.ref,
    MAC: given === '' ? macOf(seed, device) : given,
    MAC_autogenerated: given === '',
    currently_attached: false,
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

function configureIpv4(call: Call): string {
  const vif = call.row('VIF');
  const vm = vif.row('VM', 'VM');
  const metrics = vm?.row('guest_metrics', 'VM_guest_metrics');
  if (vm !== undefined && metrics?.map('other')['feature-static-ip-setting'] !== '1')
    fail('VM_LACKS_FEATURE', vm.ref);
  const fixed = call.text(1) === 'Static';
  vif.set({
    ipv4_configuration_mode: call.text(1),
    ipv4_addresses: fixed ? [call.text(2)] : [],
    ipv4_gateway: fixed ? call.text(3) : '',
  });
  return '';
}

function owner(pool: LabPool, row: Row): Row {
  return row.row('VM', 'VM') ?? pool.db.row('VM', row.text('VM'));
}

function plug(call: Call, cls: 'VBD' | 'VIF'): string {
  const row = call.row(cls);
  const vm = owner(call.pool, row);
  if (row.bool('currently_attached')) fail('DEVICE_ALREADY_ATTACHED', row.ref);
  needState(vm, 'running');
  if (cls === 'VIF') {
    const host = call.pool.hostOf(vm.text('resident_on'));
    const network = row.row('network', 'network');
    if (host !== undefined && network !== undefined) needNetwork(call.pool, vm, network, host);
  }
  row.set({ currently_attached: true });
  return '';
}

function unplug(call: Call, cls: 'VBD' | 'VIF', force: boolean): string {
  const row = call.row(cls);
  const vm = owner(call.pool, row);
  needState(vm, 'running');
  if (!row.bool('currently_attached')) fail('DEVICE_ALREADY_DETACHED', row.ref);
  if (!force && !hasAgent(vm)) fail('VM_MISSING_PV_DRIVERS', vm.ref);
  row.set({ currently_attached: false });
  return '';
}
