/** LVM SRs on simulated LUNs: lvmoiscsi, lvmohba, lvmofcoe (xapi.md 7.4, 7.6, 7.7). */
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DamagedDisk, DiskDirectory } from './directory.ts';
import type { Backend, Context, Driver } from './driver.ts';
import { backendFailure } from './errors.ts';
import {
  fabricOf,
  type IscsiTarget,
  type Lun,
  readVolumeGroup,
  type VolumeGroup,
  writeVolumeGroup,
} from './fabric.ts';
import { scannedFile } from './file-drivers.ts';
import { type Element, element, xmlDocument } from './xml.ts';

/** What LVM itself takes of a LUN. */
const lvmOverhead = 12 * 1024 * 1024;

const capabilities = [
  'SR_CACHING',
  'SR_METADATA',
  'SR_PROBE',
  'SR_TRIM',
  'SR_UPDATE',
  'VDI_ACTIVATE',
  'VDI_ATTACH',
  'VDI_CLONE',
  'VDI_CONFIG_CBT',
  'VDI_CREATE',
  'VDI_DEACTIVATE',
  'VDI_DELETE',
  'VDI_DETACH',
  'VDI_GENERATE_CONFIG',
  'VDI_MIRROR',
  'VDI_RESET_ON_BOOT',
  'VDI_RESIZE',
  'VDI_SNAPSHOT',
  'VDI_UPDATE',
];

function devicePath(lun: Lun): string {
  return `/dev/disk/by-id/scsi-${lun.scsiId}`;
}

function srList(context: Context, lun: Lun): string {
  const group = readVolumeGroup(lun);
  if (group === null) return xmlDocument(element('SRlist', []));
  const details: Element[] =
    context.smConfig['metadata'] === 'true'
      ? [
          element('name_label', group.nameLabel),
          element('name_description', group.nameDescription),
          element(
            'pool_metadata_detected',
            String(Object.values(group.volumes).some((v) => v.type === 'metadata')),
          ),
        ]
      : [];
  return xmlDocument(
    element('SRlist', [
      element('SR', [
        element('UUID', group.sr),
        element('Devlist', devicePath(lun)),
        element('size', String(lun.sizeBytes - lvmOverhead)),
        ...details,
      ]),
    ]),
  );
}

function format(lun: Lun, sr: string): void {
  mkdirSync(lun.directory, { recursive: true, mode: 0o700 });
  for (const name of readdirSync(lun.directory)) rmSync(join(lun.directory, name), { recursive: true });
  writeVolumeGroup(lun, { sr, nameLabel: '', nameDescription: '', volumes: {} });
}

function attach(lun: Lun, sr: string, visible: readonly Lun[], guard: boolean): Backend {
  const group = readVolumeGroup(lun);
  if (group === null || group.sr !== sr) backendFailure(47, `no such volume group: VG_XenStorage-${sr}`);
  const twins = visible.filter((other) => other.scsiId !== lun.scsiId && readVolumeGroup(other)?.sr === sr);
  if (guard && twins.length > 0)
    backendFailure(
      119,
      `Found physical volumes of VG_XenStorage-${sr} on ${[lun, ...twins].map((l) => l.scsiId).join(', ')}`,
    );
  if (lun.access() !== 'rw') backendFailure(52, `VG_XenStorage-${sr} is read-only`);
  const disks = new DiskDirectory(lun.directory);
  return {
    access: () => lun.access(),
    disks,
    lun,
    scan() {
      if (lun.access() === 'none') backendFailure(40, 'Input/output error');
      const known: VolumeGroup | null = readVolumeGroup(lun);
      try {
        return disks.list().map((disk) => {
          const metadata = known?.volumes[disk.uuid] ?? null;
          return { ...scannedFile(disk), metadata, nameLabel: metadata?.nameLabel ?? '' };
        });
      } catch (error) {
        if (error instanceof DamagedDisk) backendFailure(40, `uuid=${error.uuid}`);
        throw error;
      }
    },
    // Volumes are thick: a disk takes its whole virtual size.
    space: () => ({
      total: lun.sizeBytes - lvmOverhead,
      used: disks.list().reduce((sum, d) => sum + d.virtualSize, 0),
    }),
    open: (location, mode) => disks.open(location, mode),
  };
}

function openTargets(context: Context): IscsiTarget[] {
  const { target, port } = context.deviceConfig;
  const addresses = (target ?? backendFailure(95)).split(',').map((a) => a.trim());
  const wanted = Number(port ?? '3260');
  const found = fabricOf(context.pool).targets.filter(
    (t) => addresses.includes(t.address) && t.port === wanted,
  );
  if (found.length === 0) backendFailure(141);
  return found;
}

function chosenTargets(context: Context): IscsiTarget[] {
  const all = openTargets(context);
  const { targetIQN } = context.deviceConfig;
  const wanted = targetIQN?.split(',').map((iqn) => iqn.trim());
  const chosen = all.filter((t) => wanted?.includes('*') === true || wanted?.includes(t.iqn) === true);
  if (chosen.length === 0) {
    const entries = [...all.map((t) => ({ address: t.address, port: t.port, iqn: t.iqn }))];
    const [first] = entries;
    if (first !== undefined) entries.push({ ...first, iqn: '*' });
    const list = entries.map((entry, index) =>
      element('TGT', [
        element('Index', String(index)),
        element('IPAddress', entry.address),
        ...(entry.port === 3260 ? [] : [element('Port', String(entry.port))]),
        element('TargetIQN', entry.iqn),
      ]),
    );
    backendFailure(96, '', xmlDocument(element('iscsi-target-iqns', list)));
  }
  const { chapuser, chappassword } = context.deviceConfig;
  for (const { chap } of chosen)
    if (chap !== undefined && (chap.user !== chapuser || chap.password !== chappassword)) backendFailure(68);
  return chosen;
}

function iscsiLun(context: Context): { readonly lun: Lun; readonly visible: readonly Lun[] } {
  const visible = chosenTargets(context)
    .flatMap((t) => t.luns)
    .filter((lun) => lun.access() !== 'none');
  const lun = visible.find((l) => l.scsiId === context.deviceConfig['SCSIid']);
  if (lun !== undefined) return { lun, visible };
  const list = visible.map((l) =>
    element('LUN', [
      element('vendor', l.vendor),
      element('serial', l.serial),
      element('LUNid', String(l.lunId)),
      element('size', String(l.sizeBytes)),
      element('SCSIid', l.scsiId),
    ]),
  );
  backendFailure(107, '', xmlDocument(element('iscsi-target', list)));
}

export const lvmoiscsi: Driver = {
  name: 'lvmoiscsi',
  description: 'LVHD over iSCSI',
  capabilities,
  probe: (context) => srList(context, iscsiLun(context).lun),
  create: (context, sr) => format(iscsiLun(context).lun, sr),
  attach(context, sr) {
    const { lun, visible } = iscsiLun(context);
    return attach(lun, sr, visible, true);
  },
  remove: (context) => rmSync(iscsiLun(context).lun.directory, { recursive: true, force: true }),
};

function fibreLun(context: Context): Lun {
  const visible = fabricOf(context.pool).visibleLuns(context.host.name);
  const lun = visible.find((l) => l.scsiId === context.deviceConfig['SCSIid']);
  if (lun !== undefined) return lun;
  const inUse = new Set(context.pool.db.all('PBD').map((pbd) => pbd.map('device_config')['SCSIid'] ?? ''));
  const list = visible
    .filter((l) => !inUse.has(l.scsiId))
    .map((l) =>
      element('BlockDevice', [
        element('path', devicePath(l)),
        element('numpaths', '1'),
        element('SCSIid', l.scsiId),
        element('vendor', l.vendor),
        element('serial', l.serial),
        element('size', String(l.sizeBytes)),
        element('adapter', 'host0'),
        element('channel', '0'),
        element('id', '0'),
        element('lun', String(l.lunId)),
        element('hba', 'qla2xxx'),
      ]),
    );
  const adapter = element('Adapter', [
    element('host', 'host0'),
    element('name', 'qla2xxx'),
    element('manufacturer', 'QLogic HBA Driver'),
    element('id', '0'),
  ]);
  backendFailure(107, '', xmlDocument(element('Devlist', [...list, adapter])));
}

function fibreDriver(name: string, description: string): Driver {
  return {
    name,
    description,
    capabilities,
    probe: (context) => srList(context, fibreLun(context)),
    create: (context, sr) => format(fibreLun(context), sr),
    // No guard against duplicates here: LVM picks one (xapi.md 7.6).
    attach: (context, sr) => attach(fibreLun(context), sr, [], false),
    remove: (context) => rmSync(fibreLun(context).directory, { recursive: true, force: true }),
  };
}

export const lvmohba = fibreDriver('lvmohba', 'LVHD over FC');
export const lvmofcoe = fibreDriver('lvmofcoe', 'LVHD over FCoE');
