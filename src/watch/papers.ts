/** What ends by itself or is replaced in silence: licences and certificates of both sites (xapi.md 1.7). */
import type { Difference } from '../domain/drift.ts';
import type { CertificateFacts, HostFacts, PoolFacts } from '../domain/pool.ts';
import type { Instant } from '../domain/time.ts';
import { difference, type SitePair } from './pairs.ts';

export function paperDifferences(pair: SitePair, now: Instant): Difference[] {
  return [
    ...editions(pair),
    ...[
      { site: pair.production, pool: pair.home },
      { site: pair.recovery, pool: pair.away },
    ].flatMap((side) => [
      ...endedLicences(pair, side, now),
      ...endedCertificates(pair, side, now),
      ...unpinned(pair, side),
    ]),
  ];
}

interface Side {
  readonly site: string;
  readonly pool: PoolFacts;
}

function editions(pair: SitePair): Difference[] {
  const of = ({ hosts }: PoolFacts): string =>
    [...new Set(hosts.flatMap(({ licence }) => licence?.edition ?? []))].sort().join(', ');
  const [ours, theirs] = [of(pair.home), of(pair.away)];
  if (ours === theirs || ours === '' || theirs === '') return [];
  return [
    difference(pair, {
      aspect: 'licence',
      identity: ['edition', ours, theirs],
      object: pair.away.nameLabel,
      what: `The hosts of site ${pair.recovery} are licensed as ${theirs}, those of site ${pair.production} as ${ours}`,
      breaks: false,
      next: 'Make sure that nothing that the VMs need is missing in that edition.',
    }),
  ];
}

const nameOf = (pool: PoolFacts, uuid: string): string =>
  pool.hosts.find((host) => host.uuid === uuid)?.nameLabel ?? uuid;

const ended = ({ licence }: HostFacts, now: Instant): boolean =>
  licence !== undefined && licence.expiresAt !== null && licence.expiresAt <= now;

/** A host without a valid licence may refuse to start VMs (xapi.md 6.1). */
function endedLicences(pair: SitePair, { site, pool }: Side, now: Instant): Difference[] {
  const hosts = pool.hosts.filter((host) => ended(host, now));
  if (hosts.length === 0) return [];
  const names = hosts.map(({ nameLabel }) => nameLabel).sort();
  return [
    difference(pair, {
      aspect: 'licence',
      identity: ['ended', site, ...names],
      object: names.join(', '),
      what: `The licence of ${names.join(', ')} at site ${site} has ended`,
      evidence: hosts
        .map(({ nameLabel, licence }) => `${nameLabel}: ${licence?.edition}, until ${licence?.expiresAt}`)
        .sort(),
      breaks: site === pair.recovery && hosts.length === pool.hosts.length,
      next: `Renew it: a host without a licence may refuse to start VMs.`,
    }),
  ];
}

function endedCertificates(pair: SitePair, { site, pool }: Side, now: Instant): Difference[] {
  const over = (pool.certificates ?? []).filter(({ notAfter }) => notAfter !== '' && notAfter <= now);
  if (over.length === 0) return [];
  const names = [...new Set(over.map(({ hostUuid }) => nameOf(pool, hostUuid)))].sort();
  return [
    difference(pair, {
      aspect: 'certificate',
      identity: [
        'ended',
        site,
        ...over.map(({ sha256, hostUuid, type }) => `${hostUuid} ${type} ${sha256}`).sort(),
      ],
      object: names.join(', '),
      what: `The certificate of ${names.join(', ')} at site ${site} has ended`,
      evidence: over
        .map(({ hostUuid, type, notAfter }) => `${nameOf(pool, hostUuid)}, ${type}: until ${notAfter}`)
        .sort(),
      breaks: false,
      next: 'Renew it, and write the new fingerprint into sites.yaml at once.',
    }),
  ];
}

/** Certificates that hosts show to clients and that the settings do not know. Without pins, a CA is trusted instead. */
export function strangers(pool: PoolFacts, pins: readonly string[]): CertificateFacts[] {
  if (pins.length === 0) return [];
  return (pool.certificates ?? []).filter(
    ({ type, sha256 }) => type === 'host' && sha256 !== '' && !pins.includes(sha256),
  );
}

/** Lifeboat speaks with the coordinator alone: that another host shows a new certificate is noticed when it takes over. */
function unpinned(pair: SitePair, { site, pool }: Side): Difference[] {
  const unknown = strangers(pool, pair.pins.get(site) ?? []);
  if (unknown.length === 0) return [];
  const names = unknown.map(({ hostUuid }) => nameOf(pool, hostUuid)).sort();
  return [
    difference(pair, {
      aspect: 'certificate',
      identity: ['pins', site, ...unknown.map(({ sha256 }) => sha256).sort()],
      object: names.join(', '),
      what: `${names.join(', ')} of site ${site} ${names.length === 1 ? 'shows a certificate' : 'show certificates'} that sites.yaml does not know`,
      evidence: unknown.map(({ hostUuid, sha256 }) => `${nameOf(pool, hostUuid)}: SHA-256 ${sha256}`).sort(),
      breaks: false,
      next: 'Compare with the host itself, and write the fingerprint into sites.yaml: as coordinator of its pool it would be refused.',
    }),
  ];
}
