/** What the daemon shows to Prometheus and to those who ask whether it lives; read by a parser of our own. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { RunEvent } from '../../src/domain/run.ts';
import type { GroupStatus, RunBrief } from '../../src/domain/status.ts';
import { addSeconds } from '../../src/domain/time.ts';
import { startMetrics } from '../../src/faces/daemon/metrics-part.ts';
import type { TickReport } from '../../src/faces/daemon/parts.ts';
import { eventsOf, exportPlan, failoverPlan } from '../report/a-run.ts';
import type { Exposition } from '../support/exposition.ts';
import { now, quiet } from '../support/two-sites.ts';
import { Daemon, shop, dark as unknownGroup, withGroups } from './metrics-daemon.ts';

t.test('promise and fact of every group', async (t) => {
  const daemon = await Daemon.start(t);
  await daemon.tick();
  daemon.clock = addSeconds(now, 60);
  const shown = await daemon.metrics();
  const of = (name: string, labels: Record<string, string> = { group: 'shop' }): number | null =>
    shown.value(`lifeboat_${name}`, labels);
  t.equal(of('build_info', { version: '1.2.3' }), 1);
  t.equal(of('export_age_seconds'), 660, 'ages go on after the look');
  t.equal(of('replica_lag_seconds', { group: 'shop', sr: 'Tier 1' }), 300);
  t.equal(of('replica_lag_seconds', { group: 'shop', sr: 'Tier "2"' }), 360, 'any name is a label');
  t.equal(of('group_rpo_promised_seconds'), 900);
  t.equal(of('group_rpo_actual_seconds'), 360);
  t.equal(of('group_rto_promised_seconds'), 3600);
  t.equal(of('group_skew_seconds'), -300);
  t.equal(of('group_vms'), 24);
  t.equal(of('group_phase', { group: 'shop', phase: 'protected' }), 1);
  t.equal(of('group_phase', { group: 'shop', phase: 'stuck' }), 0);
  t.equal(of('group_readiness', { group: 'shop', state: 'ready-with-warnings' }), 1);
  t.equal(of('group_readiness', { group: 'shop', state: 'ready' }), 0);
  t.equal(of('site_reachable', { site: 'osaka' }), 1);
  t.equal(of('site_reachable', { site: 'tokyo' }), 0);
  t.equal(of('site_hosts_live', { site: 'osaka' }), 3);
  t.equal(of('catalog_points', { group: 'shop', good: 'true' }), 1);
  t.equal(of('catalog_bytes'), 1024);
  t.equal(of('catalog_damaged_points', {}), 1);
  t.equal(of('catalog_target_up', { target: 'there' }), 0);
  t.equal(of('catalog_verification_age_seconds'), 3660);
  t.equal(of('job_interval_seconds', { work: 'export', group: 'shop' }), 900);
  t.equal(of('job_success_age_seconds', { work: 'export', group: 'shop' }), 660);
  t.equal(of('job_interval_seconds', { work: 'rehearsal', group: '' }), 86_400);
  t.equal(of('self_rehearsal_able', {}), 0);
  t.equal(of('self_rehearsal_age_seconds', {}), 7260);
  t.equal(of('alarms_open', { severity: 'critical' }), 1);
  t.equal(of('notices_waiting', {}), 2);
  t.equal(of('look_age_seconds', {}), 60);
  t.equal(of('look_interval_seconds', {}), 300);
  t.equal(of('look_gaps', {}), 1);
  t.ok((shown.value('process_resident_memory_bytes') ?? 0) > 0);
  for (const [name, family] of shown.families)
    t.ok(family.help !== '' && family.type !== '', `${name} is explained`);
});

t.test('what is not known has no series; what is promised has one', async (t) => {
  const daemon = await Daemon.start(t);
  t.equal((await daemon.metrics()).value('lifeboat_look_age_seconds'), null, 'before the first look');
  await daemon.tick();
  const shown = await daemon.metrics();
  const dark = { group: 'dark' };
  for (const unknown of [
    'export_age_seconds',
    'replica_lag_seconds',
    'group_rpo_actual_seconds',
    'group_skew_seconds',
    'group_vms',
    'group_rto_actual_seconds',
    'catalog_verification_age_seconds',
  ])
    t.equal(shown.value(`lifeboat_${unknown}`, dark), null, unknown);
  t.equal(shown.value('lifeboat_site_hosts', { site: 'tokyo' }), null);
  t.equal(shown.value('lifeboat_job_success_age_seconds', { work: 'export', ...dark }), null);
  t.equal(shown.value('lifeboat_job_interval_seconds', { work: 'export', ...dark }), 900);
  t.equal(shown.value('lifeboat_group_rpo_promised_seconds', dark), 900);
  t.equal(shown.value('lifeboat_group_readiness', { ...dark, state: 'unknown' }), 1);
  const oneSeen = { ...shop, replicas: [...shop.replicas, ...unknownGroup.replicas] };
  await daemon.tick(now, (report) => withGroups(report, [oneSeen]));
  const partly = await daemon.metrics();
  t.equal(
    partly.value('lifeboat_group_rpo_actual_seconds', { group: 'shop' }),
    null,
    'one unknown replica is enough',
  );
  t.equal(
    partly.value('lifeboat_group_rpo_promised_seconds', dark),
    null,
    'a group that is gone has no series',
  );
});

t.test('a tick that looked at the clock alone changes no fact', async (t) => {
  const daemon = await Daemon.start(t);
  await daemon.tick();
  await daemon.tick(addSeconds(now, 60), (report) => ({ ...report, tick: null, watch: null }));
  const shown = await daemon.metrics();
  t.equal(shown.value('lifeboat_tick_age_seconds'), 0);
  t.equal(shown.value('lifeboat_look_age_seconds'), 60);
  t.equal(shown.value('lifeboat_group_rpo_promised_seconds', { group: 'shop' }), 900);
  t.equal(shown.value('lifeboat_alarms_open', { severity: 'critical' }), 1);
  t.equal(shown.value('lifeboat_notices_waiting'), 2);
  t.equal(shown.value('lifeboat_runs_interrupted'), 0);
});

t.test('runs of every process are counted once, from their journals', async (t) => {
  const daemon = await Daemon.start(t);
  const ended = eventsOf(failoverPlan(), { end: { outcome: 'done', exitCode: 0, summary: 'x' } });
  const before = ended.map((event) => (event.event === 'RunStarted' ? { ...event, run: 'run-0' } : event));
  daemon.journals.set('run-0', before);
  await daemon.tick();
  const labels = { group: 'shop', operation: 'failover', outcome: 'done' };
  t.equal(
    (await daemon.metrics()).value('lifeboat_runs_total', labels),
    null,
    'what was before is nobody’s news',
  );

  const half = Math.floor(ended.length / 2);
  daemon.journals.set('run-1', ended.slice(0, half));
  await daemon.tick();
  const steps = (shown: Exposition): number =>
    shown.samples
      .filter(({ name }) => name === 'lifeboat_step_duration_seconds_count')
      .reduce((total, { value }) => total + value, 0);
  const timed = (events: readonly RunEvent[]): number => {
    const started = new Set(events.flatMap((event) => (event.event === 'StepStarted' ? [event.step] : [])));
    return events.filter(
      (event) => (event.event === 'StepSucceeded' || event.event === 'StepFailed') && started.has(event.step),
    ).length;
  };
  const underWay = await daemon.metrics();
  t.equal(underWay.value('lifeboat_runs_total', labels), null);
  t.equal(steps(underWay), timed(ended.slice(0, half)), 'steps of a run that is under way');
  daemon.journals.set('run-1', ended);
  await daemon.tick();
  await daemon.tick();
  const over = await daemon.metrics();
  t.equal(over.value('lifeboat_runs_total', labels), 1);
  t.equal(steps(over), timed(ended));
  t.ok((over.value('lifeboat_group_rto_actual_seconds', { group: 'shop', operation: 'failover' }) ?? 0) > 0);

  const stuck = eventsOf(exportPlan(), { end: { outcome: 'stuck', exitCode: 12, summary: 'x' } });
  daemon.journals.set('run-2', stuck);
  const brief = {
    id: 'run-2',
    operation: 'export',
    group: 'shop',
    by: 'x',
    startedAt: now,
    endedAt: now,
  } as const;
  const open = (report: TickReport) =>
    withGroups(report, [{ ...shop, currentRun: { ...brief, outcome: 'stuck', summary: null } }]);
  await daemon.tick(now, open);
  daemon.journals.set('run-2', [
    ...stuck,
    { event: 'RunResumed', at: now, by: 'x', version: '1' },
    { event: 'RunEnded', at: now, outcome: 'done', exitCode: 0, summary: 'x' },
  ]);
  await daemon.tick(now, open);
  const resumed = await daemon.metrics();
  for (const outcome of ['stuck', 'done'])
    t.equal(
      resumed.value('lifeboat_runs_total', { group: 'shop', operation: 'export', outcome }),
      1,
      outcome,
    );
});

t.test('an old run that is taken up again is news from there on', async (t) => {
  const later = addSeconds(now, 86_400);
  const daemon = await Daemon.start(t, { clock: later });
  const stuck = eventsOf(exportPlan(), { end: { outcome: 'stuck', exitCode: 12, summary: 'x' } });
  daemon.journals.set('run-0', stuck);
  await daemon.tick();
  daemon.journals.set('run-0', [
    ...stuck,
    { event: 'RunResumed', at: later, by: 'x', version: '1' },
    { event: 'RunEnded', at: later, outcome: 'done', exitCode: 0, summary: 'x' },
  ]);
  const currentRun = { ...brief('run-0', 'export'), outcome: 'stuck' as const };
  await daemon.tick(later, (report) => withGroups(report, [{ ...shop, currentRun }]));
  const shown = await daemon.metrics();
  const labels = { group: 'shop', operation: 'export' };
  t.equal(shown.value('lifeboat_runs_total', { ...labels, outcome: 'stuck' }), null);
  t.equal(shown.value('lifeboat_runs_total', { ...labels, outcome: 'done' }), 1);
});

t.test('a drill whose journal is damaged hides no other figure', async (t) => {
  const daemon = await Daemon.start(t);
  daemon.journals.set('drill-2', []);
  await daemon.tick(now, (report) => withGroups(report, [{ ...shop, lastDrill: brief('drill-2', 'drill') }]));
  const shown = await daemon.metrics();
  t.equal(shown.value('lifeboat_group_rto_actual_seconds', { group: 'shop' }), null);
  t.equal(shown.value('lifeboat_catalog_bytes', { group: 'shop' }), 1024);
  t.ok(daemon.logged.includes('a drill cannot be measured'));
});

t.test('the newest drill is held against the RTO also after a restart', async (t) => {
  const daemon = await Daemon.start(t);
  daemon.journals.set(
    'drill-1',
    eventsOf(failoverPlan(), { end: { outcome: 'done', exitCode: 0, summary: 'x' } }),
  );
  const lastDrill = {
    id: 'drill-1',
    operation: 'drill',
    group: 'shop',
    by: 'x',
    startedAt: now,
    endedAt: addSeconds(now, 99),
    outcome: 'done',
    summary: null,
  } as const;
  await daemon.tick(now, (report) => withGroups(report, [{ ...shop, lastDrill }]));
  const shown = await daemon.metrics();
  t.ok((shown.value('lifeboat_group_rto_actual_seconds', { group: 'shop', operation: 'drill' }) ?? 0) > 0);
  t.equal(
    shown.value('lifeboat_run_last_end_timestamp_seconds', {
      group: 'shop',
      operation: 'drill',
      outcome: 'done',
    }),
    Date.parse(addSeconds(now, 99)) / 1000,
  );
});

t.test('turns of jobs', async (t) => {
  const daemon = await Daemon.start(t);
  const turn = { slot: now, startedAt: now, endedAt: now, run: null, summary: null, madeUp: true };
  await daemon.part.jobEnded?.({
    job: 'export',
    group: 'shop',
    run: null,
    turn: { ...turn, outcome: 'failed', missed: 3 },
  });
  await daemon.part.jobEnded?.({
    job: 'export',
    group: 'shop',
    run: null,
    turn: { ...turn, outcome: 'done', missed: 0 },
  });
  const shown = await daemon.metrics();
  const labels = { work: 'export', group: 'shop' };
  t.equal(shown.value('lifeboat_job_turns_total', { ...labels, outcome: 'failed' }), 1);
  t.equal(shown.value('lifeboat_job_turns_total', { ...labels, outcome: 'done' }), 1);
  t.equal(shown.value('lifeboat_job_missed_slots_total', labels), 3);
});

t.test('health and readiness', async (t) => {
  const daemon = await Daemon.start(t);
  t.match(await daemon.get('/healthz'), { status: 200, body: 'ok\n' });
  t.match(await daemon.get('/readyz'), { status: 503, body: /not been looked at/ });
  await daemon.tick();
  t.match(await daemon.get('/readyz'), { status: 200, body: 'ok\n' });
  daemon.refused = [{ code: 'DR-CONFIG-VALUE', what: 'rpo is no duration', next: 'Write 15min' }];
  t.match(await daemon.get('/readyz'), { status: 200, body: /older configuration.*rpo is no duration/s });
  t.equal((await daemon.metrics()).value('lifeboat_config_refused'), 1);
  daemon.hung = 'the tick of 02:00 has not ended for 20 min';
  for (const path of ['/healthz', '/readyz'])
    t.match(await daemon.get(path), { status: 503, body: /has not ended/ }, path);
});

t.test('nothing but these pages, and only to read', async (t) => {
  const daemon = await Daemon.start(t);
  t.match(await daemon.get('/'), { status: 404, body: /\/metrics, \/healthz, \/readyz/ });
  t.match(await daemon.get('/constructor'), { status: 404 });
  t.match(await daemon.get('/metrics?x=1'), { status: 200 });
  t.match(await daemon.get('/metrics', 'HEAD'), { status: 200, body: '' });
  t.match(await daemon.get('/metrics', 'POST'), { status: 405, allow: 'GET, HEAD' });
});

t.test('it listens where the settings say, and nowhere else', async (t) => {
  const closed = await Daemon.start(t, { listen: null });
  t.equal(closed.part.port(), null, 'closed unless somebody opens it');
  closed.listen = { host: '127.0.0.1', port: 0 };
  await closed.part.reloaded?.(closed.app());
  const { port } = closed;
  t.match(await closed.get('/healthz'), { status: 200 }, 'opened by a reload');
  await closed.part.reloaded?.(closed.app());
  t.equal(closed.port, port, 'the same settings change nothing');
  const rival = Object.assign(new Daemon(), { listen: { host: '127.0.0.1', port } });
  t.match(
    await startMetrics(rival).then(
      () => null,
      (error: unknown) => error,
    ),
    { problems: [{ code: 'DR-DAEMON-LISTEN', known: ['another program listens there'] }], exitCode: 2 },
  );
  closed.listen = null;
  await closed.part.reloaded?.(closed.app());
  t.equal(closed.part.port(), null, 'closed by a reload');
});

t.test('a catalog that cannot be listed hides nothing else', async (t) => {
  const daemon = await Daemon.start(t);
  const app = daemon.app();
  daemon.app = () => ({
    ...app,
    catalog: { ...app.catalog, list: async () => Promise.reject(new Error('gone')) },
  });
  await daemon.tick(now, (report) => ({
    ...report,
    tick: report.tick && { ...report.tick, observation: quiet() },
  }));
  const shown = await daemon.metrics();
  t.equal(shown.value('lifeboat_catalog_bytes', { group: 'shop' }), null);
  t.equal(shown.value('lifeboat_export_age_seconds', { group: 'shop' }), 600);
  t.match(daemon.logged, ['metrics are shown', 'the catalog cannot be listed']);
});

t.test('pages, alert rules and dashboard speak of what there is, and the page of all of it', async (t) => {
  const daemon = await Daemon.start(t);
  daemon.journals.set('drill-1', []);
  await daemon.tick(now, (report) => withGroups(report, [everything]));
  const turn = { slot: now, startedAt: now, endedAt: now, run: null, summary: null, madeUp: true };
  await daemon.part.jobEnded?.({
    ...{ job: 'export', group: 'shop', run: null },
    turn: { ...turn, outcome: 'done', missed: 1 },
  });
  daemon.journals.set(
    'run-1',
    eventsOf(failoverPlan(), { end: { outcome: 'done', exitCode: 0, summary: 'x' } }),
  );
  await daemon.tick(now, (report) => withGroups(report, [everything]));
  const { families, samples } = await daemon.metrics();
  const shown = new Set([...samples.map(({ name }) => name), ...families.keys()].filter(isOurs));
  const documented = new Set(namesIn('docs/metrics.md'));
  t.strictSame(
    [...families.keys()].filter((name) => isOurs(name) && !documented.has(name)),
    [],
    'all are explained',
  );
  for (const file of [
    'docs/metrics.md',
    'packaging/prometheus/alerts.yml',
    'packaging/grafana/dashboard.json',
  ])
    t.strictSame(
      namesIn(file).filter((name) => !shown.has(name)),
      [],
      `${file} speaks of nothing that is not there`,
    );
});

/** A group of which everything is known. */
const everything: GroupStatus = {
  ...shop,
  lastRun: brief('run-0', 'export'),
  lastCanary: { ...brief('canary-1', 'canary'), measuredLagSeconds: 7 },
};

function brief(id: string, operation: RunBrief['operation']): RunBrief {
  return {
    id,
    operation,
    group: 'shop',
    by: 'x',
    startedAt: now,
    endedAt: now,
    outcome: 'done',
    summary: null,
  };
}

const isOurs = (name: string): boolean => name.startsWith('lifeboat_');

function namesIn(file: string): string[] {
  const text = readFileSync(join(import.meta.dirname, '../..', file), 'utf8');
  return [...new Set(text.match(/\blifeboat_[a-z_]*[a-z]\b/g) ?? [])];
}
