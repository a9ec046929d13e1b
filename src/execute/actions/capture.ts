/** What an export saves: the pool as it is, one document per VM, the state of the replication (design, export 1, 2, 4). */
import type { Json } from '../../domain/canonical.ts';
import { PortError } from '../../domain/errors.ts';
import type { PairAction } from '../../domain/plan.ts';
import type { PoolFacts, TextMap, Uuid } from '../../domain/pool.ts';
import { isQuarantined } from '../../domain/quarantine.ts';
import {
  type ObjectRef,
  type PointSr,
  type PointVm,
  pointVmsOf,
  type RecoveryPoint,
} from '../../domain/recovery-point.ts';
import type { ReplicaPoint } from '../../domain/replication.ts';
import type { Catalog } from '../../ports/catalog.ts';
import type { Hypervisor } from '../../ports/hypervisor.ts';
import type { ActionOf, ActResult, StepContext } from '../handlers.ts';
import { sentenceOf, type World } from './world.ts';

/** The part of a recovery point that the capture knows: kept in the encrypted catalog, since it holds secrets. */
export type CapturedPool = Omit<
  RecoveryPoint,
  'id' | 'group' | 'configDigest' | 'vms' | 'failures' | 'replication'
> & {
  readonly vms: readonly CapturedVm[];
  /** VMs that are only copies in quarantine here: what serves is elsewhere, or was never brought over. */
  readonly putAway: readonly Uuid[];
};
export type CapturedVm = Omit<PointVm, 'document' | 'documentFrom'>;

export interface CaptureOutput {
  readonly captured: ObjectRef;
  readonly takenAt: string;
  readonly vmCount: number;
}

export type ReplicationOutput = readonly {
  readonly sr: string;
  readonly source: PairAction['source'];
  readonly target: PairAction['target'];
  readonly newestPoint: ReplicaPoint | null;
  readonly gap: string | null;
}[];

export async function capturePool(
  world: World,
  action: ActionOf<'capture-pool'>,
  context: StepContext,
): Promise<ActResult> {
  const hypervisor = await world.hypervisor(action.site);
  const catalog = await world.catalog();
  const pool = await hypervisor.observe(context.signal);
  const warnings: string[] = [];
  const wanted = new Set(action.vms);
  const srs = new Set([...action.srs, ...srsOfGroup(pool, action.groupSrs)]);
  const vms = pool.vms.filter((vm) => wanted.has(vm.uuid));
  const captured: CapturedPool = {
    takenAt: pool.observedAt,
    site: action.site,
    poolUuid: pool.uuid,
    poolName: pool.nameLabel,
    productBrand: pool.productBrand,
    productVersion: pool.productVersion,
    xapiBuild: pool.xapiBuild,
    putAway: vms.filter(isQuarantined).map((vm) => vm.uuid),
    vms: asTheyWere(pointVmsOf(vms, pool), action.toBeStarted ?? []),
    srs: await withSecrets(hypervisor, pool, srs, warnings, context.signal),
    vdis: pool.vdis.filter((vdi) => srs.has(vdi.srUuid)),
    networks: pool.networks,
    hosts: pool.hosts,
    appliances: pool.appliances.filter((appliance) => appliance.vmUuids.some((vm) => wanted.has(vm))),
    poolOtherConfig: pool.otherConfig,
    haEnabled: pool.haEnabled,
    database: await dumpDatabase(hypervisor, catalog, warnings, context.signal),
  };
  const output: CaptureOutput = {
    captured: await catalog.put(new TextEncoder().encode(JSON.stringify(captured)), context.signal),
    takenAt: captured.takenAt,
    vmCount: vms.length,
  };
  return { output: { ...output, captured: { ...output.captured } }, warnings };
}

export async function readCaptured(
  catalog: Catalog,
  output: Json,
  signal: AbortSignal,
): Promise<CapturedPool> {
  // Written by capturePool of the same run and vouched for by the object's hash.
  const { captured } = output as unknown as CaptureOutput;
  return JSON.parse(new TextDecoder().decode(await catalog.get(captured, signal))) as CapturedPool;
}

/** An SR that is empty today (or a library of ISO images) is promoted and attached with the others. */
function srsOfGroup(pool: PoolFacts, names: readonly string[]): Uuid[] {
  return pool.srs
    .filter((sr) => names.includes(sr.uuid) || names.includes(sr.nameLabel))
    .map((sr) => sr.uuid);
}

/** VMs that a planned migration has shut down stay known as running: that is how they are to be brought up. */
function asTheyWere(vms: readonly CapturedVm[], toBeStarted: readonly Uuid[]): CapturedVm[] {
  const ran = new Set(toBeStarted);
  return vms.map((vm) => (ran.has(vm.uuid) ? { ...vm, powerState: 'Running' } : vm));
}

/** `<key>_secret` names a secret of this pool that dies with it: its text is read while the pool lives (xapi.md 7.2). */
async function withSecrets(
  hypervisor: Hypervisor,
  pool: PoolFacts,
  wanted: ReadonlySet<Uuid>,
  warnings: string[],
  signal: AbortSignal,
): Promise<PointSr[]> {
  const made: PointSr[] = [];
  for (const sr of pool.srs.filter((candidate) => wanted.has(candidate.uuid))) {
    const secretDeviceConfig: Record<string, string> = {};
    for (const [key, uuid] of secretKeys(sr.pbds.map((pbd) => pbd.deviceConfig))) {
      try {
        secretDeviceConfig[key] = await hypervisor.readSecret(uuid, signal);
      } catch (error) {
        if (!isLackOfRight(error)) throw error;
        warnings.push(
          `the ${key} of SR ${sr.nameLabel} cannot be read (${sentenceOf(error)}): a failover will need it typed in`,
        );
      }
    }
    made.push({ ...sr, secretDeviceConfig });
  }
  return made;
}

function secretKeys(configs: readonly TextMap[]): ReadonlyMap<string, Uuid> {
  const found = new Map<string, Uuid>();
  for (const config of configs)
    for (const [key, value] of Object.entries(config))
      if (key.endsWith('_secret') && !found.has(key.slice(0, -7))) found.set(key.slice(0, -7), value);
  return found;
}

async function dumpDatabase(
  hypervisor: Hypervisor,
  catalog: Catalog,
  warnings: string[],
  signal: AbortSignal,
): Promise<ObjectRef | null> {
  try {
    return await catalog.putStream(await hypervisor.dumpDatabase(signal), signal);
  } catch (error) {
    if (!isLackOfRight(error)) throw error;
    warnings.push(`the pool's database was not saved: ${sentenceOf(error)}`);
    return null;
  }
}

function isLackOfRight(error: unknown): boolean {
  return error instanceof PortError && (error.kind === 'refused' || error.kind === 'auth');
}

export async function recordReplication(
  world: World,
  action: ActionOf<'record-replication'>,
  context: StepContext,
): Promise<ActResult> {
  const output: ReplicationOutput[number][] = [];
  for (const { sr, source, target } of action.pairs) {
    try {
      const array = await world.array(target.array);
      const points = await array.points(target.volume, context.signal);
      const newestPoint = points.find((point) => point.complete) ?? null;
      const gap =
        newestPoint === null ? `volume ${target.volume} of ${target.array} holds no complete point` : null;
      output.push({ sr, source, target, newestPoint, gap });
    } catch (error) {
      if (!(error instanceof PortError) || context.signal.aborted) throw error;
      output.push({ sr, source, target, newestPoint: null, gap: sentenceOf(error) });
    }
  }
  return {
    output: JSON.parse(JSON.stringify(output)) as Json,
    warnings: output.flatMap((pair) =>
      pair.gap === null ? [] : [`the replica of SR ${pair.sr} could not be learned: ${pair.gap}`],
    ),
  };
}
