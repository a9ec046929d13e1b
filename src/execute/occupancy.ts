/** What is occupied now; the executor asks before it begins a step and gives back when the step is over. */
export class Occupancy {
  readonly #limitOf: (resource: string) => number;
  readonly #used = new Map<string, number>();

  /** `limitOf`: how many steps may use a resource at once (src/domain/limits.ts). */
  constructor(limitOf: (resource: string) => number) {
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
