/** Writing metadata backups in an operator's words. */
import type { BackupAction } from '../domain/actions/backup.ts';
import { unreachable } from '../domain/errors.ts';
import { clean, names } from './paper.ts';

export const backupChapter = 'The backup on the storage';

export function describeBackup(action: BackupAction): string {
  switch (action.do) {
    case 'write-backup':
      return `Write the point to the metadata backup on SR ${clean(action.sr.nameLabel)}, and read it back`;
    case 'run-backup-script':
      return `Have the master of site ${action.site} run xe-backup-metadata for SR ${clean(action.sr.nameLabel)}, and read what it wrote`;
    case 'look-at-backup-jobs':
      return `Look whether a job on the hosts of site ${action.site} prunes the metadata backup on ${names(action.srs.map(({ nameLabel }) => nameLabel))}`;
    default:
      return unreachable(action);
  }
}
