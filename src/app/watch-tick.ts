/** The watch, once per tick: ledger, readiness and alarms follow from the look, notices from the alarms. */
import type { Alarm } from '../domain/alarm.ts';
import type { Notice } from '../domain/notice.ts';
import { defaultAlarms } from '../domain/notice-settings.ts';
import { oriented } from '../domain/orientation.ts';
import { addSeconds, type Instant } from '../domain/time.ts';
import type { WatchChange, WatchMemory } from '../ports/watch.ts';
import { digestNotice, noticeOf } from '../report/notices.ts';
import type { AlarmsReport } from '../report/watch.ts';
import { stepAlarms } from '../watch/alarms.ts';
import { assess, type WatchedGroup } from '../watch/conditions.ts';
import { digestTurn } from '../watch/digest.ts';
import { foldLedger, type LedgerLook } from '../watch/ledger.ts';
import { readinessView, sinceWhen } from '../watch/readiness.ts';
import { hearsOf, route } from '../watch/routing.ts';
import type { Context } from './app.ts';
import { lookAt, pinsOf } from './drift.ts';
import { deliver, noticeId, noticesOf } from './notices.ts';
import type { AppPorts } from './ports.ts';
import type { Tick, WatchResult } from './watch.ts';

/** What the rules of the watch need beside the memory. */
interface Seen {
  readonly tick: Tick;
  readonly look: LedgerLook;
  readonly groups: readonly Omit<WatchedGroup, 'view'>[];
  readonly channels: Awaited<ReturnType<Awaited<ReturnType<AppPorts['watching']['store']>>['standing']>>;
  readonly rehearsal: Awaited<ReturnType<Awaited<ReturnType<AppPorts['home']['rehearsals']>>['newest']>>;
  /** For the digest. */
  readonly closed: readonly Alarm[];
}

interface Watched extends WatchChange {
  readonly views: readonly WatchResult['groups'][number][];
  readonly raised: number;
  readonly closed: number;
}

/** The tick of `src/app/watch.ts`. What changes and the notices that tell of it are one transaction; sending comes after. */
export async function watch(ports: AppPorts, tick: Tick, context: Context = {}): Promise<WatchResult> {
  const store = await ports.watching.store();
  const seen: Seen = {
    tick,
    ...sites(ports, tick),
    channels: await store.standing(),
    rehearsal: await (await ports.home.rehearsals()).newest(),
    closed: await store.closedSince(addSeconds(tick.now, -86_400)),
  };
  const watched = await store.change((memory) => remembered(ports, seen, memory));
  await deliver(ports, context);
  const waiting = await store.standing();
  return {
    at: tick.now,
    groups: watched.views,
    alarms: watched.alarms
      .filter(({ closedAt }) => closedAt === null)
      .map(({ id, kind, severity, groups, what, raisedAt }) => ({
        id,
        kind,
        severity,
        groups,
        what,
        since: raisedAt,
      })),
    raised: watched.raised,
    closed: watched.closed,
    noticesWaiting: waiting.reduce((sum, { waiting: number }) => sum + number, 0),
  };
}

function sites(ports: AppPorts, tick: Tick): Pick<Seen, 'groups' | 'look'> {
  const states = new Map(tick.states.map((state) => [state.group, state]));
  const groups = ports.settings.groups.flatMap((configured) => {
    const state = states.get(configured.name) ?? null;
    const group = oriented(configured, state);
    const status = tick.status.groups.find((each) => each.group === group.name);
    // A group that was added while the look was taken is watched from the next tick on.
    return status === undefined ? [] : [{ group, state, status }];
  });
  const look = lookAt(
    ports.settings,
    groups.map(({ group }) => group),
    tick.observation,
    tick.now,
  );
  return { groups, look };
}

function remembered(ports: AppPorts, seen: Seen, memory: WatchMemory): Watched {
  const { settings } = ports;
  const { tick, look, channels } = seen;
  const now = tick.now;
  const notices = noticesOf(settings);
  const ledger = foldLedger(memory.ledger, look);
  const groups = seen.groups.map((group) => ({ ...group, view: readinessView(group.status, ledger, now) }));
  const assessment = assess({
    now,
    limits: settings.alarms ?? defaultAlarms,
    observation: tick.observation,
    groups,
    arrays: new Map(settings.arrays.map(({ name, site }) => [name, site])),
    pins: pinsOf(settings),
    jobs: tick.jobs,
    interrupted: tick.interrupted,
    configProblems: tick.configProblems,
    rehearsal: seen.rehearsal,
    channels: channels.filter(({ channel }) => notices.channels.some(({ name }) => name === channel)),
  });
  const { alarms, news } = stepAlarms(memory.alarms, assessment, now, notices);
  const readiness = sinceWhen(
    memory.readiness,
    groups.map(({ view }) => view),
    now,
  );
  const turn = digestTurn(notices.digest, memory.digestOn, now);
  const told = route(news, notices.channels).map(({ channel, news: items }) => ({
    channel,
    notice: named(channel, now, noticeOf(items, now)),
  }));
  const open = alarms.filter(({ closedAt }) => closedAt === null);
  const digests = turn.due
    ? notices.channels
        .filter(({ digest }) => digest)
        .map((channel) => {
          const heard = (names: readonly string[]): boolean => hearsOf(channel, names);
          const draft = digestNotice({
            at: now,
            groups: readiness.filter(({ group }) => heard([group])),
            open: open.filter((alarm) => heard(alarm.groups)),
            closed: seen.closed.filter((alarm) => heard(alarm.groups)),
            ledger: ledger.filter(({ vms }) => heard(vms.map(({ group }) => group))),
          });
          return { channel: channel.name, notice: named(channel.name, now, draft) };
        })
    : [];
  return {
    ledger,
    alarms,
    readiness,
    digestOn: turn.on,
    notices: [...told, ...digests],
    views: groups.map(({ view }, index) => ({
      group: view.group,
      readiness: view.readiness,
      since: readiness[index]?.since ?? now,
      because: view.because,
    })),
    raised: news.filter(({ event }) => event === 'raised').length,
    closed: news.filter(({ event }) => event === 'closed').length,
  };
}

function named(channel: string, at: Instant, draft: Omit<Notice, 'id' | 'at'>): Notice {
  return { ...draft, at, id: noticeId(channel, at, draft) };
}

const weekSeconds = 7 * 86_400;

/** As the newest tick left them. */
export async function alarms(ports: AppPorts): Promise<AlarmsReport> {
  const store = await ports.watching.store();
  const at = ports.clock.now();
  const { alarms: open } = await store.read();
  const rank = ({ severity, raisedAt, id }: Alarm): string => `${severity} ${raisedAt} ${id}`;
  return {
    at,
    open: [...open].sort((a, b) => (rank(a) < rank(b) ? -1 : 1)),
    closed: await store.closedSince(addSeconds(at, -weekSeconds)),
    channels: await store.standing(),
  };
}
