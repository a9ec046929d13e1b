/**
 * The acts of recovering metadata from a clone of the replica: attached under the uuid that is found on it, its metadata
 * backup read here, and forgotten again by the mark of the run.
 */
import type { BackupFound, RecoverAction } from '../../domain/actions/recover.ts';
import type { Json } from '../../domain/canonical.ts';
import { drillDescription, drillOfSr, drillPrefix } from '../../domain/drill.ts';
import { OperatorError } from '../../domain/errors.ts';
import type { PoolFacts, SrFacts, TextMap, Uuid } from '../../domain/pool.ts';
import type { Exposed } from '../../domain/replication.ts';
import type { Hypervisor } from '../../ports/hypervisor.ts';
import type { ActionHandlers, ActionOf, ActResult, ConditionOf, StepContext, Verdict } from '../handlers.ts';
import { assertLunFree } from './attach-guards.ts';
import { deviceConfigAt } from './device-config.ts';
import { assertNotOver } from './drill-clone.ts';
import { forgetClone } from './drill-storage.ts';
import { readBackup } from './read-backup.ts';
import { exposedBy } from './replica.ts';
import { concernsOneObject, listed, sentenceOf, type World } from './world.ts';

export function recoverActions(world: World): Pick<ActionHandlers, RecoverAction['do']> {
  return {
    'attach-found-clone': (action, context) => attachFoundClone(world, action, context),
    'read-backup': (action, context) => readBackup(world, action, context),
    'judge-backups': async (action, context) => judgeBackups(action, context),
    'forget-found-clones': (action, context) => forgetFoundClones(world, action, context),
  };
}

/** What an array offers says which types of SR can lie there, the most likely one first (xapi.md 7.4). */
const typesOn: Readonly<Record<Exposed['kind'], readonly string[]>> = {
  nfs: ['nfs'],
  iscsi: ['lvmoiscsi', 'lvmohba'],
  fc: ['lvmohba', 'ext'],
  rbd: ['ext', 'lvm'],
  smb: ['smb'],
  cephfs: ['cephfs'],
  gluster: ['glusterfs'],
  file: ['nfs', 'ext', 'file'],
};

interface Found {
  readonly type: string;
  readonly deviceConfig: TextMap;
  readonly srUuid: Uuid;
}

async function attachFoundClone(
  world: World,
  action: ActionOf<'attach-found-clone'>,
  context: StepContext,
): Promise<ActResult> {
  assertNotOver(context);
  const { signal } = context;
  const hypervisor = await world.hypervisor(action.site);
  const pool = await hypervisor.observe(signal);
  const found = await findSr(world, hypervisor, pool, action, context);
  const known = pool.srs.find((sr) => sr.uuid === found.srUuid);
  assertOurs(action, known);
  const mark = drillDescription(action.drill);
  const record = {
    uuid: found.srUuid,
    nameLabel: `${drillPrefix}${action.sr}`,
    nameDescription: mark,
    type: found.type,
    contentType: 'user',
    shared: true,
    smConfig: {},
  };
  assertLunFree(
    { ...record, deviceConfig: {}, pointId: '', exposedBy: null, hosts: [] },
    found.deviceConfig,
    pool,
  );
  if (known === undefined) await hypervisor.introduceSr(record, signal);
  const host = masterOf(pool) ?? action.host.uuid;
  await hypervisor.createPbd(found.srUuid, host, found.deviceConfig, signal);
  await hypervisor.plugPbd(found.srUuid, host, signal);
  await hypervisor.scanSr(found.srUuid, signal);
  return { output: { srUuid: found.srUuid, type: found.type }, warnings: [] };
}

/** It may have changed since the plan; LVM SRs repair themselves on the master alone (xapi.md 7.2). */
function masterOf(pool: PoolFacts): Uuid | null {
  return pool.hosts.find((host) => host.uuid === pool.masterUuid)?.uuid ?? null;
}

async function findSr(
  world: World,
  hypervisor: Hypervisor,
  pool: PoolFacts,
  action: ActionOf<'attach-found-clone'>,
  context: StepContext,
): Promise<Found> {
  const exposed = exposedBy(action.clonedBy, context);
  const host = masterOf(pool) ?? action.host.uuid;
  const place = world.deviceConfigFor ?? deviceConfigAt;
  const tried: string[] = [];
  const found: Found[] = [];
  for (const type of typesOn[exposed.kind]) {
    if (pool.storageDrivers?.includes(type) === false) continue;
    try {
      const deviceConfig = place(type, {}, exposed);
      const uuids = await hypervisor.probe(host, type, deviceConfig, {}, context.signal);
      tried.push(`as ${type}: ${uuids.length === 0 ? 'no SR is found there' : `SR ${listed(uuids)}`}`);
      found.push(...uuids.map((srUuid) => ({ type, deviceConfig, srUuid: srUuid.toLowerCase() })));
    } catch (error) {
      if (!concernsOneObject(error)) throw error;
      tried.push(`as ${type}: ${sentenceOf(error)}`);
    }
    if (found.length > 0) break;
  }
  const wanted = found.filter(({ srUuid }) => srUuid === action.sr.toLowerCase());
  const [only, ...others] = wanted.length > 0 || isUuid(action.sr) ? wanted : found;
  if (only !== undefined && others.length === 0) return only;
  throw new OperatorError({
    code: 'DR-BACKUP-SR',
    what:
      only === undefined
        ? `SR ${action.sr} is not found on the clone of its replica`
        : `Several SRs are found on the clone, and any of them may be SR ${action.sr}`,
    where: { site: action.site },
    known: tried,
    next:
      only === undefined
        ? 'Compare the volume of the SR in sites.yaml with the array. A LUN behind CHAP cannot be opened this way: its password went with the catalog; let the hosts of this site in without CHAP for the recovery, on the array'
        : 'Write the uuid of the SR in sites.yaml in place of its name',
  });
}

function isUuid(text: string): boolean {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text);
}

/** Original and clone cannot be in one pool (xapi.md 7.6). */
function assertOurs({ drill, site }: ActionOf<'attach-found-clone'>, known: SrFacts | undefined): void {
  if (known === undefined || drillOfSr(known) === drill) return;
  throw new OperatorError({
    code: 'DR-SR-OTHER',
    what: `SR ${known.nameLabel} is already known here, and its clone would take its place`,
    where: { site, object: `SR ${known.uuid}` },
    known: [
      drillOfSr(known) === null
        ? 'it is known as a true one'
        : `it is the clone of drill ${drillOfSr(known)}`,
    ],
    next: 'Clean up the drill, or forget this SR if nothing uses it; then start again',
  });
}

function judgeBackups({ group, readBy }: ActionOf<'judge-backups'>, context: StepContext): ActResult {
  // Written by the steps that read, in this very run.
  const read = readBy.flatMap((step) => (context.output(step) ?? []) as unknown as BackupFound | never[]);
  const kept = read.flatMap((found) => found.kept);
  const dates = read.flatMap((found) => found.dates);
  const output: Json = { points: kept.map(({ pointId }) => pointId), dates: dates.length };
  const wish = context.plan.steps.flatMap(({ action }) =>
    action.do === 'read-backup' ? [action.wish] : [],
  )[0];
  if (kept.length > 0 || (wish?.dates === 'list' && read.length > 0)) return { output, warnings: [] };
  const unread = readBy.length - read.length;
  const candidates = read.flatMap((found) => found.candidates);
  throw new OperatorError({
    code: 'DR-BACKUP-NONE',
    what: `No metadata of group ${group} was found on its replicated storage`,
    known: [
      `${read.length} of ${readBy.length} SRs were looked into${unread === 0 ? '' : '; what kept the others from it stands at their steps'}`,
      ...candidates.map(
        ({ uuid, nameLabel, bytes }) =>
          `disk ${uuid}${nameLabel === '' ? '' : ` (${nameLabel})`} of ${Math.round(bytes / 2 ** 20)} MiB may be a backup of an older host, and was not looked into`,
      ),
    ],
    next:
      candidates.length > 0
        ? `Name one of these disks, if no guest could write it: lifeboat catalog recover ${group} --legacy UUID`
        : `Look for another backup, and read it in: lifeboat catalog import ${group} PATH`,
  });
}

async function forgetFoundClones(
  world: World,
  { site, drill }: ActionOf<'forget-found-clones'>,
  context: StepContext,
): Promise<ActResult> {
  const hypervisor = await world.hypervisor(site);
  const ours = clonesOf(await hypervisor.observe(context.signal), drill);
  for (const { uuid, nameLabel } of ours)
    await forgetClone(world, { do: 'forget-clone', site, drill, srUuid: uuid, nameLabel }, context);
  return { output: { forgotten: ours.length }, warnings: [] };
}

export async function areFoundClonesForgotten(
  world: World,
  { site, drill }: ConditionOf<'found-clones-forgotten'>,
  signal: AbortSignal,
): Promise<Verdict> {
  const left = clonesOf(await (await world.hypervisor(site)).observe(signal), drill);
  return left.length === 0
    ? { holds: true }
    : { holds: false, because: `${listed(left.map((sr) => sr.nameLabel))} is still known at site ${site}` };
}

function clonesOf(pool: PoolFacts, drill: string): SrFacts[] {
  return pool.srs.filter((sr) => drillOfSr(sr) === drill);
}
