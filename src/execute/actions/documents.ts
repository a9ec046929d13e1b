/** One document per VM in the catalog: fetched where something changed, kept where nothing did (design, export 2). */
import type { Json } from '../../domain/canonical.ts';
import { OperatorError, PortError } from '../../domain/errors.ts';
import { type ExportStrategy, exportStrategy } from '../../domain/limits.ts';
import type { KeptDocument, NamedVm } from '../../domain/plan.ts';
import type { Uuid } from '../../domain/pool.ts';
import type { DocumentOrigin, ObjectRef } from '../../domain/recovery-point.ts';
import { byName } from '../../domain/scope.ts';
import { type MetadataDocument, packDocument, parseArchiveTolerantly } from '../../metadata/document.ts';
import { extractVm } from '../../metadata/split.ts';
import { splitStream } from '../../metadata/split-stream.ts';
import { powerStateIn } from '../../metadata/summary.ts';
import type { Catalog, CatalogBatch } from '../../ports/catalog.ts';
import type { Hypervisor } from '../../ports/hypervisor.ts';
import type { ActionOf, ActResult, StepContext } from '../handlers.ts';
import { type CapturedPool, readCaptured } from './capture.ts';
import { concernsOneObject, inParallel, listed, nearestBefore, sentenceOf, type World } from './world.ts';

/** More singles at once than this only makes the pool slow for others (performance.md 8). */
const singlesMax = 4;

export interface DocumentsOutput {
  readonly vms: readonly SavedDocument[];
  readonly failures: readonly (NamedVm & { readonly reason: string })[];
}

export interface SavedDocument extends NamedVm {
  readonly document: ObjectRef;
  /** The point that fetched it, when it was kept. */
  readonly from?: DocumentOrigin;
  /** The VM was seen in this state when its document was written; absent for a kept one. */
  readonly powerState?: string | null;
}

export async function saveDocuments(
  world: World,
  action: ActionOf<'save-documents'>,
  context: StepContext,
): Promise<ActResult> {
  const hypervisor = await world.hypervisor(action.site);
  const catalog = await world.catalog();
  const captured = await capturedBefore(catalog, context);
  const { kept, toFetch, putAway, warnings } = await whatToFetch(catalog, action, captured, context.signal);
  const store = await openStore(catalog, context.signal);
  const saving = new Saving(hypervisor, store, context.signal);
  try {
    if (strategyFor(action, toFetch) === 'all') await saving.allAtOnce(toFetch);
    const rest = toFetch.filter((vm) => !saving.saved.has(vm.uuid));
    await inParallel(rest, Math.min(action.concurrency, singlesMax), (vm) => saving.single(vm));
    await store.commit();
  } catch (error) {
    await store.abort();
    throw error;
  }

  const fetched = toFetch.flatMap((vm): SavedDocument[] => {
    const found = saving.saved.get(vm.uuid);
    return found === undefined ? [] : [{ uuid: vm.uuid, nameLabel: vm.nameLabel, ...found }];
  });
  const output: DocumentsOutput = {
    vms: [
      ...fetched,
      ...kept.map(({ uuid, nameLabel, document, from }) => ({ uuid, nameLabel, document, from })),
    ].sort(byName),
    failures: [
      ...toFetch.flatMap((vm) => {
        const reason = saving.failures.get(vm.uuid);
        return reason === undefined ? [] : [{ uuid: vm.uuid, nameLabel: vm.nameLabel, reason }];
      }),
      ...putAway.map((vm) => ({
        ...vm,
        reason: `what site ${action.site} holds of it is a copy in quarantine, not the VM that serves`,
      })),
    ],
  };
  if (fetched.length === 0 && kept.length === 0 && output.failures.length > 0) {
    throw new OperatorError({
      code: 'DR-EXPORT-NONE',
      what: `Not one of ${output.failures.length} VMs of site ${action.site} could be exported`,
      known: output.failures.slice(0, 5).map((vm) => `${vm.nameLabel}: ${vm.reason}`),
      next: 'Look at the first reason; the pool is reached, but gives no metadata',
    });
  }
  assertNobodyIsLeftBehind(action, output, context);
  return {
    output: JSON.parse(JSON.stringify(output)) as Json,
    warnings: [
      ...warnings,
      ...saving.warnings,
      ...output.failures.map((vm) => `VM ${vm.nameLabel} has no document in this point: ${vm.reason}`),
    ],
  };
}

/**
 * An export goes on without a VM that cannot be saved. A move must not: what it does not save here it cannot import over
 * there, and would notice only after the promotion.
 */
function assertNobodyIsLeftBehind(
  action: ActionOf<'save-documents'>,
  { failures }: DocumentsOutput,
  { plan, run }: StepContext,
): void {
  const moved = new Set(
    plan.steps.flatMap((step) =>
      step.action.do === 'import-vms' && step.action.site !== action.site
        ? step.action.vms.map((vm) => vm.uuid)
        : [],
    ),
  );
  const missing = failures.filter((vm) => moved.has(vm.uuid));
  if (missing.length === 0) return;
  throw new OperatorError({
    code: 'DR-POINT-INCOMPLETE',
    what: `${missing.length} of ${moved.size} VMs that are to move could not be saved at site ${action.site}`,
    where: { site: action.site },
    known: [
      ...missing.slice(0, 10).map((vm) => `${vm.nameLabel}: ${vm.reason}`),
      'nothing has been handed over',
    ],
    next: `Remove the reason and go on with \`lifeboat run resume ${run}\`; or go back with \`lifeboat run undo ${run} --reason "…"\``,
  });
}

/** As planned; where more has to be fetched than was planned, by the same rule. */
function strategyFor(action: ActionOf<'save-documents'>, toFetch: readonly NamedVm[]): ExportStrategy {
  if (toFetch.length <= action.vms.length) return action.strategy;
  return exportStrategy(toFetch.length, action.vmsInPool ?? Number.POSITIVE_INFINITY);
}

interface ToFetch {
  readonly kept: readonly KeptDocument[];
  readonly toFetch: readonly NamedVm[];
  /** Of these there are only copies in quarantine: a point that held them would pass for a good one. */
  readonly putAway: readonly NamedVm[];
  readonly warnings: readonly string[];
}

/** The planned documents stay when their VMs were still the same at the capture, and when each target has them whole. */
async function whatToFetch(
  catalog: Catalog,
  action: ActionOf<'save-documents'>,
  captured: CapturedPool | null,
  signal: AbortSignal,
): Promise<ToFetch> {
  const planned = action.kept ?? [];
  const copies = new Set(captured?.putAway);
  const digests = new Map(captured?.vms.map((vm) => [vm.uuid, vm.digest]));
  const unchanged = planned.filter((vm) => !copies.has(vm.uuid) && digests.get(vm.uuid) === vm.digest);
  const lost = await lostDocuments(catalog, unchanged, signal);
  const kept = unchanged.filter((vm) => !lost.has(vm.document.sha256));
  const stay = new Set(kept.map((vm) => vm.uuid));
  const others = planned.filter((vm) => !stay.has(vm.uuid));
  const all = [...action.vms, ...others].map(({ uuid, nameLabel }) => ({ uuid, nameLabel })).sort(byName);
  return {
    kept,
    toFetch: all.filter((vm) => !copies.has(vm.uuid)),
    putAway: all.filter((vm) => copies.has(vm.uuid)),
    warnings: lossWarnings(unchanged, lost),
  };
}

async function capturedBefore(catalog: Catalog, context: StepContext): Promise<CapturedPool | null> {
  const capture = nearestBefore('capture-pool', context);
  return capture?.output == null ? null : readCaptured(catalog, capture.output, context.signal);
}

/** Names of the targets that do not have a document whole, by its SHA-256. */
async function lostDocuments(
  catalog: Catalog,
  kept: readonly KeptDocument[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, readonly string[]>> {
  const lost = new Map<string, string[]>();
  const documents = kept.map((vm) => vm.document);
  if (documents.length === 0) return lost;
  if (catalog.lacking !== undefined) {
    for (const { target, objects } of await catalog.lacking(documents, signal))
      for (const { sha256 } of objects) lost.set(sha256, [...(lost.get(sha256) ?? []), target]);
    return lost;
  }
  for (const document of documents) {
    try {
      await catalog.get(document, signal);
    } catch (error) {
      if (!concernsOneObject(error)) throw error;
      lost.set(document.sha256, ['of the catalog']);
    }
  }
  return lost;
}

function lossWarnings(kept: readonly KeptDocument[], lost: ReadonlyMap<string, readonly string[]>): string[] {
  const byTarget = new Map<string, string[]>();
  for (const { nameLabel, document } of kept)
    for (const target of lost.get(document.sha256) ?? [])
      byTarget.set(target, [...(byTarget.get(target) ?? []), nameLabel]);
  return [...byTarget].map(
    ([target, names]) =>
      `target ${target} has lost documents of earlier points: they were fetched again for ${listed(names)}`,
  );
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
  readonly saved = new Map<Uuid, { readonly document: ObjectRef; readonly powerState: string | null }>();
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
    const keep = async (uuid: Uuid, made: MetadataDocument): Promise<void> => {
      try {
        await this.#keep(uuid, made);
      } catch (error) {
        storeFailure ??= { error };
      }
    };
    try {
      for await (const made of splitStream(await this.#hypervisor.exportAllMetadata(this.#signal))) {
        if (storeFailure !== null) break;
        if (!wanted.has(made.uuid)) continue;
        this.#noteRepairs(made.nameLabel, made.repaired);
        underway.push(keep(made.uuid, made.document));
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
    if (document !== null) await this.#keep(vm.uuid, document);
  }

  async #keep(uuid: Uuid, made: MetadataDocument): Promise<void> {
    const document = await this.#store.put(packDocument(made));
    this.saved.set(uuid, { document, powerState: powerStateIn(made) });
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
