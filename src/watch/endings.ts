/** What ends by itself: certificates, licences, passwords. Told in time, while there is still somebody to ask. */
import type { PoolFacts } from '../domain/pool.ts';
import { addSeconds, formatDuration, type Instant, secondsBetween } from '../domain/time.ts';
import { type Found, none, notKnown, together, type WatchFacts, wrong } from './facts.ts';
import { strangers } from './papers.ts';
import { groupsAtSite } from './places.ts';

export function nearEndings(facts: WatchFacts): Found {
  return together([
    ...Object.values(facts.observation.sites).flatMap((view) => {
      const keys = [`certificate:${view.site}`, `licence:${view.site}`, `pins:${view.site}`];
      if (!view.reachable) return [notKnown(...keys)];
      return [
        certificates(facts, view.site, view.pool),
        licences(facts, view.site, view.pool),
        pins(facts, view.site, view.pool),
      ];
    }),
    passwords(facts),
  ]);
}

interface Ending {
  readonly name: string;
  readonly at: Instant;
}

function near({ now, limits }: WatchFacts, endings: readonly Ending[]): Ending[] {
  const until = addSeconds(now, limits.expiryWithinSeconds);
  return endings.filter(({ at }) => at !== '' && at <= until).sort((a, b) => (a.at < b.at ? -1 : 1));
}

const inWords = ({ name, at }: Ending, now: Instant): string =>
  at <= now
    ? `${name}: ended at ${at}`
    : `${name}: until ${at}, in ${formatDuration(secondsBetween(now, at))}`;

/** One alarm per site and kind, whatever number of hosts. */
function ending(
  facts: WatchFacts,
  key: string,
  endings: readonly Ending[],
  words: { readonly what: string; readonly groups: readonly string[]; readonly next: string },
): Found {
  const soon = near(facts, endings);
  const [first] = soon;
  if (first === undefined) return none;
  const over = first.at <= facts.now;
  return wrong('expiry', key, {
    severity: over ? 'critical' : 'warning',
    groups: words.groups,
    what: `${words.what} ${over ? 'has ended' : `ends in ${formatDuration(secondsBetween(facts.now, first.at))}`}`,
    evidence: soon.map((each) => inWords(each, facts.now)),
    next: words.next,
  });
}

const hostName = (pool: PoolFacts, uuid: string): string =>
  pool.hosts.find((host) => host.uuid === uuid)?.nameLabel ?? uuid;

function certificates(facts: WatchFacts, site: string, pool: PoolFacts): Found {
  const endings = (pool.certificates ?? []).map(({ hostUuid, type, notAfter }) => ({
    name: `${hostName(pool, hostUuid)}, ${type}`,
    at: notAfter,
  }));
  return ending(facts, `certificate:${site}`, endings, {
    what: `A certificate of a host of site ${site}`,
    groups: groupsAtSite(facts.groups, site),
    next: 'Renew it, and write the new fingerprint into sites.yaml at once: Lifeboat trusts no other.',
  });
}

function licences(facts: WatchFacts, site: string, pool: PoolFacts): Found {
  const endings = pool.hosts.flatMap(({ nameLabel, licence }) =>
    licence === undefined || licence.expiresAt === null
      ? []
      : [{ name: `${nameLabel}, ${licence.edition}`, at: licence.expiresAt }],
  );
  return ending(facts, `licence:${site}`, endings, {
    what: `The licence of a host of site ${site}`,
    groups: groupsAtSite(facts.groups, site),
    next: 'Renew it: a host without a licence may refuse to start VMs.',
  });
}

/** What nobody but the person who wrote it into the settings knows of. */
function passwords(facts: WatchFacts): Found {
  return together(
    facts.limits.expiries.map(({ name, at }) =>
      ending(facts, `expiry:${name}`, [{ name, at }], {
        what: name,
        groups: [],
        next: 'Renew it, tell Lifeboat (lifeboat secret set NAME), and write the new date into sites.yaml under alarms.expiries.',
      }),
    ),
  );
}

function pins(facts: WatchFacts, site: string, pool: PoolFacts): Found {
  const unknown = strangers(pool, facts.pins.get(site) ?? []);
  if (unknown.length === 0) return none;
  const names = unknown.map(({ hostUuid }) => hostName(pool, hostUuid)).sort();
  return wrong('credential', `pins:${site}`, {
    severity: 'warning',
    groups: groupsAtSite(facts.groups, site),
    what: `Lifeboat would be refused by ${names.join(', ')} of site ${site}: sites.yaml does not know the certificate`,
    evidence: unknown.map(({ hostUuid, sha256 }) => `${hostName(pool, hostUuid)}: SHA-256 ${sha256}`).sort(),
    next: 'Compare with the host itself, and write the fingerprint into sites.yaml.',
  });
}
