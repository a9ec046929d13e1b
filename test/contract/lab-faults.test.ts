/** The lab told to fail, and the lab told to cost what a real pool costs (performance.md). */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { DrivenClock, type LabClock } from '../../src/lab/core/clock.ts';
import type { Row } from '../../src/lab/core/database.ts';
import { exportAllCost, exportOneCost, importCost } from '../../src/lab/cost/figures.ts';
import { SkippingClock } from '../../src/lab/cost/skipping.ts';
import { parseFault } from '../../src/lab/faults/rule.ts';
import { type Lab, startLab } from '../../src/lab/lab.ts';
import {
  add,
  addDisk,
  addNic,
  addSr,
  addVm,
  CallFailed,
  eventually,
  LabClient,
  mirrorSr,
} from './lab-client.ts';

async function start(
  test: Test,
  options: { clock?: LabClock; costs?: boolean } = {},
): Promise<{ lab: Lab; prod: LabClient; dr: LabClient }> {
  const storage = mkdtempSync(join(tmpdir(), 'lifeboat-lab-'));
  const lab = await startLab({ world: 'recordings', storage, ...options });
  test.teardown(async () => {
    await lab.stop();
    rmSync(storage, { recursive: true, force: true });
  });
  return { lab, prod: await LabClient.open(lab, 'prod'), dr: await LabClient.open(lab, 'dr') };
}

/** What a call ends with: its answer, the error's code and parameters, or `broken`. */
async function outcome(call: Promise<unknown>): Promise<unknown> {
  try {
    return await call;
  } catch (error) {
    return error instanceof CallFailed ? error.description : 'broken';
  }
}

const setName = (client: LabClient, vm: Row, name: string): Promise<unknown> =>
  outcome(client.call('VM.set_name_label', vm.ref, name));

t.test('an error for the n-th call, of the pool and the object that the rule names', async (t) => {
  const { lab, prod, dr } = await start(t);
  const web = addVm(prod.pool, 'web');
  const db = addVm(prod.pool, 'db');
  const id = await lab.faults.add({
    pool: 'prod',
    method: 'vm.set_name_*',
    where: { self: 'web' },
    nth: 2,
    times: 2,
    effect: { kind: 'error', code: 'HOST_OFFLINE', params: ['OpaqueRef:x'] },
  });
  const seen: unknown[] = [];
  for (const name of ['web', 'web', 'web', 'web']) {
    seen.push(await setName(prod, db, 'db'));
    seen.push(await setName(prod, web, name));
  }
  const failure = ['HOST_OFFLINE', 'OpaqueRef:x'];
  t.same(
    seen,
    ['', '', '', failure, '', failure, '', ''],
    'the second and third of this VM, none of the other',
  );
  t.same(
    lab.faults.active.map((f) => [f.id, f.matched, f.fired]),
    [[id, 4, 2]],
  );
  t.equal(lab.faults.remove(id), true);
  t.equal(await setName(dr, addVm(dr.pool, 'web'), 'web'), '');
  t.equal(lab.faults.ledger.count('VM.set_name_label', 'prod'), 8);
  t.same(
    lab.faults.ledger.records.filter((r) => r.outcome === 'HOST_OFFLINE').map((r) => [r.pool, r.host, r.nth]),
    [
      ['prod', 'prod', 4],
      ['prod', 'prod', 6],
    ],
  );
});

t.test('a lost answer is work done, a dropped call is work not done', async (t) => {
  const { lab, prod } = await start(t);
  const vm = addVm(prod.pool, 'web');
  await lab.faults.add({ method: 'VM.set_name_label', effect: { kind: 'lose-answer' } });
  t.equal(await setName(prod, vm, 'done'), 'broken');
  t.equal(vm.text('name_label'), 'done');
  await lab.faults.add({ method: 'VM.set_name_label', effect: { kind: 'drop' } });
  t.equal(await setName(prod, vm, 'never'), 'broken');
  t.equal(vm.text('name_label'), 'done');
  t.same(
    lab.faults.ledger.records.slice(-2).map((r) => r.outcome),
    ['lost', 'dropped'],
  );
});

t.test('tasks: slow, vanished with and without the work, and an answer lost on the way', async (t) => {
  const clock = new DrivenClock();
  const { lab, prod } = await start(t, { clock });
  const shutOff = async (): Promise<unknown> =>
    outcome(prod.call('Async.VM.destroy', addVm(prod.pool, 'old').ref));
  const left = (): number => prod.pool.db.byName('VM', 'old').length;

  await lab.faults.add({ method: 'VM.destroy', effect: { kind: 'slow-task', seconds: 40 } });
  const slow = (await shutOff()) as string;
  t.equal(prod.pool.db.row('task', slow).text('status'), 'pending');
  await eventually(() => clock.waiting > 0);
  await clock.advance(41);
  t.equal((await prod.ended(slow)).status, 'success');
  t.equal(left(), 0);

  await lab.faults.add({ method: 'VM.destroy', effect: { kind: 'vanish-task' } });
  t.equal((await prod.ended((await shutOff()) as string)).status, 'vanished');
  t.equal(left(), 0, 'the work was done');

  await lab.faults.add({ method: 'VM.destroy', effect: { kind: 'vanish-task', done: false } });
  t.equal((await prod.ended((await shutOff()) as string)).status, 'vanished');
  t.equal(left(), 1, 'the work was not done');

  await lab.faults.add({ method: 'Async.VM.destroy', effect: { kind: 'lose-answer' } });
  t.equal(await shutOff(), 'broken');
  await eventually(() => left() === 1);
  t.pass('the task went on without its client');
});

t.test('transfers: refused, cut in the body, and a task that is gone', async (t) => {
  const { lab, prod, dr } = await start(t);
  const vm = addVm(prod.pool, 'web');
  const archive = await prod.export({ uuid: vm.uuid });
  const get = (): Promise<unknown> =>
    outcome(
      prod
        .send('GET', '/export_metadata', { session_id: prod.session, uuid: vm.uuid })
        .then((a) => [a.status, a.body.length, a.broken]),
    );
  await lab.faults.add({ path: '/export_metadata', effect: { kind: 'reset', afterBytes: 1000 } });
  t.same(await get(), [200, 1000, true], 'the length was announced, the rest did not come');
  await lab.faults.add({
    path: '/export_metadata',
    effect: { kind: 'error', code: 'INTERNAL_ERROR', params: ['x'] },
  });
  t.match(await get(), [500]);
  t.same(await get(), [200, archive.length, false]);

  const put = async (): Promise<{ answer: unknown; task: string }> => {
    const task = await dr.task();
    const query = { session_id: dr.session, task_id: task };
    const answer = await outcome(dr.send('PUT', '/import_metadata', query, archive).then((a) => a.status));
    return { answer, task };
  };
  await lab.faults.add({ path: '/import_metadata', effect: { kind: 'reset', afterBytes: 2000 } });
  const cut = await put();
  t.same((await dr.ended(cut.task)).error, ['INTERNAL_ERROR', 'End_of_file']);
  t.equal(dr.pool.db.byName('VM', 'web').length, 0);

  await lab.faults.add({ path: '/import_metadata', effect: { kind: 'vanish-task' } });
  const gone = await put();
  t.equal((await dr.ended(gone.task)).status, 'vanished');
  t.equal(dr.pool.db.byName('VM', 'web').length, 1, 'imported all the same');

  await lab.faults.add({ path: '/import_metadata', where: { restore: 'false' }, effect: { kind: 'drop' } });
  t.equal((await put()).answer, 200, 'a rule for another query');

  await lab.faults.add({ path: '/import_metadata', effect: { kind: 'lose-answer' } });
  const lost = await put();
  t.equal((await dr.ended(lost.task)).status, 'success', 'the task tells what the socket does not');
});

t.test('the master changes, and the toolstack starts anew', async (t) => {
  const { lab, dr } = await start(t);
  const vm = addVm(dr.pool, 'web');
  const [first, second] = dr.pool.hosts;
  if (first === undefined || second === undefined) throw new Error('the pool has two hosts');
  await lab.faults.add({ method: 'VM.set_name_label', effect: { kind: 'change-master', when: 'after' } });
  t.equal(await setName(dr, vm, 'moved'), 'broken');
  t.equal(vm.text('name_label'), 'moved');
  t.equal(dr.pool.master, second);
  t.same(
    await setName(dr, vm, 'x'),
    ['HOST_IS_SLAVE', second.address],
    'the old master points to the new one',
  );
  const there = new LabClient(lab, 'dr');
  there.session = dr.session;
  t.same(await setName(there, vm, 'x'), ['SESSION_INVALID', dr.session]);
  await there.login();
  const task = await there.task();
  await lab.faults.add({ pool: 'dr', effect: { kind: 'restart-toolstack' } });
  t.equal(dr.pool.db.find('task', task), undefined);
  t.same(await setName(there, vm, 'x'), ['SESSION_INVALID', there.session]);
  await there.login();
  t.equal(await setName(there, vm, 'back'), '');
});

t.test('a full SR, a host that cannot plug, TLS that is refused, and a site that burns', async (t) => {
  const { lab, prod, dr } = await start(t);
  const sr = addSr(dr.pool, 'lun 7', { physical_size: 100n });
  const create = (): Promise<unknown> =>
    outcome(
      dr.call('VDI.create', {
        SR: sr.ref,
        virtual_size: 1,
        type: 'user',
        sharable: false,
        read_only: false,
        other_config: {},
      }),
    );
  await lab.faults.add({ pool: 'dr', effect: { kind: 'fill-sr', sr: 'lun 7' } });
  t.same(await create(), ['SR_BACKEND_FAILURE_44', '', 'There is insufficient space', '']);
  t.equal(sr.int('physical_utilisation'), 100n);

  await lab.faults.add({ effect: { kind: 'refuse-plug', host: 'dr2', sr: sr.uuid } });
  const plugs: unknown[] = [];
  for (const host of dr.pool.hosts) {
    const pbd = add(dr.pool, 'PBD', { SR: sr.ref, host: host.row.ref, currently_attached: true });
    plugs.push(await outcome(dr.call('PBD.plug', pbd.ref)));
  }
  t.same(plugs, ['', ['SR_BACKEND_FAILURE_47', '', 'The SR is not available', '']]);

  await lab.faults.add({ pool: 'prod', effect: { kind: 'refuse-tls' } });
  t.equal(await outcome(prod.call('VM.get_all')), 'broken');
  lab.faults.clear();
  t.type(await outcome(prod.call('VM.get_all')), Array, 'all troubles are taken back');
  t.equal(sr.int('physical_utilisation'), 0n);

  const vm = addVm(prod.pool, 'web');
  await lab.faults.add({
    pool: 'prod',
    method: 'VM.set_name_label',
    effect: { kind: 'kill-site', when: 'after' },
  });
  t.equal(await setName(prod, vm, 'last words'), 'broken');
  t.equal(await outcome(prod.call('VM.get_all')), 'broken');
  t.type(await outcome(dr.call('VM.get_all')), Array, 'the other site lives');
});

t.test('a rule that makes no sense is refused with every reason', async (t) => {
  const { lab } = await start(t);
  t.throws(() => parseFault({ nth: 0, method: 'VM.start', effect: { kind: 'explode' } }), {
    message: /nth: .*\neffect/s,
  });
  t.throws(() => parseFault({ effect: { kind: 'lose-answer' } }), { message: /needs a method or a path/ });
  await t.rejects(lab.faults.add({ pool: 'mars', method: 'VM.start', effect: { kind: 'drop' } }), {
    message: /no pool mars/,
  });
  await t.rejects(lab.faults.add({ effect: { kind: 'fill-sr', sr: 'nowhere' } }), {
    message: /no SR is called nowhere/,
  });
});

/** A pool of so many VMs with one disk and one interface each. */
function fill(client: LabClient, vms: number): { sr: Row; vms: Row[] } {
  const sr = addSr(client.pool, 'replicated');
  const lan = add(client.pool, 'network', { name_label: 'lan', bridge: 'xapi9' });
  const made = Array.from({ length: vms }, (_, i) => {
    const vm = addVm(client.pool, `vm ${i}`);
    addDisk(client.pool, sr, vm, '0');
    addNic(client.pool, vm, lan, '0', '0a:00:00:00:00:01');
    return vm;
  });
  return { sr, vms: made };
}

t.test('prices follow the measurements', async (t) => {
  const thousand = { vms: 1000, vdis: 1500 };
  const options = { restore: true, dryRun: false };
  const within = (got: number, low: number, high: number, what: string): unknown =>
    t.ok(got >= low && got <= high, `${what}: ${got.toFixed(4)} s lies between ${low} and ${high}`);
  within(exportOneCost({ vms: 200, vdis: 300 }).cpuSeconds, 0.0024, 0.0026, 'one of 200 VMs');
  within(exportOneCost(thousand).cpuSeconds, 0.0074, 0.0076, 'one of 1,000 VMs');
  within(exportAllCost(1000).cpuSeconds, 0.95, 1.05, 'all 1,000 VMs at once');
  const empty = { vms: 0, vdis: 1500 };
  within(
    importCost(empty, { vms: 60, vdis: 90 }, options).cpuSeconds / 60,
    0.067,
    0.08,
    'of 60 in one document',
  );
  within(importCost(empty, { vms: 1000, vdis: 1500 }, options).cpuSeconds, 67, 77, '1,000 in one document');
  within(
    importCost({ vms: 960, vdis: 1500 }, { vms: 1, vdis: 1 }, options).cpuSeconds,
    0.17,
    0.24,
    'the 961st of one disk',
  );
  const dry = importCost(empty, { vms: 1, vdis: 1 }, { restore: true, dryRun: true }).cpuSeconds;
  t.equal(Number((dry / importCost(empty, { vms: 1, vdis: 1 }, options).cpuSeconds).toFixed(2)), 0.85);
});

t.test('with costs, simulated time passes and real time hardly', async (t) => {
  const { lab, prod, dr } = await start(t, { clock: new SkippingClock(), costs: true });
  const { sr, vms } = fill(prod, 200);
  const timed = async (work: () => Promise<unknown>): Promise<number> => {
    const began = lab.costs.now();
    await work();
    return lab.costs.now() - began;
  };
  const one = (vm: Row): Promise<unknown> =>
    prod.send('GET', '/export_metadata', { session_id: prod.session, uuid: vm.uuid });
  const queue = vms.slice();
  const worker = async (): Promise<void> => {
    for (let vm = queue.pop(); vm !== undefined; vm = queue.pop()) await one(vm);
  };
  const before = lab.costs.busySeconds('prod');
  const singles = await timed(() => Promise.all([worker(), worker(), worker(), worker()]));
  const core = lab.costs.busySeconds('prod') - before;
  t.ok(core > 0.5 && core < 0.6, `200 exports of 2.5 ms each: ${core.toFixed(3)} s of the core`);
  t.ok(singles >= core, 'one core serves one after the other');
  let all: Buffer = Buffer.alloc(0);
  const together = await timed(async () => {
    all = await prod.export({ all: 'true', include_dom0: 'false' });
  });
  t.ok(
    together >= 0.2 && singles > 1.5 * together,
    `all at once: ${together.toFixed(3)} s against ${singles.toFixed(3)} s`,
  );

  mirrorSr(sr, prod.pool, dr.pool);
  const real = performance.now();
  const imported = await timed(() => dr.import(all, { restore: 'true' }));
  const expected = importCost(
    { vms: 2, vdis: 200 },
    { vms: 200, vdis: 200 },
    { restore: true, dryRun: false },
  );
  t.ok(
    imported >= expected.cpuSeconds,
    `import of 200: ${imported.toFixed(2)} s, of the model ${expected.cpuSeconds.toFixed(2)} s`,
  );
  t.ok(imported < expected.cpuSeconds * 1.5);
  t.ok((performance.now() - real) / 1000 < imported, 'in less real time');
  t.ok(lab.costs.lateSeconds('dr') < 0.25 * imported, 'the lab adds little of its own');
});

t.test('with costs on a driven clock nothing is answered before its time', async (t) => {
  const clock = new DrivenClock();
  const { lab, prod } = await start(t, { clock });
  const vm = addVm(prod.pool, 'web');
  lab.costs.enable();
  let answered = false;
  const call = prod.call('VM.hard_shutdown', vm.ref).then(
    () => undefined,
    () => undefined,
  );
  void call.then(() => {
    answered = true;
  });
  await eventually(() => clock.waiting > 0);
  t.equal(answered, false);
  while (!answered) {
    await clock.advance(0.05);
    await eventually(() => answered || clock.waiting > 0);
  }
  t.ok(lab.costs.busySeconds(prod.pool) >= 0.06, 'a hard shutdown is 60 ms of the core');
  t.ok(lab.costs.now() >= 0.06);
});
