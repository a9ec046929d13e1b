/**
 * LUNs of a filer over LIO and over tgt: what hosts find, who gets in, what is left after whatever breaks. Both filers are
 * models of OpenZFS with doubles of their target software, behind SSH servers; the bytes go through this machine. The
 * scripts for LIO are truly run, on a directory. Real tgt is in test/real.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { openReplication } from '../../../src/adapters/replication/open.ts';
import { systemClock } from '../../../src/adapters/system/clock.ts';
import { OperatorError } from '../../../src/domain/errors.ts';
import { type Exposed, promotionConfirmation } from '../../../src/domain/replication.ts';
import type { ArraySettings } from '../../../src/domain/settings.ts';
import type { Replication } from '../../../src/ports/replication.ts';
import { LioDouble } from './doubles/targets/lio.ts';
import { type FoundLun, type Login, Mishaps, type TargetDouble } from './doubles/targets/target.ts';
import { TgtDouble } from './doubles/targets/tgt.ts';
import { startZfsFiler, type ZfsFiler } from './doubles/zfs/filer.ts';
import { Refusal, ZfsPool } from './doubles/zfs/pool.ts';
import { failureOf } from './failure.ts';

type Kind = 'lio' | 'tgt';

const volume = 'tank/v';
const host = 'iqn.2026-01.org.example:host1';
const other = 'iqn.2026-01.org.example:host2';
const stranger = 'iqn.2026-01.org.example:stranger';
const access = { addresses: ['10.1.1.1'], iqns: [host] };
const password = 'chap-password-1';
const usual = { pool: 'tank', via: 'lifeboat', expose: 'iscsi', target_iqn: 'iqn.2026-01.org.example.filer' };

interface FilerOfLuns {
  readonly filer: ZfsFiler;
  readonly double: TargetDouble;
  readonly mishaps: Mishaps;
  readonly adapter: Replication;
  /** Another instance of the adapter, which remembers nothing. */
  again(changes?: ArraySettings['options']): Replication;
}

function doublesOf(t: Test, kind: Kind): readonly [TargetDouble, TargetDouble] {
  if (kind === 'tgt') return [new TgtDouble(), new TgtDouble()];
  const place = mkdtempSync(join(tmpdir(), 'luns-'));
  t.teardown(() => rmSync(place, { recursive: true }));
  return [new LioDouble(join(place, 'source')), new LioDouble(join(place, 'target'))];
}

/** Devices are there as soon as their volumes are. */
function devices(pool: ZfsPool) {
  return ([, , , name, path = '', kind]: readonly string[]): string | null => {
    if (name !== 'lifeboat-wait') return null;
    const there =
      kind === 'b'
        ? pool.datasets.get(path.slice('/dev/zvol/'.length))?.type === 'volume'
        : pool.datasets.get(path.slice(1, path.lastIndexOf('/')))?.mounted === true;
    if (!there) throw new Refusal(`${path} is not there`);
    return '';
  };
}

async function openFiler(
  t: Test,
  double: TargetDouble | null,
  type: 'volume' | 'filesystem' | null,
): Promise<Pick<FilerOfLuns, 'filer'> & { readonly mishaps: Mishaps }> {
  const pool = new ZfsPool('tank');
  if (type !== null) pool.create(volume, type).mounted = type === 'filesystem';
  let cut = (): void => undefined;
  const mishaps = new Mishaps(double ?? new TgtDouble(), () => cut());
  const waits = devices(pool);
  const filer = await startZfsFiler(t, pool, (program, input) => {
    const waited = waits(program);
    if (waited !== null) return waited;
    if (double !== null) return mishaps.run(program, input);
    return program[3] === 'lifeboat-target-software' ? '' : null;
  });
  cut = () => filer.cut();
  return { filer, mishaps };
}

function settingsOf(
  name: string,
  { filer }: Pick<FilerOfLuns, 'filer'>,
  options: ArraySettings['options'],
): ArraySettings {
  const { port, username, hostKey } = filer;
  const ssh = { host: '127.0.0.1', port, username, host_key: hostKey };
  const secret = { from: 'env', name: 'FILER' } as const;
  return { name, site: name, type: 'zfs', options: { ...ssh, ...usual, ...options }, secret };
}

function adapterOf(t: Test, own: ArraySettings, peer: ArraySettings): Replication {
  const adapter = openReplication(own, {
    secrets: { resolve: async (ref) => (ref.from === 'store' ? password : 'right') },
    clock: systemClock,
    peers: new Map([[volume, { array: peer, volume }]]),
  });
  t.teardown(() => adapter.close());
  return adapter;
}

interface World {
  readonly source: FilerOfLuns;
  readonly target: FilerOfLuns;
}

async function worldOf(t: Test, kind: Kind, options: ArraySettings['options'] = {}): Promise<World> {
  const type = options['lun_image'] === undefined ? 'volume' : 'filesystem';
  const doubles = doublesOf(t, kind);
  const here = await openFiler(t, doubles[0], type);
  const there = await openFiler(t, doubles[1], null);
  const settings = (name: string, one: Pick<FilerOfLuns, 'filer'>, changes: ArraySettings['options']) =>
    settingsOf(name, one, { ...options, ...changes });
  const again =
    (own: typeof here, name: string, peer: typeof here) =>
    (changes: ArraySettings['options'] = {}) =>
      adapterOf(t, settings(name, own, changes), settings(`other than ${name}`, peer, changes));
  const opened = (own: typeof here, name: string, peer: typeof here, double: TargetDouble): FilerOfLuns => ({
    ...own,
    double,
    again: again(own, name, peer),
    adapter: again(own, name, peer)(),
  });
  return {
    source: opened(here, 'osaka', there, doubles[0]),
    target: opened(there, 'tokyo', here, doubles[1]),
  };
}

function find(
  { double }: FilerOfLuns,
  { iqn = '' }: Exposed,
  name = host,
  login?: Login,
): readonly FoundLun[] {
  return double.login(iqn, name, login);
}

/** What the host finds, whether or not it may log in. */
function foundBy(filer: FilerOfLuns, exposed: Exposed): readonly FoundLun[] {
  try {
    return find(filer, exposed);
  } catch {
    return [];
  }
}

for (const kind of ['lio', 'tgt'] as const) {
  t.test(
    `${kind}: hosts find the LUN that was foretold, each time the same, and nobody else does`,
    async (t) => {
      const { source } = await worldOf(t, kind);
      const { adapter } = source;
      t.match(await adapter.capabilities(), { expose: 'lun', drill: 'clone' });
      const exposed = await adapter.expose(volume, access);
      t.match(exposed, { kind: 'iscsi', portals: ['127.0.0.1:3260'], lun: 1 });
      t.match(exposed.scsiId, /^36001405[0-9a-f]{25}$/);
      const found = [{ number: 1, path: `/dev/zvol/${volume}`, scsiId: exposed.scsiId }];
      t.same(find(source, exposed), found);
      t.throws(() => find(source, exposed, stranger), /not authorized/);

      t.same(await adapter.expose(volume, { ...access, iqns: [other] }), exposed);
      t.same(find(source, exposed, other), found, 'a second host beside the first');
      t.same(find(source, exposed), found);
      await adapter.conceal(volume, access);
      t.throws(() => find(source, exposed), /not authorized/);
      t.same(source.double.sessions(), [other], 'the sessions of who stays go on, those of who goes end');
      await adapter.conceal(volume, { ...access, iqns: [other] });
      t.same(source.double.targets(), []);
      await adapter.conceal(volume, access);
      t.same(await source.again().expose(volume, access), exposed, 'another instance makes the same again');
    },
  );

  t.test(`${kind}: a person reads by what name it is found, and who is at it`, async (t) => {
    const { source } = await worldOf(t, kind);
    const shown = await source.adapter.expose(volume, access);
    find(source, shown);
    t.match(await source.adapter.describe?.(volume), {
      LUN: `1 of ${shown.iqn}`,
      portals: '127.0.0.1:3260',
      SCSIid: shown.scsiId,
      serial: new RegExp(`^${shown.scsiId?.slice(8)}`),
      'target software': kind === 'lio' ? 'LIO' : 'tgt',
      'shown to': host,
      sessions: host,
    });
    await source.adapter.conceal(volume, access);
    t.match(await source.adapter.describe?.(volume), { 'shown to': 'nobody', sessions: 'none' });
  });

  t.test(`${kind}: a copy is another LUN, and is gone after its drill`, async (t) => {
    const { source, target } = await worldOf(t, kind);
    const shown = await source.adapter.expose(volume, access);
    const point = await source.adapter.syncNow(volume, 'lb-1');
    const options = { drill: 'd1', point: point.ref, access };
    const copy = await target.adapter.drillStart(volume, options);
    t.not(copy.scsiId, shown.scsiId);
    t.match(find(target, copy), [{ path: `/dev/zvol/${volume}.lifeboat-drill-d1`, scsiId: copy.scsiId }]);
    t.same(await target.adapter.drillStart(volume, options), copy);
    await target.adapter.drillStop(volume, 'd1');
    t.same([target.double.targets(), target.double.sessions()], [[], []]);
    t.same([...target.filer.pool.datasets.keys()], [volume]);
  });

  t.test(
    `${kind}: what is closed is shown to nobody, and opened it is shown to those of before`,
    async (t) => {
      const { source, target } = await worldOf(t, kind);
      const shown = await source.adapter.expose(volume, access);
      find(source, shown);
      const point = await source.adapter.prepare(volume, 'lb-1');
      t.same([source.double.targets(), source.double.sessions()], [[], []], 'its session is ended');
      source.double.restart();
      t.same(source.double.targets(), [], 'and nothing brings it back');
      await source.adapter.unprepare(volume);
      t.match(find(source, shown), [{ scsiId: shown.scsiId }]);
      await source.adapter.prepare(volume, 'lb-1');
      const confirm = promotionConfirmation(volume, point.ref);
      await target.adapter.promote(volume, { mode: 'planned', point: point.ref, confirm });
      t.same(target.double.targets(), [], 'a promotion alone shows it to nobody');
      const there = await target.adapter.expose(volume, access);
      t.match(find(target, there), [{ scsiId: there.scsiId }]);
    },
  );

  t.test(`${kind}: what was shown is shown after a restart of the filer`, async (t) => {
    const { source } = await worldOf(t, kind);
    const shown = await source.adapter.expose(volume, access);
    source.double.restart();
    t.match(find(source, shown), [{ number: 1, path: `/dev/zvol/${volume}`, scsiId: shown.scsiId }]);
    t.throws(() => find(source, shown, stranger), /not authorized/);
    await source.adapter.conceal(volume, access);
    source.double.restart();
    t.same(source.double.targets(), []);
  });

  t.test(`${kind}: a session of somebody else is named, and nothing is taken away`, async (t) => {
    const { source } = await worldOf(t, kind);
    const { adapter, filer } = source;
    const shown = await adapter.expose(volume, { ...access, iqns: [host, stranger] });
    // As if a person had let it in: the volume itself knows only of one.
    filer.pool.dataset(volume).local.set('lifeboat:access', host);
    find(source, shown, stranger);
    const error = await failureOf(adapter.fence(volume));
    t.match(error, { kind: 'busy', problem: { code: 'DR-ARRAY-BUSY' } });
    t.match(error.message, stranger);
    t.same(source.double.sessions(), [stranger]);
    t.same(source.double.targets(), [shown.iqn]);
  });

  t.test(`${kind}: whatever breaks off or is not answered, the next call does the rest`, async (t) => {
    const exposing =
      kind === 'lio'
        ? [/block create/, /iscsi create/, /luns create/, /acls create/, /acls\/iqn\S+ create/, /saveconfig/]
        : [/new --mode target/, /new --mode log/, /update/, /bind/, /lifeboat-record/];
    const concealing =
      kind === 'lio'
        ? [/iscsi delete/, /block delete/, /saveconfig/]
        : [/unbind/, /delete --mode conn/, /delete --mode target/, /lifeboat-record/];
    const { source } = await worldOf(t, kind);
    const { adapter, double, mishaps } = source;
    const keeping = exposing.at(-1) ?? /never/;
    // Each call comes one command further. An answer that is lost leaves what a failure of the next command leaves.
    const shown = await adapter.expose(volume, access);
    await adapter.conceal(volume, access);
    for (const command of exposing) {
      mishaps.failNext(command);
      await failureOf(adapter.expose(volume, access));
      t.ok(mishaps.isOver, `died at ${command}`);
      if (command !== keeping) t.same(foundBy(source, shown), [], 'nobody finds it before all is right');
    }
    mishaps.loseNext(keeping);
    await failureOf(adapter.expose(volume, access));
    t.same(await adapter.expose(volume, access), shown);
    t.match(find(source, shown), [{ scsiId: shown.scsiId }]);
    double.restart();
    t.match(find(source, shown), [{ scsiId: shown.scsiId }], 'and it is kept');
    for (const command of concealing) {
      mishaps.failNext(command);
      await failureOf(adapter.conceal(volume, access));
      t.ok(mishaps.isOver, `died at ${command}`);
    }
    mishaps.loseNext(keeping);
    await failureOf(adapter.conceal(volume, access));
    await adapter.conceal(volume, access);
    t.same([double.targets(), double.sessions()], [[], []]);
    double.restart();
    t.same(double.targets(), [], 'and nothing of it is kept');
  });

  t.test(`${kind}: a file in a dataset, at several portals`, async (t) => {
    const portals = ['10.9.0.5', '10.9.1.5'];
    const { source } = await worldOf(t, kind, { lun_image: 'disk.img', target_portals: portals });
    const shown = await source.adapter.expose(volume, access);
    t.same(shown.portals, ['10.9.0.5:3260', '10.9.1.5:3260']);
    t.match(find(source, shown), [{ path: `/${volume}/disk.img` }]);
  });

  t.test(`${kind}: names that are none of initiators go nowhere near the filer`, async (t) => {
    const { source } = await worldOf(t, kind);
    for (const bad of ['iqn.2026-01.x:a b', 'host1', 'iqn.2026-01.x:a;reboot', "iqn.2026-01.x:'"])
      t.match(await failureOf(source.adapter.expose(volume, { ...access, iqns: [host, bad] })), {
        problem: { code: 'DR-ARRAY-NAME' },
      });
    t.match(await failureOf(source.adapter.expose(volume, { ...access, iqns: [] })), {
      problem: { code: 'DR-ARRAY-REFUSED' },
    });
    t.same(source.double.targets(), []);
  });
}

t.test('lio: what a filer has not brought back yet is never saved away', async (t) => {
  const { source } = await worldOf(t, 'lio');
  const { adapter, double } = source;
  if (!(double instanceof LioDouble)) throw new TypeError('it is LIO');
  const own = 'iqn.2026-01.org.example:of-the-site';
  double.run(['targetcli', '/iscsi', 'create', own], '');
  const shown = await adapter.expose(volume, access);
  double.lose();
  const error = await failureOf(adapter.expose(volume, access));
  t.match(error, { problem: { code: 'DR-ARRAY-REFUSED', next: /targetctl restore/ } });
  await adapter.fence(volume);
  double.restart();
  t.same([...double.targets()].sort(), [own, shown.iqn].sort(), 'what was saved is still there');
  await adapter.fence(volume);
  await adapter.conceal(volume, access);
  double.restart();
  t.same(double.targets(), [own]);
});

t.test('lio: a file that the site has under a name of its own is not taken', async (t) => {
  const { source } = await worldOf(t, 'lio', { lun_image: 'disk.img' });
  const store = ['file_or_dev=/tank/v/disk.img', 'write_back=false', 'wwn=00'];
  source.double.run(['targetcli', '/backstores/fileio', 'create', 'name=of-the-site', ...store], '');
  const error = await failureOf(source.adapter.expose(volume, access));
  t.match(error, { kind: 'refused', problem: { code: 'DR-ARRAY-REFUSED' } });
  t.match(error.message, /already exists: of-the-site/);
  t.same(source.double.targets(), []);
});

const chap = { chap_user: 'sr-user', chap_stored_as: 'osaka-chap' };

t.test('lio: CHAP goes through standard input, before a host finds the LUN', async (t) => {
  const { source } = await worldOf(t, 'lio', chap);
  const shown = await source.adapter.expose(volume, access);
  t.throws(() => find(source, shown), /authentication failure/);
  t.throws(() => find(source, shown, host, { user: 'sr-user', password: 'another' }), /failure/);
  t.match(find(source, shown, host, { user: 'sr-user', password }), [{ scsiId: shown.scsiId }]);
  t.notOk(
    source.filer.commands.some((line) => line.includes(password)),
    'it is on no command line',
  );
});

t.test('lio: without its password nothing is made', async (t) => {
  const { source } = await worldOf(t, 'lio', { chap_user: 'sr-user' });
  const error = await failureOf(source.adapter.expose(volume, access));
  t.match(error, { problem: { code: 'DR-ARRAY-REFUSED', next: /chap_stored_as/ } });
  t.same(source.double.targets(), []);
});

t.test('tgt: CHAP is an account that a person has made', async (t) => {
  const { source } = await worldOf(t, 'tgt', { chap_user: 'sr-user' });
  const { adapter, double } = source;
  if (!(double instanceof TgtDouble)) throw new TypeError('it is tgt');
  const error = await failureOf(adapter.expose(volume, access));
  t.match(error, { problem: { code: 'DR-ARRAY-REFUSED' } });
  t.match(error.problem.next, /CHAP account/);
  t.throws(() => double.login(double.targets()[0] ?? '', host), /not authorized/, 'nobody is in without it');
  double.accounts.set('sr-user', password);
  const shown = await adapter.expose(volume, access);
  t.throws(() => find(source, shown), /authentication failure/);
  t.match(find(source, shown, host, { user: 'sr-user', password }), [{ scsiId: shown.scsiId }]);
  t.equal(double.files.size, 0, 'a file would have to hold the password');
});

t.test('tgt: what does not run shows nothing, and what it kept goes all the same', async (t) => {
  const { source } = await worldOf(t, 'tgt');
  const { adapter, double } = source;
  if (!(double instanceof TgtDouble)) throw new TypeError('it is tgt');
  await adapter.expose(volume, access);
  t.equal(double.files.size, 1);
  double.isRunning = false;
  t.match(await failureOf(adapter.expose(volume, access)), { problem: { code: 'DR-ARRAY-TOOLS' } });
  await adapter.fence(volume);
  t.equal(double.files.size, 0);
  double.restart();
  t.same(double.targets(), []);
});

t.test(
  'without target software a person is told what to map, by the very names that are looked for',
  async (t) => {
    const { filer } = await openFiler(t, null, 'volume');
    const settings = settingsOf('osaka', { filer }, {});
    const adapter = adapterOf(t, settings, settings);
    const can = await adapter.capabilities();
    t.match(can, {
      expose: 'lun',
      drill: 'none',
      handOffs: { expose: /\{backing\}.*\{serial\}.*\{scsiId\}/ },
    });
    const shown = await adapter.expose(volume, access);
    const names = can.handOffNames?.[volume];
    t.match(names, { target: shown.iqn, scsiId: shown.scsiId, backing: `/dev/zvol/${volume}`, lun: '1' });
    t.equal(`36001405${names?.['serial']?.slice(0, 25)}`, shown.scsiId);
    const point = await failureOf(adapter.drillStart(volume, { drill: 'd1', point: 'none', access }));
    t.match(point, { kind: 'refused' });
  },
);

t.test('everything that is wrong with the options is said at once', async (t) => {
  const { filer } = await openFiler(t, null, 'volume');
  const wrong = (options: ArraySettings['options']): string => {
    const settings = settingsOf('osaka', { filer }, options);
    try {
      adapterOf(t, settings, settings);
    } catch (error) {
      if (error instanceof OperatorError) return `${error.code} ${error.message}`;
      throw error;
    }
    return 'nothing';
  };
  const bad = {
    target_iqn: 'IQN.x',
    lun: 0,
    lun_image: '../x',
    target_software: 'scst',
    tgt_conf_directory: 'x',
  };
  const said = wrong(bad);
  for (const name of ['DR-ARRAY-OPTIONS', ...Object.keys(bad)]) t.match(said, name);
  const portals = wrong({ target_portals: ['10.9.0.5:3260', '10.9.1.5:3261'], chap_stored_as: 'x' });
  t.match(portals, /several ports/);
  t.match(portals, /without chap_user/);
});
