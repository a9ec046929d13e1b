/**
 * What the daemon knows, as Prometheus metrics (docs/metrics.md). A value that is not known has no series: the promises and
 * the expected intervals always have one, so that an alert can tell absence from health. Ages are computed when they
 * are asked for: they grow on even if nothing looks any more. `job` is a label of Prometheus itself: jobs are `work` here.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { RunNews } from '../../app/run-news.ts';
import type { CatalogListing } from '../../domain/catalog.ts';
import type { Phase } from '../../domain/group.ts';
import type { GroupStatus, Readiness, RunBrief, StatusReport } from '../../domain/status.ts';
import { type Instant, secondsBetween } from '../../domain/time.ts';
import type { JobEnded, TickReport, TickTime } from './parts.ts';

const phases: readonly Phase[] = [
  'unprotected',
  'protected',
  'drilling',
  'migrating',
  'failing-over',
  'failed-over',
  'reprotecting',
  'stuck',
];
const readinesses: readonly Readiness[] = ['ready', 'ready-with-warnings', 'not-ready', 'unknown'];
/** Operations that bring VMs up, so that their time can be held against the RTO. */
const recovering: ReadonlySet<RunBrief['operation']> = new Set(['drill', 'failover', 'migrate', 'failback']);
/** Gauges that end as only counters may: promtool complains of them. */
const misnamed = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
];
const stepBuckets = [0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600];

/** What the metrics are made of between two ticks. */
export interface Known {
  readonly version: string;
  readonly watchEverySeconds: number | null;
  readonly configRefused: boolean;
  readonly lastTick: TickTime | null;
}

interface Recovery {
  readonly operation: string;
  readonly seconds: number;
}

export class Metrics {
  readonly #registry = new Registry();
  readonly #gauges = new Map<string, Gauge>();
  readonly #runs: Counter;
  readonly #steps: Histogram;
  readonly #turns: Counter;
  readonly #missed: Counter;
  /** Of the newest look at the world, which stays true for the ticks that look at the clock alone. */
  #status: StatusReport | null = null;
  #interrupted: number | null = null;
  #watch: TickReport['watch'] = null;
  #jobs: TickReport['jobs'] = [];
  #catalog: CatalogListing | null = null;
  readonly #verifiedAt = new Map<string, Instant>();
  readonly #recoveries = new Map<string, Recovery>();

  constructor() {
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });
    for (const name of misnamed) this.#registry.removeSingleMetric(name);
    this.#runs = new Counter({
      name: 'lifeboat_runs_total',
      help: 'Runs that ended since the daemon was started, whoever started them',
      labelNames: ['group', 'operation', 'outcome'],
      registers,
    });
    this.#steps = new Histogram({
      name: 'lifeboat_step_duration_seconds',
      help: 'How long the steps of runs took',
      labelNames: ['operation', 'action', 'outcome'],
      buckets: stepBuckets,
      registers,
    });
    this.#turns = new Counter({
      name: 'lifeboat_job_turns_total',
      help: 'Turns of scheduled jobs that ended',
      labelNames: ['work', 'group', 'outcome'],
      registers,
    });
    this.#missed = new Counter({
      name: 'lifeboat_job_missed_slots_total',
      help: 'Slots of scheduled jobs for which nothing was done',
      labelNames: ['work', 'group'],
      registers,
    });
  }

  ticked(report: TickReport): void {
    this.#jobs = report.jobs;
    if (report.tick === null) return;
    this.#status = report.tick.status;
    this.#interrupted = report.tick.interrupted.length;
    this.#watch = report.watch;
    this.#verifiedFrom(report);
  }

  jobEnded({ job, group, turn }: JobEnded): void {
    const labels = { work: job, group: group ?? '' };
    if (turn.outcome !== null) this.#turns.inc({ ...labels, outcome: turn.outcome });
    this.#missed.inc(labels, turn.missed);
  }

  told(news: readonly RunNews[]): void {
    for (const each of news) {
      if (each.news === 'step') {
        const { operation, action, outcome, seconds } = each;
        // A clock that was set back in the middle would take time away.
        this.#steps.observe({ operation, action, outcome }, Math.max(0, seconds));
        continue;
      }
      const { group, operation, outcome, recoverySeconds, at } = each;
      this.#runs.inc({ group, operation, outcome });
      if (recoverySeconds !== null) this.recovered(group, operation, recoverySeconds);
      if (operation === 'verify' && outcome === 'done') this.#verified(group, at);
    }
  }

  /** How long the newest drill, failover or migration of a group took until all its VMs served. */
  recovered(group: string, operation: RunBrief['operation'], seconds: number): void {
    if (recovering.has(operation)) this.#recoveries.set(group, { operation, seconds });
  }

  listed(catalog: CatalogListing | null): void {
    this.#catalog = catalog;
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** The exposition format, as everything stands at this moment. */
  async render(now: Instant, known: Known): Promise<string> {
    for (const gauge of this.#gauges.values()) gauge.reset();
    this.#set('build_info', 'Version of Lifeboat', 1, { version: known.version });
    this.#set(
      'config_refused',
      '1 while the newest configuration is refused and an older one in force',
      Number(known.configRefused),
    );
    this.#tickGauges(now, known);
    for (const group of this.#status?.groups ?? []) this.#groupGauges(group, now);
    for (const { site, reachable, hosts, hostsLive } of this.#status?.sites ?? []) {
      this.#set('site_reachable', '1 when the pool of the site could be read', Number(reachable), { site });
      this.#set('site_hosts', 'Hosts of the pool', hosts, { site });
      this.#set('site_hosts_live', 'Hosts of the pool that are live', hostsLive, { site });
    }
    this.#jobGauges(now);
    this.#catalogGauges(now);
    this.#rehearsalGauges(now);
    this.#watchGauges();
    return this.#registry.metrics();
  }

  #tickGauges(now: Instant, { lastTick, watchEverySeconds }: Known): void {
    this.#set('look_interval_seconds', 'How often the world is looked at', watchEverySeconds);
    this.#set(
      'look_age_seconds',
      'Since the world was last looked at',
      this.#status === null ? null : age(this.#status.takenAt, now),
    );
    this.#set(
      'tick_age_seconds',
      'Since the clock of the daemon last came round',
      lastTick === null ? null : age(lastTick.at, now),
    );
    this.#set('tick_duration_seconds', 'How long the newest tick took', lastTick?.durationSeconds ?? null);
    this.#set('look_gaps', 'Sources that could not be seen', this.#status?.gaps.length ?? null);
    this.#set(
      'runs_interrupted',
      'Runs that a crash broke off and that wait for a person',
      this.#interrupted,
    );
  }

  #groupGauges(group: GroupStatus, now: Instant): void {
    const labels = { group: group.group };
    const set = (name: string, help: string, value: number | null): void =>
      this.#set(name, help, value, labels);
    set('group_rpo_promised_seconds', 'Worst acceptable loss', group.rpoSeconds);
    set('group_rto_promised_seconds', 'Worst acceptable time until the VMs serve', group.rtoSeconds);
    set('group_frozen', '1 while automatic work is stopped', Number(group.frozen !== null));
    set('group_vms', 'VMs that the rules of the group take in', group.vmCount);
    set('group_generation', 'Raised by every run that may change the world', group.generation);
    for (const phase of phases)
      this.#set('group_phase', '1 for the phase of the group', Number(group.phase === phase), {
        ...labels,
        phase,
      });
    for (const state of readinesses)
      this.#set('group_readiness', '1 for how ready a failover is', Number(group.readiness === state), {
        ...labels,
        state,
      });
    for (const severity of ['problem', 'warning'] as const)
      this.#set(
        'group_findings',
        'What the checks of a failover found',
        group.findings.filter((finding) => finding.severity === severity).length,
        { ...labels, severity },
      );
    set('group_run_under_way', '1 while a run is under way or stuck', Number(group.currentRun !== null));
    set(
      'export_age_seconds',
      'Age of the newest good recovery point',
      group.point === null ? null : age(group.point.takenAt, now),
    );
    set('group_skew_seconds', 'Metadata time minus replica time', group.skewSeconds);
    const lags = group.replicas.map(({ point }) => (point === null ? null : age(point.takenAt, now)));
    for (const [at, { sr }] of group.replicas.entries())
      this.#set('replica_lag_seconds', 'Age of the newest complete point of the replica', lags[at] ?? null, {
        ...labels,
        sr,
      });
    // A promoted replica is the original now: its age says nothing, and status says so with null.
    const known = group.lossSeconds === null || lags.includes(null) ? [] : lags.filter((lag) => lag !== null);
    set('group_rpo_actual_seconds', 'What would be lost now', known.length === 0 ? null : Math.max(...known));
    const recovery = this.#recoveries.get(group.group);
    if (recovery !== undefined)
      this.#set(
        'group_rto_actual_seconds',
        'Until all VMs served, in the newest recovery that was measured',
        recovery.seconds,
        {
          ...labels,
          operation: recovery.operation,
        },
      );
    set(
      'canary_lag_seconds',
      'From a write at the source to its arrival, as last measured',
      group.lastCanary?.measuredLagSeconds ?? null,
    );
    for (const run of [group.lastRun, group.lastDrill])
      if (run?.endedAt != null)
        this.#set(
          'run_last_end_timestamp_seconds',
          'When a run of the group last ended',
          Date.parse(run.endedAt) / 1000,
          {
            ...labels,
            operation: run.operation,
            outcome: run.outcome ?? 'unknown',
          },
        );
  }

  #jobGauges(now: Instant): void {
    for (const { job, group, intervalSeconds, nextAt, last, lastGoodAt } of this.#jobs) {
      const labels = { work: job, group: group ?? '' };
      this.#set(
        'job_interval_seconds',
        'Expected distance of two turns: nothing done for longer is wrong',
        intervalSeconds,
        labels,
      );
      this.#set(
        'job_success_age_seconds',
        'Since the job was last done',
        lastGoodAt === null ? null : age(lastGoodAt, now),
        labels,
      );
      this.#set(
        'job_next_timestamp_seconds',
        'When the job is due next',
        nextAt === null ? null : Date.parse(nextAt) / 1000,
        labels,
      );
      this.#set(
        'job_running',
        '1 while the job is under way',
        Number(last !== null && last.endedAt === null),
        labels,
      );
    }
  }

  #catalogGauges(now: Instant): void {
    for (const { group } of this.#status?.groups ?? []) {
      const labels = { group };
      const verifiedAt = this.#verifiedAt.get(group);
      this.#set(
        'catalog_verification_age_seconds',
        'Since the recovery points were last read back',
        verifiedAt === undefined ? null : age(verifiedAt, now),
        labels,
      );
      if (this.#catalog === null) continue;
      const points = this.#catalog.points.filter((point) => point.group === group);
      this.#set('catalog_points', 'Recovery points', points.filter((point) => point.good).length, {
        ...labels,
        good: 'true',
      });
      this.#set('catalog_points', 'Recovery points', points.filter((point) => !point.good).length, {
        ...labels,
        good: 'false',
      });
      this.#set(
        'catalog_bytes',
        'What the recovery points hold, each counted whole',
        sum(points.map(({ bytes }) => bytes)),
        labels,
      );
    }
    if (this.#catalog === null) return;
    this.#set('catalog_damaged_points', 'Recovery points that cannot be read', this.#catalog.damaged.length);
    for (const { target, ok } of this.#catalog.targets)
      this.#set('catalog_target_up', '1 when the target of the catalog answers', Number(ok), { target });
  }

  #rehearsalGauges(now: Instant): void {
    const rehearsal = this.#status?.selfRehearsal ?? null;
    if (rehearsal === null) return;
    this.#set('self_rehearsal_age_seconds', 'Since Lifeboat last proved itself', age(rehearsal.takenAt, now));
    this.#set(
      'self_rehearsal_able',
      '1 when it could carry out every failover',
      Number(rehearsal.outcome !== 'unable'),
    );
    this.#set(
      'self_rehearsal_against',
      'Trials that failed and groups that are not ready',
      rehearsal.against.length,
    );
  }

  #watchGauges(): void {
    const watch = this.#watch;
    if (watch === null) return;
    this.#set('notices_waiting', 'Notices that wait to be sent', watch.noticesWaiting);
    for (const severity of ['critical', 'warning'] as const)
      this.#set(
        'alarms_open',
        'Alarms that are open',
        watch.alarms.filter((alarm) => alarm.severity === severity).length,
        { severity },
      );
  }

  #verifiedFrom({ jobs }: TickReport): void {
    for (const { job, group, lastGoodAt } of jobs)
      if ((job === 'verify' || job === 'catalog-check') && group !== null && lastGoodAt !== null)
        this.#verified(group, lastGoodAt);
  }

  #verified(group: string, at: Instant): void {
    const before = this.#verifiedAt.get(group);
    if (before === undefined || before < at) this.#verifiedAt.set(group, at);
  }

  /** Null is a value that is not known: no series. */
  #set(
    name: string,
    help: string,
    value: number | null,
    labels: Readonly<Record<string, string>> = {},
  ): void {
    if (value === null) return;
    const gauge =
      this.#gauges.get(name) ??
      new Gauge({
        name: `lifeboat_${name}`,
        help,
        labelNames: Object.keys(labels),
        registers: [this.#registry],
      });
    this.#gauges.set(name, gauge);
    gauge.set(labels, value);
  }
}

const age = (since: Instant, now: Instant): number => secondsBetween(since, now);

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
