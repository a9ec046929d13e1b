/**
 * Recovering metadata on the lab, over real adapters: what is left of it when it fails half-way, who is refused, and that
 * a backup which Lifeboat wrote says so itself.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { App, PlanRequest } from '../../src/app/app.ts';
import type { BackupFound, BackupWish } from '../../src/domain/actions/recover.ts';
import type { Run } from '../../src/domain/run.ts';
import { arrayOf } from '../../src/lab/arrays/index.ts';
import { demoVolumes } from '../../src/lab/demo.ts';
import { mishapsOf, runCommand } from '../../src/lab/dom0/index.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { LabHouse } from '../check/lab-app.ts';

t.setTimeout(240_000);

const usual: BackupWish = { dates: 'newest', vms: 'group', legacy: null };

const request = (wish: BackupWish = usual): PlanRequest => ({
  operation: 'recover-metadata',
  group: 'shop',
  wish,
  decisions: [],
});

/** A world whose host has saved its metadata onto the replicated SR, and which has lost its site since. */
async function burnt(t: Test): Promise<LabHouse> {
  const house = await LabHouse.start(t);
  const { lab } = house;
  const pool = lab.pool('production');
  mishapsOf(pool).diskBytes = 32n * 1024n * 1024n;
  const sr = pool.db.byName('SR', 'gold storage')[0]?.uuid ?? '';
  const code = await runCommand(pool.master, `/opt/xensource/bin/xe-backup-metadata -c -u ${sr}`, {
    out: () => undefined,
    err: () => undefined,
    input: async () => '',
  });
  if (code !== 0) throw new Error(`the script ended with ${code}`);
  const source = arrayOf(lab, 'array-production');
  for (const volume of demoVolumes) await source.sync(volume, null).done;
  await lab.killSite('production');
  return house;
}

async function recover(app: App, wish: BackupWish = usual): Promise<Run> {
  const planned = await app.plan(request(wish));
  return app.run(planned, { by: 'test', onEvent: () => undefined });
}

function foundBy(run: Run): BackupFound[] {
  return run.plan.steps.flatMap(({ id, action }) =>
    action.do === 'read-backup'
      ? ((run.steps.get(id)?.output ?? []) as unknown as BackupFound | never[])
      : [],
  );
}

/** What a failed recovery may have left: an SR at the pool, a clone on the array. */
function remains(lab: Lab): readonly [srs: string[], clones: number] {
  const srs = lab.pool('recovery').db.all('SR');
  return [
    srs.map((sr) => sr.text('name_label')).filter((name) => name.startsWith('drill: ')),
    arrayOf(lab, 'array-recovery').drills.list().length,
  ];
}

t.test('a failure half-way leaves nothing behind, and the next one succeeds', async (t) => {
  const house = await burnt(t);
  await house.lab.faults.add({
    pool: 'recovery',
    path: '/export_raw_vdi',
    times: 1,
    effect: { kind: 'error', code: 'VDI_IO_ERROR', params: ['Device I/O errors'] },
  });
  await house.with({}, async (app) => {
    const failed = await recover(app);
    t.equal(failed.outcome, 'failed');
    t.match(
      [...failed.steps.values()].map(({ problem }) => problem?.code ?? ''),
      /DR-BACKUP-NONE/,
    );
    t.same(remains(house.lab), [[], 0]);
    const { groups } = await app.status({ groups: ['shop'] });
    t.equal(groups[0]?.phase, 'unprotected', 'the group is where it was');

    const run = await recover(app);
    t.equal(run.outcome, 'done');
    const [gold, silver] = foundBy(run);
    t.match(gold, { kept: [{ vms: 3, failures: 0 }] });
    t.match(silver, { vdi: null, kept: [] });
    const { points } = await app.catalog.list('shop');
    t.match(points, [{ id: gold?.kept[0]?.pointId, vmCount: 3, good: true }]);
    const point = await app.catalog.read(points[0]?.id ?? '');
    t.match(point.foreign, { kind: 'backup-vdi', timeFrom: 'file', storage: { sr: 'gold storage' } });
    t.ok(
      point.srs.every((sr) => sr.pbds.length > 0),
      'the dump tells how the SRs were attached',
    );
    t.same(remains(house.lab), [[], 0]);
    const planned = await app.plan({ operation: 'failover', group: 'shop', pointId: null, decisions: [] });
    t.equal(planned.lacksMetadata, undefined);
    t.match(planned.plan.expects.metadataFrom, { sr: 'gold storage' });
  });
});

t.test('a program that dies half-way leaves what `drill cleanup` finds', async (t) => {
  const house = await burnt(t);
  await house.with({}, async (app) => {
    const planned = await app.plan(request());
    const dying = new AbortController();
    const run = await app.run(planned, {
      by: 'test',
      signal: dying.signal,
      onEvent: (event) => {
        if (event.event === 'StepStarted' && event.step.startsWith('read-')) dying.abort();
      },
    });
    t.equal(run.outcome, 'stopped');
    t.not(remains(house.lab)[1], 0, 'the clones stand');
    const cleanup = await app.plan({ operation: 'drill-cleanup', group: 'shop' });
    const cleaned = await app.run(cleanup, { by: 'test', onEvent: () => undefined });
    t.equal(cleaned.outcome, 'done');
    t.same(remains(house.lab), [[], 0]);
  });
});

t.test('an SR that the settings name by a uuid which the volume does not hold is not taken', async (t) => {
  const house = await burnt(t);
  const [group] = house.settings.groups;
  if (group === undefined) throw new Error('the house has a group');
  const other = '00000000-0000-4000-8000-00000000beef';
  const storage = group.storage.map((each, index) => (index === 0 ? { ...each, sr: other } : each));
  await house.with({ groups: [{ ...group, storage }] }, async (app) => {
    const run = await recover(app);
    t.equal(run.outcome, 'failed');
    const codes = [...run.steps.values()].flatMap(({ problem }) => problem?.code ?? []);
    t.ok(codes.includes('DR-BACKUP-SR'), codes.join());
    t.same(remains(house.lab), [[], 0]);
  });
});

t.test('what Lifeboat wrote is the same point again, of the moment that it says', async (t) => {
  const house = await LabHouse.start(t);
  const [group] = house.settings.groups;
  if (group === undefined) throw new Error('the house has a group');
  const written = { method: 'xenapi', everySeconds: 0, history: 3, dumps: 3, bytes: 32 * 2 ** 20 } as const;
  const changes = { groups: [{ ...group, metadataBackup: written }] };
  const [saved] = await house.with(changes, async (app) => {
    const planned = await app.plan({ operation: 'export', group: 'shop' });
    const run = await app.run(planned, { by: 'test', onEvent: () => undefined });
    t.equal(run.exitCode, 0, run.summary ?? '');
    return (await app.catalog.list('shop')).points;
  });
  const source = arrayOf(house.lab, 'array-production');
  for (const volume of demoVolumes) await source.sync(volume, null).done;

  await house.with({}, async (app) => {
    const run = await recover(app);
    t.same(
      foundBy(run).flatMap(({ kept }) => kept.map(({ pointId }) => pointId)),
      [saved?.id, saved?.id],
      'the catalog holds it already',
    );
  });
  await house.lab.killSite('production');
  rmSync(join(house.settings.stateDirectory, 'catalog'), { recursive: true });
  await house.with({}, async (app) => {
    const run = await recover(app);
    t.equal(run.outcome, 'done', JSON.stringify([...run.steps.values()].flatMap(({ warnings }) => warnings)));
    const { points } = await app.catalog.list('shop');
    t.equal(points.length, 1, 'the same on two SRs is one point');
    const point = await app.catalog.read(points[0]?.id ?? '');
    t.equal(point.takenAt, saved?.takenAt);
    t.match(point.foreign, { timeFrom: 'lifeboat' });
    t.equal(point.vms.length, 3);
  });
});
