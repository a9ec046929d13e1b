/** One look at everything an operation needs to know, taken in parallel, with gaps instead of exceptions. */
import type { CatalogView, Gap, Observation, PairObservation, SiteView } from '../domain/observation.ts';
import type { RecoveryPoint } from '../domain/recovery-point.ts';
import type { PairView, ReplicaPoint } from '../domain/replication.ts';
import type { ReplicatedSr } from '../domain/settings.ts';
import type { Catalog } from '../ports/catalog.ts';
import type { Hypervisor } from '../ports/hypervisor.ts';
import type { Replication } from '../ports/replication.ts';
import type { Clock, Entropy } from '../ports/system.ts';
import { observeArrays, observeSources } from './arrays.ts';
import { gapOf } from './gap.ts';

export { gapOf } from './gap.ts';

export interface ObservePorts {
  hypervisor(site: string): Promise<Hypervisor>;
  array(name: string): Promise<Replication>;
  catalog(): Promise<Catalog>;
  readonly clock: Clock;
  readonly entropy: Entropy;
}

export interface ObserveRequest {
  readonly sites: readonly string[];
  readonly pairs: readonly ReplicatedSr[];
  /** Groups whose recovery points are read, newest first. */
  readonly groups: readonly string[];
  /** How many points of each group are read in full. */
  readonly pointsPerGroup: number;
  /** A point that is read besides, by id; null for none. */
  readonly pointId: string | null;
  /** The arrays of the sources are asked as well what they can do: a move needs them. */
  readonly handOver?: boolean;
}

/** A point that cannot be promoted from is still worth a look; beyond this many, older ones decide nothing. */
export const defaultPointsPerGroup = 8;

export async function observe(
  ports: ObservePorts,
  request: ObserveRequest,
  signal?: AbortSignal,
): Promise<Observation> {
  const gaps: Gap[] = [];
  const targets = request.pairs.map((pair) => pair.target.array);
  const from = request.handOver === true ? request.pairs.map((pair) => pair.source.array) : [];
  const [sites, pairs, arrays, sources, catalog] = await Promise.all([
    Promise.all(request.sites.map((site) => observeSite(ports, site, gaps, signal))),
    Promise.all(request.pairs.map((pair) => observePair(ports, pair, gaps, signal))),
    observeArrays((name) => ports.array(name), targets, signal),
    observeSources((name) => ports.array(name), from, signal),
    observeCatalog(ports, request, gaps, signal),
  ]);
  signal?.throwIfAborted();
  return {
    id: `obs-${ports.entropy.hex(6)}`,
    takenAt: ports.clock.now(),
    sites: Object.fromEntries(sites.map((view) => [view.site, view])),
    pairs,
    arrays,
    ...(request.handOver === true ? { sources } : {}),
    catalog,
    gaps: gaps.sort((a, b) => (a.source < b.source ? -1 : a.source > b.source ? 1 : 0)),
  };
}

async function observeSite(
  ports: ObservePorts,
  site: string,
  gaps: Gap[],
  signal: AbortSignal | undefined,
): Promise<SiteView> {
  let hypervisor: Hypervisor | undefined;
  try {
    hypervisor = await ports.hypervisor(site);
    const pool = await hypervisor.observe(signal);
    return { reachable: true, site, pool, endpoints: [] };
  } catch (error) {
    const problem = gapOf(error, `Cannot look at the pool of site ${site}`);
    gaps.push({ source: `site ${site}`, problem });
    // Whether a site is dead or merely refuses us is decided by what its addresses answer.
    const endpoints = hypervisor === undefined ? [] : await hypervisor.contact(signal);
    return { reachable: false, site, observedAt: ports.clock.now(), problem, endpoints };
  }
}

async function observePair(
  ports: ObservePorts,
  pair: ReplicatedSr,
  gaps: Gap[],
  signal: AbortSignal | undefined,
): Promise<PairObservation> {
  const look = async (side: { array: string; volume: string }): Promise<PairView | null> => {
    try {
      return await (await ports.array(side.array)).observe(side.volume, signal);
    } catch (error) {
      gaps.push({
        source: `array ${side.array}, volume ${side.volume}`,
        problem: gapOf(error, `Cannot look at volume ${side.volume} of array ${side.array}`),
      });
      return null;
    }
  };
  const points = async (): Promise<readonly ReplicaPoint[] | null> => {
    try {
      return await (await ports.array(pair.target.array)).points(pair.target.volume, signal);
    } catch (error) {
      gaps.push({
        source: `array ${pair.target.array}, points of ${pair.target.volume}`,
        problem: gapOf(
          error,
          `Cannot list the points of volume ${pair.target.volume} on array ${pair.target.array}`,
        ),
      });
      return null;
    }
  };
  const [source, target, held] = await Promise.all([look(pair.source), look(pair.target), points()]);
  return { sr: pair.sr, source, target, points: held };
}

async function observeCatalog(
  ports: ObservePorts,
  request: ObserveRequest,
  gaps: Gap[],
  signal: AbortSignal | undefined,
): Promise<CatalogView> {
  const points: RecoveryPoint[] = [];
  const damaged: { id: string; target: string; reason: string }[] = [];
  try {
    const catalog = await ports.catalog();
    const wanted = new Set(request.pointId === null ? [] : [request.pointId]);
    for (const group of request.groups) {
      const listing = await catalog.list(group, signal);
      damaged.push(...listing.damaged);
      for (const target of listing.targets) {
        if (target.problem !== null)
          gaps.push({ source: `catalog target ${target.target}`, problem: target.problem });
      }
      const good = listing.points.filter((point) => point.good);
      // Without one: a point that lacks single VMs still brings up all the others, and says whom it lacks.
      const usable = good.length > 0 ? good : listing.points.filter((point) => point.failureCount > 0);
      for (const point of usable.slice(0, request.pointsPerGroup)) wanted.add(point.id);
    }
    for (const id of wanted) {
      try {
        points.push(await catalog.read(id, signal));
      } catch (error) {
        const problem = gapOf(error, `Cannot read recovery point ${id}`);
        if (id === request.pointId) gaps.push({ source: `recovery point ${id}`, problem });
        else damaged.push({ id, target: 'all', reason: problem.what });
      }
    }
  } catch (error) {
    gaps.push({ source: 'catalog', problem: gapOf(error, 'Cannot open the catalog') });
  }
  points.sort((a, b) => (a.takenAt < b.takenAt ? 1 : a.takenAt > b.takenAt ? -1 : 0));
  return { observedAt: ports.clock.now(), points, damaged };
}
