/** What the numbers of `SR_BACKEND_FAILURE_<n>` mean (xapi.md 7.3), and what to do about each. */
import type { ErrorCode } from '../../domain/errors.ts';

export interface StorageFailure {
  readonly code: ErrorCode;
  readonly what: string;
  readonly next: string;
}

const device =
  'Make sure that the replica is promoted, and presented to this host by the array, then try again';
const iscsi = 'Check address, IQN and CHAP of the target, and that the array lets the IQN of this host in';
const nfs = 'Check that the filer exports the path to this host, and that the server answers';
const smb = 'Check server, share, user and password of the SMB storage';
const lvm = 'Look at /var/log/SMlog of the host, and scan the SR on the coordinator';
const space = 'Make room on the storage, then try again';
const config = 'Correct the device_config of the PBD';
const driver = 'Look at /var/log/SMlog of the host that ran the operation';
const iso = 'Check location and credentials of the ISO library';
const multipath = 'Check the paths with `multipath -ll` on the host, and its multipathing setting';

/** What the drivers of XCP-ng's own types say, without a number of its own, where a host lacks their client. */
export const clientMissing: StorageFailure & { readonly says: RegExp } = {
  says: /\b(?:is|are) not installed\b/i,
  code: 'DR-SR-NO-CLIENT',
  what: 'The host lacks a program that storage of this type needs',
  next: 'Install the client of this storage on every host of the pool (for CephFS ceph-common, for GlusterFS glusterfs-fuse), then try again',
};

const rows: readonly [numbers: readonly number[], code: ErrorCode, what: string, next: string][] = [
  [
    [12],
    'DR-SR-MOUNT',
    'The file system of the SR cannot be mounted',
    'Check server, path and options of the SR, and that the storage lets this host in; a secret file that the options name must be on every host',
  ],
  [[16], 'DR-SR-IN-USE', 'The device is in use', 'Detach what uses the LUN, then try again'],
  [
    [24],
    'DR-VDI-IN-USE',
    'The disk is in use',
    'Find what has the disk attached: a VM, the control domain or an export',
  ],
  [
    [38],
    'DR-SR-UNSUPPORTED',
    'The storage driver does not implement the operation',
    'Use an SR type that has it',
  ],
  [[39], 'DR-SR-NOT-EMPTY', 'The SR is not empty', 'Leave the SR as it is: Lifeboat never wipes storage'],
  [
    [144],
    'DR-VDI-MISSING',
    'The disk is gone from the storage',
    'Choose a recovery point whose disks are all on the replica',
  ],
  [[40], 'DR-SR-SCAN', 'The scan of the SR failed', driver],
  [
    [47],
    'DR-SR-DEVICE',
    'The SR is not available: its LUN or volume group is not visible, or is read-only',
    device,
  ],
  [[43], 'DR-VDI-EXISTS', 'The disk exists already', 'Scan the SR and look at the disk that is there'],
  [[44], 'DR-SR-FULL', 'The SR has no space left', space],
  [
    [46],
    'DR-VDI-UNAVAILABLE',
    'The disk is not available',
    'Scan the SR on the coordinator, so that its journals are repaired, then try again',
  ],
  [[52], 'DR-SR-LVM', 'The volume group cannot be activated', device],
  [
    [58],
    'DR-SR-LVM',
    'The LVM operation has to come from the coordinator',
    'Plug the PBD of the coordinator first',
  ],
  [[65, 66, 79], 'DR-VDI-DAMAGED', 'The disk cannot be loaded: its type or size is invalid', driver],
  [[67], 'DR-SR-ISCSI', 'The iSCSI device did not appear', iscsi],
  [
    [68],
    'DR-SR-CHAP',
    'The iSCSI target refused the login of this host',
    'Give the target the CHAP user and password that production uses, or let the IQN of this host in on the array',
  ],
  [[69], 'DR-SR-ISCSI', 'The logout from the iSCSI target failed', driver],
  [
    [72],
    'DR-SR-NFS',
    'The NFS server does not speak the version asked for',
    'Set nfsversion in the device_config to one that the server has',
  ],
  [[73], 'DR-SR-NFS', 'The NFS export cannot be mounted', nfs],
  [[74, 75], 'DR-SR-NFS', 'The NFS export cannot be unmounted: its mount point is busy', driver],
  [[78, 80, 81, 82], 'DR-VDI-OPERATION', 'The operation on the disk failed', driver],
  [
    [109],
    'DR-VDI-CHAIN',
    'The snapshot chain of the disk is too long',
    'Delete snapshots, and let the SR coalesce',
  ],
  [[83, 86], 'DR-SR-ISCSI', 'The iSCSI target was not found by discovery', iscsi],
  [[84], 'DR-SR-ISCSI', 'The IQNs of the target differ', iscsi],
  [[85], 'DR-SR-ISCSI', 'The iSCSI device cannot be detached', driver],
  [[87, 89], 'DR-SR-CONFIG', 'The LUN id is missing', config],
  [[90, 91], 'DR-SR-CONFIG', 'The device is missing, or its path is invalid', config],
  [[94], 'DR-SR-CONFIG', 'The location is missing', config],
  [[95], 'DR-SR-CONFIG', 'The iSCSI target address is missing', config],
  [
    [96],
    'DR-SR-ISCSI-IQN',
    'The target IQN is missing or wrong',
    'Use one of the IQNs that the target offers',
  ],
  [[97], 'DR-SR-ISCSI', 'The host has no iSCSI IQN', 'Set the iSCSI IQN of the host'],
  [[99], 'DR-SR-CONFIG', 'Only one LUN is allowed', config],
  [
    [101],
    'DR-SR-NFS-PATH',
    'The path on the NFS server is missing',
    'Use one of the paths that the server exports',
  ],
  [[102], 'DR-SR-CONFIG', 'The address of the server is missing', config],
  [[103], 'DR-SR-CONFIG', 'The path on the server is invalid', config],
  [
    [107],
    'DR-SR-LUN',
    'The LUN is missing: no LUN with this SCSIid at the target',
    'Use the SCSIid of a LUN that the host sees, or let the array present the replica to this host',
  ],
  [[108], 'DR-SR-NFS', 'No NFS service answers at the address', nfs],
  [[111], 'DR-SR-SMB', 'The SMB share cannot be mounted', smb],
  [[112, 113], 'DR-SR-SMB', 'The SMB share cannot be unmounted: its mount point is busy', driver],
  [[115], 'DR-SR-CONFIG', 'Parameters of the SMB share are missing', config],
  [[116], 'DR-SR-SMB', 'The directory on the SMB share cannot be made', smb],
  [[117], 'DR-SR-LVM', 'A logical volume cannot be read', lvm],
  [
    [119],
    'DR-SR-DUPLICATE-LUN',
    'Original and copy of the LUN are both visible to the host',
    'Mask one of the two LUNs on the array: they can never be attached to one pool together',
  ],
  [
    [140],
    'DR-SR-ADDRESS',
    'The name of the storage server cannot be resolved',
    'Use the address of the server, or repair DNS on the host',
  ],
  [[141], 'DR-SR-ISCSI', 'No iSCSI service answers at the address', iscsi],
  [[142], 'DR-SR-CONFIG', 'The port of the target is wrong', config],
  [
    [180],
    'DR-SR-FULL',
    'The volume group has no space to attach the disk',
    'Grow the LUN, or make room on it: an attached disk is inflated to its full size',
  ],
  [[181], 'DR-SR-LVM', 'The metadata volume of the SR cannot be used; is the LUN read-only?', device],
  [
    [200],
    'DR-SR-IO',
    'The storage answered with an I/O error',
    'Check the array, the paths and the log of the host before anything else',
  ],
  [[202], 'DR-SR-DRIVER', 'The storage driver failed', driver],
  [[1200], 'DR-SR-DRIVER', 'The storage driver crashed', driver],
  [[220, 221, 222, 223, 224, 225, 226, 227, 228], 'DR-SR-ISO', 'The ISO library cannot be attached', iso],
  [[430, 431, 432, 433, 434], 'DR-SR-MULTIPATH', 'Multipathing failed on the host', multipath],
  [[453], 'DR-SR-TAPDISK', 'The disk process of the host failed', driver],
  [[454], 'DR-SR-SMB', 'SMB storage is not licensed on this host', 'Use a licence with SMB storage'],
  [
    [461],
    'DR-SR-READ-ONLY',
    'The file system is not writable',
    'Promote the replica, or export it writable, then plug again',
  ],
  [
    [457, 458, 459, 460],
    'DR-VDI-CBT',
    'Changed block tracking failed',
    'Disable changed block tracking of the disk, and enable it again',
  ],
];

/** By number; a number that is not here is a `DR-SR-DRIVER` with the driver's own words. */
export const storageFailures: ReadonlyMap<number, StorageFailure> = new Map(
  rows.flatMap(([numbers, code, what, next]) => numbers.map((n) => [n, { code, what, next }])),
);
