/** What an export saves: the pool as it is, one document per VM, the state of the replication (design, export 1, 2, 4). */
import type { Json } from '../../domain/canonical.ts';
import { OperatorError, PortError } from '../../domain/errors.ts';
import type { NamedVm, PairAction } from '../../domain/plan.ts';
import type { PoolFacts, TextMap, Uuid, VmFacts } from '../../domain/pool.ts';
import type { ObjectRef, PointSr, PointVm, RecoveryPoint } from '../../domain/recovery-point.ts';
import type { ReplicaPoint } from '../../domain/replication.ts';
import { type MetadataDocument, packDocument, parseArchiveTolerantly } from '../../metadata/document.ts';
import { extractVm } from '../../metadata/split.ts';
import { splitStream } from '../../metadata/split-stream.ts';
import type { Catalog, CatalogBatch } from '../../ports/catalog.ts';
import type { Hypervisor } from '../../ports/hypervisor.ts';
import type { ActionOf, ActResult, StepContext } from '../handlers.ts';
import { byUuid, concernsOneObject, inParallel, listed, sentenceOf, type World } from './world.ts';

/** More singles at once than this only makes the pool slow for others (performance.md 8). */
const singlesMax = 4;

/** The part of a recovery point that the capture knows: kept in the encrypted catalog, since it holds secrets. */
export type CapturedPool = Omit<
  RecoveryPoint,
  'id' | 'group' | 'configDigest' | 'vms' | 'failures' | 'replication'
> & {
  readonly vms: readonly Omit<PointVm, 'document'>[];
};

export interface CaptureOutput {
  readonly captured: ObjectRef;
  readonly takenAt: string;
  readonly vmCount: number;
}

export interface DocumentsOutput {
  readonly vms: readonly (NamedVm & { readonly document: ObjectRef })[];
  readonly failures: readonly (NamedVm & { readonly reason: string })[];
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
  const srs = new Set(action.srs);
  const vms = pool.vms.filter((vm) => wanted.has(vm.uuid));
  const captured: CapturedPool = {
    takenAt: pool.observedAt,
    site: action.site,
    poolUuid: pool.uuid,
    poolName: pool.nameLabel,
    productBrand: pool.productBrand,
    productVersion: pool.productVersion,
    xapiBuild: pool.xapiBuild,
    vms: vms.map((vm) => pointVm(vm, pool)),
    srs: await withSecrets(hypervisor, pool, srs, warnings, context.signal),
    vdis: pool.vdis.filter((vdi) => srs.has(vdi.srUuid)),
    networks: pool.networks,
    hosts: pool.hosts,
    appliances: pool.appliances.filter((appliance) => appliance.vmUuids.some((vm) => wanted.has(vm))),
    poolOtherConfig: pool.otherConfig,
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

function pointVm(vm: VmFacts, pool: PoolFacts): Omit<PointVm, 'document'> {
  const vdis = byUuid(pool.vdis);
  const networks = byUuid(pool.networks);
  const disks = vm.vbds.flatMap((vbd) => (vbd.type === 'Disk' && vbd.vdiUuid !== null ? [vbd.vdiUuid] : []));
  const srs = disks.flatMap((uuid) => vdis.get(uuid)?.srUuid ?? []);
  return {
    uuid: vm.uuid,
    nameLabel: vm.nameLabel,
    powerState: vm.powerState,
    order: vm.order,
    startDelaySeconds: vm.startDelaySeconds,
    memoryStaticMax: vm.memoryStaticMax,
    memoryDynamicMax: vm.memoryDynamicMax,
    vcpusAtStartup: vm.vcpusAtStartup,
    haRestartPriority: vm.haRestartPriority,
    haAlwaysRun: vm.haAlwaysRun,
    tags: vm.tags,
    folder: vm.otherConfig['folder'] ?? null,
    srUuids: [...new Set(srs)].sort(),
    vdiUuids: disks,
    networkNames: [
      ...new Set(vm.vifs.flatMap((vif) => networks.get(vif.networkUuid)?.nameLabel ?? [])),
    ].sort(),
    applianceUuid: vm.applianceUuid,
  };
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

export async function saveDocuments(
  world: World,
  action: ActionOf<'save-documents'>,
  context: StepContext,
): Promise<ActResult> {
  const hypervisor = await world.hypervisor(action.site);
  const store = await openStore(await world.catalog(), context.signal);
  const saving = new Saving(hypervisor, store, context.signal);
  try {
    if (action.strategy === 'all') await saving.allAtOnce(action.vms);
    const rest = action.vms.filter((vm) => !saving.saved.has(vm.uuid));
    await inParallel(rest, Math.min(action.concurrency, singlesMax), (vm) => saving.single(vm));
    await store.commit();
  } catch (error) {
    await store.abort();
    throw error;
  }

  const output: DocumentsOutput = {
    vms: action.vms.flatMap((vm) => {
      const document = saving.saved.get(vm.uuid);
      return document === undefined ? [] : [{ uuid: vm.uuid, nameLabel: vm.nameLabel, document }];
    }),
    failures: action.vms.flatMap((vm) => {
      const reason = saving.failures.get(vm.uuid);
      return reason === undefined ? [] : [{ uuid: vm.uuid, nameLabel: vm.nameLabel, reason }];
    }),
  };
  if (output.vms.length === 0 && action.vms.length > 0) {
    throw new OperatorError({
      code: 'DR-EXPORT-NONE',
      what: `Not one of ${action.vms.length} VMs of site ${action.site} could be exported`,
      known: output.failures.slice(0, 5).map((vm) => `${vm.nameLabel}: ${vm.reason}`),
      next: 'Look at the first reason; the pool is reached, but gives no metadata',
    });
  }
  return {
    output: JSON.parse(JSON.stringify(output)) as Json,
    warnings: [
      ...saving.warnings,
      ...output.failures.map((vm) => `VM ${vm.nameLabel} has no document in this point: ${vm.reason}`),
    ],
  };
}

/** Documents are packed and synced together where the catalog can; else one by one. */
async function openStore(catalog: Catalog, signal: AbortSignal): Promise<CatalogBatch> {
  if (catalog.batch !== undefined) return catalog.batch(signal);
  return {
    put: (bytes) => catalog.put(bytes, signal),
    commit: async () => undefined,
    abort: async () => undefined,
  };
}

/** Documents on their way into the catalog while the next ones are being fetched and taken apart. */
const underwayMax = 32;

/** Errors of the pool about one VM are kept by VM; errors of the catalog end the step. */
class Saving {
  readonly saved = new Map<Uuid, ObjectRef>();
  readonly failures = new Map<Uuid, string>();
  readonly warnings: string[] = [];
  readonly #hypervisor: Hypervisor;
  readonly #store: CatalogBatch;
  readonly #signal: AbortSignal;

  constructor(hypervisor: Hypervisor, store: CatalogBatch, signal: AbortSignal) {
    this.#hypervisor = hypervisor;
    this.#store = store;
    this.#signal = signal;
  }

  /** One request for the whole pool, taken apart here. Whoever does not come out of it is fetched singly afterwards. */
  async allAtOnce(vms: readonly NamedVm[]): Promise<void> {
    const wanted = new Set(vms.map((vm) => vm.uuid));
    let underway: Promise<void>[] = [];
    let storeFailure: { readonly error: unknown } | null = null;
    const keep = async (uuid: Uuid, bytes: Uint8Array): Promise<void> => {
      try {
        this.saved.set(uuid, await this.#store.put(bytes));
      } catch (error) {
        storeFailure ??= { error };
      }
    };
    try {
      for await (const made of splitStream(await this.#hypervisor.exportAllMetadata(this.#signal))) {
        if (storeFailure !== null) break;
        if (!wanted.has(made.uuid)) continue;
        this.#noteRepairs(made.nameLabel, made.repaired);
        underway.push(keep(made.uuid, packDocument(made.document)));
        if (underway.length < underwayMax) continue;
        await Promise.all(underway);
        underway = [];
      }
    } catch (error) {
      if (!concernsOneObject(error)) throw error;
      this.warnings.push(
        `the export of all VMs at once failed (${sentenceOf(error)}): they were saved one by one`,
      );
    } finally {
      await Promise.all(underway);
    }
    this.#raise(storeFailure);
  }

  #raise(failure: { readonly error: unknown } | null): void {
    if (failure !== null) throw failure.error;
  }

  async single(vm: NamedVm): Promise<void> {
    const document = await this.#fetch(vm);
    if (document !== null) this.saved.set(vm.uuid, await this.#store.put(packDocument(document)));
  }

  async #fetch(vm: NamedVm): Promise<MetadataDocument | null> {
    try {
      const archive = await this.#hypervisor.exportMetadata(vm.uuid, { snapshots: false }, this.#signal);
      const { document, repaired } = parseArchiveTolerantly(archive);
      const own = extractVm(document, vm.uuid);
      if (own === null) this.failures.set(vm.uuid, 'the pool sent a document that does not hold this VM');
      else this.#noteRepairs(vm.nameLabel, repaired);
      return own;
    } catch (error) {
      // Busy after all patience of the adapter: somebody holds this VM for long, the others need not wait for it.
      const isBusy = error instanceof PortError && error.kind === 'busy';
      if (!concernsOneObject(error) && !isBusy) throw error;
      this.failures.set(vm.uuid, sentenceOf(error));
      return null;
    }
  }

  #noteRepairs(nameLabel: string, repaired: readonly { readonly key: string }[]): void {
    if (repaired.length === 0) return;
    this.warnings.push(
      `the document of VM ${nameLabel} was malformed and has been repaired: ${listed(repaired.map(({ key }) => JSON.stringify(key)))}`,
    );
  }
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
