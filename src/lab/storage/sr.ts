/** SR: probe, create, introduce, forget, destroy, scan, update and the setters that reach the storage (xapi.md 7). */
import { randomUUID } from 'node:crypto';
import type { Row } from '../core/database.ts';
import { fail } from '../core/failure.ts';
import type { LabPool } from '../core/pool.ts';
import type { Call, Registry } from '../core/registry.ts';
import { struct } from '../core/values.ts';
import { installDatabaseReplication } from './database-replication.ts';
import { drivers } from './drivers.ts';
import { readVolumeGroup, writeVolumeGroup } from './fabric.ts';
import { createPbd, destroyPbd, plug } from './pbd.ts';
import { scan, updateSizes } from './scan.ts';
import {
  backendOf,
  contextOf,
  driverOf,
  hasPower,
  isBare,
  liveHost,
  pluggedPbds,
  storageState,
} from './state.ts';

export function installSrs(registry: Registry): void {
  registry.on('SR.probe', (call) => {
    const driver = driverOf(call.pool, call.text(2));
    const host = liveHost(call.pool, call.text(0));
    return driver.probe(contextOf(call.pool, host, call.map(1), call.map(3)));
  });
  registry.on('SR.probe_ext', (call) => {
    driverOf(call.pool, call.text(2));
    liveHost(call.pool, call.text(0));
    fail('SR_OPERATION_NOT_SUPPORTED');
  });
  registry.on('SR.introduce', (call) => {
    const uuid = call.text(0) === '' ? randomUUID() : call.text(0);
    if (call.pool.db.uuidTaken(uuid)) fail('SR_UUID_EXISTS', uuid);
    return newSr(
      call.pool,
      uuid,
      call.text(1),
      call.text(2),
      call.text(3),
      call.text(4),
      call.bool(5),
      call.map(6),
    ).ref;
  });
  registry.on('SR.create', createSr);
  registry.on('SR.forget', (call) => {
    const sr = unpluggedSr(call);
    for (const pbd of sr.rows('PBDs', 'PBD')) destroyPbd(call.pool, pbd);
    for (const vdi of sr.rows('VDIs', 'VDI')) vdi.destroy();
    sr.destroy();
    return '';
  });
  registry.on('SR.destroy', destroySr);
  registry.on('SR.scan', (call) => {
    const sr = call.row('SR');
    if (!isBare(call.pool, sr)) scan(call.pool, sr);
    return '';
  });
  registry.on('SR.update', (call) => {
    const sr = call.row('SR');
    updateSizes(sr, backendOf(call.pool, sr));
    return '';
  });
  registry.on('SR.set_shared', (call) => {
    const sr = call.row('SR');
    const pbds = sr.texts('PBDs');
    if (!call.bool(1) && pbds.length > 1) fail('SR_HAS_MULTIPLE_PBDS', ...pbds);
    sr.set({ shared: call.bool(1) });
    return '';
  });
  for (const field of ['name_label', 'name_description'] as const) {
    registry.on(`SR.set_${field}`, (call) => {
      const sr = call.row('SR');
      const { lun } = backendOf(call.pool, sr);
      sr.set({ [field]: call.text(1) });
      const group = lun === null ? null : readVolumeGroup(lun);
      if (lun !== null && group !== null)
        writeVolumeGroup(lun, {
          ...group,
          nameLabel: sr.text('name_label'),
          nameDescription: sr.text('name_description'),
        });
      return '';
    });
  }
  registry.on('SR.make', () => fail('MESSAGE_DEPRECATED'));
  installDatabaseReplication(registry);
  registry.on('DR_task.create', (call) => {
    const type = call.text(0);
    if (!(drivers.get(type)?.capabilities ?? []).includes('SR_METADATA'))
      fail('OPERATION_NOT_ALLOWED', `Disaster recovery not supported on SRs of type ${type}`);
    return fail('NOT_IMPLEMENTED', 'DR_task.create');
  });
  // Kept for the storage drivers alone.
  registry.on('SR.set_physical_size', (call) => {
    call.row('SR');
    fail('PERMISSION_DENIED', '');
  });
  registry.on('SR.get_supported_types', (call) => {
    const { types } = storageState(call.pool);
    return [...drivers.keys()].filter((type) => types.has(type));
  });
  registry.on('SR.assert_can_host_ha_statefile', (call) => {
    const sr = call.row('SR');
    if (!sr.bool('shared')) fail('SR_NOT_SHARABLE', sr.ref, call.pool.master.row.ref);
    backendOf(call.pool, sr);
    return '';
  });
}

function newSr(
  pool: LabPool,
  uuid: string,
  nameLabel: string,
  nameDescription: string,
  type: string,
  contentType: string,
  shared: boolean,
  smConfig: Readonly<Record<string, string>>,
): Row {
  return pool.db.create('SR', {
    uuid,
    name_label: nameLabel,
    name_description: nameDescription,
    type: type.toLowerCase(),
    content_type: contentType,
    shared,
    sm_config: struct(smConfig),
    virtual_allocation: 0n,
    physical_utilisation: -1n,
    physical_size: -1n,
  });
}

function createSr(call: Call): string {
  const { pool } = call;
  const deviceConfig = call.map(1);
  const shared = call.bool(7);
  const driver = driverOf(pool, call.text(5));
  // A shared SR is made on the master, whatever host was named.
  const host = liveHost(pool, shared ? pool.master.row.ref : call.text(0));
  // Only here do LUN drivers ask whether another SR has the LUN (storage.md C.0): a PBD is plugged without that look.
  const scsiId = deviceConfig['SCSIid'];
  if (scsiId !== undefined && pool.db.all('PBD').some((pbd) => pbd.map('device_config')['SCSIid'] === scsiId))
    fail('SR_DEVICE_IN_USE');
  const uuid = randomUUID();
  driver.create(contextOf(pool, host, deviceConfig, call.map(8)), uuid);
  const sr = newSr(pool, uuid, call.text(3), call.text(4), call.text(5), call.text(6), shared, call.map(8));
  const others = shared ? pool.hosts.filter((h) => h !== host) : [];
  const created = createPbd(pool, sr, host.row.ref, deviceConfig);
  const pbds = [created, ...others.map((h) => createPbd(pool, sr, h.row.ref, deviceConfig))];
  try {
    plug(pool, created);
  } catch (error) {
    for (const pbd of pbds) destroyPbd(pool, pbd);
    sr.destroy();
    throw error;
  }
  // The recorded pool attaches an ISO library on the named host alone.
  if (driver.name === 'iso') return sr.ref;
  for (const pbd of pbds) {
    const other = pool.hostOf(pbd.text('host'));
    if (other !== undefined && hasPower(other)) plug(pool, pbd);
  }
  return sr.ref;
}

/** The SR of a call that wants it plugged nowhere: `SR_HAS_PBD [sr]`. */
function unpluggedSr(call: Call): Row {
  const sr = call.row('SR');
  if (pluggedPbds(call.pool, sr).length > 0) fail('SR_HAS_PBD', sr.ref);
  return sr;
}

function destroySr(call: Call): string {
  const { pool } = call;
  const sr = call.row('SR');
  unpluggedSr(call);
  const [pbd] = sr.rows('PBDs', 'PBD');
  if (pbd === undefined) fail('SR_HAS_NO_PBDS', sr.ref);
  const kept = sr.rows('VDIs', 'VDI').some((vdi) => vdi.bool('managed') && vdi.text('type') !== 'rrd');
  if (kept) fail('SR_NOT_EMPTY');
  if (sr.map('other_config')['indestructible'] === 'true') fail('SR_INDESTRUCTIBLE', sr.ref);
  const host = liveHost(pool, pbd.text('host'));
  const driver = driverOf(pool, sr.text('type'));
  const context = contextOf(pool, host, pbd.map('device_config'), sr.map('sm_config'));
  if (driver.attach(context, sr.uuid).scan().length > 0 && driver.name !== 'iso') fail('SR_NOT_EMPTY');
  driver.remove(context, sr.uuid);
  for (const row of sr.rows('PBDs', 'PBD')) destroyPbd(pool, row);
  for (const vdi of sr.rows('VDIs', 'VDI')) vdi.destroy();
  sr.destroy();
  return '';
}
