/** The `device_config` of a PBD for an SR whose storage lives at a new place (xapi.md 7.4). */
import { OperatorError } from '../../domain/errors.ts';
import type { TextMap } from '../../domain/pool.ts';
import type { Exposed } from '../../domain/replication.ts';
import type { DeviceConfigFor } from '../../ports/hypervisor.ts';

/** What of the production's device_config says *where*; the rest (options, versions, users) says *how* and stays. */
const placeKeys = new Set([
  'server',
  'serverpath',
  'target',
  'targetIQN',
  'SCSIid',
  'port',
  'device',
  'location',
  'multihomelist',
]);

export const deviceConfigAt: DeviceConfigFor = (type, production, exposed) => {
  const how = Object.fromEntries(Object.entries(production).filter(([key]) => !placeKeys.has(key)));
  return { ...how, ...placeOf(type, production, exposed) };
};

function placeOf(type: string, production: TextMap, exposed: Exposed): Record<string, string> {
  const { server, path } = exposed;
  switch (type) {
    case 'nfs':
      return { server: required('server', server, type), serverpath: required('path', path, type) };
    case 'cephfs':
      return {
        server: required('server', server, type),
        serverpath: required('path', path, type),
        ...(production['serverport'] === undefined ? {} : { serverport: production['serverport'] }),
      };
    case 'glusterfs':
      return { server: `${required('server', server, type)}:${required('path', path, type)}` };
    case 'smb':
      return {
        server: `\\\\${required('server', server, type)}\\${required('path', path, type)
          .replace(/^[\\/]+/, '')
          .replaceAll('/', '\\')}`,
      };
    case 'lvmoiscsi':
    case 'iscsi': {
      const portals = (exposed.portals ?? []).map(portalOf);
      const port = portals[0]?.port;
      return {
        target: required('portals', portals.map((portal) => portal.host).join(','), type),
        targetIQN: required('iqn', exposed.iqn, type),
        SCSIid: required('scsiId', exposed.scsiId, type),
        ...(port === undefined ? {} : { port }),
      };
    }
    case 'lvmohba':
    case 'lvmofcoe':
    case 'hba':
    case 'rawhba':
      return { SCSIid: required('scsiId', exposed.scsiId, type) };
    case 'ext':
    case 'lvm':
    case 'xfs':
    case 'largeblock':
      return { device: required('path', path, type) };
    case 'file':
    case 'zfs':
      return { location: required('path', path, type) };
    default:
      throw new OperatorError({
        code: 'DR-SR-TYPE',
        what: `SRs of type ${type} cannot be attached at another place`,
        known: [`the array offers it as ${exposed.kind}`],
        next: 'Attach this SR by hand, then resume the run',
      });
  }
}

/** `10.9.0.5:3260` or `[fd00::5]:3260`; the port only when it is given. */
function portalOf(portal: string): { host: string; port: string | undefined } {
  const match = /^(\[[^\]]+\]|[^:]+)(?::(\d+))?$/.exec(portal);
  return match === null
    ? { host: portal, port: undefined }
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
