/**
 * What the imports of one run have seen. A look at a whole pool costs as much as the import of some VMs (performance.md
 * 3), so each batch takes one, after its import: it judges that batch, and names faults of the next one beforehand.
 */
import type { PoolFacts } from '../../domain/pool.ts';
import type { RecoveryPoint } from '../../domain/recovery-point.ts';
import type { Catalog } from '../../ports/catalog.ts';
import type { Hypervisor } from '../../ports/hypervisor.ts';
import type { Clock } from '../../ports/system.ts';
import type { StepContext } from '../handlers.ts';

/** How old a look may be when it only serves to say in advance what an import would refuse. */
const recentSeconds = 60;
/** How old a look may be when an act is judged by it. */
const judgedSeconds = 10;

interface Look {
  readonly pool: PoolFacts;
  readonly atSeconds: number;
}

export class ImportLooks {
  readonly #clock: Clock;
  readonly #recent = new Map<string, Look>();
  #judging: (Look & { readonly attempt: string }) | null = null;
  #point: RecoveryPoint | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A point never changes once it is sealed, so it is read once. */
  async point(catalog: Catalog, id: string, signal: AbortSignal): Promise<RecoveryPoint> {
    if (this.#point?.id !== id) this.#point = await catalog.read(id, signal);
    return this.#point;
  }

  async fresh(hypervisor: Hypervisor, signal: AbortSignal): Promise<PoolFacts> {
    const atSeconds = this.#clock.monotonicSeconds();
    const pool = await hypervisor.observe(signal);
    this.#recent.set(hypervisor.site, { pool, atSeconds });
    return pool;
  }

  /** The last look at this site if it is at most a minute old. */
  recent(site: string): PoolFacts | null {
    return this.#young(this.#recent.get(site) ?? null, recentSeconds);
  }

  /** Keeps what an attempt saw after its import had been answered, for the verdict about this attempt. */
  judge(context: StepContext, pool: PoolFacts): void {
    this.#judging = { attempt: attemptOf(context), pool, atSeconds: this.#clock.monotonicSeconds() };
  }

  /** That look, once: whoever asks again wants to know how it is by now. */
  judged(context: StepContext): PoolFacts | null {
    const look = this.#judging;
    this.#judging = null;
    return look?.attempt === attemptOf(context) ? this.#young(look, judgedSeconds) : null;
  }

  #young(look: Look | null, seconds: number): PoolFacts | null {
    return look !== null && this.#clock.monotonicSeconds() - look.atSeconds <= seconds ? look.pool : null;
  }
}

function attemptOf({ run, step, attempt }: StepContext): string {
  return `${run} ${step.id} ${attempt}`;
}
