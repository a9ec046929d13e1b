/** Which storage managers the hosts of a pool have: SM records, and what `SR_UNKNOWN_DRIVER` goes by (xapi.md 7.2). */
import type { LabPool } from '../core/pool.ts';
import { struct } from '../core/values.ts';
import { common, drivers, optional } from './drivers.ts';
import { storageState } from './state.ts';

/** The program behind a type, where its name does not follow from the type. */
const programs: Readonly<Record<string, string>> = {
  lvmohba: 'LVMoHBASR',
  lvmoiscsi: 'LVMoISCSISR',
  lvmofcoe: 'LVMoFCoESR',
  udev: 'udevSR',
  file: 'FileSR',
  dummy: 'DummySR',
  cephfs: 'CephFSSR',
  glusterfs: 'GlusterFSSR',
  moosefs: 'MooseFSSR',
};

/** SM records, as a host writes them at its start. */
export function addStorageManagers(pool: LabPool): void {
  for (const driver of common) addStorageManager(pool, driver.name);
}

export function addStorageManager(pool: LabPool, type: string): void {
  const driver = drivers.get(type);
  if (driver === undefined) throw new Error(`the lab has no driver for SR type ${type}`);
  storageState(pool).types.add(type);
  if (pool.db.all('SM').some((row) => row.get('type') === type)) return;
  pool.db.create('SM', {
    type,
    name_label: driver.description,
    vendor: optional.includes(driver) ? 'Vates SAS' : 'Citrix Systems Inc',
    copyright: optional.includes(driver) ? '(C) 2020 Vates SAS' : '(C) 2008 Citrix Systems Inc',
    version: '1.0',
    driver_filename: `/opt/xensource/sm/${programs[type] ?? `${type.toUpperCase()}SR`}`,
    required_api_version: type === 'udev' || type === 'dummy' ? '1.1' : '1.0',
    capabilities: [...driver.capabilities],
    features: struct(
      Object.fromEntries(driver.capabilities.map((name) => [name, name === 'VDI_RESET_ON_BOOT' ? '2' : '1'])),
    ),
  });
}

/** As on a pool whose hosts never had the package of this type. */
export function removeStorageManager(pool: LabPool, type: string): void {
  storageState(pool).types.delete(type);
  for (const row of pool.db.all('SM')) if (row.get('type') === type) row.destroy();
}
