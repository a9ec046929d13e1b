/** The VMs are imported in tier order, so that the first tier starts while the rest is still being imported. */
import type { PointVm } from '../../domain/recovery-point.ts';
import { costs } from '../forecast.ts';
import type { StartOrder } from '../tiers.ts';
import type { RecoverDraft } from './draft.ts';
import { type Difference, withOwnNetworks } from './overrides.ts';

/** VMs per import document (performance.md 8: 50 to 100). Smaller at first: the first tier shall be up soon. */
export const importBatchSize = 50;

export interface ImportSource {
  /** Per SR, the step after which its disks may be relied upon. */
  readonly attached: ReadonlyMap<string, string>;
  /** What the recovery plan wants between the storage and the first import. */
  readonly settled: readonly string[];
  readonly differenceOf: (vm: PointVm) => Difference;
}

/** Returns the importing step of each VM. */
export function importAll(
  draft: RecoverDraft,
  { tiers, halted }: StartOrder,
  source: ImportSource,
): Map<string, string> {
  const importedBy = new Map<string, string>();
  let previous: readonly string[] = source.settled;
  const importVms = (name: string, vms: readonly PointVm[]): void => {
    for (const batch of batchesOf(vms, source.differenceOf)) {
      const id = importBatch(draft, name, batch, source, previous);
      previous = [id];
      for (const vm of batch) importedBy.set(vm.uuid, id);
    }
  };
  for (const tier of tiers) importVms(tier.name, tier.vms);
  importVms(
    'halted VMs',
    halted.map(({ vm }) => vm),
  );
  return importedBy;
}

/** A document has one mapping of networks: VMs with networks of their own are imported beside the others. */
function batchesOf(vms: readonly PointVm[], differenceOf: ImportSource['differenceOf']): PointVm[][] {
  const alike = new Map<string, PointVm[]>();
  for (const vm of vms) {
    const key = JSON.stringify(differenceOf(vm).networks);
    alike.set(key, [...(alike.get(key) ?? []), vm]);
  }
  return [...alike.values()].flatMap((same) =>
    Array.from({ length: Math.ceil(same.length / importBatchSize) }, (_, index) =>
      same.slice(index * importBatchSize, (index + 1) * importBatchSize),
    ),
  );
}

function importBatch(
  draft: RecoverDraft,
  name: string,
  batch: readonly PointVm[],
  { attached, differenceOf }: ImportSource,
  previous: readonly string[],
): string {
  const { group } = draft.request;
  const { point } = draft.choice;
  const storage = new Set(batch.flatMap((vm) => vm.srUuids));
  const disks = [...attached].filter(([sr]) => storage.has(sr)).map(([, step]) => step);
  const members = batch.map((vm) => draft.member(vm));
  const own = batch.map((vm) => differenceOf(vm).networks)[0] ?? [];
  const networks = withOwnNetworks(draft.networksFor(batch), own, draft.pool);
  const drill = draft.request.drill?.id;
  return draft.add({
    id: draft.ids.of('import', name),
    after: [...disks, ...previous],
    needs: disks,
    action: {
      do: 'import-vms',
      site: group.recovery,
      pointId: point.id,
      vms: members,
      networks,
      ...(drill === undefined ? {} : { drill }),
    },
    holdsWhen: { is: 'vms-imported', site: group.recovery, vms: members, networks },
    repeatable: true,
    // One VM that is refused must not hold up the others; the report names it.
    onFailure: 'continue',
    uses: [`import:${group.recovery}`],
    timeoutSeconds: 600 + 10 * batch.length,
    forecastSeconds: costs.importSeconds(
      batch.length,
      batch.reduce((sum, vm) => sum + vm.vdiUuids.length, 0),
      draft.pool.vdis.length + point.vdis.length,
    ),
    why: `${batch.length} VMs in one document, with mapped networks, nothing attached, and HA parked`,
  });
}
