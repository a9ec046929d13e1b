/** LVM SRs on simulated LUNs: lvmoiscsi, lvmohba, lvmofcoe (xapi.md 7.4, 7.6, 7.7). */
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DamagedDisk, DiskDirectory } from './directory.ts';
import type { Backend, Context, Driver } from './driver.ts';
import { backendFailure } from './errors.ts';
import {
  fabricOf,
  type IscsiTarget,
  isPresented,
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

function noGroup(sr: string): never {
  backendFailure(47, `no such volume group: VG_XenStorage-${sr}`);
}

/** LUNs with this volume group; LVM goes by it and not by the SCSIid. */
function withGroup(luns: readonly Lun[], sr: string): Lun[] {
  return luns.filter((lun) => readVolumeGroup(lun)?.sr === sr);
}

interface Paths {
  readonly up: number;
  readonly total: number;
}

function attach(lun: Lun, sr: string, paths: Paths): Backend {
  if (readVolumeGroup(lun)?.sr !== sr) noGroup(sr);
  if (lun.access() !== 'rw') backendFailure(52, `VG_XenStorage-${sr} is read-only`);
  const disks = new DiskDirectory(lun.directory);
  return {
    access: () => lun.access(),
    disks,
    lun,
    paths,
    isolated: () => lun.isolated === true,
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
    (t) => addresses.includes(t.address) && t.port === wanted && t.up?.() !== false,
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
  for (const target of chosen) if (!admits(target, context)) backendFailure(68);
  return chosen;
}

/** Both directions of CHAP: what the host says of itself, and what it expects of the target (xapi.md 7.4). */
function admits({ chap, incomingChap }: IscsiTarget, { deviceConfig }: Context): boolean {
  const { chapuser, chappassword, incoming_chapuser: user, incoming_chappassword: password } = deviceConfig;
  if (chap !== undefined && (chap.user !== chapuser || chap.password !== chappassword)) return false;
  return user === undefined || (incomingChap?.user === user && incomingChap.password === password);
}

function iscsiLun(context: Context): { readonly lun: Lun; readonly visible: readonly Lun[] } {
  const luns = chosenTargets(context).flatMap((t) => t.luns);
  const visible = [...new Set(luns)].filter((lun) => isPresented(lun, context.host));
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
    // The check goes over all that LVM sees, whatever adapter brought it.
    const seen = [...visible, ...fabricOf(context.pool).visibleLuns(context.host)];
    const twins = withGroup([...new Set(seen)], sr);
    if (twins.length > 1)
      backendFailure(
        119,
        `Found physical volumes of VG_XenStorage-${sr} on ${twins.map((l) => l.scsiId).join(', ')}`,
      );
    return attach(lun, sr, iscsiPaths(context, lun));
  },
  remove: (context) => rmSync(iscsiLun(context).lun.directory, { recursive: true, force: true }),
};

/** One session without multipathing; else one for each portal that leads to the LUN, of those that there are. */
function iscsiPaths(context: Context, lun: Lun): Paths {
  const portals = fabricOf(context.pool).targets.filter((t) => t.luns.includes(lun));
  if (!context.host.row.bool('multipathing')) return { up: 1, total: 1 };
  return { up: portals.filter((t) => t.up?.() !== false).length, total: portals.length };
}

/** Without SCSIid a list of what could be used; null for one that no adapter of the host sees. */
function fibreLun(context: Context): Lun | null {
  const visible = fabricOf(context.pool).visibleLuns(context.host);
  const { SCSIid } = context.deviceConfig;
  if (SCSIid !== undefined && SCSIid !== '') return visible.find((lun) => lun.scsiId === SCSIid) ?? null;
  const inUse = new Set(context.pool.db.all('PBD').map((pbd) => pbd.map('device_config')['SCSIid'] ?? ''));
  const list = visible
    .filter((l) => !inUse.has(l.scsiId))
    .map((l) =>
      element('BlockDevice', [
        element('path', devicePath(l)),
        element('numpaths', String(fabricOf(context.pool).pathsTo(context.host, l))),
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
    // The driver scans the device path of the SCSIid, and finds nothing where there is no such device.
    probe(context) {
      const lun = fibreLun(context);
      return lun === null ? xmlDocument(element('SRlist', [])) : srList(context, lun);
    },
    create: (context, sr) => format(fibreLun(context) ?? backendFailure(91), sr),
    attach(context, sr) {
      const lun = fibreLun(context) ?? noGroup(sr);
      // No guard against duplicates here: LVM takes either of them (xapi.md 7.6). The lab takes the one seen first.
      const fabric = fabricOf(context.pool);
      const [taken = lun] = withGroup(fabric.visibleLuns(context.host), sr);
      const all = fabric.pathsTo(context.host, taken);
      const total = context.host.row.bool('multipathing') ? all : 1;
      return attach(taken, sr, { up: total, total });
    },
    remove(context) {
      const lun = fibreLun(context);
      if (lun !== null) rmSync(lun.directory, { recursive: true, force: true });
    },
  };
}

export const lvmohba = fibreDriver('lvmohba', 'LVHD over FC');
export const lvmofcoe = fibreDriver('lvmofcoe', 'LVHD over FCoE');
