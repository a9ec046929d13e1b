/**
 * How many steps may occupy a limited thing at once. The name before the colon of `uses` says what kind of thing it
 * is; the figures come from performance.md 8 (a pool is one core: more than four at once never pay). The executor obeys
 * them and the forecast counts with them.
 */
export const defaultLimits: Readonly<Record<string, number>> = {
  array: 1,
  catalog: 1,
  export: 1,
  host: 4,
  import: 1,
  pool: 4,
  sr: 1,
  start: 4,
  /** Guests shut down beside each other: one by one a hundred of them would take hours. */
  stop: 32,
  /** Waiting costs nothing: all VMs of a site are watched with one bulk call per round. */
  ready: 10_000,
};

/** As many starts at once as the hosts work on (performance.md 6: four each), up to what the pool's one core can feed. */
const startsPerHost = 4;
const startsMax = 20;

/** What a plan for a pool of so many hosts has beside the usual limits; absent where it has nothing to say. */
export function limitsFor(
  site: string,
  hosts: number,
): { readonly limits?: Readonly<Record<string, number>> } {
  const starts = Math.min(startsMax, startsPerHost * Math.max(1, hosts));
  return starts === defaultLimits['start'] ? {} : { limits: { [`start:${site}`]: starts } };
}

/** The limit of a resource such as `import:tokyo`: its own, else that of its kind, else one. */
export function limitOf(resource: string, limits: Readonly<Record<string, number>> = defaultLimits): number {
  return limits[resource] ?? limits[resource.split(':', 1)[0] ?? resource] ?? 1;
}

/** `limitOf` of one plan. */
export function limitsOf(plan: {
  readonly limits?: Readonly<Record<string, number>>;
}): (resource: string) => number {
  const limits = { ...defaultLimits, ...plan.limits };
  return (resource) => limitOf(resource, limits);
}

/** How documents are fetched: one request per VM, or one for the whole pool, taken apart here. */
export type ExportStrategy = 'singles' | 'all';

/** More than this part of a pool's VMs is fetched in one request (performance.md 2 and 8). */
export const allAtOnceShare = 1 / 8;

/** `all` when one large request is cheaper than the single ones (performance.md 2: about an eighth of the pool). */
export function exportStrategy(vms: number, vmsInPool: number): ExportStrategy {
  return vms > 8 && vms > vmsInPool * allAtOnceShare ? 'all' : 'singles';
}
