/**
 * Alarms over time. What begins is told once; while it lasts, people are reminded; when it has been over for a while, that
 * is told once. What cannot be seen is neither begun nor over (invariant 7), and what only follows from another alarm is
 * told with that one.
 */
import { createHash } from 'node:crypto';
import type { Alarm, AlarmNews, Condition, Severity } from '../domain/alarm.ts';
import { type Instant, secondsBetween } from '../domain/time.ts';

export interface Assessment {
  readonly conditions: readonly Condition[];
  /** Keys about which nothing can be said now. */
  readonly unknown: ReadonlySet<string>;
  /** Keys of conditions that only follow from another one of the list. */
  readonly covered: ReadonlySet<string>;
}

export interface AlarmRules {
  readonly remindSeconds: Readonly<Record<Severity, number>>;
  /** It must be over for so long before it is closed. */
  readonly settleSeconds: number;
}

export interface AlarmStep {
  /** Open alarms, and those that this step has closed. */
  readonly alarms: readonly Alarm[];
  readonly news: readonly AlarmNews[];
}

/** `open`: alarms that are not closed, at most one for a key. */
export function stepAlarms(
  open: readonly Alarm[],
  seen: Assessment,
  now: Instant,
  rules: AlarmRules,
): AlarmStep {
  const conditions = new Map(seen.conditions.map((condition) => [condition.key, condition]));
  const news: AlarmNews[] = [];
  const alarms = open.map((alarm) => {
    const next = stepOne(sane(alarm, now), conditions.get(alarm.key), seen, now, rules);
    if (next.event !== null) news.push({ event: next.event, alarm: next.alarm });
    return next.alarm;
  });
  const known = new Set(open.map(({ key }) => key));
  for (const condition of conditions.values()) {
    if (known.has(condition.key) || seen.covered.has(condition.key)) continue;
    const alarm = begun(condition, now);
    alarms.push(alarm);
    news.push({ event: 'raised', alarm });
  }
  return { alarms, news };
}

function begun(condition: Condition, now: Instant): Alarm {
  const digits = createHash('sha256').update(`${condition.key} ${now}`).digest('hex').slice(0, 6);
  return {
    ...condition,
    id: `${condition.kind}-${digits}`,
    raisedAt: now,
    toldAt: now,
    reminders: 0,
    overSince: null,
    closedAt: null,
  };
}

interface Stepped {
  readonly alarm: Alarm;
  readonly event: AlarmNews['event'] | null;
}

function stepOne(
  alarm: Alarm,
  condition: Condition | undefined,
  seen: Assessment,
  now: Instant,
  rules: AlarmRules,
): Stepped {
  if (condition === undefined && !seen.unknown.has(alarm.key)) return settling(alarm, now, rules);
  const lasting: Alarm = {
    ...alarm,
    ...(condition === undefined ? {} : freshWords(alarm, condition)),
    overSince: null,
  };
  if (seen.covered.has(alarm.key)) return { alarm: lasting, event: null };
  if (lasting.severity !== alarm.severity) return { alarm: { ...lasting, toldAt: now }, event: 'worsened' };
  if (secondsBetween(alarm.toldAt, now) < rules.remindSeconds[lasting.severity])
    return { alarm: lasting, event: null };
  return { alarm: { ...lasting, toldAt: now, reminders: alarm.reminders + 1 }, event: 'reminded' };
}

/** Who was told of something critical is told of its end as well: an alarm never becomes less severe while it is open. */
function freshWords(alarm: Alarm, condition: Condition): Condition {
  return { ...condition, severity: alarm.severity === 'critical' ? 'critical' : condition.severity };
}

function settling(alarm: Alarm, now: Instant, rules: AlarmRules): Stepped {
  const overSince = alarm.overSince ?? now;
  if (secondsBetween(overSince, now) < rules.settleSeconds)
    return { alarm: { ...alarm, overSince }, event: null };
  return { alarm: { ...alarm, overSince, closedAt: now, toldAt: now }, event: 'closed' };
}

/** A clock that was set back must not hold up reminders and ends for as long as it was ahead. */
function sane(alarm: Alarm, now: Instant): Alarm {
  return {
    ...alarm,
    toldAt: alarm.toldAt > now ? now : alarm.toldAt,
    overSince: alarm.overSince !== null && alarm.overSince > now ? now : alarm.overSince,
  };
}
