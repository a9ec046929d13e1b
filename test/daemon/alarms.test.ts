/** The watch over the lab: what is broken there arrives once, and closes; nothing is lost when a channel or the daemon is away. */
import t from 'tap';
import type { App } from '../../src/app/app.ts';
import type { WatchResult } from '../../src/app/watch.ts';
import { PortError } from '../../src/domain/errors.ts';
import type { Notice } from '../../src/domain/notice.ts';
import { type ChannelSettings, defaultAlarms, defaultNotices } from '../../src/domain/notice-settings.ts';
import type { Settings } from '../../src/domain/settings.ts';
import { LabHouse } from '../check/lab-app.ts';

t.setTimeout(240_000);

const channel: ChannelSettings = {
  name: 'incidents',
  type: 'webhook',
  url: 'https://localhost/never-called',
  secret: null,
  caFile: null,
  atLeast: 'warning',
  groups: [],
  digest: true,
};
const watched: Partial<Settings> = {
  alarms: { ...defaultAlarms, drillEverySeconds: null },
  notices: { ...defaultNotices, channels: [channel], settleSeconds: 0 },
};

/** What arrived since it was last asked, as `event key`. */
class Receiver {
  #arrived: Notice[] = [];
  away = false;

  readonly notifier = () => ({
    send: async (notice: Notice): Promise<void> => {
      if (this.away)
        throw new PortError('unreachable', { code: 'DR-NOTICE-UNREACHABLE', what: 'nobody there', next: '' });
      this.#arrived.push(notice);
    },
  });

  take(): Notice[] {
    const arrived = this.#arrived;
    this.#arrived = [];
    return arrived;
  }

  heard(): string[] {
    return this.take().flatMap(({ alarms }) => alarms.map(({ event, key }) => `${event} ${key}`));
  }
}

async function tick(app: App): Promise<WatchResult> {
  const seen = await app.look({ configProblems: [] });
  const result = await app.watch?.(seen);
  if (result === undefined) throw new Error('somebody watches');
  return result;
}

t.test(
  'alarms arrive once and close: a dead site, a lost network, a broken RPO, a refused password',
  async (t) => {
    const house = await LabHouse.start(t);
    const receiver = new Receiver();
    const open = <T>(
      work: (app: App) => Promise<T>,
      changes: Partial<Settings> = {},
      password?: string,
    ): Promise<T> =>
      house.with({ ...watched, ...changes }, work, password, {}, { notifier: receiver.notifier });
    const look = (changes?: Partial<Settings>, password?: string): Promise<WatchResult> =>
      open(tick, changes, password);
    await house.save();

    const quiet = await look();
    t.strictSame(receiver.heard(), [], JSON.stringify(quiet.alarms));
    t.match(quiet, { groups: [{ group: 'shop', readiness: /^ready/ }], raised: 0, noticesWaiting: 0 });

    await house.lab.killSite('production');
    const dead = await look();
    t.strictSame(receiver.heard(), ['raised site:production'], 'one for the site, and none for what follows');
    t.strictSame(
      dead.alarms.map(({ kind, groups }) => [kind, groups]),
      [['site-lost', ['shop']]],
    );
    await look();
    t.strictSame(receiver.heard(), [], 'once');
    await house.lab.reviveSite('production');
    await look();
    t.strictSame(receiver.heard(), ['closed site:production']);

    const [network] = house.lab.pool('recovery').db.byName('network', 'Recovery LAN');
    network?.set({ name_label: 'Recovery LAN (old)' });
    const lost = await look();
    const [told] = receiver.take();
    t.strictSame(
      told?.alarms.map(({ event, key }) => `${event} ${key}`),
      ['raised readiness:shop'],
    );
    const { id, firstSeenAt } = await open(async (app) => {
      const report = await app.watching.drift({ groups: ['shop'] });
      const [entry] = report.entries;
      if (entry === undefined) throw new Error('a network is missing');
      return entry;
    });
    t.match(
      told?.lines.join('\n'),
      `difference ${id}, since ${firstSeenAt}`,
      'the difference that did it, and since when',
    );
    t.match(lost.groups, [{ readiness: 'not-ready', because: [/no network named Recovery LAN/] }]);
    const said = { by: 'head of network', reason: 'renamed until Friday' };
    const until = new Date(Date.now() + 3 * 86_400_000).toISOString();
    await open((app) => app.watching.accept({ id, until, ...said }));
    t.match(await look(), { groups: [{ readiness: 'ready-with-warnings', because: [] }] });
    t.strictSame(receiver.heard(), ['closed readiness:shop'], 'accepted is not lost');
    t.match(await open((app) => app.audit({ group: 'shop' })), [{ did: 'accept-difference', ...said }]);
    await open((app) => app.watching.revoke(id, said));
    await look();
    t.strictSame(receiver.heard(), ['raised readiness:shop']);
    network?.set({ name_label: 'Recovery LAN' });
    await look();
    t.strictSame(receiver.heard(), ['closed readiness:shop']);

    const hurried = { groups: house.settings.groups.map((group) => ({ ...group, rpoSeconds: 0.001 })) };
    await look(hurried);
    t.match(
      new Set(receiver.heard()),
      new Set(['raised rpo:shop', 'raised export:shop', 'raised readiness:shop']),
    );
    await look();
    t.match(
      new Set(receiver.heard()),
      new Set(['closed rpo:shop', 'closed export:shop', 'closed readiness:shop']),
    );

    const shut = await look({}, 'wrong');
    t.strictSame(receiver.heard(), ['raised site:recovery']);
    t.match(shut.alarms, [{ kind: 'credential', what: 'Site recovery does not let Lifeboat in' }]);
    await look();
    t.strictSame(receiver.heard(), ['closed site:recovery']);
  },
);

t.test('a channel that is away loses nothing, and hears everything in its order', async (t) => {
  const house = await LabHouse.start(t);
  const receiver = new Receiver();
  const look = (): Promise<WatchResult> =>
    house.with(watched, tick, undefined, {}, { notifier: receiver.notifier });
  await house.save();
  receiver.away = true;
  const [network] = house.lab.pool('recovery').db.byName('network', 'Recovery LAN');
  network?.set({ name_label: 'another name' });
  t.match(await look(), { raised: 1, noticesWaiting: 1 });
  network?.set({ name_label: 'Recovery LAN' });
  // A new process: the memory is on the disk alone.
  t.match(await look(), { closed: 1, noticesWaiting: 2 });
  receiver.away = false;
  const store = await house.watchStore();
  t.teardown(() => store.close());
  const [first] = await store.due('2100-01-01T00:00:00.000Z', 9);
  await store.failed('incidents', first?.notice.id ?? '', 'still nobody', '2020-01-01T00:00:00.000Z');
  t.match(await look(), { raised: 0, closed: 0, noticesWaiting: 0 });
  t.strictSame(receiver.heard(), ['raised readiness:shop', 'closed readiness:shop']);
  await look();
  t.strictSame(receiver.heard(), []);
});
