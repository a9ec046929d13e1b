/** Sites, arrays and the catalog: whether they can be reached, and let us in. */

import type { ErrorCode, Problem } from '../domain/errors.ts';
import type { Gap } from '../domain/observation.ts';
import { type Found, none, notKnown, together, type WatchedGroup, type WatchFacts, wrong } from './facts.ts';

export function lostPlaces(facts: WatchFacts): Found {
  return together([sites(facts), arrays(facts), catalog(facts), returned(facts)]);
}

/** The other side is alive and does not let us in, or is not the one that we know. */
const refused = new Set<ErrorCode>([
  'DR-POOL-PASSWORD',
  'DR-POOL-ROLE',
  'DR-POOL-SESSION',
  'DR-POOL-CERTIFICATE',
  'DR-POOL-IDENTITY',
  'DR-ARRAY-PASSWORD',
  'DR-ARRAY-RIGHT',
  'DR-ARRAY-LOCKED-OUT',
  'DR-ARRAY-CERTIFICATE',
  'DR-SSH-LOGIN',
  'DR-SSH-KEY',
  'DR-SSH-HOSTKEY',
  'DR-SECRET-MISSING',
  'DR-SECRET-EMPTY',
  'DR-SECRET-FILE',
  'DR-SECRET-KEY',
  'DR-SECRET-LOCKED',
  'DR-SECRET-STORE',
]);

export const isRefusal = ({ code }: Pick<Problem, 'code'>): boolean => refused.has(code);

export const groupsAtSite = (groups: readonly WatchedGroup[], site: string): string[] =>
  groups
    .filter(({ group }) => group.production === site || group.recovery === site)
    .map(({ group }) => group.name);

export const groupsOnArray = (groups: readonly WatchedGroup[], array: string): string[] =>
  groups
    .filter(({ group }) =>
      group.storage.some(({ source, target }) => source.array === array || target.array === array),
    )
    .map(({ group }) => group.name);

const said = ({ what, known }: Problem): string[] => [what, ...(known ?? [])];

/** One alarm for one dead site, whatever number of groups. */
function sites({ observation, groups }: WatchFacts): Found {
  return together(
    Object.values(observation.sites).map((view) => {
      if (view.reachable) return none;
      const { site, problem, endpoints } = view;
      const concerned = groupsAtSite(groups, site);
      const known = said(problem);
      const evidence = [
        ...known,
        ...endpoints
          .filter(({ url }) => !known.some((line) => line.includes(url)))
          .map(({ url, detail }) => `${url}: ${detail}`),
      ];
      if (isRefusal(problem))
        return wrong('credential', `site:${site}`, {
          severity: 'critical',
          groups: concerned,
          what: `Site ${site} does not let Lifeboat in`,
          evidence,
          next: problem.next,
        });
      return wrong('site-lost', `site:${site}`, {
        severity: 'critical',
        groups: concerned,
        what: `Site ${site} does not answer`,
        evidence,
        next: nextWithout(site, groups),
      });
    }),
  );
}

function nextWithout(site: string, groups: readonly WatchedGroup[]): string {
  const ask = 'Ask the people there; a network that is down between the sites looks the same.';
  const from = groups.filter(({ group }) => group.production === site).map(({ group }) => group.name);
  const to = groups.filter(({ group }) => group.recovery === site).map(({ group }) => group.name);
  return [
    ask,
    ...(from.length === 0
      ? []
      : [`What would be lost: lifeboat plan failover ${from.length === 1 ? from[0] : 'GROUP'}`]),
    ...(to.length === 0 ? [] : [`Until it is back nothing can fail over there: ${to.join(', ')}`]),
  ].join(' ');
}

/** An array that none of its volumes could be asked of; a volume that alone could not be asked is told by itself. */
function arrays({ observation, groups, arrays: known }: WatchFacts): Found {
  return together(
    [...known.keys()].map((array) => {
      const gaps = observation.gaps.filter(({ source }) => source.startsWith(`array ${array},`));
      const [first] = gaps;
      if (first === undefined) return none;
      const volumes = volumesOf(groups, array);
      const lost = new Set(gaps.map(({ source }) => volumeIn(source)));
      const whole = volumes.every((volume) => lost.has(volume));
      const letIn = !isRefusal(first.problem);
      const names = [...lost].sort().join(', ');
      return wrong(letIn ? 'array-lost' : 'credential', `array:${array}`, {
        severity: 'critical',
        groups: whole ? groupsOnArray(groups, array) : groupsOfVolumes(groups, array, lost),
        what: whole
          ? `Array ${array} ${letIn ? 'does not answer' : 'does not let Lifeboat in'}`
          : `Array ${array} does not tell of volume ${names}`,
        evidence: [...new Set(gaps.flatMap(({ problem }) => said(problem)))],
        next: first.problem.next,
      });
    }),
  );
}

/** As `observe` writes the source of a gap. */
const volumeIn = (source: string): string => source.replace(/^array [^,]*, (?:volume|points of) /, '');

function volumesOf(groups: readonly WatchedGroup[], array: string): string[] {
  const sides = groups.flatMap(({ group }) =>
    group.storage.flatMap(({ source, target }) => [source, target]),
  );
  return [...new Set(sides.filter((side) => side.array === array).map(({ volume }) => volume))];
}

const groupsOfVolumes = (
  groups: readonly WatchedGroup[],
  array: string,
  volumes: ReadonlySet<string>,
): string[] =>
  groups
    .filter(({ group }) =>
      group.storage.some(({ source, target }) =>
        [source, target].some((side) => side.array === array && volumes.has(side.volume)),
      ),
    )
    .map(({ group }) => group.name);

const targetPrefix = 'catalog target ';

function catalog({ observation, groups }: WatchFacts): Found {
  const all = groups.map(({ group }) => group.name);
  const closed = observation.gaps.find(({ source }) => source === 'catalog');
  const byTarget = new Map<string, Gap>();
  for (const gap of observation.gaps)
    if (gap.source.startsWith(targetPrefix)) byTarget.set(gap.source.slice(targetPrefix.length), gap);
  const damaged = Map.groupBy(observation.catalog.damaged, ({ target }) => target);
  return together([
    ...(closed === undefined
      ? []
      : [
          wrong('catalog', 'catalog', {
            severity: 'critical',
            groups: all,
            what: 'The catalog cannot be read: no recovery point can be made or used',
            evidence: said(closed.problem),
            next: closed.problem.next,
          }),
        ]),
    ...[...byTarget].map(([target, { problem }]) =>
      // Nothing was ever saved: the first export makes the directory.
      problem.code === 'DR-CATALOG-MISSING' && groups.every(({ status }) => status.phase === 'unprotected')
        ? notKnown(`catalog-target:${target}`)
        : wrong('catalog', `catalog-target:${target}`, {
            severity: 'warning',
            groups: all,
            what: `Catalog target ${target} is lost: its copies of the recovery points do not count`,
            evidence: said(problem),
            next: problem.next,
          }),
    ),
    ...[...damaged].map(([target, points]) =>
      wrong('catalog', `catalog-damage:${target}`, {
        severity: 'warning',
        groups: [...new Set(points.map(({ id }) => id.split('/')[0] ?? ''))]
          .filter((name) => all.includes(name))
          .sort(),
        what: `Recovery points in catalog target ${target} are damaged`,
        evidence: points.map(({ id, reason }) => `${id}: ${reason}`).sort(),
        next: 'Run: lifeboat catalog verify',
      }),
    ),
  ]);
}

const returnedCodes = new Set<ErrorCode>(['DR-SITE-RETURNED', 'DR-VMS-AT-BOTH-SITES']);

/** A site that was given up answers, and its copies are not all put away. Dark again, it is as dangerous as before. */
function returned({ groups, observation }: WatchFacts): Found {
  return together(
    groups.map(({ group, state, status }) => {
      const key = `returned:${group.name}`;
      if (status.phase !== 'failed-over') return none;
      const findings = status.findings.filter(({ code }) => returnedCodes.has(code));
      const [worst] = findings;
      if (worst === undefined)
        return observation.sites[group.production]?.reachable === false
          ? { conditions: [], unknown: [key] }
          : none;
      return wrong('site-returned', key, {
        severity: 'critical',
        groups: [group.name],
        what: `Site ${group.production}, which was given up, is back: ${worst.what}`,
        evidence: [
          ...findings.flatMap(({ evidence }) => evidence),
          ...(state?.tombstone == null ? [] : [`given up at ${state.tombstone.at}`]),
        ],
        next: worst.next,
      });
    }),
  );
}
