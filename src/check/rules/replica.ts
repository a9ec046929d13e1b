/** Is there a replica, is it whole, how old is it, and does the metadata fit it (invariants 2 and 7)? */
import type { Finding } from '../../domain/finding.ts';
import { linkOf, type Role } from '../../domain/replication.ts';
import { formatDuration, secondsBetween } from '../../domain/time.ts';
import { type CheckContext, problem, unknown, warning } from '../context.ts';

/** Metadata that is this much older than the replica misses what was made in between; more is worth a word. */
const skewWorthAWordSeconds = 3600;

/** Roles of a volume that takes no points: a site that is named as the wrong side of its pair, or a pair that is none. */
const noReplica: ReadonlySet<Role> = new Set(['source', 'demoted', 'split', 'unpaired']);

export function replicaIsThere(context: CheckContext): Finding[] {
  const { group, observation, decisions, standing } = context;
  const findings: Finding[] = [];
  for (const storage of group.storage) {
    const pair = observation.pairs.find((p) => p.sr === storage.sr);
    const name = `${storage.target.array} ${storage.target.volume}`;
    if (pair === undefined || pair.points === null || pair.target === null) {
      const gap = observation.gaps.find((g) => g.source.startsWith(`array ${storage.target.array},`));
      findings.push(
        problem({
          code: 'DR-REPLICA-UNSEEN',
          about: 'array',
          name,
          what: `The replica of SR ${storage.sr} could not be looked at`,
          evidence: gap === undefined ? [] : [gap.problem.what, ...(gap.problem.known ?? [])],
          next: gap?.problem.next ?? `Check array ${storage.target.array}.`,
        }),
      );
      continue;
    }
    const newest = pair.points.filter((p) => p.complete).sort((a, b) => (a.takenAt < b.takenAt ? 1 : -1))[0];
    if (pair.target.role === 'unknown')
      findings.push(
        unknown({
          about: 'array',
          name,
          what: `Whether volume ${storage.target.volume} of array ${storage.target.array} is a replica of SR ${storage.sr} is not known`,
          evidence: pair.target.health.reasons,
          next: 'Look at the replication on the array.',
        }),
      );
    if (noReplica.has(pair.target.role)) {
      findings.push(
        problem({
          code: 'DR-REPLICA-ROLE',
          about: 'array',
          name,
          what: `Volume ${storage.target.volume} of array ${storage.target.array} is ${pair.target.role}, not a replica of SR ${storage.sr}`,
          evidence: pair.target.health.reasons,
          next:
            pair.target.role === 'source'
              ? `Compare source and target of SR ${storage.sr} in sites.yaml with what the arrays show.`
              : 'Look at the replication on both arrays before anything is promoted.',
        }),
      );
    }
    if (newest === undefined) {
      if (pair.target.role !== 'promoted') {
        findings.push(
          problem({
            code: 'DR-REPLICA-NONE',
            about: 'array',
            name,
            what: `Array ${storage.target.array} holds no complete point of SR ${storage.sr}`,
            evidence: [`${pair.points.length} points, none complete`, ...pair.target.health.reasons],
            next: 'Wait for the first synchronisation to end, or look at the replication on the array.',
          }),
        );
      }
      continue;
    }
    const ageSeconds = secondsBetween(newest.takenAt, observation.takenAt);
    if (ageSeconds > group.rpoSeconds) {
      const say = decisions.has('accept-loss') ? warning : problem;
      findings.push(
        say({
          code: 'DR-REPLICA-OLD',
          about: 'array',
          name,
          what: `The replica of SR ${storage.sr} is ${formatDuration(ageSeconds)} old, the RPO is ${formatDuration(group.rpoSeconds)}`,
          evidence: [
            `newest complete point ${newest.ref}, taken at ${newest.takenAt} by the clock of the ${newest.clock}`,
            ...(pair.target.reportedLagSeconds === null
              ? []
              : [`the array itself reports a lag of ${formatDuration(pair.target.reportedLagSeconds)}`]),
            `replication link ${linkOf(pair.source, pair.target)}`,
          ],
          next: standing
            ? `Look at the replication of volume ${storage.source.volume} on array ${storage.source.array}.`
            : decisions.has('accept-loss')
              ? 'Nothing: the loss was accepted by a person.'
              : 'If this much may be lost, say so: add --accept-loss "REASON".',
        }),
      );
    } else if (ageSeconds < -5) {
      findings.push(
        warning({
          code: 'DR-CLOCK-OFFSET',
          about: 'array',
          name,
          what: `The newest point of SR ${storage.sr} lies ${formatDuration(-ageSeconds)} in the future: the clocks differ`,
          evidence: [`point ${newest.ref} taken at ${newest.takenAt}, observed at ${observation.takenAt}`],
          next: 'Set the clocks of both sites by NTP; until then the true loss is larger than shown.',
        }),
      );
    }
    // A link that is down is often known to the source alone.
    const unhealthy =
      pair.target.health.level === 'bad'
        ? pair.target
        : standing && pair.source?.role === 'source' && pair.source.link === 'down'
          ? pair.source
          : null;
    if (unhealthy !== null) {
      findings.push(
        warning({
          code: 'DR-REPLICATION-UNHEALTHY',
          about: 'array',
          name,
          what: `Array ${unhealthy.pair.array} calls the replication of SR ${storage.sr} unhealthy`,
          evidence: unhealthy.health.reasons,
          next: 'Look at the replication on the array.',
        }),
      );
    }
  }
  return findings;
}

export function metadataFitsReplica(context: CheckContext): Finding[] {
  const { group, observation, point } = context;
  if (point === null) {
    const damaged = observation.catalog.damaged;
    const unread = observation.gaps.filter((gap) => gap.source.startsWith('catalog'));
    return [
      problem({
        code: 'DR-POINT-NONE',
        about: 'catalog',
        name: group.name,
        what: `The catalog holds no good recovery point of group ${group.name}`,
        evidence: [
          ...damaged.map((d) => `${d.id} in target ${d.target}: ${d.reason}`),
          ...unread.map(({ problem: { what, known } }) => [what, ...(known ?? [])].join(': ')),
        ],
        next:
          unread[0] !== undefined &&
          (context.production === null || unread[0].problem.code !== 'DR-CATALOG-MISSING')
            ? unread[0].problem.next
            : context.production === null
              ? `Run: lifeboat catalog recover ${group.name}, which reads what travelled with the replicated storage; or add another copy of the catalog as a target.`
              : `Run: lifeboat export ${group.name}`,
      }),
    ];
  }
  const findings: Finding[] = [];
  const pairs = observation.pairs.flatMap((pair) => (pair.points ?? []).filter((p) => p.complete));
  const newestReplica = pairs
    .map((p) => p.takenAt)
    .sort()
    .at(-1);
  if (newestReplica !== undefined) {
    const behindSeconds = secondsBetween(point.takenAt, newestReplica);
    if (behindSeconds > skewWorthAWordSeconds) {
      findings.push(
        warning({
          code: 'DR-SKEW',
          about: 'catalog',
          name: point.id,
          what: `The metadata is ${formatDuration(behindSeconds)} older than the replica: VMs made in between are not known`,
          evidence: [`metadata of ${point.takenAt}, replica of ${newestReplica}`],
          next:
            context.production === null
              ? `See whether younger metadata travelled with the storage: lifeboat catalog recover ${group.name} --list.`
              : 'Export more often than the storage replicates.',
        }),
      );
    }
  }
  for (const failure of point.failures) {
    findings.push(
      warning({
        code: 'DR-POINT-INCOMPLETE',
        about: 'vm',
        name: failure.nameLabel,
        uuid: failure.uuid,
        what: `The recovery point has no metadata of VM ${failure.nameLabel}`,
        evidence: [failure.reason],
        vms: [failure.nameLabel],
        next: `Mend the cause and run: lifeboat export ${group.name}`,
      }),
    );
  }
  for (const damaged of observation.catalog.damaged) {
    findings.push(
      warning({
        code: 'DR-POINT-DAMAGED',
        about: 'catalog',
        name: damaged.id,
        what: `Recovery point ${damaged.id} in catalog target ${damaged.target} is damaged`,
        evidence: [damaged.reason],
        next: 'Run: lifeboat catalog verify',
      }),
    );
  }
  return findings;
}

/** A disk on an SR that is not replicated does not exist at the other site, whatever the metadata says. */
export function disksAreReplicated(context: CheckContext): Finding[] {
  const { group, point } = context;
  if (point === null) return [];
  const replicated = new Set(
    point.srs
      .filter((sr) => group.storage.some((s) => s.sr === sr.uuid || s.sr === sr.nameLabel))
      .map((sr) => sr.uuid),
  );
  const iso = new Set(point.srs.filter((sr) => sr.contentType === 'iso').map((sr) => sr.uuid));
  const srOf = new Map(point.vdis.map((vdi) => [vdi.uuid, vdi.srUuid]));
  const findings: Finding[] = [];
  for (const sr of point.srs) {
    if (replicated.has(sr.uuid) || iso.has(sr.uuid)) continue;
    const vms = point.vms
      .filter((vm) => vm.vdiUuids.some((vdi) => srOf.get(vdi) === sr.uuid))
      .map((vm) => vm.nameLabel)
      .sort();
    if (vms.length === 0) continue;
    findings.push(
      problem({
        code: 'DR-SR-NOT-REPLICATED',
        about: 'sr',
        name: sr.nameLabel,
        uuid: sr.uuid,
        what: `SR ${sr.nameLabel} holds disks of ${vms.length} VMs and is not replicated`,
        evidence: [
          `the storage of group ${group.name} names ${group.storage.map((s) => s.sr).join(', ') || 'nothing'}`,
        ],
        vms,
        next: `Move the disks to a replicated SR, add the SR to the storage of group ${group.name}, or leave these VMs out of it.`,
      }),
    );
  }
  for (const storage of group.storage) {
    if (!point.srs.some((sr) => sr.uuid === storage.sr || sr.nameLabel === storage.sr)) {
      findings.push(
        warning({
          code: 'DR-SR-NOT-IN-POINT',
          about: 'sr',
          name: storage.sr,
          what: `The recovery point does not know SR ${storage.sr}: it would be neither promoted nor attached`,
          evidence: [`point ${point.id} knows ${point.srs.map((sr) => sr.nameLabel).join(', ') || 'no SR'}`],
          next: `Export group ${group.name} again; if it stays, check the name of the SR in its storage.`,
        }),
      );
    }
  }
  return findings;
}
