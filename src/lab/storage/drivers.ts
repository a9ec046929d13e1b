/** The drivers of the lab, by SR type. */
import type { LabPool } from '../core/pool.ts';
import { struct } from '../core/values.ts';
import type { Driver } from './driver.ts';
import { backendFailure, probeNotSupported } from './errors.ts';
import { ext, file, localLvm, nfs, smb, unsupported } from './file-drivers.ts';
import { iso } from './iso-driver.ts';
import { lvmofcoe, lvmohba, lvmoiscsi } from './lvm-drivers.ts';

const others = [
  unsupported(
    'udev',
    'udev',
    ['SR_UPDATE', 'VDI_ATTACH', 'VDI_DETACH', 'VDI_INTRODUCE', 'VDI_UPDATE'],
    probeNotSupported,
  ),
  unsupported(
    'dummy',
    'dummy',
    [
      'SR_PROBE',
      'VDI_ACTIVATE',
      'VDI_ATTACH',
      'VDI_CLONE',
      'VDI_CREATE',
      'VDI_DEACTIVATE',
      'VDI_DELETE',
      'VDI_DETACH',
      'VDI_INTRODUCE',
      'VDI_MIRROR',
      'VDI_RESIZE',
      'VDI_SNAPSHOT',
    ],
    () => backendFailure(202, `['INTERNAL_ERROR', 'Failure("Expected string, got \\'N\\'")']`),
  ),
  unsupported(
    'hba',
    'HBA LUN-per-VDI driver',
    ['SR_PROBE', 'VDI_ATTACH', 'VDI_CREATE', 'VDI_DELETE', 'VDI_DETACH', 'VDI_INTRODUCE'],
    () => backendFailure(1200),
  ),
];

export const drivers: ReadonlyMap<string, Driver> = new Map(
  [nfs, smb, file, ext, localLvm, iso, lvmoiscsi, lvmohba, lvmofcoe, ...others].map((driver) => [
    driver.name,
    driver,
  ]),
);

/** The program behind a type, where its name does not follow from the type. */
const programs: Readonly<Record<string, string>> = {
  lvmohba: 'LVMoHBASR',
  lvmoiscsi: 'LVMoISCSISR',
  lvmofcoe: 'LVMoFCoESR',
  udev: 'udevSR',
  file: 'FileSR',
  dummy: 'DummySR',
};

/** SM records, as a host writes them at its start. */
export function addStorageManagers(pool: LabPool): void {
  for (const driver of drivers.values()) {
    if (pool.db.all('SM').some((row) => row.get('type') === driver.name)) continue;
    pool.db.create('SM', {
      type: driver.name,
      name_label: driver.description,
      vendor: 'Citrix Systems Inc',
      copyright: '(C) 2008 Citrix Systems Inc',
      version: '1.0',
      driver_filename: `/opt/xensource/sm/${programs[driver.name] ?? `${driver.name.toUpperCase()}SR`}`,
      required_api_version: driver.name === 'udev' || driver.name === 'dummy' ? '1.1' : '1.0',
      capabilities: [...driver.capabilities],
      features: struct(
        Object.fromEntries(
          driver.capabilities.map((name) => [name, name === 'VDI_RESET_ON_BOOT' ? '2' : '1']),
        ),
      ),
    });
  }
}
