/**
 * The import of VMs (design, failover 6): rewritten documents merged into one archive, `restore=true`, one import at a
 * time. A batch is refused or taken as a whole (performance.md 5.5): on refusal it is halved, down to the VM that is at
 * fault. The task's answer is not believed before the world shows each VM with its disks, on the mapped networks.
 */
import type { Json } from '../../domain/canonical.ts';
import { drillOfVm } from '../../domain/drill.ts';
import { OperatorError, PortError } from '../../domain/errors.ts';
import type { ImportedVm, NamedVm, NetworkTarget } from '../../domain/plan.ts';
import type { PoolFacts, VmFacts } from '../../domain/pool.ts';
import { isQuarantined, putAwayVersions } from '../../domain/quarantine.ts';
import type { PointVm, RecoveryPoint } from '../../domain/recovery-point.ts';
import { afterRefusal } from '../../metadata/batches.ts';
import { type MetadataDocument, packDocument, parseArchive } from '../../metadata/document.ts';
import { rewriteForRecovery } from '../../metadata/recovery.ts';
import type { ParkedHa } from '../../metadata/rewrite.ts';
import { merge } from '../../metadata/split.ts';
import type { Catalog } from '../../ports/catalog.ts';
import type { Hypervisor } from '../../ports/hypervisor.ts';
import type { ActionOf, ActResult, ConditionOf, StepContext, Verdict } from '../handlers.ts';
import { faultOf } from './disks.ts';
import { assertNotOver } from './drill-clone.ts';
import { copyOptions } from './drill-copies.ts';
import type { ImportLooks } from './import-looks.ts';
import { freeSeeds } from './orphans.ts';
import { byUuid, concernsOneObject, listed, sentenceOf, type World } from './world.ts';

export interface ImportOutput {
  readonly vms: readonly (NamedVm & {
    readonly result: 'imported' | 'already-there' | 'failed';
    readonly reason?: string;
    readonly notes?: readonly string[];
  })[];
  /** HA fields that were emptied for the import, as they were. */
  readonly parked: readonly ParkedHa[];
}

export async function importVms(
  world: World,
  looks: ImportLooks,
  action: ActionOf<'import-vms'>,
  context: StepContext,
): Promise<ActResult> {
  const { signal } = context;
  assertNotOver(context);
  const hypervisor = await world.hypervisor(action.site);
  const catalog = await world.catalog();
  const point = await looks.point(catalog, action.pointId, signal);
  const batch = new Batch(hypervisor, looks, point, action, context);
  const before = await batch.look(catalog);
  await batch.prepare(catalog, before);
  const after = await batch.importAll(before);
  if (after !== null) looks.judge(context, after);
  return batch.result();
}

interface Prepared {
  readonly vm: ImportedVm;
  readonly document: MetadataDocument;
  readonly notes: readonly string[];
  readonly emptied: readonly string[];
  readonly parked: readonly ParkedHa[];
}

class Batch {
  readonly #hypervisor: Hypervisor;
  readonly #looks: ImportLooks;
  readonly #point: RecoveryPoint;
  readonly #action: ActionOf<'import-vms'>;
  readonly #context: StepContext;
  readonly #signal: AbortSignal;
  readonly #pointVms: ReadonlyMap<string, PointVm>;
  readonly #results = new Map<string, ImportOutput['vms'][number]>();
  readonly #prepared: Prepared[] = [];

  constructor(
    hypervisor: Hypervisor,
    looks: ImportLooks,
    point: RecoveryPoint,
    action: ActionOf<'import-vms'>,
    context: StepContext,
  ) {
    this.#hypervisor = hypervisor;
    this.#looks = looks;
    this.#point = point;
    this.#action = action;
    this.#context = context;
    this.#signal = context.signal;
    this.#pointVms = byUuid(point.vms);
  }

  /**
   * VMs of an interrupted attempt are recognised by uuid, version, disks and networks, and not imported twice. An older
   * copy that is halted is left to the import, which replaces it (xapi.md 4.5).
   */
  async look(catalog: Catalog): Promise<PoolFacts> {
    const recent = this.#looks.recent(this.#action.site);
    if (recent !== null && this.#isEverythingIn(recent) && (await this.#areAllAbsent())) return recent;
    const pool = await this.#looks.fresh(this.#hypervisor, this.#signal);
    const there = byUuid(pool.vms);
    for (const vm of this.#action.vms) {
      const found = there.get(vm.uuid);
      const noted = this.#notedOf(vm);
      if (found === undefined || isPutAway(found)) continue;
      if (await isOlderCopy(found, noted, catalog, this.#signal)) continue;
      const fault =
        foreignTo(this.#action.drill, found) ??
        importFault(found, noted, this.#point, pool, this.#action.networks);
      if (fault === null) this.#results.set(vm.uuid, { ...vm, result: 'already-there' });
      else this.#fail(vm, `a VM with this uuid is here already, ${found.powerState}, and it ${fault}`);
    }
    return pool;
  }

  /** What the point says of the VM, or of the VM that it is a copy of. */
  #notedOf(vm: ImportedVm): PointVm | undefined {
    return this.#pointVms.get(vm.original ?? vm.uuid);
  }

  /** An older look may say yes, never no: the SR of a disk may have been attached since. */
  #isEverythingIn(pool: PoolFacts): boolean {
    const areDisksThere = this.#action.vms.every((vm) => {
      const noted = this.#notedOf(vm);
      return noted === undefined || diskFaults(noted, this.#point, pool).length === 0;
    });
    return areDisksThere && networksGone(this.#action.networks, pool).size === 0;
  }

  async #areAllAbsent(): Promise<boolean> {
    const uuids = this.#action.vms.map((vm) => vm.uuid);
    return (await this.#hypervisor.vmStates(uuids, this.#signal)).size === 0;
  }

  async prepare(catalog: Catalog, pool: PoolFacts): Promise<void> {
    const gone = networksGone(this.#action.networks, pool);
    const replaces = putAwayVersions(pool);
    for (const vm of this.#action.vms) {
      if (this.#results.has(vm.uuid)) continue;
      const noted = this.#notedOf(vm);
      if (noted === undefined) {
        this.#fail(vm, `recovery point ${this.#point.id} holds no document of it`);
        continue;
      }
      const faults = diskFaults(noted, this.#point, pool);
      if (faults.length > 0) {
        this.#fail(vm, faults.join('; '));
        continue;
      }
      try {
        const document = parseArchive(await catalog.get(noted.document, this.#signal));
        const made = rewriteForRecovery(document, {
          networks: this.#action.networks,
          pool,
          // The port has no resume: memory of another pool's CPUs is of no use after a disaster.
          haltSuspended: true,
          replaces,
          ...(this.#action.drill === undefined ? {} : copyOptions(this.#action.drill, vm, this.#context)),
        });
        // Invariant 12: an import would match such a network by bridge name, or create it.
        if (made.unmappedNetworks.length > 0)
          this.#fail(vm, `the plan maps no network for ${listed(made.unmappedNetworks)}`);
        else if (noted.networkNames.some((name) => gone.has(name)))
          this.#fail(
            vm,
            `network ${listed(noted.networkNames.flatMap((name) => gone.get(name) ?? []))} is not there, once and as the plan knows it`,
          );
        else this.#prepared.push({ vm, ...made });
      } catch (error) {
        if (!concernsOneObject(error)) throw error;
        this.#fail(vm, sentenceOf(error));
      }
    }
  }

  /** The pool as it was seen after the import; null when there was nothing to import. */
  async importAll(before: PoolFacts): Promise<PoolFacts | null> {
    if (this.#prepared.length === 0) return null;
    const freed = await freeSeeds(
      this.#hypervisor,
      before,
      new Set(this.#prepared.map(({ vm }) => vm.uuid)),
      this.#signal,
    );
    await this.#importTogether(this.#prepared);
    const pool = await this.#looks.fresh(this.#hypervisor, this.#signal);
    const there = byUuid(pool.vms);
    for (const { vm, notes } of this.#prepared) {
      if (this.#results.has(vm.uuid)) continue;
      const found = there.get(vm.uuid);
      const fault =
        found === undefined
          ? 'is not in the pool, although the import was answered with success'
          : importFault(found, this.#notedOf(vm), this.#point, pool, this.#action.networks);
      const left = freed.get(vm.uuid);
      const told = left === undefined ? notes : [...notes, left];
      if (fault === null) this.#results.set(vm.uuid, { ...vm, result: 'imported', notes: told });
      else this.#fail(vm, `after the import it ${fault}`);
    }
    return pool;
  }

  async #importTogether(batch: readonly Prepared[]): Promise<void> {
    this.#signal.throwIfAborted();
    try {
      const archive = packDocument(merge(batch.map(({ document }) => document)));
      await this.#hypervisor.importMetadata(archive, { restore: true, dryRun: false }, this.#signal);
    } catch (error) {
      if (!concernsOneObject(error) || (error instanceof PortError && error.kind === 'protocol')) throw error;
      const [only] = batch;
      if (only !== undefined && batch.length === 1) {
        this.#fail(only.vm, sentenceOf(error));
        return;
      }
      for (const part of afterRefusal(batch).retry) await this.#importTogether(part);
    }
  }

  result(): ActResult {
    const vms = this.#action.vms.flatMap((vm) => this.#results.get(vm.uuid) ?? []);
    const failed = vms.filter((vm) => vm.result === 'failed');
    if (failed.length === vms.length && vms.length > 0) {
      throw new OperatorError({
        code: 'DR-IMPORT-REFUSED',
        what: `None of ${vms.length} VMs could be imported`,
        where: { site: this.#action.site },
        known: failed.slice(0, 5).map((vm) => `${vm.nameLabel}: ${vm.reason}`),
        next: 'Remove the reason, then resume the run',
      });
    }
    const output: ImportOutput = {
      vms,
      parked: parkedOf(this.#action.vms, this.#point).filter(
        ({ uuid }) => this.#results.get(uuid)?.result !== 'failed',
      ),
    };
    return {
      output: JSON.parse(JSON.stringify(output)) as Json,
      warnings: [
        ...failed.map((vm) => `VM ${vm.nameLabel} was not imported: ${vm.reason}`),
        // A guest may have booted from it: somebody has to know.
        ...this.#prepared
          .filter(({ vm }) => this.#results.get(vm.uuid)?.result === 'imported')
          .flatMap(({ emptied }) => emptied.map((sentence) => sentence.replace(/\.$/, ''))),
      ],
      partial: failed.length > 0,
    };
  }

  #fail(vm: NamedVm, reason: string): void {
    this.#results.set(vm.uuid, { ...vm, result: 'failed', reason });
  }
}

/**
 * Mapped networks that were removed, renamed or got a namesake since the plan was made: an import goes by the name, and
 * would create the network or take the other (invariant 12; xapi.md 4.8). Production name to recovery name.
 */
function networksGone(networks: readonly NetworkTarget[], pool: PoolFacts): ReadonlyMap<string, string> {
  return new Map(
    networks
      .filter(({ recovery }) => {
        const named = pool.networks.filter(({ nameLabel }) => nameLabel === recovery.nameLabel);
        return named.length !== 1 || named[0]?.uuid !== recovery.uuid;
      })
      .map(({ production, recovery }) => [production, recovery.nameLabel]),
  );
}

/** HA fields as the point has them: the import parks them (xapi.md 4.5). */
function parkedOf(vms: readonly NamedVm[], point: RecoveryPoint): ParkedHa[] {
  const noted = byUuid(point.vms);
  return vms.flatMap(({ uuid }) => {
    const vm = noted.get(uuid);
    if (vm === undefined || (!vm.haAlwaysRun && vm.haRestartPriority === '')) return [];
    const { nameLabel, haRestartPriority, haAlwaysRun } = vm;
    return [{ uuid, nameLabel, haRestartPriority, haAlwaysRun }];
  });
}

/** Disks of the VM that are not on the attached replica as the point knows them: naming them is our task (xapi.md 4.4). */
function diskFaults(vm: PointVm, point: RecoveryPoint, pool: PoolFacts): string[] {
  return expectedDisks(vm, point, pool).flatMap(({ disk, found }) => {
    const fault = faultOf(found);
    return fault === null ? [] : [`its disk ${disk.nameLabel || disk.uuid} ${fault}`];
  });
}

function expectedDisks(vm: PointVm, point: RecoveryPoint, pool: PoolFacts) {
  const noted = new Set(vm.vdiUuids);
  return point.vdis
    .filter((disk) => noted.has(disk.uuid))
    .map((disk) => ({
      disk,
      found: pool.vdis.find(
        (vdi) =>
          (vdi.srUuid === disk.srUuid && vdi.location === disk.location) ||
          // LUN-per-VDI SRs: the same LUN in any SR (xapi.md 4.4 rule 2).
          (disk.smConfig['SCSIid'] !== undefined && vdi.smConfig['SCSIid'] === disk.smConfig['SCSIid']),
      ),
    }));
}

/** A copy that was put away is never what an import of ours has made: it is there to be replaced. */
function isPutAway(found: VmFacts): boolean {
  return found.powerState === 'Halted' && isQuarantined(found);
}

/** A halted VM here that comes from an older document: an import writes the version of its document plus one. */
async function isOlderCopy(
  found: VmFacts,
  noted: PointVm | undefined,
  catalog: Catalog,
  signal: AbortSignal,
): Promise<boolean> {
  if (noted === undefined || found.powerState !== 'Halted') return false;
  const document = parseArchive(await catalog.get(noted.document, signal));
  const vm = document.vms.find((candidate) => candidate.uuid === found.uuid);
  return vm !== undefined && found.version <= vm.version;
}

/** The VM that a copy of this drill would be bears its mark; any other is somebody else's. */
function foreignTo(drill: string | undefined, found: VmFacts): string | null {
  return drill === undefined || drillOfVm(found) === drill ? null : 'is not a copy of this drill';
}

/** What about a VM here is not as the import should have left it; null when all is well. */
function importFault(
  found: VmFacts,
  noted: PointVm | undefined,
  point: RecoveryPoint,
  pool: PoolFacts,
  networks: readonly NetworkTarget[],
): string | null {
  if (noted === undefined) return `is not in recovery point ${point.id}`;
  if (isQuarantined(found)) return 'is a copy in quarantine';
  const drives = new Set(found.vbds.flatMap((vbd) => vbd.vdiUuid ?? []));
  for (const { disk, found: vdi } of expectedDisks(noted, point, pool))
    if (vdi === undefined || !drives.has(vdi.uuid)) return `lacks its disk ${disk.nameLabel || disk.uuid}`;
  const targets = new Map(networks.map((target) => [target.recovery.uuid, target.production]));
  const names = new Set<string>();
  for (const vif of found.vifs) {
    const production = targets.get(vif.networkUuid);
    if (production === undefined) {
      const network = pool.networks.find((candidate) => candidate.uuid === vif.networkUuid);
      return `has VIF ${vif.device} on network ${network?.nameLabel ?? vif.networkUuid}, which no mapping names`;
    }
    names.add(vif.networkUuid);
  }
  const wanted = networks.filter((target) => noted.networkNames.includes(target.production));
  const without = wanted.filter((target) => !names.has(target.recovery.uuid));
  return without.length === 0
    ? null
    : `has no VIF on network ${listed(without.map((target) => target.recovery.nameLabel))}`;
}

export async function areImported(
  world: World,
  looks: ImportLooks,
  condition: ConditionOf<'vms-imported'>,
  context: StepContext,
): Promise<Verdict> {
  const hypervisor = await world.hypervisor(condition.site);
  const judged = looks.judged(context);
  const [first] = condition.vms;
  if (judged === null && first !== undefined) {
    // One that is not there is answer enough, and costs one small call.
    const states = await hypervisor.vmStates([first.uuid], context.signal);
    if (!states.has(first.uuid)) return { holds: false, because: `VM ${first.nameLabel} is not there` };
  }
  const pool = judged ?? (await looks.fresh(hypervisor, context.signal));
  const there = byUuid(pool.vms);
  const missing = condition.vms.filter((vm) => !there.has(vm.uuid));
  if (missing.length > 0) {
    const names = listed(missing.map((vm) => vm.nameLabel));
    return {
      holds: false,
      because: `${missing.length} of ${condition.vms.length} VMs are not there: ${names}`,
    };
  }
  const { action } = context.step;
  if (action.do !== 'import-vms')
    return { holds: false, because: 'the step does not say which recovery point the VMs belong to' };
  const catalog = await world.catalog();
  const point = await looks.point(catalog, action.pointId, context.signal);
  const noted = byUuid(point.vms);
  for (const vm of condition.vms) {
    const found = there.get(vm.uuid);
    if (found === undefined) continue;
    const source = noted.get(vm.original ?? vm.uuid);
    const fault =
      foreignTo(action.drill, found) ?? importFault(found, source, point, pool, condition.networks);
    if (fault !== null) return { holds: false, because: `VM ${vm.nameLabel} ${fault}` };
    if (await isOlderCopy(found, source, catalog, context.signal))
      return { holds: false, because: `VM ${vm.nameLabel} is here as an older copy` };
  }
  const output: ImportOutput = {
    vms: condition.vms.map(({ uuid, nameLabel }) => ({ uuid, nameLabel, result: 'already-there' as const })),
    parked: parkedOf(condition.vms, point),
  };
  return { holds: true, output: JSON.parse(JSON.stringify(output)) as Json };
}
