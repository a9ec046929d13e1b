/**
 * The `device_config` of a PBD for an SR whose storage lives at a new place (xapi.md 7.4). What production says splits in
 * two: *where* the storage is, which the array of this site answers, and *how* it is used, which stays.
 */
import { OperatorError } from '../../domain/errors.ts';
import type { TextMap } from '../../domain/pool.ts';
import type { Exposed } from '../../domain/replication.ts';
import type { DeviceConfigFor } from '../../ports/hypervisor.ts';

type Place = Readonly<Record<string, string>>;

interface Family {
  /** Keys that name a place; none of production's survives, since hosts would go on talking to the lost site. */
  readonly places: readonly string[];
  /** What an array may offer for it. `file` is the word of arrays that know no more than a path. */
  readonly kinds: readonly Exposed['kind'][];
  place(exposed: Exposed, type: string, production: TextMap): Place;
}

const nfs: Family = {
  places: ['server', 'serverpath'],
  kinds: ['nfs', 'file'],
  place: (exposed, type) => ({ server: serverOf(exposed, type), serverpath: pathOf(exposed, type) }),
};

/** `serverport` is the monitors' port: production's is a guess, and the driver's default is as good as any. */
const cephfs: Family = {
  places: ['server', 'serverpath', 'serverport'],
  kinds: ['cephfs', 'file'],
  place(exposed, type, production) {
    const monitors = serverOf(exposed, type).split(',').map(portalOf);
    const port = monitors[0]?.port ?? production['serverport'];
    return {
      server: monitors.map((monitor) => monitor.host).join(','),
      serverpath: pathOf(exposed, type),
      ...(port === undefined ? {} : { serverport: port }),
    };
  },
};

/** `backupservers` are asked when the first one is silent: production's would mount production's volume. */
const gluster: Family = {
  places: ['server', 'backupservers'],
  kinds: ['gluster', 'file'],
  place(exposed, type) {
    const server = serverOf(exposed, type);
    const volume = pathOf(exposed, type);
    const others = (exposed.portals ?? []).map((portal) => portalOf(portal).host);
    const backups = others.filter((host) => host !== server).join(':');
    return {
      server: `${server}:${volume.startsWith('/') ? volume : `/${volume}`}`,
      ...(backups === '' ? {} : { backupservers: backups }),
    };
  },
};

const moosefs: Family = {
  places: ['masterhost', 'masterport', 'rootpath'],
  kinds: ['file'],
  place(exposed, type, production) {
    const { host, port = production['masterport'] } = portalOf(serverOf(exposed, type));
    return {
      masterhost: host,
      rootpath: pathOf(exposed, type),
      ...(port === undefined ? {} : { masterport: port }),
    };
  },
};

const smb: Family = {
  places: ['server'],
  kinds: ['smb', 'file'],
  place: (exposed, type) => ({
    server: `\\\\${serverOf(exposed, type)}\\${sharePath(exposed, type).replaceAll('/', '\\')}`,
  }),
};

/**
 * `multiSession` and `multihomelist` are what the driver itself found and wrote down at the old target, the discovery
 * number counts what that target listed. One port serves all portals.
 */
const iscsi: Family = {
  places: [
    'target',
    'targetIQN',
    'SCSIid',
    'port',
    'multiSession',
    'multihomelist',
    'usediscoverynumber',
    'LUNid',
  ],
  kinds: ['iscsi'],
  place(exposed, type) {
    const all = (exposed.portals ?? []).map(portalOf);
    const port = all[0]?.port;
    const portals = all.filter((portal) => portal.port === port);
    return {
      target: required('portals', portals.map((portal) => portal.host).join(','), type),
      targetIQN: required('iqn', exposed.iqn, type),
      SCSIid: required('scsiId', exposed.scsiId, type),
      ...(port === undefined ? {} : { port }),
    };
  },
};

/** Whatever the adapter of the host is, Fibre Channel or iSCSI in hardware; `device` is the old form of SCSIid. */
const hba: Family = {
  places: ['SCSIid', 'device', 'multihomelist'],
  kinds: ['fc', 'iscsi'],
  place: (exposed, type) => ({ SCSIid: required('scsiId', exposed.scsiId, type) }),
};

/** A file system or volume group on a device that each host has by itself. */
const device: Family = {
  places: ['device'],
  kinds: ['file', 'fc', 'iscsi', 'rbd'],
  place(exposed, type) {
    if (exposed.kind === 'fc' || exposed.kind === 'iscsi')
      return { device: `/dev/disk/by-id/scsi-${required('scsiId', exposed.scsiId, type)}` };
    const path = pathOf(exposed, type);
    return { device: exposed.kind === 'rbd' && !path.startsWith('/') ? `/dev/rbd/${path}` : path };
  },
};

const directory: Family = {
  places: ['location'],
  kinds: ['file', 'nfs'],
  place: (exposed, type) => ({ location: pathOf(exposed, type) }),
};

/** An ISO library says by `type` what its location means; without it a location is a path of the host. */
const iso: Family = {
  places: ['location', 'type', 'legacy_mode'],
  kinds: ['nfs', 'smb', 'file'],
  place(exposed, type) {
    if (exposed.kind === 'nfs')
      return { location: `${serverOf(exposed, type)}:${pathOf(exposed, type)}`, type: 'nfs_iso' };
    if (exposed.kind === 'smb')
      return { location: `//${serverOf(exposed, type)}/${sharePath(exposed, type)}`, type: 'cifs' };
    return { location: pathOf(exposed, type), legacy_mode: 'true' };
  },
};

const families: ReadonlyMap<string, Family> = new Map([
  ['nfs', nfs],
  ['cephfs', cephfs],
  ['glusterfs', gluster],
  ['moosefs', moosefs],
  ['smb', smb],
  ['cifs', smb],
  ['lvmoiscsi', iscsi],
  ['iscsi', iscsi],
  ['lvmohba', hba],
  ['lvmofcoe', hba],
  ['hba', hba],
  ['rawhba', hba],
  ['ext', device],
  ['ext4', device],
  ['lvm', device],
  ['xfs', device],
  ['largeblock', device],
  ['file', directory],
  ['zfs', directory],
  ['iso', iso],
]);

/**
 * @throws OperatorError DR-SR-TYPE for a type that lives in one place only (linstor, gfs2, udev), DR-EXPOSE-KIND when the
 * array offers the volume in a way that the type cannot use, DR-EXPOSE-INCOMPLETE when part of the address is missing
 */
export const deviceConfigAt: DeviceConfigFor = (type, production, exposed) => {
  const family = familyOf(type, exposed);
  if (!family.kinds.includes(exposed.kind))
    throw new OperatorError({
      code: 'DR-EXPOSE-KIND',
      what: `The array offers the volume as ${exposed.kind}, and an SR of type ${type} needs ${family.kinds.filter((kind) => kind !== 'file').join(' or ') || 'a path'}`,
      next: 'Correct the volume of this SR in sites.yaml, or how the array presents it, then resume the run',
    });
  const how = Object.entries(production).filter(([key]) => !family.places.includes(key));
  return { ...Object.fromEntries(how), ...family.place(exposed, type, production) };
};

/** Keys of device_config that say where the storage is; null for a type that nobody knows here. */
export function placesOf(type: string): readonly string[] | null {
  return families.get(type)?.places ?? null;
}

function familyOf(type: string, exposed: Exposed): Family {
  const found = families.get(type);
  if (found !== undefined) return found;
  throw new OperatorError({
    code: 'DR-SR-TYPE',
    what: `SRs of type ${type} cannot be attached at another place`,
    known: [`the array offers it as ${exposed.kind}`],
    next: 'Attach this SR by hand, then resume the run',
  });
}

function serverOf({ server }: Exposed, type: string): string {
  return required('server', server, type);
}

function pathOf({ path }: Exposed, type: string): string {
  return required('path', path, type);
}

/** A share and the path below it, without leading separators. */
function sharePath(exposed: Exposed, type: string): string {
  return required('path', pathOf(exposed, type).replaceAll('\\', '/').replace(/^\/+/, ''), type);
}

/** `10.9.0.5:3260` or `[fd00::5]:3260`; the port only when it is given. */
function portalOf(portal: string): { host: string; port: string | undefined } {
  const match = /^(\[[^\]]+\]|[^:]+)(?::(\d+))?$/.exec(portal.trim());
  return match === null
    ? { host: portal.trim(), port: undefined }
    : { host: (match[1] ?? '').replace(/^\[|\]$/g, ''), port: match[2] };
}

function required(name: string, value: string | undefined, type: string): string {
  if (value !== undefined && value !== '') return value;
  throw new OperatorError({
    code: 'DR-EXPOSE-INCOMPLETE',
    what: `The array did not say the ${name} that an SR of type ${type} needs`,
    next: 'Check the access settings of the volume on the array, then resume the run',
  });
}
