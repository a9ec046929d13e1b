/** The address of a volume in the words of each SR type (xapi.md 7.4): what changes with the place, and what stays. */
import t from 'tap';
import type { TextMap } from '../../src/domain/pool.ts';
import type { Exposed } from '../../src/domain/replication.ts';
import { deviceConfigAt } from '../../src/execute/actions/device-config.ts';

interface Row {
  readonly type: string;
  readonly change: string;
  readonly production: TextMap;
  readonly exposed: Exposed;
  readonly wanted: TextMap;
}

const lun: Exposed = {
  kind: 'iscsi',
  portals: ['10.9.0.5:3260', '10.9.1.5:3260'],
  iqn: 'iqn.2020-01.example:dr',
  scsiId: '3600b',
};

const rows: readonly Row[] = [
  {
    type: 'nfs',
    change: 'server and path; version and options stay',
    production: { server: 'a', serverpath: '/a', nfsversion: '4.1', options: 'hard' },
    exposed: { kind: 'nfs', server: 'b', path: '/b' },
    wanted: { server: 'b', serverpath: '/b', nfsversion: '4.1', options: 'hard' },
  },
  {
    type: 'lvmoiscsi',
    change: 'portals, IQN and SCSIid; the CHAP user stays, what the driver found at the old target goes',
    production: {
      target: '10.1.0.5',
      targetIQN: '*',
      SCSIid: '3600a',
      port: '3261',
      chapuser: 'u',
      incoming_chapuser: 'v',
      multihomed: 'true',
      allocation: 'thick',
      multiSession: '10.1.0.5,3260,iqn.a|',
      multihomelist: '10.1.0.5:3260',
      usediscoverynumber: '2',
    },
    exposed: lun,
    wanted: {
      target: '10.9.0.5,10.9.1.5',
      targetIQN: 'iqn.2020-01.example:dr',
      SCSIid: '3600b',
      port: '3260',
      chapuser: 'u',
      incoming_chapuser: 'v',
      multihomed: 'true',
      allocation: 'thick',
    },
  },
  {
    type: 'lvmoiscsi',
    change: 'a portal without port, in IPv6',
    production: { target: 'a', port: '3261' },
    exposed: { ...lun, portals: ['[fd00::5]'] },
    wanted: { target: 'fd00::5', targetIQN: 'iqn.2020-01.example:dr', SCSIid: '3600b' },
  },
  {
    type: 'lvmoiscsi',
    change: 'portals of two ports: the driver knows one',
    production: {},
    exposed: { ...lun, portals: ['10.9.0.5:3260', '10.9.1.5:3270'] },
    wanted: { target: '10.9.0.5', targetIQN: 'iqn.2020-01.example:dr', SCSIid: '3600b', port: '3260' },
  },
  {
    type: 'lvmohba',
    change: 'the SCSIid',
    production: { SCSIid: '3600a', allocation: 'thin' },
    exposed: { kind: 'fc', scsiId: '3600b' },
    wanted: { SCSIid: '3600b', allocation: 'thin' },
  },
  {
    type: 'lvmohba',
    change: 'a dump that knows the device alone',
    production: { device: '/dev/sdb' },
    exposed: { kind: 'fc', scsiId: '3600b' },
    wanted: { SCSIid: '3600b' },
  },
  {
    type: 'smb',
    change: 'server and share; the user stays',
    production: { server: '\\\\a\\b', username: 'DOMAIN\\u' },
    exposed: { kind: 'smb', server: 'filer', path: '/share/deep' },
    wanted: { server: '\\\\filer\\share\\deep', username: 'DOMAIN\\u' },
  },
  {
    type: 'cephfs',
    change: 'monitors with their port; the name of the client stays',
    production: { server: 'm1,m2', serverpath: '/a', serverport: '6789', options: 'name=xcp' },
    exposed: { kind: 'cephfs', server: 'n1:3300,n2:3300', path: '/b' },
    wanted: { server: 'n1,n2', serverpath: '/b', serverport: '3300', options: 'name=xcp' },
  },
  {
    type: 'glusterfs',
    change: 'the volume; none of production’s backup servers survives',
    production: { server: 'a:/gv0', backupservers: 'a2:a3', fetchattempts: '3' },
    exposed: { kind: 'gluster', server: 'b', path: 'gv1' },
    wanted: { server: 'b:/gv1', fetchattempts: '3' },
  },
  {
    type: 'glusterfs',
    change: 'backup servers of this site',
    production: { server: 'a:/gv0', backupservers: 'a2' },
    exposed: { kind: 'gluster', server: 'b', path: '/gv1', portals: ['b', 'b2', 'b3'] },
    wanted: { server: 'b:/gv1', backupservers: 'b2:b3' },
  },
  {
    type: 'moosefs',
    change: 'the master',
    production: { masterhost: 'a', masterport: '9421', rootpath: '/a', options: 'x' },
    exposed: { kind: 'file', server: 'b', path: '/b' },
    wanted: { masterhost: 'b', masterport: '9421', rootpath: '/b', options: 'x' },
  },
  {
    type: 'ext',
    change: 'a LUN by its SCSIid',
    production: { device: '/dev/disk/by-id/scsi-3600a' },
    exposed: { kind: 'fc', scsiId: '3600b' },
    wanted: { device: '/dev/disk/by-id/scsi-3600b' },
  },
  {
    type: 'lvm',
    change: 'an image that the kernel maps',
    production: { device: '/dev/rbd/rbd/vol' },
    exposed: { kind: 'rbd', server: 'm1', path: 'rbd/copy' },
    wanted: { device: '/dev/rbd/rbd/copy' },
  },
  {
    type: 'file',
    change: 'the directory',
    production: { location: '/a' },
    exposed: { kind: 'file', path: '/b' },
    wanted: { location: '/b' },
  },
  {
    type: 'iso',
    change: 'an NFS library',
    production: { location: 'a:/iso', type: 'nfs_iso', nfsversion: '4' },
    exposed: { kind: 'nfs', server: 'b', path: '/iso' },
    wanted: { location: 'b:/iso', type: 'nfs_iso', nfsversion: '4' },
  },
  {
    type: 'iso',
    change: 'an SMB library',
    production: { location: '//a/iso', type: 'cifs', username: 'u', vers: '3.0' },
    exposed: { kind: 'smb', server: 'b', path: '\\iso\\windows' },
    wanted: { location: '//b/iso/windows', type: 'cifs', username: 'u', vers: '3.0' },
  },
  {
    type: 'iso',
    change: 'from a share to a directory of the host',
    production: { location: 'a:/iso', type: 'nfs_iso' },
    exposed: { kind: 'file', path: '/srv/iso' },
    wanted: { location: '/srv/iso', legacy_mode: 'true' },
  },
];

for (const { type, change, production, exposed, wanted } of rows)
  t.test(`${type}: ${change}`, async (t) => {
    t.same(deviceConfigAt(type, production, exposed), wanted);
    t.same(
      deviceConfigAt(type, deviceConfigAt(type, production, exposed), exposed),
      wanted,
      'the same place again changes nothing',
    );
  });

t.test('an address that does not fit, or is not whole, is told before any host is asked', async (t) => {
  const refused = (type: string, exposed: Exposed, code: string) =>
    t.throws(() => deviceConfigAt(type, {}, exposed), { code }, `${type} as ${exposed.kind}`);
  refused('nfs', lun, 'DR-EXPOSE-KIND');
  refused('lvmoiscsi', { kind: 'nfs', server: 'b', path: '/b' }, 'DR-EXPOSE-KIND');
  refused('lvmohba', { kind: 'rbd', path: 'rbd/x' }, 'DR-EXPOSE-KIND');
  refused('nfs', { kind: 'nfs', server: 'b' }, 'DR-EXPOSE-INCOMPLETE');
  refused('lvmoiscsi', { kind: 'iscsi', portals: ['b'], iqn: 'iqn.x' }, 'DR-EXPOSE-INCOMPLETE');
  refused('lvmoiscsi', { kind: 'iscsi', iqn: 'iqn.x', scsiId: '3600' }, 'DR-EXPOSE-INCOMPLETE');
  refused('smb', { kind: 'smb', server: 'b', path: '//' }, 'DR-EXPOSE-INCOMPLETE');
  refused('linstor', { kind: 'file', path: '/x' }, 'DR-SR-TYPE');
  refused('gfs2', lun, 'DR-SR-TYPE');
});
