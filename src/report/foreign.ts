/** `lifeboat catalog import` as text: what was read, what it does not say, what is still open. */
import type { ForeignImport } from '../domain/foreign-import.ts';
import type { ForeignOrigin } from '../domain/recovery-point.ts';
import { problemLines } from './findings.ts';
import { clean, count, facts, heading, names, type Paper, page, paint, wrap } from './paper.ts';
import { formatInstant } from './words.ts';

const kinds: Readonly<Record<ForeignOrigin['kind'], string>> = {
  'vm-export': 'exports of xe vm-export',
  vmmeta: 'a backup of xe-backup-metadata',
  database: 'a database of the pool',
  'backup-vdi': 'the metadata backup on the replicated storage',
};

const times: Readonly<Record<ForeignOrigin['timeFrom'], string>> = {
  person: 'as told',
  name: 'by the name of its directory',
  lifeboat: 'by what Lifeboat wrote beside it',
  file: 'by the time of its newest file',
};

/** One line on where a point comes from. */
export function originText({ kind, files, timeFrom }: ForeignOrigin): string {
  return `${kinds[kind]} (${names(files.map(clean))}), dated ${times[timeFrom]}`;
}

export function foreignText(made: ForeignImport, paper: Paper): string {
  const { origin, targets } = made;
  const list = (title: string, items: readonly string[], tone: 'warn' | 'bold'): string[] =>
    items.length === 0
      ? []
      : [
          '',
          paint(paper, tone, heading(paper, title)),
          ...items.flatMap((item) => wrap(clean(item), paper.width, '  - ', '    ')),
        ];
  const sealed = (targets ?? []).filter((target) => target.ok).map(({ target }) => target);
  const failed = (targets ?? []).filter((target) => !target.ok);
  return page([
    heading(paper, targets === null ? 'What would be kept' : `Recovery point ${made.pointId}`),
    ...facts(paper, [
      ['Group', made.group],
      ['Taken', formatInstant(made.takenAt)],
      ['Made from', originText(origin)],
      ['VMs', names(made.taken.map(clean))],
      ['Left out', made.left.length === 0 ? 'none' : `${names(made.left.map(clean))} (not of the group)`],
      ['Kept in', targets === null ? 'nothing was kept: a dry run' : names(sealed)],
    ]),
    ...list(
      `Not read: ${count(made.failures.length, 'file')}`,
      made.failures.map(({ file, reason }) => `${file}: ${reason}`),
      'warn',
    ),
    ...list('To be settled before a failover', made.open, 'warn'),
    ...list('Worth knowing', made.remarks, 'bold'),
    ...list('What such a backup does not say', origin.unsaid, 'bold'),
    ...failed.flatMap(({ problem }) => (problem === null ? [] : ['', ...problemLines([problem], paper)])),
    ...(targets === null ? [] : ['', `Next: lifeboat plan failover ${made.group} --point ${made.pointId}`]),
  ]);
}

export function xeFilesText(
  files: readonly string[],
  notes: readonly string[],
  script: boolean,
  paper: Paper,
): string {
  const how = script
    ? 'The documents are prepared for the recovery site, as a failover prepares them; recover.sh says what to do first. They may hold secrets.'
    : 'Numbered as `xe vm-export --multiple` does, and as they were saved: `xe vm-import metadata=true preserve=true filename=FILE` takes each. They may hold secrets.';
  return page([
    ...files,
    '',
    ...wrap(how, paper.width),
    ...notes.flatMap((note) => wrap(clean(note), paper.width, '  - ', '    ')),
  ]);
}
