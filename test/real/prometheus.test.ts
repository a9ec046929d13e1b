/**
 * The page of the daemon, the alert rules and the scrape configuration, judged by promtool of Prometheus itself. Each rule
 * is proved both ways: quiet in a healthy world, and firing in one that lacks a single thing. Skipped only where promtool
 * is not installed and LIFEBOAT_REAL is not set.
 */
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { stringify } from 'yaml';
import { Daemon } from '../daemon/metrics-daemon.ts';

const promtool = process.env['PROMTOOL'] ?? 'promtool';
const missing = spawnSync(promtool, ['--version']).error !== undefined;
const skip = missing && process.env['LIFEBOAT_REAL'] === undefined ? 'promtool is not installed' : false;
const folder = join(import.meta.dirname, '../../packaging/prometheus');

function judge(words: readonly string[], input?: string): SpawnSyncReturns<string> {
  return spawnSync(promtool, words, { encoding: 'utf8', ...(input === undefined ? {} : { input }) });
}

function accepts(t: Test, what: string, words: readonly string[], input?: string): void {
  const { status, stdout, stderr } = judge(words, input);
  t.equal(status, 0, what, status === 0 ? {} : { said: `${stdout}\n${stderr}` });
}

t.test('promtool reads the page without a complaint', { skip }, async (t) => {
  const daemon = await Daemon.start(t);
  await daemon.tick();
  const { body } = await daemon.get('/metrics');
  accepts(t, 'check metrics', ['check', 'metrics'], body);
});

t.test('promtool accepts the rules and the scrape configuration', { skip }, async (t) => {
  accepts(t, 'check rules', ['check', 'rules', join(folder, 'alerts.yml')]);
  accepts(t, 'check config', ['check', 'config', join(folder, 'scrape.yml')]);
});

/** A healthy world, every five minutes: name and labels → values, as long as it lasts. */
const healthy: Readonly<Record<string, string>> = {
  'up{}': '1x0',
  'lifeboat_look_age_seconds{}': '60x0',
  'lifeboat_look_interval_seconds{}': '300x0',
  'lifeboat_config_refused{}': '0x0',
  'lifeboat_self_rehearsal_able{}': '1x0',
  'lifeboat_self_rehearsal_age_seconds{}': '7200x0',
  'lifeboat_notices_waiting{}': '0x0',
  'lifeboat_runs_interrupted{}': '0x0',
  'lifeboat_site_reachable{site="tokyo"}': '1x0',
  'lifeboat_group_rpo_promised_seconds{group="shop"}': '900x0',
  'lifeboat_group_rpo_actual_seconds{group="shop"}': '300x0',
  'lifeboat_group_rto_promised_seconds{group="shop"}': '3600x0',
  'lifeboat_group_rto_actual_seconds{group="shop",operation="drill"}': '600x0',
  'lifeboat_group_skew_seconds{group="shop"}': '-300x0',
  'lifeboat_group_frozen{group="shop"}': '0x0',
  'lifeboat_export_age_seconds{group="shop"}': '600x0',
  'lifeboat_group_phase{group="shop",phase="protected"}': '1x0',
  'lifeboat_group_phase{group="shop",phase="stuck"}': '0x0',
  'lifeboat_group_phase{group="shop",phase="failed-over"}': '0x0',
  'lifeboat_group_readiness{group="shop",state="not-ready"}': '0x0',
  'lifeboat_group_readiness{group="shop",state="unknown"}': '0x0',
  'lifeboat_group_readiness{group="shop",state="ready"}': '1x0',
  'lifeboat_job_interval_seconds{work="export",group="shop"}': '900x0',
  'lifeboat_job_success_age_seconds{work="export",group="shop"}': '600x0',
  'lifeboat_job_interval_seconds{work="rehearsal"}': '86400x0',
  'lifeboat_job_success_age_seconds{work="rehearsal"}': '7200x0',
  'lifeboat_runs_total{group="shop",operation="export",outcome="failed"}': '5x0',
  'lifeboat_catalog_target_up{target="here"}': '1x0',
  'lifeboat_catalog_damaged_points{}': '0x0',
  'lifeboat_catalog_verification_age_seconds{group="shop"}': '3600x0',
};

/** What goes wrong: series with other values, or gone (null) → the alerts that fire then, and no other. */
const worlds: readonly (readonly [
  what: string,
  changes: Readonly<Record<string, string | null>>,
  alerts: readonly string[],
])[] = [
  ['nothing', {}, []],
  ['the daemon is down', { 'up{}': '0x0' }, ['LifeboatDown']],
  ['nobody scrapes it', { 'up{}': null }, ['LifeboatDown']],
  ['it has stopped looking', { 'lifeboat_look_age_seconds{}': '0+60x0' }, ['LifeboatNotLooking']],
  ['a configuration is refused', { 'lifeboat_config_refused{}': '1x0' }, ['LifeboatConfigRefused']],
  ['it could not fail over', { 'lifeboat_self_rehearsal_able{}': '0x0' }, ['LifeboatUnable']],
  [
    'it has not proved itself',
    { 'lifeboat_self_rehearsal_age_seconds{}': '180000x0' },
    ['LifeboatNotRehearsed'],
  ],
  [
    'it never proved itself',
    {
      'lifeboat_self_rehearsal_able{}': null,
      'lifeboat_self_rehearsal_age_seconds{}': null,
      'lifeboat_job_success_age_seconds{work="rehearsal"}': null,
    },
    ['LifeboatWorkNeverDone'],
  ],
  [
    'a drill that is due next month was never done',
    { 'lifeboat_job_interval_seconds{work="drill",group="shop"}': '3024000x0' },
    [],
  ],
  ['notices are not sent', { 'lifeboat_notices_waiting{}': '3x0' }, ['LifeboatNoticesNotSent']],
  [
    'the RPO is broken',
    { 'lifeboat_group_rpo_actual_seconds{group="shop"}': '901x0' },
    ['LifeboatRpoBroken'],
  ],
  [
    'nobody knows the loss',
    { 'lifeboat_group_rpo_actual_seconds{group="shop"}': null },
    ['LifeboatRpoUnknown'],
  ],
  [
    'after a failover nobody expects an RPO, for a while',
    {
      'lifeboat_group_rpo_actual_seconds{group="shop"}': null,
      'lifeboat_group_phase{group="shop",phase="protected"}': '0x0',
      'lifeboat_group_phase{group="shop",phase="failed-over"}': '1x0',
    },
    ['LifeboatUnprotected'],
  ],
  [
    'the RTO is broken',
    { 'lifeboat_group_rto_actual_seconds{group="shop",operation="drill"}': '3601x0' },
    ['LifeboatRtoBroken'],
  ],
  [
    'no drill was ever measured',
    { 'lifeboat_group_rto_actual_seconds{group="shop",operation="drill"}': null },
    [],
  ],
  [
    'a failover would not work',
    { 'lifeboat_group_readiness{group="shop",state="not-ready"}': '1x0' },
    ['LifeboatNotReady'],
  ],
  [
    'nobody knows whether it would',
    { 'lifeboat_group_readiness{group="shop",state="unknown"}': '1x0' },
    ['LifeboatReadinessUnknown'],
  ],
  ['a group is stuck', { 'lifeboat_group_phase{group="shop",phase="stuck"}': '1x0' }, ['LifeboatStuck']],
  ['a run was broken off', { 'lifeboat_runs_interrupted{}': '1x0' }, ['LifeboatStuck']],
  ['a group is frozen for long', { 'lifeboat_group_frozen{group="shop"}': '1x0' }, ['LifeboatFrozen']],
  ['a site is silent', { 'lifeboat_site_reachable{site="tokyo"}': '0x0' }, ['LifeboatSiteUnreachable']],
  [
    'work is overdue',
    { 'lifeboat_job_success_age_seconds{work="export",group="shop"}': '2701x0' },
    ['LifeboatWorkOverdue'],
  ],
  [
    'work was never done',
    { 'lifeboat_job_success_age_seconds{work="export",group="shop"}': null },
    ['LifeboatWorkNeverDone'],
  ],
  [
    'the newest point is old',
    { 'lifeboat_export_age_seconds{group="shop"}': '4501x0' },
    ['LifeboatExportOld'],
  ],
  ['there is no point', { 'lifeboat_export_age_seconds{group="shop"}': null }, ['LifeboatExportOld']],
  [
    'metadata and replica drift apart',
    { 'lifeboat_group_skew_seconds{group="shop"}': '-4501x0' },
    ['LifeboatSkew'],
  ],
  [
    'runs fail again and again',
    { 'lifeboat_runs_total{group="shop",operation="export",outcome="failed"}': '0+1x0' },
    ['LifeboatRunsFail'],
  ],
  ['a target is lost', { 'lifeboat_catalog_target_up{target="here"}': '0x0' }, ['LifeboatCatalogTargetLost']],
  ['points are damaged', { 'lifeboat_catalog_damaged_points{}': '2x0' }, ['LifeboatCatalogDamaged']],
  [
    'the catalog cannot be listed',
    { 'lifeboat_catalog_damaged_points{}': null },
    ['LifeboatCatalogNotListed'],
  ],
  [
    'nobody reads the points back',
    { 'lifeboat_catalog_verification_age_seconds{group="shop"}': '700000x0' },
    ['LifeboatCatalogUnverified'],
  ],
  [
    'nobody ever read them back',
    { 'lifeboat_catalog_verification_age_seconds{group="shop"}': null },
    ['LifeboatCatalogUnverified'],
  ],
];

const rules = (): string[] =>
  readFileSync(join(folder, 'alerts.yml'), 'utf8')
    .split('\n')
    .flatMap((line) => /^ +- alert: (\w+)$/.exec(line)?.[1] ?? []);

t.test('each rule is tried', async (t) => {
  const tried = new Set(worlds.flatMap(([, , alerts]) => alerts));
  t.strictSame(
    rules().filter((rule) => !tried.has(rule)),
    [],
  );
  t.end();
});

t.test('each alert fires when its thing is wrong, and no other does', { skip }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'lifeboat-rules-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  cpSync(join(folder, 'alerts.yml'), join(directory, 'alerts.yml'));
  for (const [at, [what, changes, alerts]] of worlds.entries()) {
    const series = { ...healthy, ...changes };
    // A week for what may last a week; two days for everything else.
    const minutes = alerts.includes('LifeboatFrozen') ? 11_000 : 2_900;
    const test = {
      rule_files: ['alerts.yml'],
      evaluation_interval: '10m',
      tests: [
        {
          interval: '5m',
          input_series: Object.entries(series).flatMap(([name, values]) =>
            values === null ? [] : [{ series: scraped(name), values: stretched(values, minutes / 5) }],
          ),
          promql_expr_test: [
            {
              expr: 'count by (alertname) (ALERTS{alertstate="firing"})',
              eval_time: `${minutes}m`,
              exp_samples: alerts.map((alert) => ({ labels: `{alertname="${alert}"}`, value: 1 })),
            },
          ],
        },
      ],
    };
    const file = join(directory, `test-${at}.yml`);
    writeFileSync(file, stringify(test));
    accepts(t, what, ['test', 'rules', file]);
  }
});

/** As the server stores it: with its own labels. */
function scraped(series: string): string {
  const [, name = '', labels = ''] = /^([^{]+)\{(.*)\}$/.exec(series) ?? [];
  return `${name}{job="lifeboat",instance="dr:9617"${labels === '' ? '' : `,${labels}`}}`;
}

const stretched = (values: string, times: number): string => values.replace(/x\d+$/, `x${times}`);
