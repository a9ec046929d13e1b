/** Migrations, failbacks and reprotections of the fake world: carried out, refused, broken off, taken back. */
import t, { type Test } from 'tap';
import { PortError } from '../../src/domain/errors.ts';
import { isQuarantined, orphanedSnapshots, withSeedsFreed } from '../../src/domain/quarantine.ts';
import { declareLost } from '../../src/execute/decisions.ts';
import { pair } from './fakes.ts';
import { type MovingHouse, movingHouse } from './moving-house.ts';

const names = ['db', 'web'];
const lost = [{ by: 'Ada', decision: declareLost, reason: 'the building burns' }];

function refuses(call: string, subject: string) {
  return (asked: string, about: string): void => {
    if (asked !== call || about !== subject) return;
    throw new PortError(
      'refused',
      { code: 'DR-FAKE', what: `${about} does not ${asked}`, next: 'Look' },
      { peerCode: 'VM_LACKS_FEATURE' },
    );
  };
}

/** Positions of deeds in the order in which they reached the world; −1 for what never did. */
const when = (house: MovingHouse, deed: RegExp): number =>
  house.state.deeds.findIndex((did) => deed.test(did));
const lastOf = (house: MovingHouse, deed: RegExp): number =>
  house.state.deeds.findLastIndex((did) => deed.test(did));

/** As it was before anything was begun, but for what the catalog holds. */
function isAsBefore(t: Test, house: MovingHouse): void {
  t.strictSame(house.powerStates('tokyo'), ['db Running', 'web Running'], 'all VMs run at Tokyo');
  t.strictSame(house.powerStates('osaka'), [], 'Osaka has none');
  const { pool } = house.state.sites['tokyo'] ?? { pool: { vms: [], srs: [] } };
  for (const vm of pool.vms) {
    t.strictSame(vm.blockedOperations, {}, `nothing of ${vm.nameLabel} is blocked`);
    t.notOk(isQuarantined(vm), `${vm.nameLabel} bears no mark`);
  }
  t.ok(
    pool.srs.every((sr) => sr.pbds.length > 0 && sr.pbds.every((pbd) => pbd.attached)),
    'the SR is plugged on every host',
  );
  t.equal(house.state.volumes['vol1']?.role, 'source');
  t.equal(house.state.volumes['vol1r']?.role, 'target');
}

t.test('a migration ends with the VMs at the other site, protected the other way', async (t) => {
  const house = movingHouse(names);
  const result = await house.run(await house.migrate());
  t.equal(result.outcome, 'done', result.summary);
  t.strictSame(house.powerStates('osaka'), ['db Running', 'web Running']);
  t.strictSame(house.powerStates('tokyo'), ['db Halted', 'web Halted']);
  t.match(await house.standing(), {
    phase: 'protected',
    roles: 'swapped',
    activeSite: 'osaka',
    tombstone: null,
    currentRun: null,
  });
  t.equal(house.state.volumes['vol1r']?.role, 'source');
  t.equal(house.state.volumes['vol1']?.role, 'target');

  t.ok(when(house, /shutdown web/) < when(house, /shutdown db/), 'who is needed stops last');
  t.ok(when(house, /shutdown db/) < when(house, /seal/), 'the last point is taken when all have stopped');
  t.ok(when(house, /seal/) < when(house, /mark db lifeboat:quarantine/), 'no mark travels with the metadata');
  t.ok(
    lastOf(house, /tokyo: unplug/) < when(house, /sync vol1/),
    'nobody can write when the last point is cut',
  );
  t.ok(when(house, /sync vol1/) < when(house, /promote vol1r/), 'promoted after the last sync');
  t.ok(when(house, /start db/) < when(house, /start web/), 'who is needed starts first');

  const points = Object.values(house.state.points);
  t.strictSame(
    points.map(({ site, vms }) => [site, ...vms.map((vm) => vm.powerState)]),
    [
      ['tokyo', 'Running', 'Running'],
      ['osaka', 'Running', 'Running'],
    ],
    'the last point says that the VMs are to be started, although they were halted then',
  );
});

t.test(
  'a source that was closed for its last point is demoted in earnest before it takes points',
  async (t) => {
    const house = movingHouse(names);
    const [source, target] = [await house.world.array(pair.source.array), house.world.filer];
    const asked: string[] = [];
    const { demote } = source;
    const { reverse } = target;
    source.demote = (...words) => {
      asked.push(`demote, discard ${words[1].discard}`);
      return demote.apply(source, words);
    };
    target.reverse = (...words) => {
      asked.push('reverse');
      return reverse.apply(target, words);
    };
    const result = await house.run(await house.migrate());
    t.equal(result.outcome, 'done', result.summary);
    t.strictSame(asked, ['demote, discard false', 'reverse']);
  },
);

t.test('a plan that was made before the sites changed places is refused', async (t) => {
  const house = movingHouse(names);
  const old = await house.migrate();
  await house.run(await house.migrate());
  await t.rejects(house.run(old), /DR-PLAN-STALE/);
});

t.test('a failback brings the VMs home over their old copies', async (t) => {
  const house = movingHouse(names);
  await house.run(await house.migrate());
  house.state.deeds.length = 0;
  const result = await house.run(await house.migrate('failback'));
  t.equal(result.outcome, 'done', result.summary);
  t.strictSame(house.powerStates('tokyo'), ['db Running', 'web Running']);
  t.strictSame(house.powerStates('osaka'), ['db Halted', 'web Halted']);
  t.match(await house.standing(), { phase: 'protected', roles: 'as-configured', activeSite: 'tokyo' });
  const { pool } = house.state.sites['tokyo'] ?? { pool: { vms: [] } };
  t.strictSame(
    pool.vms.map((vm) => [isQuarantined(vm), Object.keys(vm.blockedOperations)]),
    [
      [false, []],
      [false, []],
    ],
    'what serves again is in no quarantine',
  );
});

t.test('the site that was left forgets the SR, once the VMs are saved from where they serve', async (t) => {
  const house = movingHouse(names);
  await house.run(await house.migrate());
  const { pool } = house.state.sites['tokyo'] ?? { pool: { srs: [], vms: [] } };
  t.strictSame(pool.srs, [], 'a drill may attach a clone under its uuid');
  t.ok(when(house, /forget sr1/) > lastOf(house, /seal/), 'no sooner');
  t.strictSame(
    pool.vms.map((vm) => vm.vbds),
    [[], []],
    'the copies keep no drives',
  );
  const back = await house.run(await house.migrate('failback'));
  t.equal(back.outcome, 'done', back.summary);
  t.strictSame(
    house.state.sites['tokyo']?.pool.vms.map((vm) => vm.vbds.map((vbd) => vbd.vdiUuid)),
    [['disk-db'], ['disk-web']],
    'and have them again when they come back',
  );
});

t.test('an SR that somebody else has disks on is not forgotten', async (t) => {
  const house = movingHouse(names);
  const plan = await house.migrate();
  const { pool } = house.state.sites['tokyo'] ?? { pool: { srs: [], vms: [], vdis: [] } };
  const [db] = pool.vms;
  if (db === undefined) throw new Error('there is a VM');
  const [made] = pool.vdis;
  if (made === undefined) throw new Error('there is a disk');
  pool.vdis = [...pool.vdis, { ...made, uuid: 'd-foreign', location: 'd-foreign' }];
  pool.vms = [
    ...pool.vms,
    {
      ...structuredClone(db),
      uuid: 'foreign',
      nameLabel: 'foreign',
      powerState: 'Halted',
      vbds: db.vbds.map((vbd) => ({ ...vbd, uuid: 'vbd-foreign', vdiUuid: 'd-foreign' })),
    },
  ];
  const result = await house.run(plan);
  t.equal(result.outcome, 'done-with-warnings', result.summary);
  const step = result.run.plan.steps.find(({ action }) => action.do === 'forget-sr');
  t.match(result.run.steps.get(step?.id ?? '')?.warnings, [
    /no drill is possible there: foreign would lose their drives/,
  ]);
  t.equal(when(house, /forget sr1/), -1);
});

t.test('snapshots that an earlier return has left behind do not keep a VM from coming back', async (t) => {
  const house = movingHouse(names);
  const seed = (uuid: string): string => `seed of ${uuid}`;
  for (const { pool } of Object.values(house.state.sites))
    pool.vms = pool.vms.map((vm) => ({ ...vm, macSeed: seed(vm.nameLabel) }));
  await house.run(await house.migrate());
  const { pool } = house.state.sites['tokyo'] ?? { pool: { vms: [] } };
  const [db] = pool.vms;
  if (db === undefined) throw new Error('there is a VM');
  const snapshot = (uuid: string, macSeed: string, snapshotOf: string | null) => ({
    ...structuredClone(db),
    ...{ uuid, nameLabel: uuid, isSnapshot: true, snapshotOf, macSeed },
    otherConfig: { mac_seed: macSeed },
  });
  pool.vms = [
    ...pool.vms,
    snapshot('orphan', seed('db'), null),
    snapshot('of another', seed('elsewhere'), null),
    snapshot('still linked', seed('db'), db.uuid),
  ];
  t.strictSame(
    [...orphanedSnapshots(pool)].map(([copy, left]) => [copy, ...left.map((vm) => vm.uuid)]),
    [['db', 'orphan']],
  );
  t.equal(withSeedsFreed(pool).vms.find((vm) => vm.uuid === 'orphan')?.macSeed, null, 'as it is rehearsed');
  const result = await house.run(await house.migrate('failback'));
  t.ok(result.outcome === 'done', result.summary);
  const seeds = house.state.sites['tokyo']?.pool.vms.flatMap((vm) =>
    vm.isSnapshot ? [[vm.uuid, vm.otherConfig['mac_seed'] ?? null]] : [],
  );
  t.strictSame(seeds, [
    ['orphan', null],
    ['of another', seed('elsewhere')],
    ['still linked', seed('db')],
  ]);
});

t.test('a move to where the group is has no steps', async (t) => {
  const house = movingHouse(names);
  t.strictSame((await house.migrate('failback')).steps, []);
  await house.run(await house.migrate());
  t.strictSame((await house.migrate('migrate')).steps, []);
  t.strictSame((await house.reprotect()).steps, [], 'and nothing is left to reprotect');
});

t.test('a guest that does not shut down stops the migration, which is taken back', async (t) => {
  const house = movingHouse(names);
  house.world.pool('tokyo').before = refuses('clean-shutdown', 'db');
  const plan = await house.migrate();
  const result = await house.run(plan);
  t.equal(result.outcome, 'failed');
  t.match(result.run.steps.get('shut-down-db')?.problem, {
    code: 'DR-GUEST-STAYS-UP',
    next: /--force-shutdown/,
  });
  t.equal(when(house, /promote|sync|unplug/), -1, 'nothing was handed over');
  t.strictSame(house.powerStates('tokyo'), ['db Running', 'web Halted']);

  const back = await house.undo(result.run.id);
  t.equal(back.outcome, 'undone', back.summary);
  isAsBefore(t, house);
  t.match(await house.standing(), { phase: 'unprotected', roles: 'as-configured', currentRun: null });
});

t.test('a guest that does not shut down is switched off where a person said so', async (t) => {
  const house = movingHouse(names);
  house.world.pool('tokyo').before = refuses('clean-shutdown', 'db');
  const result = await house.run(await house.migrate('migrate', true));
  t.equal(result.outcome, 'done-with-warnings');
  t.match(result.run.steps.get('shut-down-db')?.warnings, [/was switched off/]);
  t.strictSame(house.powerStates('osaka'), ['db Running', 'web Running']);
});

t.test('a guest that stays up is switched off by a run that is resumed with that word', async (t) => {
  const house = movingHouse(names);
  house.world.pool('tokyo').before = refuses('clean-shutdown', 'db');
  const { run } = await house.run(await house.migrate());
  t.match(run.steps.get('shut-down-db')?.problem?.next, /run resume .* --force-shutdown "REASON"/);
  t.equal((await house.resume(run.id)).outcome, 'failed', 'nobody has said so yet');
  const said = [{ by: 'Ada', decision: 'force-shutdown', reason: 'the night is short' }];
  const result = await house.resume(run.id, said);
  t.equal(result.outcome, 'done-with-warnings', result.summary);
  t.match(result.run.steps.get('shut-down-db')?.warnings, [/was switched off/]);
  t.match(result.run.decisions, said, 'and the journal knows who said so');
  t.strictSame(house.powerStates('osaka'), ['db Running', 'web Running']);
});

t.test('a last point that has not arrived is not promoted, and everything is taken back', async (t) => {
  const house = movingHouse(names);
  const points = house.world.filer.points.bind(house.world.filer);
  house.world.filer.points = async (volume) =>
    (await points(volume)).map((point) => (point.tag === undefined ? point : { ...point, complete: false }));
  const result = await house.run(await house.migrate());
  t.equal(result.outcome, 'failed');
  t.match(result.run.steps.get('sync-vol1')?.problem, { code: 'DR-SYNC-UNVERIFIED' });
  t.equal(when(house, /promote/), -1);
  t.strictSame(house.powerStates('tokyo'), ['db Halted', 'web Halted']);

  const back = await house.undo(result.run.id);
  t.equal(back.outcome, 'undone', back.summary);
  isAsBefore(t, house);
});

t.test(
  'a migration whose replication cannot be reversed leaves a group that needs a reprotection',
  async (t) => {
    const house = movingHouse(names);
    const reverse = house.world.filer.reverse.bind(house.world.filer);
    house.world.filer.reverse = async () => {
      throw new PortError('refused', { code: 'DR-FAKE', what: 'the array cannot', next: 'Look' });
    };
    const result = await house.run(await house.migrate());
    t.equal(result.outcome, 'done-with-warnings');
    t.strictSame(house.powerStates('osaka'), ['db Running', 'web Running'], 'the VMs serve all the same');
    t.match(await house.standing(), {
      phase: 'failed-over',
      roles: 'as-configured',
      activeSite: 'osaka',
      tombstone: { site: 'tokyo' },
    });

    house.world.filer.reverse = reverse;
    const made = await house.run(await house.reprotect());
    t.equal(made.outcome, 'done', made.summary);
    t.match(await house.standing(), { phase: 'protected', roles: 'swapped', tombstone: null });
  },
);

t.test(
  'a failover takes back a copy that was put away, even with a point that is older than it',
  async (t) => {
    const house = movingHouse(names);
    await house.run(await house.migrate());
    await house.run(await house.migrate('failback'));
    const tokyo = house.state.sites['tokyo'];
    if (tokyo === undefined) throw new Error('there is a site tokyo');
    tokyo.up = false;
    const [oldest] = Object.keys(house.state.points);
    const result = await house.run(await house.failover(oldest ?? null), lost);
    t.equal(result.outcome, 'done', result.summary);
    t.strictSame(house.powerStates('osaka'), ['db Running', 'web Running']);
    t.notOk(house.state.sites['osaka']?.pool.vms.some(isQuarantined));
  },
);

/** Tokyo falls silent, Osaka takes over, Tokyo comes back with its VMs in this state. */
async function afterFailover(powerState: 'Halted' | 'Running'): Promise<MovingHouse> {
  const house = movingHouse(names);
  await house.run(await house.migrate());
  await house.run(await house.migrate('failback'));
  const tokyo = house.state.sites['tokyo'];
  const vol1 = house.state.volumes['vol1'];
  if (tokyo === undefined || vol1 === undefined) throw new Error('there is a site tokyo');
  tokyo.up = false;
  const result = await house.run(await house.failover(), lost);
  if (result.outcome !== 'done' && result.outcome !== 'done-with-warnings') throw new Error(result.summary);
  tokyo.up = true;
  tokyo.pool.vms = tokyo.pool.vms.map((vm) => ({ ...vm, powerState, haRestartPriority: 'restart' }));
  vol1.role = 'split';
  house.state.deeds.length = 0;
  return house;
}

t.test('a reprotection puts the old copies away and turns the replication round', async (t) => {
  const house = await afterFailover('Halted');
  const result = await house.run(await house.reprotect());
  t.equal(result.outcome, 'done', result.summary);
  t.match(await house.standing(), {
    phase: 'protected',
    roles: 'swapped',
    activeSite: 'osaka',
    tombstone: null,
  });
  const { pool } = house.state.sites['tokyo'] ?? { pool: { vms: [], srs: [] } };
  for (const vm of pool.vms) {
    t.ok(isQuarantined(vm));
    t.match(vm, { blockedOperations: { start: /./ }, haRestartPriority: '' });
  }
  t.ok(pool.srs.every((sr) => sr.pbds.every((pbd) => !pbd.attached)));
  t.ok(
    lastOf(house, /tokyo: unplug/) < when(house, /demote vol1/),
    'nobody has the storage when it is demoted',
  );
  t.strictSame(house.powerStates('osaka'), ['db Running', 'web Running'], 'who serves goes on serving');
});

t.test('copies that run at the old site are stopped only where a person said so', async (t) => {
  const house = await afterFailover('Running');
  const result = await house.run(await house.reprotect());
  t.equal(result.outcome, 'failed');
  t.match(result.run.steps.get('quarantine-tokyo')?.problem, { code: 'DR-TWIN-RUNNING' });
  t.strictSame(house.powerStates('tokyo'), ['db Running', 'web Running']);
  t.match(
    house.state.sites['tokyo']?.pool.vms.map((vm) => vm.blockedOperations['start']),
    [/./, /./],
    'but none of them could be started again',
  );
  const again = await house.run(await house.reprotect({ stopOld: true }));
  t.equal(again.outcome, 'done', again.summary);
  t.strictSame(house.powerStates('tokyo'), ['db Halted', 'web Halted']);
});

t.test('what the old site alone holds is thrown away only where a person said so', async (t) => {
  const house = await afterFailover('Halted');
  const vol1 = house.state.volumes['vol1'];
  if (vol1 !== undefined) vol1.bytesAlone = 4096;
  const result = await house.run(await house.reprotect());
  t.equal(result.outcome, 'failed');
  t.equal(vol1?.bytesAlone, 4096);
  t.equal(when(house, /demote|reverse/), -1);
  t.match(await house.standing(), { phase: 'reprotecting', roles: 'as-configured' });
  const again = await house.run(await house.reprotect({ discard: true }));
  t.equal(again.outcome, 'done', again.summary);
  t.equal(vol1?.bytesAlone, 0);
});

t.test('another common point than the one that was agreed upon throws nothing away', async (t) => {
  const house = await afterFailover('Halted');
  const vol1 = house.state.volumes['vol1'];
  if (vol1 === undefined) throw new Error('there is a volume');
  vol1.bytesAlone = 4096;
  const plan = await house.reprotect({ discard: true });
  vol1.points = vol1.points.map((point) => ({ ...point, ref: 'another' }));
  const result = await house.run(plan);
  t.equal(result.outcome, 'failed');
  t.match(result.run.steps.get('demote-vol1')?.problem, { code: 'DR-DIVERGENCE-CHANGED' });
  t.equal(vol1.bytesAlone, 4096);
});

t.test('a quarantine alone touches no storage and leaves the group failed over', async (t) => {
  const house = await afterFailover('Halted');
  const result = await house.run(await house.reprotect({ quarantineOnly: true }));
  t.equal(result.outcome, 'done', result.summary);
  t.equal(when(house, /unplug|demote|reverse/), -1);
  t.ok(house.state.sites['tokyo']?.pool.vms.every(isQuarantined));
  t.match(await house.standing(), { phase: 'failed-over', tombstone: { site: 'tokyo' } });
});

t.test('a quarantine does not hide that the group is stuck', async (t) => {
  const house = await afterFailover('Halted');
  const standing = await house.standing();
  await house.states.change('payroll', standing.generation, { ...standing, phase: 'stuck' });
  const result = await house.run(await house.reprotect({ quarantineOnly: true }));
  t.equal(result.outcome, 'done', result.summary);
  t.match(await house.standing(), { phase: 'stuck', currentRun: null });
});

t.test('invariant 8: a migration that crashes at any line is resumed to the same end', async (t) => {
  const whole = movingHouse(names);
  const plan = await whole.migrate();
  const straight = await whole.run(plan);
  const lines = whole.journals.runs.get(straight.run.id)?.length ?? 0;
  t.ok(lines > 20);
  for (let line = 1; line < lines; line += 1) {
    const house = movingHouse(names);
    const made = await house.migrate();
    house.journals.beforeAppend = (_event, events) => {
      if (events.length === line) throw new Error('the power is cut');
    };
    await t.rejects(house.run(made), /the power is cut/);
    house.journals.beforeAppend = () => undefined;
    house.states.breakAllLocks();
    const [runId = ''] = await house.journals.list();
    const result = await house.resume(runId);
    const same =
      (result.outcome === 'done' || result.outcome === 'done-with-warnings') &&
      house.powerStates('osaka').join() === 'db Running,web Running' &&
      house.powerStates('tokyo').join() === 'db Halted,web Halted' &&
      house.state.volumes['vol1']?.role === 'target' &&
      (await house.standing()).roles === 'swapped';
    if (!same) t.fail(`crash before line ${line + 1}: ${result.summary}`);
    const starts = house.state.deeds.filter((did) => /osaka: start db$/.test(did)).length;
    if (starts !== 1) t.fail(`crash before line ${line + 1}: db was started ${starts} times`);
  }
});
