/**
 * The steps of an export that let the metadata travel with the storage (docs/metadata-backup.md): after the point has been
 * read back, since what travels is that point. They never hold up the next export: the point is safe without them.
 */
import type { NamedSr } from '../domain/actions/moving.ts';
import { backupVdiMark, readBackupMark } from '../domain/backup-vdi.ts';
import type { Observation } from '../domain/observation.ts';
import type { NamedVm, Step } from '../domain/plan.ts';
import type { PoolFacts } from '../domain/pool.ts';
import type { GroupSettings, MetadataBackupSettings } from '../domain/settings.ts';
import { type Instant, secondsBetween } from '../domain/time.ts';
import { backupVdiUuid } from '../metadata/backup-uuid.ts';
import { StepIds } from './ids.ts';

export interface BackupRequest {
  readonly group: GroupSettings;
  readonly observation: Observation;
  readonly pool: PoolFacts;
  readonly pointId: string;
  readonly vms: readonly NamedVm[];
  /** Step that has read the point back. */
  readonly after: string;
  /** Writes now, however young the last one is. */
  readonly everything: boolean;
  /** Sites whose control domains can be logged in to. */
  readonly sshSites: readonly string[];
}

export function backupSteps(request: BackupRequest): Step[] {
  const { group, observation, pool } = request;
  const settings = group.metadataBackup;
  if (settings === undefined) return [];
  const due = srsOf(group, pool).filter(
    (sr) => request.everything || isDue(pool, sr, settings, observation.takenAt),
  );
  if (due.length === 0) return [];
  const ids = new StepIds();
  const writes = due.map((sr) => writeStep(request, settings, sr, ids));
  return [...writes, ...jobSteps(request, settings, due, ids)];
}

/** SRs of the group that the pool has: the others are told of by the checks. */
function srsOf({ storage }: GroupSettings, pool: PoolFacts): NamedSr[] {
  return storage.flatMap(({ sr: named }) => {
    const sr = pool.srs.find(({ uuid, nameLabel }) => uuid === named || nameLabel === named);
    return sr === undefined ? [] : [{ uuid: sr.uuid, nameLabel: sr.nameLabel }];
  });
}

/** The mark is set after the disk was read back, and belongs to this pool: after a failover it is written anew. */
function isDue(
  pool: PoolFacts,
  sr: NamedSr,
  { everySeconds }: MetadataBackupSettings,
  now: Instant,
): boolean {
  const disk = pool.vdis.find(({ uuid }) => uuid === backupVdiUuid(sr.uuid));
  const mark = readBackupMark(disk?.otherConfig[backupVdiMark]);
  return mark === null || secondsBetween(mark.writtenAt, now) >= everySeconds - toleranceSeconds;
}

/** Exports on a clock are never quite on time: a daily backup shall not slip by one export each day. */
const toleranceSeconds = 60;

function writeStep(
  { group, pointId, vms, pool, after }: BackupRequest,
  settings: MetadataBackupSettings,
  sr: NamedSr,
  ids: StepIds,
): Step {
  const { method, history, dumps, bytes } = settings;
  const site = group.production;
  const common = {
    id: ids.of('backup', sr.nameLabel),
    after: [after],
    holdsWhen: null,
    pointOfNoReturn: false,
    repeatable: true,
    // The script must not run twice at once, and its disk must not be attached while it is written (xapi.md 5.7).
    uses: [`backup:${site}`],
    onFailure: 'continue',
  } as const;
  if (method === 'xenapi')
    return {
      ...common,
      action: { do: 'write-backup', site, sr, pointId, history, dumps, bytes },
      timeoutSeconds: 1800,
      forecastSeconds: 10 + 0.002 * vms.length,
      why: 'The catalog may be lost with a site: what lies on the storage arrives with the data, and fits it',
    };
  return {
    ...common,
    action: {
      do: 'run-backup-script',
      site,
      sr,
      history,
      vms: vms.map(({ uuid, nameLabel }) => ({ uuid, nameLabel })),
      vmsInPool: pool.vms.length,
    },
    // The script has its own time; reading before and after comes on top.
    timeoutSeconds: 1500 + 3 * pool.vms.length,
    // Each run adds a date and prunes one: a lost answer is looked at by a person's eye, not answered by a second run.
    retriesMax: 0,
    forecastSeconds: 15 + 1.5 * pool.vms.length,
    why: 'A zero exit of the script proves nothing, so its new date is read and every VM of the group looked for',
  };
}

function jobSteps(
  { group, after, sshSites }: BackupRequest,
  settings: MetadataBackupSettings,
  srs: readonly NamedSr[],
  ids: StepIds,
): Step[] {
  const seen = [group.production, group.recovery].filter((site) => sshSites.includes(site));
  return seen.map((site) => ({
    id: ids.of('backup-jobs', site),
    after: [after],
    action: { do: 'look-at-backup-jobs', site, srs, history: settings.history },
    holdsWhen: null,
    pointOfNoReturn: false,
    repeatable: true,
    timeoutSeconds: 120,
    forecastSeconds: 1,
    uses: [],
    onFailure: 'continue',
    why:
      site === group.production
        ? 'A job of a host keeps twelve dates, whatever Lifeboat was told to keep'
        : 'A job there would prune the history that came with the storage, as soon as it is attached',
  }));
}
