/** Notices on their way: out of the queue, through their channels, again and again until they are taken. */
import { createHash } from 'node:crypto';
import {
  type ErrorCode,
  exitCodes,
  OperatorError,
  PortError,
  type Problem,
  problemOf,
} from '../domain/errors.ts';
import { nearest } from '../domain/nearest.ts';
import type { Notice, QueuedNotice } from '../domain/notice.ts';
import { type ChannelSettings, defaultNotices, type NoticeSettings } from '../domain/notice-settings.ts';
import type { Settings } from '../domain/settings.ts';
import { addSeconds, type Instant } from '../domain/time.ts';
import { testNotice } from '../report/notices.ts';
import type { Context } from './app.ts';
import type { AppPorts } from './ports.ts';

export const noticesOf = (settings: Settings): NoticeSettings => settings.notices ?? defaultNotices;

/** In one go: a tick must end, however slow a mail server is. */
const mostPerChannel = 20;
/** A channel that was renamed by mistake gets its notices when it is back under its name. */
const keepForLostChannelsSeconds = 86_400;
const firstWaitSeconds = 30;
const longestWaitSeconds = 3600;

/**
 * Sends what is due. Channels do not wait for one another; within a channel the order is kept, and a failure ends its turn.
 * A crash between a delivery and its note sends once more, with the same id.
 */
export function deliver(ports: AppPorts, context: Context = {}): Promise<void> {
  const before = underWay.get(ports.watching) ?? Promise.resolve();
  // Two at a time would send everything twice.
  const turn = before.catch(() => undefined).then(() => deliverDue(ports, context));
  underWay.set(ports.watching, turn);
  return turn;
}

const underWay = new WeakMap<AppPorts['watching'], Promise<void>>();

async function deliverDue(ports: AppPorts, context: Context): Promise<void> {
  if (context.signal?.aborted === true) return;
  const store = await ports.watching.store();
  const { channels } = noticesOf(ports.settings);
  const now = ports.clock.now();
  await store.dropOthers(
    channels.map(({ name }) => name),
    addSeconds(now, -keepForLostChannelsSeconds),
  );
  const due = await store.due(now, mostPerChannel);
  const turns = Map.groupBy(due, ({ channel }) => channel);
  await Promise.all(
    channels.map(async (channel) => {
      for (const queued of turns.get(channel.name) ?? [])
        if (context.signal?.aborted === true || !(await deliverOne(ports, channel, queued, context))) return;
    }),
  );
}

async function deliverOne(
  ports: AppPorts,
  channel: ChannelSettings,
  queued: QueuedNotice,
  context: Context,
): Promise<boolean> {
  const store = await ports.watching.store();
  const { id } = queued.notice;
  try {
    await ports.watching.notifier(channel).send(queued.notice, context.signal);
  } catch (error) {
    // Told to stop: it was not the channel that failed.
    if (context.signal?.aborted === true) return false;
    const problem = problemText(error);
    await store.failed(channel.name, id, problem, addSeconds(ports.clock.now(), waitAfter(queued.attempts)));
    return false;
  }
  await store.delivered(channel.name, id, ports.clock.now());
  return true;
}

/** A defect in one channel must not keep the others from speaking. */
function problemText(error: unknown): string {
  const problem = problemOf(error);
  if (problem === null) return error instanceof Error ? error.message : String(error);
  return [problem.what, ...(problem.known ?? [])].join(': ');
}

const waitAfter = (attempts: number): number =>
  Math.min(longestWaitSeconds, firstWaitSeconds * 2 ** attempts);

/** The same notice has the same name, however often it is made. */
export function noticeId(
  channel: string,
  at: Instant,
  notice: Pick<Notice, 'event' | 'subject' | 'alarms'>,
): string {
  const parts = [channel, at, notice.event, notice.subject, ...notice.alarms.map(({ id }) => id)];
  return `ntc_${createHash('sha256').update(parts.join('\n')).digest('hex').slice(0, 20)}`;
}

export interface ChannelTest {
  readonly channel: string;
  readonly type: ChannelSettings['type'];
  /** Null when the other side took the notice. */
  readonly problem: Problem | null;
}

/** Sends a notice through one channel, or through each, at once and without the queue. */
export async function testChannels(
  ports: AppPorts,
  name: string | null,
  context: Context = {},
): Promise<ChannelTest[]> {
  const tests: ChannelTest[] = [];
  for (const channel of channelsNamed(ports.settings, name)) {
    context.onProgress?.(`Sending through channel ${channel.name}`);
    const at = ports.clock.now();
    const draft = testNotice(channel.name, at);
    const notice: Notice = {
      ...draft,
      at,
      id: `${noticeId(channel.name, at, draft)}${ports.entropy.hex(2)}`,
    };
    tests.push({
      channel: channel.name,
      type: channel.type,
      problem: await tried(ports, channel, notice, context),
    });
  }
  return tests;
}

async function tried(
  ports: AppPorts,
  channel: ChannelSettings,
  notice: Notice,
  { signal }: Context,
): Promise<Problem | null> {
  try {
    await ports.watching.notifier(channel).send(notice, signal);
    return null;
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof PortError || error instanceof OperatorError) return problemOf(error);
    throw error;
  }
}

const noChannel: ErrorCode = 'DR-NOTICE-NO-CHANNEL';

function channelsNamed(settings: Settings, name: string | null): readonly ChannelSettings[] {
  const { channels } = noticesOf(settings);
  const found = name === null ? channels : channels.filter((channel) => channel.name === name);
  if (found.length > 0) return found;
  const known = channels.map((channel) => channel.name);
  const close = name === null ? null : nearest(name, known);
  throw new OperatorError(
    {
      code: noChannel,
      what:
        name === null ? 'No channel is configured: nobody hears of alarms' : `There is no channel ${name}`,
      where: { file: settings.file },
      known: known.length === 0 ? [] : [`the channels are ${known.join(', ')}`],
      next:
        close === null
          ? 'Describe one under notices.channels; docs/notices.md has examples of each kind'
          : `Did you mean ${close}?`,
    },
    { exitCode: exitCodes.usage },
  );
}
