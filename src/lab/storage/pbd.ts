/** PBD: create, destroy, plug, unplug (xapi.md 7.2, 7.9). */
import type { Row } from '../core/database.ts';
import { fail } from '../core/failure.ts';
import type { LabHost, LabPool } from '../core/pool.ts';
import type { Call, Registry } from '../core/registry.ts';
import { isStruct, nullRef, type Struct, struct } from '../core/values.ts';
import type { Backend } from './driver.ts';
import { storageError } from './errors.ts';
import { readVolumeGroup, writeVolumeGroup } from './fabric.ts';
import { scan } from './scan.ts';
import { contextOf, driverOf, liveHost, pluggedPbds, storageState } from './state.ts';

export function installPbds(registry: Registry): void {
  registry.on('PBD.create', (call) => {
    const record = call.struct(0);
    const host = typeof record['host'] === 'string' ? record['host'] : nullRef;
    const sr = call.pool.db.row('SR', typeof record['SR'] === 'string' ? record['SR'] : nullRef);
    if (host !== nullRef) call.pool.db.row('host', host);
    const deviceConfig = isStruct(record['device_config']) ? record['device_config'] : struct();
    return createPbd(call.pool, sr, host, deviceConfig as Record<string, string>).ref;
  });
  registry.on('PBD.destroy', (call) => {
    const pbd = call.row('PBD');
    if (pbd.bool('currently_attached')) fail('OPERATION_NOT_ALLOWED', 'PBD is currently attached');
    destroyPbd(call.pool, pbd);
    return '';
  });
  registry.on('PBD.plug', (call) => {
    plug(call.pool, call.row('PBD'));
    return '';
  });
  registry.on('PBD.unplug', (call) => {
    unplug(call.pool, call.row('PBD'));
    return '';
  });
  registry.on('PBD.set_device_config', (call: Call) => {
    call.row('PBD');
    fail('PERMISSION_DENIED', '');
  });
}

export function createPbd(
  pool: LabPool,
  sr: Row,
  host: string,
  deviceConfig: Readonly<Record<string, string>>,
): Row {
  const twin = sr.rows('PBDs', 'PBD').find((pbd) => host !== nullRef && pbd.text('host') === host);
  if (twin !== undefined) fail('PBD_EXISTS', sr.ref, host, twin.ref);
  for (const [key, value] of Object.entries(deviceConfig))
    if (key.endsWith('password_secret')) pool.db.byUuid('secret', value);
  const kept: Struct = struct();
  for (const [key, value] of Object.entries(deviceConfig)) {
    if (key === 'SRmaster') continue;
    if (key.endsWith('password')) kept[`${key}_secret`] = pool.db.create('secret', { value }).uuid;
    else kept[key] = value;
  }
  return pool.db.create('PBD', { host, SR: sr.ref, device_config: kept });
}

/** Drops the record and the secrets that it points at. */
export function destroyPbd(pool: LabPool, pbd: Row): void {
  for (const [key, value] of Object.entries(pbd.map('device_config')))
    if (key.endsWith('password_secret')) pool.db.findByUuid('secret', value)?.destroy();
  storageState(pool).attached.delete(pbd.ref);
  pbd.destroy();
}

export function plug(pool: LabPool, pbd: Row): void {
  if (pbd.bool('currently_attached')) return;
  const sr = pbd.row('SR', 'SR') ?? fail('HANDLE_INVALID', 'SR', pbd.text('SR'));
  const host = liveHost(pool, pbd.text('host'));
  const driver = driverOf(pool, sr.text('type'));
  const all = sr.rows('PBDs', 'PBD');
  if (!sr.bool('shared') && all.length > 1)
    storageError('SR_HAS_MULTIPLE_PBDS', ...all.map((row) => row.uuid));
  const context = contextOf(pool, host, pbd.map('device_config'), sr.map('sm_config'));
  const backend = driver.attach(context, sr.uuid);
  storageState(pool).attached.set(pbd.ref, backend);
  pbd.set({ currently_attached: true });
  noteMultipath(pbd, host, backend);
  if (host !== pool.master) return;
  const group = backend.lun === null ? null : readVolumeGroup(backend.lun);
  // The name that xapi knows goes over the one on the LUN (xapi.md 7.7).
  if (backend.lun !== null && group !== null)
    writeVolumeGroup(backend.lun, {
      ...group,
      nameLabel: sr.text('name_label'),
      nameDescription: sr.text('name_description'),
    });
  try {
    scan(pool, sr, backend);
  } catch (error) {
    // The scan behind a plug is best effort (xapi.md 7.2).
    const reason = error instanceof Error ? error.message : String(error);
    pool.message('POST_ATTACH_SCAN_FAILED', 2n, 'SR', sr.uuid, reason);
  }
}

export function unplug(pool: LabPool, pbd: Row): void {
  if (!pbd.bool('currently_attached')) return;
  const sr = pbd.row('SR', 'SR');
  const host = pbd.text('host');
  if (sr !== undefined) {
    const used = disksInUse(sr, host);
    if (used.length > 0) fail('VDI_IN_USE', ...used);
    if (pool.row.bool('ha_enabled')) checkHa(pool, sr);
  }
  storageState(pool).attached.delete(pbd.ref);
  pbd.set({ currently_attached: false });
  for (const key of Object.keys(pbd.map('other_config')))
    if (/^mpath-|^multipathed$|^iscsi_sessions$/.test(key)) pbd.drop('other_config', key);
}

/** What the driver counts of a LUN on a host that uses several paths (xapi.md 7.11). */
function noteMultipath(pbd: Row, host: LabHost, { lun, paths }: Backend): void {
  if (lun === null || paths === undefined || !host.row.bool('multipathing')) return;
  pbd.put('other_config', 'multipathed', 'true');
  pbd.put('other_config', `mpath-${lun.scsiId}`, `[${paths.up}, ${paths.total}]`);
  if (pbd.map('device_config')['targetIQN'] !== undefined)
    pbd.put('other_config', 'iscsi_sessions', String(paths.up));
}

/** Disks of an SR that VMs on this host hold. */
function disksInUse(sr: Row, host: string): string[] {
  return sr
    .rows('VDIs', 'VDI')
    .filter((vdi) =>
      vdi.rows('VBDs', 'VBD').some((vbd) => {
        if (!vbd.bool('currently_attached')) return false;
        const vm = vbd.row('VM', 'VM');
        return vm?.text('resident_on') === host && vm.text('power_state') !== 'Halted';
      }),
    )
    .map((vdi) => vdi.ref);
}

function checkHa(pool: LabPool, sr: Row): void {
  const inSr = (ref: string): boolean => pool.db.find('VDI', ref)?.text('SR') === sr.ref;
  if (pool.row.texts('ha_statefiles').some(inSr)) fail('HA_IS_ENABLED');
  const protectedUser = sr.rows('VDIs', 'VDI').some((vdi) =>
    vdi.rows('VBDs', 'VBD').some((vbd) => {
      const vm = vbd.row('VM', 'VM');
      return vm?.bool('ha_always_run') === true && vm.text('ha_restart_priority') === 'restart';
    }),
  );
  if (protectedUser) fail('HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED', sr.ref);
}

/** What is left of a host's attachments when its power is gone. */
export function forgetAttachments(pool: LabPool, hostRef: string): void {
  for (const pbd of pool.db.all('PBD')) {
    if (pbd.text('host') !== hostRef || !pbd.bool('currently_attached')) continue;
    storageState(pool).attached.delete(pbd.ref);
    pbd.set({ currently_attached: false });
  }
}

/** Plugs what can be plugged when a host starts, as xapi does; failures become messages. */
export function plugAll(pool: LabPool, hostRef: string): void {
  for (const pbd of pool.db.all('PBD')) {
    if (pbd.text('host') !== hostRef) continue;
    try {
      plug(pool, pbd);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const host = pool.db.find('host', hostRef);
      pool.message('PBD_PLUG_FAILED_ON_SERVER_START', 2n, 'Host', host?.uuid ?? '', reason);
    }
  }
}

export function isPlugged(pool: LabPool, sr: Row): boolean {
  return pluggedPbds(pool, sr).length > 0;
}
