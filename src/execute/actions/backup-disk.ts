/** The disk of a metadata backup: which one it is, and what forbids to touch it (xapi.md 5.2). */
import type { NamedSr } from '../../domain/actions/moving.ts';
import { backupVdiFlag, backupVdiMark, backupVdiName } from '../../domain/backup-vdi.ts';
import { OperatorError } from '../../domain/errors.ts';
import type { PoolFacts, Uuid, VdiFacts } from '../../domain/pool.ts';
import { backupVdiUuid } from '../../metadata/backup-uuid.ts';
import type { BackupImages } from '../../ports/backup-vdi.ts';
import type { Hypervisor } from '../../ports/hypervisor.ts';
import { listed, type World } from './world.ts';

/** Value of our mark on a disk that was made and has not been written whole yet. */
const beingMade = 'made';

/**
 * The backup's disk on this SR, by its deterministic uuid alone; null when there is none. A disk of the same name with
 * another uuid may be a guest's, and is never looked into unasked (CVE-2024-31144).
 */
export function backupDiskOf(pool: PoolFacts, sr: NamedSr): VdiFacts | null {
  const uuid = backupVdiUuid(sr.uuid);
  const disk = pool.vdis.find((vdi) => vdi.uuid === uuid);
  if (disk === undefined) return null;
  const users = pool.vms.filter((vm) => vm.vbds.some((vbd) => vbd.vdiUuid === uuid));
  if (users.length > 0)
    throw new OperatorError({
      code: 'DR-BACKUP-GUEST-DISK',
      what: `The disk of the metadata backup on SR ${sr.nameLabel} belongs to a VM`,
      where: { object: `disk ${uuid}` },
      known: [
        `it is attached to ${listed(users.map(({ nameLabel }) => nameLabel))}`,
        'a guest can write to it whatever it likes, so that nothing on it can be believed',
      ],
      next: 'Find out who attached it, detach it, and move what is on it away before a backup is written there',
    });
  if (disk.srUuid !== sr.uuid || disk.type !== 'user' || disk.readOnly || disk.missing || disk.isASnapshot)
    throw new OperatorError({
      code: 'DR-BACKUP-WRONG-DISK',
      what: `The disk with the uuid of the metadata backup on SR ${sr.nameLabel} is not one that can be written`,
      where: { object: `disk ${uuid}` },
      known: [
        `type ${disk.type}, on SR ${disk.srUuid}`,
        ...(disk.readOnly ? ['it is read-only'] : []),
        ...(disk.missing ? ['the SR does not have it any more'] : []),
        ...(disk.isASnapshot ? ['it is a snapshot'] : []),
      ],
      next: 'Look at the disk with `xe vdi-list uuid=…`; forget the record when the disk itself is gone',
    });
  return disk;
}

/** Makes the disk as xapi expects it, and takes it away again where xapi gave it another uuid. */
export async function makeBackupDisk(
  hypervisor: Hypervisor,
  sr: NamedSr,
  bytes: number,
  signal: AbortSignal,
): Promise<Uuid> {
  const mark = { key: backupVdiMark, value: beingMade };
  const made = await hypervisor.createMarkedVdi(sr.uuid, { nameLabel: backupVdiName, bytes, mark }, signal);
  if (made !== backupVdiUuid(sr.uuid)) {
    await hypervisor.destroyMarkedVdi(made, mark, signal);
    throw new OperatorError({
      code: 'DR-BACKUP-UUID',
      what: `The pool does not give the metadata backup on SR ${sr.nameLabel} its own uuid`,
      where: { site: hypervisor.site },
      known: [
        `expected ${backupVdiUuid(sr.uuid)}, made was ${made}, which is removed again`,
        'hosts before xapi 24.13 (8.2: before hotfix XS82ECU1066) and SRs of type gfs2 do not',
      ],
      next: 'Update the hosts, or set metadata_backup of the group to method: none: a disk of any other uuid could be a guest’s',
    });
  }
  await hypervisor.setVdiName(
    made,
    backupVdiName,
    'Metadata of the pool, for disaster recovery. Do not attach it to a VM.',
    signal,
  );
  await hypervisor.setVdiOtherConfig(made, backupVdiFlag.key, backupVdiFlag.value, signal);
  return made;
}

/** Whether a first write to it never came to its end: what lies on it then is nobody's. */
export function isBeingMade(disk: VdiFacts): boolean {
  return disk.otherConfig[backupVdiMark] === beingMade;
}

export function backupImagesOf(world: World): BackupImages {
  if (world.backupImages !== undefined) return world.backupImages;
  throw new Error('this program was put together without images of metadata backups');
}
