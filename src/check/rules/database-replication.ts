/**
 * XenServer's own disaster recovery beside ours: a pool that streams its database into a disk of the replicated SR
 * (xapi.md 6). The disk is recognised and left alone; two tools must not bring up the same VMs.
 */
import type { Finding } from '../../domain/finding.ts';
import type { SrFacts, VdiFacts } from '../../domain/pool.ts';
import { type CheckContext, warning } from '../context.ts';

/** `VDI.type` of the disk; `redo_log` is the one of HA, which never leaves its pool. */
const metadataType = 'metadata';

export function databaseReplicationIsKnown({ group, production, point, recovery }: CheckContext): Finding[] {
  const seen = production ?? point;
  if (seen === null) return [];
  return group.storage.flatMap(({ sr: named }) => {
    const sr = seen.srs.find(({ uuid, nameLabel }) => uuid === named || nameLabel === named);
    if (sr === undefined) return [];
    const disks = seen.vdis.filter((vdi) => vdi.srUuid === sr.uuid && vdi.type === metadataType);
    return disks.length === 0 ? [] : [carriesDatabase(sr, disks, recovery?.nameLabel ?? group.recovery)];
  });
}

function carriesDatabase(sr: SrFacts, disks: readonly VdiFacts[], recoveryPool: string): Finding {
  return warning({
    code: 'DR-DATABASE-REPLICATION',
    about: 'sr',
    name: sr.nameLabel,
    uuid: sr.uuid,
    what: `SR ${sr.nameLabel} carries the database replication of XenServer's own disaster recovery`,
    evidence: [
      ...disks.map(
        ({ uuid, nameLabel, virtualSize }) =>
          `disk ${nameLabel === '' ? '(no name)' : nameLabel} (${uuid}) of ${Math.round(virtualSize / 2 ** 20)} MiB has type ${metadataType}`,
      ),
      'Lifeboat leaves the disk alone: it travels with the replica, is not opened, and is a harmless leftover after a failover',
    ],
    next: `Fail over with one tool: recover no VM of this group in pool ${recoveryPool} by XenServer's wizard or VM.recover. To end it where the VMs run: xe sr-disable-database-replication uuid=${sr.uuid}.`,
  });
}
