/** The contract over the lab's arrays, and what is particular to them: their clock, their store, their own faults. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { PortError } from '../../../src/domain/errors.ts';
import { discardConfirmation, promotionConfirmation } from '../../../src/domain/replication.ts';
import { ask, serveControl } from '../../../src/lab/commands/control.ts';
import { DrivenClock } from '../../../src/lab/core/clock.ts';
import type { Replication } from '../../../src/ports/replication.ts';
import { type LabArrays, labRigs, startLabArrays } from './lab-rig.ts';
import type { Side } from './rig.ts';
import { replicationSuite } from './suite.ts';

const world = await startLabArrays();
t.teardown(() => world.stop());

replicationSuite('lab', labRigs(world));

interface Driven extends LabArrays {
  readonly clock: DrivenClock;
  readonly osaka: Replication;
  readonly tokyo: Replication;
  readonly volumes: Readonly<Record<Side, string>>;
  write(text: string): void;
}

/** A lab whose clock stands still, with one pair. */
async function driven(test: Test, intervalSeconds?: number): Promise<Driven> {
  const clock = new DrivenClock();
  const made = await startLabArrays({ clock });
  test.teardown(() => made.stop());
  const volumes = made.pair('shop', intervalSeconds);
  const write = (text: string): void =>
    writeFileSync(join(made.arrays.source.volume(volumes.source).directory, 'data'), text);
  const [osaka, tokyo] = [made.adapter('source'), made.adapter('target')];
  return { ...made, clock, osaka, tokyo, volumes, write };
}

async function refusalOf(work: Promise<unknown>): Promise<PortError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof PortError) return error;
    throw error;
  }
  throw new Error('it was done, and must have been refused');
}

t.test('points are dated by the clock of the lab, stored once, and grow old by it', async (test) => {
  const { clock, osaka, tokyo, arrays, volumes, write } = await driven(test);
  test.match(await tokyo.observe(volumes.target), { role: 'target', newestComplete: null, link: 'up' });
  write('first');
  const point = await osaka.syncNow(volumes.source, 'lb-run1-1');
  test.equal(point.takenAt, new Date(clock.now()).toISOString());
  test.same(await osaka.syncNow(volumes.source, 'lb-run1-1'), point, 'the same tag is the same point');
  test.same(await tokyo.points(volumes.target), [point]);
  test.same(arrays.target.storedPoints(volumes.target), [point.ref], 'one copy is stored');
  await clock.advance(90);
  test.equal((await tokyo.observe(volumes.target)).reportedLagSeconds, 90);
});

t.test('a transfer that takes its time breaks off with the link and leaves nothing half', async (test) => {
  const { clock, osaka, tokyo, arrays, volumes, write } = await driven(test);
  const { source, target } = arrays;
  write('whole');
  const whole = await osaka.syncNow(volumes.source, 'whole');
  source.transferSeconds = 30;
  write('half');
  const { done } = source.sync(volumes.source, 'half');
  test.equal((await osaka.observe(volumes.source)).activity, 'transferring');
  test.throws(() => source.sync(volumes.source, 'second'), { code: 'busy' }, 'one transfer at a time');
  source.setLink(target, false);
  await test.rejects(done, { code: 'link-down' });
  test.same(target.storedPoints(volumes.target), [whole.ref]);
  test.equal((await refusalOf(osaka.syncNow(volumes.source, 'half'))).peerCode, 'link-down');
  test.match(await tokyo.observe(volumes.target), { link: 'down', health: { level: 'warn' } });
  source.setLink(target, true);
  const { done: second } = source.sync(volumes.source, 'half');
  await clock.advance(31);
  await second;
  test.equal((await tokyo.points(volumes.target))[0]?.tag, 'half', 'the next transfer works');
});

t.test('an array dies with its site, and returns with what it knew', async (test) => {
  const { lab, clock, osaka, tokyo, volumes, write, requests } = await driven(test);
  write('the last minute');
  const point = await osaka.syncNow(volumes.source, 'last');
  await lab.killSite('osaka');
  const before = requests('source');
  await clock.advance(600);
  test.match(await tokyo.observe(volumes.target), { role: 'target', link: 'down', reportedLagSeconds: 600 });
  await tokyo.promote(volumes.target, {
    mode: 'unplanned',
    point: point.ref,
    confirm: promotionConfirmation(volumes.target, point.ref),
  });
  test.equal(requests('source'), before, 'nothing was asked of the source');
  await lab.reviveSite('osaka');
  test.match(await osaka.observe(volumes.source), { role: 'split', health: { level: 'warn' } });
});

t.test('a fenced source sends its last point, and a planned promotion waits for that one', async (test) => {
  const { osaka, tokyo, volumes, write } = await driven(test);
  const planned = (ref: string) =>
    tokyo.promote(volumes.target, {
      mode: 'planned',
      point: ref,
      confirm: promotionConfirmation(volumes.target, ref),
    });
  write('a');
  const early = await osaka.syncNow(volumes.source, 'early');
  await osaka.fence(volumes.source);
  test.match(await osaka.observe(volumes.source), { role: 'demoted', writable: false });
  const last = await osaka.syncNow(volumes.source, 'last');
  test.match((await refusalOf(planned(early.ref))).message, /not the last of the source/);
  await planned(last.ref);
  test.equal((await tokyo.observe(volumes.target)).role, 'promoted');
  test.equal((await osaka.observe(volumes.source)).role, 'demoted');
});

t.test('the schedule follows the direction, by the clock of the lab', async (test) => {
  const { clock, arrays, osaka, tokyo, volumes, write } = await driven(test, 60);
  const { source, target } = arrays;
  const tick = async (side: Side): Promise<void> => {
    await clock.advance(60);
    const running = arrays[side].volume(volumes[side]).transfer;
    if (running !== null) await running.done;
    // The loop goes back to sleep once it has seen the end of the transfer.
    await new Promise((resolve) => setImmediate(resolve));
  };
  write('x');
  for (let i = 0; i < 3; i += 1) await tick('source');
  const points = await tokyo.points(volumes.target);
  test.equal(points.length, 3);
  test.ok((points[0]?.takenAt ?? '') > (points[2]?.takenAt ?? ''), 'newest first');
  const last = await osaka.prepare(volumes.source, 'final');
  const confirm = promotionConfirmation(volumes.target, last.ref);
  await tokyo.promote(volumes.target, { mode: 'planned', point: last.ref, confirm });
  await tokyo.reverse(volumes.target, 'back', { discard: false, confirm: '' });
  for (let i = 0; i < 2; i += 1) await tick('target');
  const held = source.points(volumes.source);
  test.same(
    held.slice(0, 3).map(({ ref }) => ref.startsWith(target.serial)),
    [true, true, true],
    'the reversed point and two of the schedule',
  );
});

t.test('this array promotes nothing beside an open drill, and says which', async (test) => {
  const { osaka, tokyo, volumes, write } = await driven(test);
  write('x');
  const point = await osaka.syncNow(volumes.source, 'one');
  const access = { addresses: ['127.31.2.1'], iqns: [] };
  await tokyo.drillStart(volumes.target, { drill: 'lb-tuesday', point: point.ref, access });
  const confirm = promotionConfirmation(volumes.target, point.ref);
  const promotion = { mode: 'unplanned' as const, point: point.ref, confirm };
  const error = await refusalOf(tokyo.promote(volumes.target, promotion));
  test.equal(error.peerCode, 'wrong-state');
  test.match(error.message, /lb-tuesday/);
  const escaping = { drill: '../shop', point: point.ref, access };
  test.equal((await refusalOf(tokyo.drillStart(volumes.target, escaping))).kind, 'refused');
});

t.test('two calls at once are one effect', async (test) => {
  const { arrays, osaka, tokyo, volumes, write } = await driven(test);
  write('x');
  const point = await osaka.syncNow(volumes.source, 'one');
  const access = { addresses: ['127.31.2.1'], iqns: [] };
  const drill = { drill: 'lb-twice', point: point.ref, access };
  const [one, two] = await Promise.all([1, 2].map(() => tokyo.drillStart(volumes.target, drill)));
  test.same(one, two);
  test.equal((await tokyo.drillList()).length, 1);
  await tokyo.drillStop(volumes.target, 'lb-twice');
  const confirm = promotionConfirmation(volumes.target, point.ref);
  const given = { mode: 'unplanned' as const, point: point.ref, confirm };
  const promotions = [1, 2].map(() => arrays.target.promote(volumes.target, given));
  test.same(await Promise.all(promotions), [{ changed: true }, { changed: false }]);
});

t.test('power that fails in the middle of a drill or a promotion leaves neither half', async (test) => {
  const { arrays, osaka, tokyo, volumes, write } = await driven(test);
  write('x');
  const point = await osaka.syncNow(volumes.source, 'one');
  const { target } = arrays;
  const drill = { drill: 'lb-dark', point: point.ref, addresses: ['127.31.2.1'] };
  const confirm = promotionConfirmation(volumes.target, point.ref);
  const given = { mode: 'unplanned' as const, point: point.ref, confirm };
  const failing = async (work: Promise<unknown>): Promise<void> => {
    const refused = test.rejects(work, { message: /lost its power/ });
    target.setPower(false);
    target.setPower(true);
    await refused;
  };
  await failing(target.promote(volumes.target, given));
  test.equal((await tokyo.observe(volumes.target)).role, 'target');
  await failing(target.drills.start(volumes.target, drill));
  test.equal((await tokyo.drillList()).length, 1, 'its mark is there');
  await tokyo.drillStop(volumes.target, 'lb-dark');
  await target.promote(volumes.target, given);
  test.equal((await tokyo.observe(volumes.target)).role, 'promoted');
});

t.test('each side keeps twelve points, and never prunes the one that it was promoted from', async (test) => {
  const { arrays, osaka, tokyo, volumes, write } = await driven(test);
  const refs: string[] = [];
  for (let i = 0; i < 14; i += 1) {
    write(`content ${i}`);
    refs.push((await osaka.syncNow(volumes.source, `point-${i}`)).ref);
  }
  test.same(arrays.target.storedPoints(volumes.target), refs.slice(-12));
  test.same(arrays.source.storedPoints(volumes.source), refs.slice(-12));
  const [again] = await tokyo.points(volumes.target);
  test.equal((await osaka.syncNow(volumes.source, 'point-0')).ref, refs[0], 'a tag outlives its copy');
  test.equal(again?.ref, refs.at(-1));
});

t.test('an older point is promoted: the newer ones are what the old source must give up', async (test) => {
  const { arrays, osaka, tokyo, volumes, write } = await driven(test);
  write('monday');
  const monday = await osaka.syncNow(volumes.source, 'monday');
  write('tuesday');
  await osaka.syncNow(volumes.source, 'tuesday');
  const confirm = promotionConfirmation(volumes.target, monday.ref);
  await tokyo.promote(volumes.target, { mode: 'unplanned', point: monday.ref, confirm });
  const divergence = await osaka.divergence(volumes.source);
  test.match(divergence, { common: { ref: monday.ref }, pointsLost: 1, bytesLost: 'tuesday'.length });
  const lost = discardConfirmation('demote', volumes.source, monday.ref);
  await osaka.demote(volumes.source, { discard: true, confirm: lost });
  await tokyo.reverse(volumes.target, 'back', { discard: false, confirm: '' });
  const tags = (await osaka.points(volumes.source)).map(({ tag }) => tag);
  test.same(tags, ['back', 'monday']);
  const kept = arrays.source.volume(volumes.source).kept[0]?.directory ?? '';
  test.equal(readFileSync(join(kept, 'data'), 'utf8'), 'tuesday', 'and is kept aside');
});

t.test('faults: refused, dropped, delayed, and told in one line when they make no sense', async (test) => {
  const { arrays, osaka, volumes, clock } = await driven(test);
  const { faults } = arrays.source;
  faults.add({ verb: 'fence', nth: 2, effect: { kind: 'error', code: 'busy', message: 'not now' } });
  await osaka.fence(volumes.source);
  test.match(await refusalOf(osaka.fence(volumes.source)), { kind: 'busy', peerCode: 'busy' });
  await osaka.fence(volumes.source);
  faults.add({ verb: 'unprepare', effect: { kind: 'drop' } });
  test.equal((await refusalOf(osaka.unprepare(volumes.source))).kind, 'outcome-unknown');
  test.equal((await osaka.observe(volumes.source)).role, 'demoted', 'nothing was done');
  faults.add({ id: 'slow', verb: 'obs*', times: 'always', effect: { kind: 'delay', seconds: 30 } });
  const slow = osaka.observe(volumes.source);
  while (clock.waiting === 0) await new Promise((resolve) => setImmediate(resolve));
  await clock.advance(31);
  test.equal((await slow).role, 'demoted');
  test.equal(faults.remove('slow'), true);
  test.equal(faults.remove('slow'), false);
  test.throws(() => faults.add({ effect: { kind: 'drop' } }), /needs one/);
  test.throws(() => faults.add({ verb: 'promote', effect: { kind: 'explode' } }), /effect/);
});

t.test('the control socket breaks arrays as it breaks pools', async (test) => {
  const { lab, osaka, volumes } = await driven(test);
  const directory = mkdtempSync(join(tmpdir(), 'lab-control-'));
  const path = join(directory, 'socket');
  const server = await serveControl(lab, path, () => undefined);
  test.teardown(() => {
    server.close();
    rmSync(directory, { recursive: true, force: true });
  });
  const rule = {
    id: 'no-fence',
    array: 'filer-osaka',
    verb: 'fence',
    effect: { kind: 'error', code: 'refused' },
  };
  test.equal(await ask(path, { verb: 'fault', rule }), 'no-fence');
  test.match(await ask(path, { verb: 'faults' }), [{ rule: { array: 'filer-osaka', verb: 'fence' } }]);
  test.equal((await refusalOf(osaka.fence(volumes.source))).peerCode, 'refused');
  test.equal(await ask(path, { verb: 'remove-fault', id: 'no-fence' }), true);
  test.equal(await ask(path, { verb: 'remove-fault', id: 'no-fence' }), false);
  await ask(path, { verb: 'fault', rule: { array: 'filer-osaka', effect: { kind: 'lie' } } });
  await ask(path, { verb: 'clear-faults' });
  test.same(await ask(path, { verb: 'faults' }), []);
  await ask(path, { verb: 'kill', what: 'link', name: 'filer-osaka' });
  test.equal((await osaka.observe(volumes.source)).link, 'down');
  await ask(path, { verb: 'revive', what: 'link', name: 'filer-osaka' });
  test.equal((await osaka.observe(volumes.source)).link, 'up');
  const absent = { ...rule, array: 'nowhere' };
  await test.rejects(ask(path, { verb: 'fault', rule: absent }), /no array nowhere/);
});
