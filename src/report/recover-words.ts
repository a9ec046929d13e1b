/** The recovery of metadata from the replicated storage in an operator's words. */
import type { BackupFound, BackupWish, RecoverAction } from '../domain/actions/recover.ts';
import { unreachable } from '../domain/errors.ts';
import { clean, count, heading, type Paper, page, wrap } from './paper.ts';

export function recoverChapter(action: RecoverAction): string {
  switch (action.do) {
    case 'attach-found-clone':
      return 'Attach the storage';
    case 'read-backup':
    case 'judge-backups':
      return 'Read the metadata';
    case 'forget-found-clones':
      return 'Clean up';
    default:
      return unreachable(action);
  }
}

export function describeRecover(action: RecoverAction): string {
  switch (action.do) {
    case 'attach-found-clone':
      return `Attach the clone of SR ${clean(action.sr)} to host ${clean(action.host.nameLabel)}, under the uuid that is found on it`;
    case 'read-backup':
      return `Read ${wished(action.wish)} of the metadata backup on SR ${clean(action.sr)}`;
    case 'judge-backups':
      return `See what the metadata backups of group ${action.group} gave`;
    case 'forget-found-clones':
      return `Unplug and forget what was attached for ${action.drill} at site ${action.site}`;
    default:
      return unreachable(action);
  }
}

function wished({ dates, vms, legacy }: BackupWish): string {
  const which =
    dates === 'list' ? 'the dates' : dates === 'newest' ? 'the newest date' : `date ${dates.join(', ')}`;
  const of = { group: '', sr: ', the VMs of that SR', all: ', all VMs' }[vms];
  return `${which}${of}${legacy === null ? '' : `, from disk ${legacy} that a person named`}`;
}

/** What was found on each SR, for the person who chooses a date. */
export function backupsText(found: readonly BackupFound[], paper: Paper): string {
  return page(found.flatMap((each, index) => [...(index === 0 ? [] : ['']), ...linesOf(each, paper)]));
}

function linesOf(found: BackupFound, paper: Paper): string[] {
  const head = heading(paper, `Metadata backup on SR ${clean(found.sr)}`);
  if (found.vdi === null)
    return [
      head,
      '  none under the uuid that a backup of this SR has',
      ...found.candidates.flatMap(({ uuid, nameLabel, bytes }) =>
        wrap(
          `disk ${uuid}${nameLabel === '' ? '' : ` (${clean(nameLabel)})`}, ${Math.round(bytes / 2 ** 20)} MiB, may be an older backup: --legacy ${uuid}, if no guest could write it`,
          paper.width,
          '  - ',
          '    ',
        ),
      ),
    ];
  return [
    head,
    ...found.dates.map(({ date, takenAt, documents, byLifeboat }) => {
      const kept = found.kept.find((each) => each.date === date);
      const as = kept === undefined ? '' : `, kept as ${kept.pointId} (${count(kept.vms, 'VM')})`;
      return `  ${date}  written ${takenAt.slice(0, 16).replace('T', ' ')} UTC, ${count(documents, 'VM')}, by ${byLifeboat ? 'Lifeboat' : 'a host'}${as}`;
    }),
  ];
}
