/**
 * How many steps may occupy a limited thing at once. The name before the colon of `uses` says what kind of thing it
 * is; the figures come from performance.md 8 (a pool is one core: more than four at once never pay).
 */
export type LimitOf = (resource: string) => number;

export const defaultLimits: Readonly<Record<string, number>> = {
  array: 1,
  import: 1,
  sr: 1,
  start: 4,
  pool: 4,
  host: 4,
  catalog: 1,
  /** Waiting costs nothing: all VMs of a site are watched with one bulk call per round. */
  ready: 10_000,
};

export function limitsFrom(limits: Readonly<Record<string, number>> = defaultLimits): LimitOf {
  return (resource) => {
    const kind = resource.split(':', 1)[0] ?? resource;
    return limits[resource] ?? limits[kind] ?? 1;
  };
}

/** What is occupied now; the executor asks before it begins a step and gives back when the step is over. */
export class Occupancy {
  readonly #limitOf: LimitOf;
  readonly #used = new Map<string, number>();

  constructor(limitOf: LimitOf) {
    this.#limitOf = limitOf;
  }

  fits(uses: readonly string[]): boolean {
    return uses.every((resource) => (this.#used.get(resource) ?? 0) < this.#limitOf(resource));
  }

  take(uses: readonly string[]): void {
    for (const resource of uses) this.#used.set(resource, (this.#used.get(resource) ?? 0) + 1);
  }

  giveBack(uses: readonly string[]): void {
    for (const resource of uses) this.#used.set(resource, (this.#used.get(resource) ?? 0) - 1);
  }
}
