/** The drivers of the lab, by SR type. */
import type { Driver } from './driver.ts';
import { backendFailure, probeNotSupported } from './errors.ts';
import { ext, file, localLvm, nfs, smb, unsupported } from './file-drivers.ts';
import { iso } from './iso-driver.ts';
import { lvmofcoe, lvmohba, lvmoiscsi } from './lvm-drivers.ts';
import { cephfs, glusterfs, moosefs } from './mounted-drivers.ts';

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

export const common: readonly Driver[] = [
  nfs,
  smb,
  file,
  ext,
  localLvm,
  iso,
  lvmoiscsi,
  lvmohba,
  lvmofcoe,
  ...others,
];

/** Types of XCP-ng whose storage manager a pool has once its hosts were given it (`addStorageManager`). */
export const optional: readonly Driver[] = [cephfs, glusterfs, moosefs];

export const drivers: ReadonlyMap<string, Driver> = new Map(
  [...common, ...optional].map((driver) => [driver.name, driver]),
);
