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

t.test('alarms arrive once and close, and nothing is lost', async (t) => {
  const house = await LabHouse.start(t);
  const receiver = new Receiver();
  const open = <T>(
    work: (app: App) => Promise<T>,
    changes: Partial<Settings> = {},
    password?: string,
  ): Promise<T> =>
    house.with({ ...watched, ...changes }, work, password, {}, { notifier: receiver.notifier });
  const [network] = house.lab.pool('recovery').db.byName('network', 'Recovery LAN');
  const rename = (name: string): void => network?.set({ name_label: name });
  await house.save();

  await open(async (app) => {
    await t.test('a dead site is one alarm', async (t) => {
      const quiet = await tick(app);
      t.strictSame(receiver.heard(), [], JSON.stringify(quiet.alarms));
      t.match(quiet, { groups: [{ group: 'shop', readiness: /^ready/ }], raised: 0, noticesWaiting: 0 });
      await house.lab.killSite('production');
      const dead = await tick(app);
      t.strictSame(receiver.heard(), ['raised site:production'], 'and none for what follows from it');
      t.strictSame(
        dead.alarms.map(({ kind, groups }) => [kind, groups]),
        [['site-lost', ['shop']]],
      );
      await house.lab.reviveSite('production');
      await tick(app);
      t.strictSame(receiver.heard(), ['closed site:production']);
      await tick(app);
      t.strictSame(receiver.heard(), [], 'once');
    });

    await t.test('readiness is lost with the difference that did it, accepted, and back', async (t) => {
      rename('Recovery LAN (old)');
      const lost = await tick(app);
      const [told] = receiver.take();
      t.strictSame(
        told?.alarms.map(({ event, key }) => `${event} ${key}`),
        ['raised readiness:shop'],
      );
      const [entry] = (await app.watching.drift({ groups: ['shop'] })).entries;
      const id = entry?.id ?? '';
      t.match(told?.lines.join('\n'), `difference ${id}, since ${entry?.firstSeenAt}`);
      t.match(lost.groups, [{ readiness: 'not-ready', because: [/no network named Recovery LAN/] }]);
      const said = { by: 'head of network', reason: 'renamed until Friday' };
      const until = new Date(Date.now() + 3 * 86_400_000).toISOString();
      await app.watching.accept({ id, until, ...said });
      t.match(await tick(app), { groups: [{ readiness: 'ready-with-warnings', because: [] }] });
      t.strictSame(receiver.heard(), ['closed readiness:shop'], 'what is accepted is not lost');
      t.match(await app.audit({ group: 'shop' }), [{ did: 'accept-difference', ...said }]);
      await app.watching.revoke(id, said);
      await tick(app);
      t.strictSame(receiver.heard(), ['raised readiness:shop']);
      rename('Recovery LAN');
      await tick(app);
      t.strictSame(receiver.heard(), ['closed readiness:shop']);
    });
  });

  await t.test('a promise that does not hold, and a password that is refused', async (t) => {
    const hurried = { groups: house.settings.groups.map((group) => ({ ...group, rpoSeconds: 0.001 })) };
    await open(tick, hurried);
    const keys = ['export:shop', 'readiness:shop', 'rpo:shop'];
    t.strictSame(
      receiver.heard().sort(),
      keys.map((key) => `raised ${key}`),
    );
    const shut = await open(tick, {}, 'wrong');
    t.match(
      shut.alarms.find(({ kind }) => kind === 'credential'),
      { what: 'Site recovery does not let Lifeboat in', groups: ['shop'] },
    );
    t.ok(receiver.heard().includes('raised site:recovery'));
    const well = await open(tick);
    t.ok(receiver.heard().includes('closed site:recovery'));
    t.strictSame(well.alarms, []);
  });

  await t.test(
    'a channel that is away loses nothing, over a new process, and hears all in its order',
    async (t) => {
      receiver.away = true;
      rename('another name');
      t.match(await open(tick), { raised: 1, noticesWaiting: 1 });
      rename('Recovery LAN');
      const store = await house.watchStore();
      t.teardown(() => store.close());
      await open(async (app) => {
        t.match(await tick(app), { closed: 1, noticesWaiting: 2 });
        receiver.away = false;
        const [first] = await store.due('2100-01-01T00:00:00.000Z', 9);
        // As if its pause were over.
        await store.failed('incidents', first?.notice.id ?? '', 'still nobody', '2020-01-01T00:00:00.000Z');
        await app.watching.deliver();
      });
      t.strictSame(receiver.heard(), ['raised readiness:shop', 'closed readiness:shop']);
      t.strictSame(await store.standing(), []);
    },
  );
});
