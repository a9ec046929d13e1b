/** Names of steps: short, stable, readable in a journal. */

/** `Web 03 (prod)` → `web-03-prod`. Two objects with the same slug get a number behind it. */
export class StepIds {
  readonly #taken = new Map<string, number>();

  of(verb: string, name: string): string {
    const slug = `${verb}-${name}`
      .toLowerCase()
      .normalize('NFKD')
      .replace(/[^a-z0-9]+/g, '-')
      .replace(/^-|-$/g, '')
      .slice(0, 60);
    const count = (this.#taken.get(slug) ?? 0) + 1;
    this.#taken.set(slug, count);
    return count === 1 ? slug : `${slug}-${count}`;
  }
}
