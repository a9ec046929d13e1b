/** A daemon of which the test sets clock, ticks, journals and settings, with the part that shows its metrics. */
import { request } from 'node:http';
import type { Test } from 'tap';
import { systemClock } from '../../src/adapters/system/clock.ts';
import type { App } from '../../src/app/app.ts';
import { runNewsReader } from '../../src/app/run-news.ts';
import type { JobStanding } from '../../src/domain/jobs.ts';
import { foldRun, type RunEvent } from '../../src/domain/run.ts';
import type { DaemonSettings } from '../../src/domain/settings.ts';
import type { GroupStatus, StatusReport } from '../../src/domain/status.ts';
import { addSeconds } from '../../src/domain/time.ts';
import { startMetrics } from '../../src/faces/daemon/metrics-part.ts';
import type { DaemonView, TickReport } from '../../src/faces/daemon/parts.ts';
import type { Journals } from '../../src/ports/system.ts';
import { settings } from '../scripts/fake.ts';
import { type Exposition, readExposition } from '../support/exposition.ts';
import { disaster, now, replicaPoint } from '../support/two-sites.ts';

export const shop: GroupStatus = {
  group: 'shop',
  production: 'osaka',
  recovery: 'tokyo',
  phase: 'protected',
  activeSite: 'osaka',
  generation: 4,
  frozen: null,
  rpoSeconds: 900,
  rtoSeconds: 3600,
  point: { id: 'shop/1', takenAt: addSeconds(now, -600), ageSeconds: 600, vmCount: 24 },
  replicas: [
    { sr: 'Tier 1', point: replicaPoint(addSeconds(now, -240)), ageSeconds: 240, state: 'replicating' },
    { sr: 'Tier "2"', point: replicaPoint(addSeconds(now, -300)), ageSeconds: 300, state: 'replicating' },
  ],
  lossSeconds: 300,
  skewSeconds: -300,
  vmCount: 24,
  readiness: 'ready-with-warnings',
  findings: [],
  currentRun: null,
  lastRun: null,
  lastDrill: null,
};

/** Nothing of this group was ever seen. */
export const dark: GroupStatus = {
  ...shop,
  group: 'dark',
  point: null,
  replicas: [{ sr: 'Tier 3', point: null, ageSeconds: null, state: 'array not reached' }],
  lossSeconds: null,
  skewSeconds: null,
  vmCount: null,
  readiness: 'unknown',
};

export const status: StatusReport = {
  takenAt: now,
  sites: [
    {
      site: 'osaka',
      title: 'Osaka',
      reachable: true,
      pool: 'osaka-pool',
      hosts: 3,
      hostsLive: 3,
      detail: null,
    },
    {
      site: 'tokyo',
      title: 'Tokyo',
      reachable: false,
      pool: null,
      hosts: null,
      hostsLive: null,
      detail: 'dark',
    },
  ],
  groups: [shop, dark],
  gaps: [{ source: 'site tokyo', problem: { code: 'DR-X', what: 'It is dark', next: '' } }],
  selfRehearsal: { takenAt: addSeconds(now, -7200), outcome: 'unable', against: ['site tokyo: log in'] },
};

const job = (changes: Partial<JobStanding>): JobStanding => ({
  job: 'export',
  group: 'shop',
  schedule: 'every 15min',
  intervalSeconds: 900,
  nextAt: addSeconds(now, 300),
  last: null,
  lastGoodAt: addSeconds(now, -600),
  ...changes,
});

const tick = (at: string): TickReport => ({
  at,
  durationSeconds: 1.5,
  jobs: [
    job({}),
    job({ group: 'dark', lastGoodAt: null }),
    job({ job: 'catalog-check', intervalSeconds: 86_400, lastGoodAt: addSeconds(now, -3600) }),
    job({ job: 'rehearsal', group: null, intervalSeconds: 86_400, lastGoodAt: addSeconds(now, -7200) }),
  ],
  watch: {
    at,
    groups: [],
    alarms: [
      { id: 'a', kind: 'site', severity: 'critical', groups: ['shop'], what: 'Tokyo is dark', since: now },
    ],
    raised: 1,
    closed: 0,
    noticesWaiting: 2,
  },
  tick: {
    now: at,
    status,
    observation: disaster(),
    states: [],
    jobs: [],
    interrupted: [],
    configProblems: [],
  },
});

/** A daemon whose clock, journals and settings the test sets. */
export class Daemon implements DaemonView {
  readonly version = '1.2.3';
  clock = now;
  report: TickReport | null = null;
  hung: string | null = null;
  refused: readonly { code: 'DR-CONFIG-VALUE'; what: string; next: string }[] = [];
  listen: DaemonSettings['listen'] | null = { host: '127.0.0.1', port: 0 };
  readonly journals = new Map<string, readonly RunEvent[]>();
  readonly logged: string[] = [];
  readonly log = {
    info: (_fields: object, message: string) => void this.logged.push(message),
    warn: (_fields: object, message: string) => void this.logged.push(message),
    error: (_fields: object, message: string) => void this.logged.push(message),
  };
  #part: Awaited<ReturnType<typeof startMetrics>> | null = null;

  static async start(t: Test, changes: Partial<Daemon> = {}): Promise<Daemon> {
    const daemon = Object.assign(new Daemon(), changes);
    daemon.#part = await startMetrics(daemon);
    t.teardown(() => daemon.part.stop());
    return daemon;
  }

  get part(): Awaited<ReturnType<typeof startMetrics>> {
    if (this.#part === null) throw new Error('it was not started');
    return this.#part;
  }

  now = (): string => this.clock;
  lastTick = (): TickReport | null => this.report;
  hangs = (): string | null => this.hung;
  configProblems = () => this.refused;
  use: DaemonView['use'] = (work) => work(this.app());

  app(): App {
    const journals = {
      list: async () => [...this.journals.keys()].sort().reverse(),
      read: async (id: string) => this.journals.get(id) ?? [],
    } as Pick<Journals, 'list' | 'read'> as Journals;
    const read = async (id: string) => foldRun(this.journals.get(id) ?? []);
    const daemon: Partial<DaemonSettings> = {
      watchEverySeconds: 300,
      ...(this.listen == null ? {} : { listen: this.listen }),
    };
    return {
      settings: { ...settings, daemon },
      runs: { read, news: () => runNewsReader({ journals, clock: { ...systemClock, now: this.now } }) },
      catalog: {
        list: async () => ({
          points: [
            { ...point, id: 'shop/2', good: true, bytes: 1000 },
            { ...point, id: 'shop/1', good: false, bytes: 24 },
          ],
          damaged: [{ id: 'shop/0', target: 'there', reason: 'torn' }],
          targets: [
            { target: 'here', ok: true, problem: null },
            { target: 'there', ok: false, problem: null },
          ],
        }),
      },
    } as unknown as App;
  }

  async tick(at = this.clock, change: (report: TickReport) => TickReport = (same) => same): Promise<void> {
    this.clock = at;
    this.report = change(tick(at));
    await this.part.ticked?.(this.report);
  }

  get(path: string, method = 'GET'): Promise<{ status: number; type: string; body: string; allow?: string }> {
    return new Promise((resolve, reject) => {
      const { port } = this;
      request({ host: '127.0.0.1', port, path, method, agent: false }, (answer) => {
        let body = '';
        answer.setEncoding('utf8').on('data', (text: string) => {
          body += text;
        });
        answer.on('end', () => {
          const { 'content-type': type = '', allow } = answer.headers;
          resolve({ status: answer.statusCode ?? 0, type, body, ...(allow === undefined ? {} : { allow }) });
        });
      })
        .on('error', reject)
        .end();
    });
  }

  get port(): number {
    const port = this.part.port();
    if (port === null) throw new Error('it does not listen');
    return port;
  }

  async metrics(): Promise<Exposition> {
    const { status: code, type, body } = await this.get('/metrics');
    if (code !== 200) throw new Error(`${code}: ${body}`);
    if (!type.startsWith('text/plain; version=0.0.4')) throw new Error(`no exposition: ${type}`);
    return readExposition(body);
  }
}

const point = { group: 'shop', takenAt: now, vmCount: 24, failureCount: 0, targets: ['here'] };

/** The same tick, over other groups. */
export function withGroups(report: TickReport, groups: readonly GroupStatus[]): TickReport {
  if (report.tick === null) throw new Error('this tick has a look');
  return { ...report, tick: { ...report.tick, status: { ...status, groups } } };
}
