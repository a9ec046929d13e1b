/** Alarms and the ledger of differences as text. */
import type { Alarm } from '../domain/alarm.ts';
import { type DriftReport, isAccepted, type LedgerEntry } from '../domain/drift.ts';
import type { ChannelStanding } from '../domain/notice.ts';
import { formatDuration, type Instant, secondsBetween } from '../domain/time.ts';
import { asSentence, clean, count, heading, names, type Paper, page, paint, wrap } from './paper.ts';
import { formatInstant } from './words.ts';

export function driftText(report: DriftReport, paper: Paper): string {
  const here = report.entries.filter(({ goneAt }) => goneAt === null);
  const now = report.takenAt;
  const accepted = here.filter((entry) => isAccepted(entry, now));
  const open = here.filter((entry) => !isAccepted(entry, now));
  const breaking = open.filter(({ breaks }) => breaks);
  const others = open.filter(({ breaks }) => !breaks);
  const part = (title: string, tone: 'bad' | 'warn' | 'dim', entries: readonly LedgerEntry[]): string[] =>
    entries.length === 0
      ? []
      : [
          '',
          paint(paper, tone, heading(paper, title)),
          ...entries.flatMap((entry) => entryLines(entry, now, paper)),
        ];
  return page([
    heading(paper, `Differences between the sites, ${formatInstant(now)}`),
    ...(here.length === 0 ? ['', nothingKnown(report)] : []),
    ...part(
      `${count(breaking.length, 'difference')} that ${breaking.length === 1 ? 'breaks' : 'break'} something`,
      'bad',
      breaking,
    ),
    ...part(`${count(others.length, 'difference')} worth knowing`, 'warn', others),
    ...part(`${count(accepted.length, 'difference')} accepted`, 'dim', accepted),
    ...report.unseen.map(
      ([production, recovery]) =>
        `\nSites ${production} and ${recovery} were not both seen: what is told of them is as it was at the last look.`,
    ),
    ...(open.length === 0
      ? []
      : [
          '',
          `Accept one until a day: lifeboat drift accept ${open[0]?.id} --until DATE --by ROLE --reason "…"`,
        ]),
  ]);
}

/** A site that nobody saw fits nothing. */
function nothingKnown({ unseen }: DriftReport): string {
  return unseen.length === 0
    ? 'The sites fit together.'
    : 'No difference is remembered from the looks so far.';
}

function entryLines(entry: LedgerEntry, now: Instant, paper: Paper): string[] {
  const { accepted, vms } = entry;
  const touched = vms.map(({ group, names: those }) =>
    those.length === 0 ? group : `${group}: ${names(those)}`,
  );
  const details = [
    ...entry.evidence.map(clean),
    `since ${formatInstant(entry.firstSeenAt)} (${formatDuration(Math.max(0, secondsBetween(entry.firstSeenAt, now)))})`,
    ...(touched.length === 0 ? [] : [`${entry.breaks ? 'breaks' : 'touches'} ${touched.join('; ')}`]),
    ...(accepted === null
      ? []
      : [
          `${isAccepted(entry, now) ? 'accepted' : 'was accepted'} until ${formatInstant(accepted.until)} by ${clean(accepted.by)}: ${clean(accepted.reason)}`,
        ]),
  ];
  return [
    ...wrap(
      `${asSentence(clean(entry.what))} [${entry.id}]`,
      paper.width,
      `  ${entry.breaks ? '✗' : '!'} `,
      '    ',
    ),
    ...details.flatMap((detail) => wrap(detail, paper.width, '    - ', '      ')),
    ...(isAccepted(entry, now) ? [] : wrap(`Next: ${asSentence(entry.next)}`, paper.width, '    ')),
  ];
}

export interface AlarmsReport {
  readonly at: Instant;
  readonly open: readonly Alarm[];
  /** Closed within the last days, newest first. */
  readonly closed: readonly Alarm[];
  readonly channels: readonly ChannelStanding[];
}

export function alarmsText({ at, open, closed, channels }: AlarmsReport, paper: Paper): string {
  const lines = [
    heading(paper, open.length === 0 ? 'No alarm is open.' : count(open.length, 'open alarm')),
    ...open.flatMap((alarm) => ['', ...alarmLines(alarm, at, paper)]),
  ];
  if (closed.length > 0)
    lines.push(
      '',
      heading(paper, 'Over within the last week'),
      ...closed.flatMap(({ id, what, raisedAt, closedAt }) =>
        wrap(
          `${asSentence(clean(what))} ${formatInstant(raisedAt)} to ${closedAt === null ? '' : formatInstant(closedAt)} [${id}]`,
          paper.width,
          '  ',
          '    ',
        ),
      ),
    );
  if (channels.length > 0)
    lines.push(
      '',
      paint(paper, 'warn', heading(paper, 'Notices that wait')),
      ...channels.flatMap(({ channel, waiting, waitingSince, problem }) =>
        wrap(
          `${channel}: ${waiting}, the oldest since ${waitingSince === null ? '' : formatInstant(waitingSince)}${problem === null ? '' : `. ${problem}`}`,
          paper.width,
          '  ',
          '    ',
        ),
      ),
    );
  return page(lines);
}

function alarmLines(alarm: Alarm, at: Instant, paper: Paper): string[] {
  const mark = alarm.severity === 'critical' ? paint(paper, 'bad', '✗') : paint(paper, 'warn', '!');
  const lasts = formatDuration(Math.max(0, secondsBetween(alarm.raisedAt, at)));
  return [
    ...wrap(`${asSentence(clean(alarm.what))} [${alarm.id}]`, paper.width, `  ${mark} `, '    '),
    ...alarm.evidence.flatMap((line) => wrap(clean(line), paper.width, '    - ', '      ')),
    ...wrap(
      `since ${formatInstant(alarm.raisedAt)} (${lasts})${alarm.overSince === null ? '' : `; not seen any more since ${formatInstant(alarm.overSince)}`}`,
      paper.width,
      '    - ',
      '      ',
    ),
    ...wrap(`Next: ${asSentence(clean(alarm.next))}`, paper.width, '    '),
  ];
}
