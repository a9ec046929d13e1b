/** The adapter for lab arrays over its real control API, after the conformance list of storage.md B.6. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { openLabArray } from '../../src/adapters/replication/lab/lab-array.ts';
import { systemClock } from '../../src/adapters/system/clock.ts';
import { PortError } from '../../src/domain/errors.ts';
import { promotionConfirmation } from '../../src/domain/replication.ts';
import { addArray, addVolume, arraysOf, type LabArray, pairVolumes } from '../../src/lab/arrays/index.ts';
import { addPool } from '../../src/lab/core/build.ts';
import { DrivenClock } from '../../src/lab/core/clock.ts';
import { type Lab, startLab } from '../../src/lab/lab.ts';
import { fabricOf } from '../../src/lab/storage/index.ts';
import type { Replication } from '../../src/ports/replication.ts';

interface Rig {
  readonly lab: Lab;
  readonly clock: DrivenClock;
  readonly source: LabArray;
  readonly target: LabArray;
  readonly osaka: Replication;
  readonly tokyo: Replication;
  open(name: string, changes?: { readonly password?: string; readonly fingerprint?: string }): Replication;
  /** Content of the volume that a host of Tokyo can mount; null when it is refused. */
  mounted(from?: string): string | null;
}

const volume = 'shop';
const hostAddress = '127.31.2.1';

async function rig(test: Pick<typeof t, 'teardown'>, intervalSeconds: number | null = null): Promise<Rig> {
  const storage = mkdtempSync(join(tmpdir(), 'lab-array-'));
  const clock = new DrivenClock();
  let source: LabArray | undefined;
  let target: LabArray | undefined;
  const lab = await startLab({
    storage,
    clock,
    world: async (made) => {
      const production = addPool(made, {
        name: 'osaka',
        site: 'osaka',
        label: 'osaka',
        hosts: [{ name: 'osaka-1', address: '127.31.1.1' }],
      });
      const recovery = addPool(made, {
        name: 'tokyo',
        site: 'tokyo',
        label: 'tokyo',
        hosts: [{ name: 'tokyo-1', address: hostAddress }],
      });
      source = await addArray(made, { name: 'filer-osaka', site: 'osaka', address: '127.31.1.100' });
      target = await addArray(made, { name: 'filer-tokyo', site: 'tokyo', address: '127.31.2.100' });
      for (const array of [source, target]) addVolume(array, volume, [production, recovery]);
      pairVolumes({ array: source, volume }, { array: target, volume }, { intervalSeconds });
    },
  });
  if (source === undefined || target === undefined) throw new Error('the world has no arrays');
  const open: Rig['open'] = (name, changes = {}) => {
    const server = arraysOf(lab).get(name);
    if (server === undefined) throw new Error(`no array ${name}`);
    const { username, password } = server.login;
    return openLabArray(
      {
        name,
        site: '',
        type: 'lab',
        options: { url: server.url, fingerprint: changes.fingerprint ?? server.certificate.sha256, username },
        secret: { from: 'env', name: 'ARRAY_PASSWORD' },
      },
      {
        secrets: { resolve: () => Promise.resolve(changes.password ?? password) },
        clock: systemClock,
      },
    );
  };
  const [osaka, tokyo] = [open('filer-osaka'), open('filer-tokyo')];
  test.teardown(async () => {
    await osaka.close();
    await tokyo.close();
    await lab.stop();
    rmSync(storage, { recursive: true, force: true });
  });
  const mounted = (from = hostAddress): string | null => {
    const pool = lab.pool('tokyo');
    const mount = fabricOf(pool).mount(pool, '127.31.2.100', `/volumes/${volume}`, from);
    return mount === null ? null : readFileSync(join(mount.directory, 'data'), 'utf8');
  };
  return { lab, clock, source, target, osaka, tokyo, open, mounted };
}

function write(array: LabArray, text: string): void {
  writeFileSync(join(array.volume(volume).directory, 'data'), text);
}

const kindOf = async (work: Promise<unknown>): Promise<string> => {
  try {
    await work;
    return 'done';
  } catch (error) {
    if (error instanceof PortError) return error.kind;
    throw error;
  }
};

t.test('a point is cut at the source and complete at the target', async (test) => {
  const { source, clock, osaka, tokyo, target } = await rig(test);
  test.equal((await osaka.observe(volume)).role, 'source');
  test.match(await tokyo.observe(volume), {
    role: 'target',
    writable: false,
    newestComplete: null,
    link: 'up',
  });
  write(source, 'first');
  const point = await osaka.syncNow(volume, 'lb-run1-1');
  test.match(point, { tag: 'lb-run1-1', complete: true, takenAt: new Date(clock.now()).toISOString() });
  const again = await osaka.syncNow(volume, 'lb-run1-1');
  test.same(again, point, 'the same tag is the same point');
  test.same(await tokyo.points(volume), [point]);
  test.equal(target.storedPoints(volume).length, 1, 'one copy is stored');
  await clock.advance(90);
  test.equal((await tokyo.observe(volume)).reportedLagSeconds, 90);
});

t.test('a target cannot be mounted before it is promoted and exposed', async (test) => {
  const { source, osaka, tokyo, mounted } = await rig(test);
  write(source, 'old');
  const old = await osaka.syncNow(volume, 'old');
  write(source, 'new');
  const newer = await osaka.syncNow(volume, 'new');
  write(source, 'never replicated');
  test.equal(mounted(), null);
  test.equal(await kindOf(tokyo.expose(volume, { addresses: [hostAddress], iqns: [] })), 'refused');
  const promotion = {
    mode: 'unplanned' as const,
    point: newer.ref,
    confirm: promotionConfirmation(volume, newer.ref),
  };
  await tokyo.promote(volume, promotion);
  test.match(await tokyo.observe(volume), { role: 'promoted', health: { level: 'warn' } });
  test.equal(mounted(), null, 'promotion alone shows it to nobody');
  test.same(await tokyo.expose(volume, { addresses: [hostAddress], iqns: [] }), {
    kind: 'nfs',
    server: '127.31.2.100',
    path: '/volumes/shop',
  });
  test.equal(mounted(), 'new');
  test.equal(mounted('127.31.9.9'), null, 'only the hosts that were named');
  await tokyo.promote(volume, promotion);
  test.equal(mounted(), 'new', 'the same promotion again changes nothing');
  const other = { ...promotion, point: old.ref, confirm: promotionConfirmation(volume, old.ref) };
  test.equal(await kindOf(tokyo.promote(volume, other)), 'refused', 'another point is another matter');
});

t.test('an older point can be promoted; a wrong confirmation promotes nothing', async (test) => {
  const { source, osaka, tokyo, mounted } = await rig(test);
  write(source, 'monday');
  const monday = await osaka.syncNow(volume, 'monday');
  write(source, 'tuesday');
  const tuesday = await osaka.syncNow(volume, 'tuesday');
  const wrong = {
    mode: 'unplanned' as const,
    point: monday.ref,
    confirm: promotionConfirmation(volume, tuesday.ref),
  };
  test.equal(await kindOf(tokyo.promote(volume, wrong)), 'refused');
  const absent = { ...wrong, point: 'nothing', confirm: promotionConfirmation(volume, 'nothing') };
  test.equal(await kindOf(tokyo.promote(volume, absent)), 'refused');
  test.equal((await tokyo.observe(volume)).role, 'target');
  await tokyo.promote(volume, { ...wrong, confirm: promotionConfirmation(volume, monday.ref) });
  await tokyo.expose(volume, { addresses: [hostAddress], iqns: [] });
  test.equal(mounted(), 'monday');
});

t.test('a link that is cut in the middle leaves no half point', async (test) => {
  const { source, target, clock, osaka, tokyo } = await rig(test);
  write(source, 'whole');
  const whole = await osaka.syncNow(volume, 'whole');
  source.transferSeconds = 30;
  write(source, 'half');
  const { done } = source.sync(volume, 'half');
  test.equal((await osaka.observe(volume)).role, 'source');
  test.equal(await kindOf(openSecond(osaka)), 'busy', 'one transfer at a time');
  source.setLink(target, false);
  await test.rejects(done, { code: 'link-down' });
  test.equal((await tokyo.observe(volume)).newestComplete?.ref, whole.ref);
  test.same(target.storedPoints(volume), [whole.ref]);
  test.equal(await kindOf(osaka.syncNow(volume, 'half')), 'refused');
  source.setLink(target, true);
  const { done: second } = source.sync(volume, 'half');
  await clock.advance(31);
  await second;
  test.equal((await tokyo.points(volume))[0]?.tag, 'half', 'the next transfer works');
});

/** A second sync beside a running one, given up at the first "busy". */
async function openSecond(array: Replication): Promise<void> {
  const giveUp = AbortSignal.timeout(50);
  try {
    await array.syncNow(volume, 'second', giveUp);
  } catch (error) {
    if (giveUp.aborted)
      throw new PortError(
        'busy',
        { code: 'DR-ARRAY-BUSY', what: 'still busy', next: 'wait' },
        { cause: error },
      );
    throw error;
  }
}

t.test('with the source dark the target is promoted without a word to it', async (test) => {
  const { lab, source, clock, osaka, tokyo, mounted } = await rig(test);
  write(source, 'the last minute');
  const point = await osaka.syncNow(volume, 'last');
  await lab.killSite('osaka');
  test.equal(await kindOf(osaka.observe(volume)), 'unreachable');
  const before = arraysOf(lab).get('filer-osaka')?.log.length;
  await clock.advance(600);
  test.match(await tokyo.observe(volume), { role: 'target', link: 'down', reportedLagSeconds: 600 });
  await tokyo.promote(volume, {
    mode: 'unplanned',
    point: point.ref,
    confirm: promotionConfirmation(volume, point.ref),
  });
  await tokyo.expose(volume, { addresses: [hostAddress], iqns: [] });
  test.equal(mounted(), 'the last minute');
  test.equal(arraysOf(lab).get('filer-osaka')?.log.length, before, 'nothing was asked of the source');
  await lab.reviveSite('osaka');
  test.equal((await osaka.observe(volume)).role, 'split', 'the old source comes back and says so');
});

t.test('a planned promotion waits for the last point of a fenced source', async (test) => {
  const { source, osaka, tokyo } = await rig(test);
  write(source, 'a');
  const early = await osaka.syncNow(volume, 'early');
  const planned = (ref: string) => ({
    mode: 'planned' as const,
    point: ref,
    confirm: promotionConfirmation(volume, ref),
  });
  test.equal(await kindOf(tokyo.promote(volume, planned(early.ref))), 'refused', 'the source still writes');
  await osaka.fence(volume);
  await osaka.fence(volume);
  test.match(await osaka.observe(volume), { role: 'demoted', writable: false });
  const last = await osaka.syncNow(volume, 'last');
  test.equal(await kindOf(tokyo.promote(volume, planned(early.ref))), 'refused', 'not the last point');
  await tokyo.promote(volume, planned(last.ref));
  test.equal((await tokyo.observe(volume)).role, 'promoted');
  test.equal((await osaka.observe(volume)).role, 'demoted');
});

t.test('the schedule cuts points by the clock of the lab', async (test) => {
  const { source, clock, tokyo } = await rig(test, 60);
  write(source, 'x');
  for (let i = 0; i < 3; i += 1) {
    await clock.advance(60);
    const running = source.volume(volume).transfer;
    if (running !== null) await running.done;
    // The loop goes back to sleep once it has seen the end of the transfer.
    await new Promise((resolve) => setImmediate(resolve));
  }
  const points = await tokyo.points(volume);
  test.equal(points.length, 3);
  test.ok((points[0]?.takenAt ?? '') > (points[2]?.takenAt ?? ''), 'newest first');
});

t.test('what goes wrong has the right kind, and no secret in its text', async (test) => {
  const { lab, source, osaka, open } = await rig(test);
  const stranger = open('filer-osaka', { fingerprint: '00'.repeat(32) });
  test.equal(await kindOf(stranger.identify()), 'trust');
  const thief = open('filer-osaka', { password: 'wrong-secret' });
  const refusal = await thief.identify().catch((error: unknown) => String(error));
  test.notMatch(refusal, /wrong-secret/);
  test.equal(await kindOf(thief.identify()), 'auth');
  test.equal(await kindOf(osaka.observe('no such volume')), 'refused');
  test.match(await osaka.identify(), { vendor: 'Lifeboat', serial: source.serial });
  const server = arraysOf(lab).get('filer-osaka');
  if (server !== undefined) server.loseNextAnswer = true;
  test.equal(await kindOf(osaka.fence(volume)), 'outcome-unknown');
  test.equal((await osaka.observe(volume)).role, 'demoted', 'the effect is there all the same');
  test.equal(await kindOf(osaka.identify(AbortSignal.abort())), 'cancelled');
  await stranger.close();
  await thief.close();
  test.ok(readdirSync(lab.storage).includes('arrays'));
});
