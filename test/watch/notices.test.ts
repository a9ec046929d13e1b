/** Who hears what and in which words; the daily digest; and the queue, which loses nothing. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { SqliteWatch } from '../../src/adapters/state/sqlite-watch.ts';
import type { Alarm, AlarmNews, Severity } from '../../src/domain/alarm.ts';
import type { LedgerEntry } from '../../src/domain/drift.ts';
import type { Notice } from '../../src/domain/notice.ts';
import type { ChannelSettings } from '../../src/domain/notice-settings.ts';
import { addSeconds } from '../../src/domain/time.ts';
import type { WatchMemory } from '../../src/ports/watch.ts';
import { digestNotice, noticeOf } from '../../src/report/notices.ts';
import { plainPaper } from '../../src/report/paper.ts';
import { alarmsText, driftText } from '../../src/report/watch.ts';
import { digestTurn, wallClock } from '../../src/watch/digest.ts';
import { route } from '../../src/watch/routing.ts';
import { golden } from '../report/golden.ts';
import { now } from '../support/two-sites.ts';

function alarm(number: number, severity: Severity = 'critical', groups: readonly string[] = ['shop']): Alarm {
  return {
    id: `rpo-00000${number}`,
    key: `rpo:${number}`,
    kind: 'rpo',
    severity,
    groups,
    what: `The RPO of group ${groups[0] ?? 'nobody'} is broken: 41 min would be lost now, 15 min were promised`,
    evidence: ['SR Tier 1: replica 41 min old, link down'],
    next: 'Look at the replication on the arrays: lifeboat status shop',
    raisedAt: now,
    toldAt: now,
    reminders: 0,
    overSince: null,
    closedAt: null,
  };
}
const raised = (...alarms: readonly Alarm[]): AlarmNews[] =>
  alarms.map((each) => ({ event: 'raised', alarm: each }));

function channel(changes: Partial<ChannelSettings> & { readonly name: string }): ChannelSettings {
  return {
    type: 'slack',
    url: { from: 'store', name: 'chat' },
    caFile: null,
    atLeast: 'warning',
    groups: [],
    digest: true,
    ...changes,
  } as ChannelSettings;
}

t.test('channels hear by severity and group; what concerns no group is told everywhere', (t) => {
  const channels = [
    channel({ name: 'all' }),
    channel({ name: 'critical', atLeast: 'critical' }),
    channel({ name: 'pay', groups: ['pay*'] }),
  ];
  const heard = (...alarms: readonly Alarm[]): string[] =>
    route(raised(...alarms), channels).map((each) => each.channel);
  t.strictSame(heard(alarm(1, 'warning')), ['all']);
  t.strictSame(heard(alarm(1, 'critical', ['payroll'])), ['all', 'critical', 'pay']);
  t.strictSame(heard(alarm(1, 'warning', [])), ['all', 'pay']);
  t.strictSame(heard(alarm(1, 'critical', ['shop', 'payments'])), ['all', 'critical', 'pay']);
  t.end();
});

t.test('people get a storm in one message, programs get each alarm', (t) => {
  const storm = raised(...Array.from({ length: 9 }, (_, index) => alarm(index)));
  const people = route(storm, [channel({ name: 'chat' })]);
  t.equal(people.length, 1);
  t.match(noticeOf(people[0]?.news ?? [], now), {
    event: 'several',
    severity: 'critical',
    subject: /^9 alarms, 9 critical: /,
  });
  const program: ChannelSettings = {
    name: 'p',
    type: 'command',
    argv: ['page'],
    timeoutSeconds: 9,
    atLeast: 'warning',
    groups: [],
    digest: true,
  };
  t.equal(route(storm, [program]).length, 9);
  t.equal(route(storm.slice(0, 5), [channel({ name: 'chat' })]).length, 5);
  t.end();
});

const entry = (changes: Partial<LedgerEntry> = {}): LedgerEntry => ({
  id: 'network-4f1c2a',
  aspect: 'network',
  sites: ['osaka', 'tokyo'],
  object: 'Tokyo LAN',
  what: 'Site tokyo has no network named Tokyo LAN, where network Production LAN belongs',
  evidence: [],
  breaks: true,
  vms: [{ group: 'shop', names: ['web-01', 'web-02'] }],
  codes: ['DR-NETWORK-MISSING'],
  next: 'Create network Tokyo LAN at site tokyo, or map Production LAN to another one.',
  firstSeenAt: addSeconds(now, -7200),
  lastSeenAt: now,
  accepted: null,
  goneAt: null,
  ...changes,
});
const accepted = entry({
  id: 'mtu-000001',
  aspect: 'mtu',
  breaks: false,
  what: 'Network Database has an MTU of 9000 at site osaka, and Tokyo Database one of 1500 at site tokyo',
  firstSeenAt: addSeconds(now, -20 * 86_400),
  accepted: { at: now, by: 'head of network', reason: 'new switches', until: addSeconds(now, 3 * 86_400) },
});

t.test('in the words of an operator', (t) => {
  const later = addSeconds(now, 7500);
  const one = alarm(1);
  const text = (notice: ReturnType<typeof noticeOf>): string =>
    [
      `# ${notice.subject}`,
      ...notice.lines,
      ...notice.facts.map(([label, value]) => `${label}: ${value}`),
      `next: ${notice.next}`,
    ].join('\n');
  golden(
    t,
    'cases/notices.txt',
    import.meta.url,
    [
      text(noticeOf(raised(one), now)),
      text(noticeOf([{ event: 'reminded', alarm: { ...one, reminders: 2 } }], later)),
      text(
        noticeOf(
          [{ event: 'closed', alarm: { ...one, overSince: addSeconds(now, 7200), closedAt: later } }],
          later,
        ),
      ),
      text(
        noticeOf(
          raised(
            ...Array.from({ length: 6 }, (_, index) =>
              alarm(index, index > 3 ? 'warning' : 'critical', [`group-${index}`]),
            ),
          ),
          now,
        ),
      ),
      text(
        digestNotice({
          at: now,
          groups: [
            { group: 'shop', readiness: 'not-ready', since: addSeconds(now, -7200) },
            { group: 'payroll', readiness: 'ready', since: addSeconds(now, -86_400) },
          ],
          open: [one],
          closed: [{ ...alarm(2, 'warning'), closedAt: addSeconds(now, -600) }],
          ledger: [entry(), accepted],
        }),
      ),
      driftText({ takenAt: now, entries: [entry(), accepted], unseen: [['osaka', 'kyoto']] }, plainPaper),
      driftText({ takenAt: now, entries: [], unseen: [] }, plainPaper),
      alarmsText(
        {
          at: later,
          open: [
            one,
            {
              ...alarm(2, 'warning', []),
              what: 'Notices do not arrive through channel oncall',
              overSince: addSeconds(now, 7400),
            },
          ],
          closed: [{ ...alarm(3), closedAt: addSeconds(now, -600) }],
          channels: [
            {
              channel: 'oncall',
              waiting: 2,
              waitingSince: now,
              problem: 'Channel oncall: mail.example.org cannot be reached',
            },
          ],
        },
        plainPaper,
      ),
    ].join('\n\n'),
  );
  t.end();
});

t.test('the digest comes once a day by the calendar of its zone, over changes of the clock', (t) => {
  const settings = { at: '07:30', timeZone: 'Europe/Zurich' };
  t.strictSame(wallClock('2026-03-29T01:30:00.000Z', 'Europe/Zurich'), { day: '2026-03-29', time: '03:30' });
  let on: string | null = null;
  const sent: string[] = [];
  // Every five minutes from March to April, with an hour that is missing on the 29th.
  for (let at = '2026-03-27T00:00:00.000Z'; at < '2026-03-31T00:00:00.000Z'; at = addSeconds(at, 300)) {
    const turn = digestTurn(settings, on, at);
    if (turn.due) sent.push(at);
    on = turn.on;
  }
  t.strictSame(sent, [
    '2026-03-27T06:30:00.000Z',
    '2026-03-28T06:30:00.000Z',
    '2026-03-29T05:30:00.000Z',
    '2026-03-30T05:30:00.000Z',
  ]);
  t.strictSame(
    digestTurn(settings, '2026-03-30', '2026-03-29T12:00:00.000Z').due,
    false,
    'a clock that was set back',
  );
  t.strictSame(
    digestTurn(settings, '2026-03-27', '2026-03-30T12:00:00.000Z'),
    { due: true, on: '2026-03-30' },
    'one after a long sleep',
  );
  t.strictSame(digestTurn(null, null, now), { due: false, on: null });
  t.strictSame(
    digestTurn(settings, null, '2026-03-27T12:00:00.000Z'),
    { due: false, on: '2026-03-27' },
    'none at the first look of all',
  );
  t.end();
});

const nothing: WatchMemory = { ledger: [], alarms: [], readiness: [], digestOn: null };
const notice = (id: string, changes: Partial<Notice> = {}): Notice => ({
  id,
  at: now,
  event: 'raised',
  severity: 'critical',
  groups: [],
  subject: id,
  lines: [],
  facts: [],
  next: null,
  alarms: [],
  ...changes,
});

function aStore(t: Test): { open(): SqliteWatch } {
  const directory = mkdtempSync(join(tmpdir(), 'lifeboat-watch-'));
  const opened: SqliteWatch[] = [];
  t.teardown(() => {
    for (const store of opened) store.close();
    rmSync(directory, { recursive: true, force: true });
  });
  return {
    open: () => {
      const store = new SqliteWatch(join(directory, 'state.sqlite'));
      opened.push(store);
      return store;
    },
  };
}

t.test('an alarm and its notice are kept together or not at all', async (t) => {
  const house = aStore(t);
  const store = house.open();
  const change = {
    ...nothing,
    alarms: [alarm(1)],
    ledger: [entry()],
    digestOn: '2026-03-14',
    readiness: [{ group: 'shop', readiness: 'ready' as const, since: now }],
    notices: [{ channel: 'a', notice: notice('n1') }],
  };
  await t.rejects(
    store.change(() => {
      throw new Error('a defect half-way');
    }),
  );
  // The second of two open alarms of one key: the transaction fails as a whole.
  await t.rejects(store.change(() => ({ ...change, alarms: [alarm(1), { ...alarm(2), key: 'rpo:1' }] })));
  t.strictSame(await store.read(), nothing);
  t.strictSame(await store.due(now, 9), []);
  await store.change(() => change);
  const another = house.open();
  t.strictSame(await another.read(), {
    alarms: change.alarms,
    ledger: change.ledger,
    readiness: change.readiness,
    digestOn: change.digestOn,
  });
  t.strictSame(
    (await another.due(now, 9)).map((each) => each.notice.id),
    ['n1'],
  );
  await another.change((memory) => ({
    ...memory,
    alarms: [{ ...alarm(1), closedAt: now }],
    ledger: [],
    notices: [],
  }));
  t.strictSame((await store.read()).alarms, []);
  t.strictSame(
    (await store.closedSince(now)).map(({ id }) => id),
    ['rpo-000001'],
  );
  t.strictSame(await store.closedSince(addSeconds(now, 1)), []);
  t.strictSame((await store.read()).ledger, []);
});

t.test('the queue keeps its order, waits for what failed, and lets nobody be held up for ever', async (t) => {
  const store = aStore(t).open();
  const queue = (...notices: readonly Notice[]): Promise<unknown> =>
    store.change((memory) => ({
      ...memory,
      notices: notices.map((each) => ({ channel: 'a', notice: each })),
    }));
  const due = async (at = now): Promise<string[]> => (await store.due(at, 2)).map((each) => each.notice.id);
  await queue(notice('n1'), notice('n2'), notice('n3'));
  await queue(notice('n1'));
  t.strictSame(await due(), ['n1', 'n2'], 'each once, and so many at a time');
  await store.failed('a', 'n1', 'no answer', addSeconds(now, 60));
  t.strictSame(await due(), [], 'what was made later does not overtake');
  t.strictSame(await due(addSeconds(now, 60)), ['n1', 'n2']);
  t.strictSame(await store.standing(), [
    { channel: 'a', waiting: 3, waitingSince: now, problem: 'no answer' },
  ]);
  for (let attempt = 0; attempt < 5; attempt += 1)
    await store.failed('a', 'n1', 'refused', addSeconds(now, 3600));
  t.strictSame(
    (await store.due(now, 9)).map((each) => each.notice.id).includes('n2'),
    true,
    'one that is never taken',
  );
  await store.delivered('a', 'n2', now);
  await store.delivered('a', 'n3', now);
  t.strictSame(await due(addSeconds(now, 3600)), ['n1'], 'it is tried on');
  await queue(notice('n2'));
  t.strictSame(await due(addSeconds(now, 3600)), ['n1'], 'what was delivered is not sent again');
  t.equal(await store.dropOthers(['b'], now), 0, 'a channel may be back under its name');
  t.equal(await store.dropOthers(['a'], addSeconds(now, 1)), 0);
  t.equal(await store.dropOthers(['b'], addSeconds(now, 1)), 1);
  t.strictSame(await store.standing(), []);
});

t.test('a reminder that waits is replaced by the newer one', async (t) => {
  const store = aStore(t).open();
  const reminder = (id: string, of: string): Notice =>
    notice(id, { event: 'reminded', alarms: [{ ...alarm(1), id: of, event: 'reminded' }] });
  for (const each of [
    notice('n1'),
    reminder('r1', 'x'),
    reminder('r2', 'x'),
    reminder('r3', 'y'),
    notice('d1', { event: 'digest' }),
    notice('d2', { event: 'digest' }),
  ])
    await store.change((memory) => ({ ...memory, notices: [{ channel: 'a', notice: each }] }));
  t.strictSame(
    (await store.due(now, 9)).map((each) => each.notice.id),
    ['n1', 'r2', 'r3', 'd2'],
  );
});
