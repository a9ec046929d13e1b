/** Alarms and the daily digest as messages to people: written once, whatever the channel. */
import type { Alarm, AlarmEvent, AlarmNews } from '../domain/alarm.ts';
import type { LedgerEntry } from '../domain/drift.ts';
import type { Notice, NoticedAlarm } from '../domain/notice.ts';
import type { Readiness } from '../domain/status.ts';
import { addSeconds, formatDuration, type Instant, secondsBetween } from '../domain/time.ts';
import { asSentence, clean, count } from './paper.ts';
import { formatInstant } from './words.ts';

/** Longer subjects are cut by most programs for mail. */
const subjectMost = 160;

type Draft = Omit<Notice, 'id' | 'at'>;

/** One alarm, or several in one message. */
export function noticeOf(news: readonly AlarmNews[], at: Instant): Draft {
  const [first] = news;
  if (first === undefined) throw new Error('a notice tells of something');
  return news.length === 1 ? ofOne(first, at) : ofSeveral(news, at);
}

const before: Readonly<Record<AlarmEvent, string>> = {
  raised: '',
  worsened: 'Now critical: ',
  reminded: 'Still: ',
  closed: 'Over: ',
};

function ofOne({ event, alarm }: AlarmNews, at: Instant): Draft {
  const until = event === 'closed' ? (alarm.overSince ?? at) : at;
  const lasted = formatDuration(Math.max(0, secondsBetween(alarm.raisedAt, until)));
  return {
    event,
    severity: alarm.severity,
    groups: alarm.groups,
    subject: subjectOf(`${before[event]}${alarm.what}`),
    lines: [
      ...(event === 'closed'
        ? [`It lasted ${lasted}, and is over.`, ...(alarm.evidence.length === 0 ? [] : ['While it lasted:'])]
        : [asSentence(clean(alarm.what))]),
      ...alarm.evidence.map((line) => `- ${clean(line)}`),
    ],
    facts: [
      ['Severity', alarm.severity],
      ...(alarm.groups.length === 0 ? [] : [['Groups', alarm.groups.join(', ')] as const]),
      ['Since', `${formatInstant(alarm.raisedAt)}${event === 'raised' ? '' : ` (${lasted})`}`],
      ...(event === 'closed' ? [['Until', formatInstant(until)] as const] : []),
      ...(event === 'reminded' ? [['Reminder', String(alarm.reminders)] as const] : []),
      ['Alarm', alarm.id],
    ],
    next: event === 'closed' ? null : clean(alarm.next),
    alarms: [noticed({ event, alarm })],
  };
}

function ofSeveral(news: readonly AlarmNews[], at: Instant): Draft {
  const begun = news.filter(({ event }) => event !== 'closed');
  const critical = begun.filter(({ alarm }) => alarm.severity === 'critical').length;
  const over = news.length - begun.length;
  const parts = [
    ...(begun.length === 0
      ? []
      : [`${count(begun.length, 'alarm')}${critical === 0 ? '' : `, ${critical} critical`}`]),
    ...(over === 0 ? [] : [`${over} over`]),
  ];
  return {
    event: 'several',
    severity: critical > 0 ? 'critical' : 'warning',
    groups: [...new Set(news.flatMap(({ alarm }) => alarm.groups))].sort(),
    subject: subjectOf(`${parts.join('; ')}: ${news[0]?.alarm.what ?? ''}, …`),
    lines: news.map(({ event, alarm }) => `- ${before[event]}${clean(alarm.what)} (${alarm.id})`),
    facts: [['At', formatInstant(at)]],
    next: 'See all of them, with what to do: lifeboat alarms',
    alarms: news.map(noticed),
  };
}

function noticed({ event, alarm }: AlarmNews): NoticedAlarm {
  const { id, key, kind, severity, groups, what, raisedAt, closedAt } = alarm;
  return { id, key, kind, event, severity, groups, what, raisedAt, closedAt };
}

function subjectOf(text: string): string {
  const one = clean(text).replaceAll('\uFFFD', ' ');
  return one.length <= subjectMost ? one : `${one.slice(0, subjectMost - 2)} …`;
}

export function testNotice(channel: string, at: Instant): Draft {
  return {
    event: 'test',
    severity: 'info',
    groups: [],
    subject: `Channel ${channel} works`,
    lines: ['Somebody tried this channel. Alarms of Lifeboat would arrive here.'],
    facts: [['At', formatInstant(at)]],
    next: null,
    alarms: [],
  };
}

export interface DigestFacts {
  readonly at: Instant;
  readonly groups: readonly {
    readonly group: string;
    readonly readiness: Readiness;
    readonly since: Instant;
  }[];
  readonly open: readonly Alarm[];
  /** Closed since the last digest. */
  readonly closed: readonly Alarm[];
  readonly ledger: readonly LedgerEntry[];
}

const daySeconds = 86_400;
const weekSeconds = 7 * daySeconds;

const readinessText: Readonly<Record<Readiness, string>> = {
  ready: 'ready',
  'ready-with-warnings': 'ready, with warnings',
  'not-ready': 'NOT READY',
  unknown: 'not known',
};

export function digestNotice(facts: DigestFacts): Draft {
  const { at, groups, open, closed, ledger } = facts;
  const here = ledger.filter(({ goneAt }) => goneAt === null);
  const fresh = here.filter(({ firstSeenAt }) => firstSeenAt > addSeconds(at, -daySeconds));
  const ending = here.filter(
    ({ accepted }) =>
      accepted !== null && accepted.until > at && accepted.until <= addSeconds(at, weekSeconds),
  );
  const ready = groups.filter(({ readiness }) => readiness.startsWith('ready')).length;
  const critical = open.some(({ severity }) => severity === 'critical');
  const section = (title: string, lines: readonly string[]): string[] =>
    lines.length === 0 ? [] : [`${title}:`, ...lines.map((line) => `- ${line}`)];
  return {
    event: 'digest',
    severity: critical ? 'critical' : open.length > 0 ? 'warning' : 'info',
    groups: groups.map(({ group }) => group),
    subject: `Daily digest: ${ready} of ${count(groups.length, 'group')} ready, ${open.length === 0 ? 'no alarm' : count(open.length, 'open alarm')}`,
    lines: [
      ...section(
        'Open alarms',
        open.map(
          ({ what, raisedAt, severity }) =>
            `${severity === 'critical' ? 'critical: ' : ''}${clean(what)} (since ${formatInstant(raisedAt)})`,
        ),
      ),
      ...section(
        'Groups that are not ready',
        groups
          .filter(({ readiness }) => !readiness.startsWith('ready'))
          .map(
            ({ group, readiness, since }) =>
              `${group}: ${readinessText[readiness]}, since ${formatInstant(since)}`,
          ),
      ),
      ...section(
        'Over since the last digest',
        closed.map(
          ({ what, closedAt }) =>
            `${clean(what)} (until ${closedAt === null ? '' : formatInstant(closedAt)})`,
        ),
      ),
      ...section(
        'New differences between the sites',
        fresh.map(({ id, what }) => `${id}: ${clean(what)}`),
      ),
      ...section(
        'Acceptances that end within a week',
        ending.map(
          ({ id, what, accepted }) =>
            `${id}, until ${accepted === null ? '' : formatInstant(accepted.until)}: ${clean(what)}`,
        ),
      ),
    ],
    facts: [
      ['Groups', String(groups.length)],
      ['Differences', `${here.length} (breaking something: ${here.filter(({ breaks }) => breaks).length})`],
    ],
    next: open.length === 0 ? null : 'See what to do: lifeboat alarms',
    alarms: [],
  };
}
