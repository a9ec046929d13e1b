/** The part of the daemon that shows /metrics, /healthz and /readyz: keeps what it is told, and answers who asks. */
import { isDeepStrictEqual } from 'node:util';
import type { App } from '../../app/app.ts';
import type { ReadRunNews } from '../../app/run-news.ts';
import type { CatalogListing } from '../../domain/catalog.ts';
import { describeProblem } from '../../domain/errors.ts';
import type { StatusReport } from '../../domain/status.ts';
import { runFacts } from '../../report/run-facts.ts';
import { type Listen, type OpenHttp, openHttp, type Page, plain } from './http.ts';
import { Metrics } from './metrics.ts';
import type { DaemonPart, DaemonView, JobEnded, TickReport } from './parts.ts';

/** Collects always, so that counters are right whenever the pages are opened; listens where `daemon.listen` says so. */
export async function startMetrics(
  daemon: DaemonView,
): Promise<DaemonPart & { readonly port: () => number | null }> {
  const part = new MetricsPart(daemon);
  await part.listenAs(daemon.app());
  return part;
}

class MetricsPart implements DaemonPart {
  readonly name = 'metrics';
  readonly #daemon: DaemonView;
  readonly #metrics = new Metrics();
  #news: ReadRunNews | null = null;
  #looked = false;
  #listen: Listen | null = null;
  #http: OpenHttp | null = null;
  /** Drills whose time was read from their journals. */
  readonly #measured = new Set<string>();

  constructor(daemon: DaemonView) {
    this.#daemon = daemon;
  }

  port(): number | null {
    return this.#http?.port ?? null;
  }

  async ticked(report: TickReport): Promise<void> {
    this.#metrics.ticked(report);
    const status = report.tick?.status;
    if (status === undefined) return;
    this.#looked = true;
    await this.#daemon.use(async (app) => {
      this.#metrics.listed(await this.#listCatalog(app));
      this.#metrics.told(await this.#readNews(app, status));
      await this.#measureDrills(app, status);
    });
  }

  jobEnded(ended: JobEnded): void {
    this.#metrics.jobEnded(ended);
  }

  async reloaded(app: App): Promise<void> {
    await this.listenAs(app);
  }

  async stop(): Promise<void> {
    await this.#http?.close();
    this.#http = null;
    this.#listen = null;
  }

  async listenAs(app: App): Promise<void> {
    const listen = app.settings.daemon?.listen ?? null;
    if (isDeepStrictEqual(listen, this.#listen)) return;
    await this.stop();
    if (listen === null) return;
    this.#http = await openHttp(listen, this.#pages(), (error, path) =>
      this.#daemon.log.error({ path, error: String(error) }, 'a page could not be made'),
    );
    this.#listen = listen;
    this.#daemon.log.info({ host: listen.host, port: this.#http.port }, 'metrics are shown');
  }

  #pages(): Parameters<typeof openHttp>[1] {
    return {
      '/metrics': async () => ({
        status: 200,
        contentType: this.#metrics.contentType,
        body: await this.#metrics.render(this.#daemon.now(), {
          version: this.#daemon.version,
          watchEverySeconds: this.#daemon.app().settings.daemon?.watchEverySeconds ?? null,
          configRefused: this.#daemon.configProblems().length > 0,
          lastTick: this.#daemon.lastTick(),
        }),
      }),
      '/healthz': async () => this.#health(),
      '/readyz': async () => this.#readiness(),
    };
  }

  /** Whether it is worth restarting the daemon: only when its tick hangs. */
  #health(): Page {
    const hangs = this.#daemon.hangs();
    return hangs === null ? plain(200, 'ok\n') : plain(503, `${hangs}\n`);
  }

  /** Whether what /metrics says is worth anything: after the first look at the world. */
  #readiness(): Page {
    const hangs = this.#daemon.hangs();
    if (hangs !== null) return plain(503, `${hangs}\n`);
    if (!this.#looked) return plain(503, 'the world has not been looked at yet\n');
    const refused = this.#daemon.configProblems().map(describeProblem);
    return plain(
      200,
      refused.length === 0 ? 'ok\n' : `ok, with an older configuration:\n${refused.join('\n')}\n`,
    );
  }

  async #readNews(app: App, status: StatusReport): ReturnType<ReadRunNews> {
    // One reader for good: one that begins anew after a reload would take what happened meanwhile for old.
    const read = this.#news ?? app.runs.news();
    this.#news = read;
    const open = status.groups.flatMap(({ currentRun, lastRun }) =>
      [currentRun?.id ?? [], lastRun?.id ?? []].flat(),
    );
    return read(new Set(open));
  }

  async #measureDrills(app: App, { groups }: StatusReport): Promise<void> {
    for (const { group, lastDrill } of groups) {
      if (lastDrill === null || lastDrill.endedAt === null || this.#measured.has(lastDrill.id)) continue;
      this.#measured.add(lastDrill.id);
      try {
        const { recoverySeconds } = runFacts(await app.runs.read(lastDrill.id), lastDrill.endedAt);
        if (recoverySeconds !== null) this.#metrics.recovered(group, 'drill', recoverySeconds);
      } catch (error) {
        // A damaged journal is told where somebody asks for the run; other groups have their figures all the same.
        this.#daemon.log.warn(
          { group, drill: lastDrill.id, error: String(error) },
          'a drill cannot be measured',
        );
      }
    }
  }

  async #listCatalog(app: App): Promise<CatalogListing | null> {
    try {
      return await app.catalog.list(null);
    } catch (error) {
      // The look tells of it as a gap; the metrics of the catalog go, and their absence is an alarm.
      this.#daemon.log.warn({ error: String(error) }, 'the catalog cannot be listed');
      return null;
    }
  }
}
