/** Are these the two pools that are meant, were they looked at just now, and do their clocks agree? */
import type { Finding } from '../../domain/finding.ts';
import type { PoolFacts } from '../../domain/pool.ts';
import type { RecoveryPoint } from '../../domain/recovery-point.ts';
import { formatDuration, secondsBetween } from '../../domain/time.ts';
import { type CheckContext, problem, warning } from '../context.ts';

/** Longer than any observation takes, shorter than what a person would call now. */
const freshForSeconds = 900;
/** Replication and journals are compared by clocks; beyond this, ages and losses are told wrong. */
const offsetWorthAWordSeconds = 10;

/** Two addresses that lead to one pool look like two healthy sites, until it burns. */
export function sitesAreTwoPools({ group, production, recovery }: CheckContext): Finding[] {
  if (production === null || recovery === null || production.uuid !== recovery.uuid) return [];
  return [
    problem({
      code: 'DR-SITES-SAME-POOL',
      about: 'pool',
      name: recovery.nameLabel,
      uuid: recovery.uuid,
      what: `Sites ${group.production} and ${group.recovery} are one and the same pool`,
      evidence: [`both answer as pool ${recovery.nameLabel} (${recovery.uuid})`],
      next: 'Correct the addresses of the hosts in sites.yaml.',
    }),
  ];
}

export function pointIsOfThisPool({ group, point, production, recovery }: CheckContext): Finding[] {
  if (point === null) return [];
  if (point.site !== group.production) return [ofTheOtherWay(group, point)];
  if (recovery !== null && recovery.uuid === point.poolUuid && recovery.uuid !== production?.uuid)
    return [
      problem({
        code: 'DR-SITES-SAME-POOL',
        about: 'pool',
        name: recovery.nameLabel,
        uuid: recovery.uuid,
        what: `The pool of site ${group.recovery} is the one that recovery point ${point.id} was taken of`,
        evidence: [`pool ${point.poolName} (${point.poolUuid})`],
        next: 'Correct the addresses of the hosts in sites.yaml.',
      }),
    ];
  // A point that was made from files of other tools may know no pool.
  if (production === null || point.poolUuid === '' || production.uuid === point.poolUuid) return [];
  return [
    warning({
      code: 'DR-POOL-CHANGED',
      about: 'pool',
      name: production.nameLabel,
      uuid: production.uuid,
      what: `Recovery point ${point.id} was taken of another pool than the one that site ${group.production} is now`,
      evidence: [
        `then ${point.poolName} (${point.poolUuid})`,
        `now ${production.nameLabel} (${production.uuid})`,
      ],
      next: `If the pool was set up anew, run: lifeboat export ${group.name} --everything`,
    }),
  ];
}

/** It names networks and hosts of the site that the VMs are to be brought to, and no disk that was made since. */
function ofTheOtherWay(group: CheckContext['group'], point: RecoveryPoint): Finding {
  return problem({
    code: 'DR-POINT-OTHER-SITE',
    about: 'catalog',
    name: point.id,
    what: `Recovery point ${point.id} was taken at site ${point.site}, and group ${group.name} is protected from site ${group.production}`,
    evidence: [`taken at ${point.takenAt}, before the sites changed places`],
    next: `Save one from site ${group.production} while it lives: lifeboat export ${group.name}. If it is lost, and this is all there is: --override "DR-POINT-OTHER-SITE=REASON".`,
  });
}

/** What was seen a while ago says nothing about now (invariant 7). */
export function factsAreFresh(context: CheckContext): Finding[] {
  const { observation } = context;
  const looks = [
    ...bothPools(context).map(({ site, pool }) => ({
      about: 'pool' as const,
      name: pool.nameLabel,
      what: `The pool of site ${site}`,
      at: pool.observedAt,
    })),
    ...observation.pairs.flatMap((pair) =>
      [pair.source, pair.target].flatMap((view) =>
        view === null
          ? []
          : [
              {
                about: 'array' as const,
                name: `${view.pair.array} ${view.pair.volume}`,
                what: `Volume ${view.pair.volume} of array ${view.pair.array}`,
                at: view.observedAt,
              },
            ],
      ),
    ),
  ];
  return looks.flatMap(({ about, name, what, at }) => {
    const ageSeconds = secondsBetween(at, observation.takenAt);
    if (ageSeconds <= freshForSeconds) return [];
    return [
      problem({
        code: 'DR-FACT-OLD',
        about,
        name,
        what: `${what} was looked at ${formatDuration(ageSeconds)} ago: what was true then may not be true now`,
        evidence: [`seen at ${at}, planned at ${observation.takenAt}`],
        next: 'Run the command again.',
      }),
    ];
  });
}

/** TLS 1.0 can be broken by who sits in between: the password of the pool is worth no more than the network there. */
export function tlsIsOfThisAge(context: CheckContext): Finding[] {
  return bothPools(context).flatMap(({ site, pool }) =>
    pool.oldTls === true
      ? [
          warning({
            code: 'DR-POOL-OLD-TLS',
            about: 'pool',
            name: pool.nameLabel,
            uuid: pool.uuid,
            what: `TLS 1.0 is accepted of pool ${pool.nameLabel} at site ${site}: who sits in between may read its password`,
            evidence: ['old_tls: true in sites.yaml', `${pool.productBrand} ${pool.productVersion}`],
            next: 'Keep the way to its hosts on a network of their own, and remove old_tls once the pool is updated.',
          }),
        ]
      : [],
  );
}

/** Ages are differences between clocks of two sites: one that is wrong makes a loss look smaller than it is. */
export function clocksAgree(context: CheckContext): Finding[] {
  return bothPools(context).flatMap(({ site, pool }) => {
    const offsetSeconds = pool.clockOffsetSeconds ?? secondsBetween(pool.observedAt, pool.serverTime);
    if (Math.abs(offsetSeconds) <= offsetWorthAWordSeconds) return [];
    return [
      warning({
        code: 'DR-CLOCK-OFFSET',
        about: 'pool',
        name: pool.nameLabel,
        uuid: pool.uuid,
        what: `The clock of pool ${pool.nameLabel} at site ${site} is ${formatDuration(Math.abs(offsetSeconds))} ${offsetSeconds > 0 ? 'ahead' : 'behind'}`,
        evidence: [`it showed ${pool.serverTime}`],
        next: 'Set the clocks of both sites by NTP; until then ages and losses are told wrong by as much.',
      }),
    ];
  });
}

function bothPools({ group, production, recovery }: CheckContext): { site: string; pool: PoolFacts }[] {
  return [
    { site: group.production, pool: production },
    { site: group.recovery, pool: recovery },
  ].flatMap(({ site, pool }) => (pool === null ? [] : [{ site, pool }]));
}
