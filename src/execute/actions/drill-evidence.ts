/** What a drill proves: the inventory before and after, and how each copy stood while it ran. */
import type { Inventory, Named, ProvenVm } from '../../domain/actions/drill.ts';
import type { Json } from '../../domain/canonical.ts';
import { drillOfSr, drillOfVm, groupOfDrill } from '../../domain/drill.ts';
import { OperatorError } from '../../domain/errors.ts';
import type { PoolFacts, VmFacts } from '../../domain/pool.ts';
import type { ActionOf, ActResult, StepContext } from '../handlers.ts';
import { addressesOf } from './gates.ts';
import { byUuid, listed, type World } from './world.ts';

export async function recordInventory(
  world: World,
  action: ActionOf<'record-inventory'>,
  context: StepContext,
): Promise<ActResult> {
  const pool = await (await world.hypervisor(action.site)).observe(context.signal);
  return { output: asJson(inventoryOf(pool)), warnings: [] };
}

/** VMs, SRs, networks and vApps by name: VDIs and PBDs belong to SRs, and are not counted beside them. */
export function inventoryOf(pool: PoolFacts): Inventory {
  const names = (items: readonly Named[]): Named[] =>
    items
      .map(({ uuid, nameLabel }) => ({ uuid, nameLabel }))
      .sort((a, b) => (a.uuid < b.uuid ? -1 : a.uuid > b.uuid ? 1 : 0));
  return {
    takenAt: pool.observedAt,
    vms: names(pool.vms),
    srs: names(pool.srs),
    networks: names(pool.networks),
    appliances: names(pool.appliances),
  };
}

export interface ProofOutput {
  readonly vms: readonly {
    readonly uuid: string;
    readonly original: string;
    readonly nameLabel: string;
    /** It runs, and every gate of its tier was seen open. */
    readonly proven: boolean;
    /** What is missing for the proof; null when it is proven. */
    readonly reason: string | null;
    readonly host: string | null;
    readonly addresses: readonly string[];
    /** Disks of the copy, each on the clone under the uuid that it has in the recovery point. */
    readonly disks: readonly { readonly uuid: string; readonly nameLabel: string; readonly bytes: number }[];
    readonly networks: readonly string[];
  }[];
}

/** Looks at the copies while they run. When not one VM is proven the drill has failed, whatever else went well. */
export async function recordProof(
  world: World,
  action: ActionOf<'record-proof'>,
  context: StepContext,
): Promise<ActResult> {
  const hypervisor = await world.hypervisor(action.site);
  const pool = await hypervisor.observe(context.signal);
  const states = await hypervisor.vmStates(
    action.vms.map((vm) => vm.uuid),
    context.signal,
  );
  const there = byUuid(pool.vms);
  const hosts = byUuid(pool.hosts);
  const vms = action.vms.map((vm): ProofOutput['vms'][number] => {
    const state = states.get(vm.uuid);
    const reason = whyNotProven(vm, state?.powerState, context);
    return {
      uuid: vm.uuid,
      original: vm.original,
      nameLabel: vm.nameLabel,
      proven: reason === null,
      reason,
      host: state?.residentOn == null ? null : (hosts.get(state.residentOn)?.nameLabel ?? null),
      addresses: addressesOf(state),
      disks: disksOf(there.get(vm.uuid), pool),
      networks: networksOf(there.get(vm.uuid), pool),
    };
  });
  const open = vms.filter((vm) => !vm.proven);
  const said = open.map((vm) => `VM ${vm.nameLabel} was not proven: ${vm.reason}`);
  if (open.length === vms.length && vms.length > 0) {
    throw new OperatorError({
      code: 'DR-DRILL-UNPROVEN',
      what: `Not one of ${vms.length} VMs was proven to come up`,
      where: { site: action.site },
      known: said.slice(0, 10),
      next: 'Look at the first step that failed, remove the reason, and begin a new drill',
    });
  }
  const output: ProofOutput = { vms };
  return { output: asJson(output), warnings: said };
}

function whyNotProven(vm: ProvenVm, powerState: string | undefined, context: StepContext): string | null {
  if (powerState === undefined) return 'its copy is not in the pool';
  if (powerState !== 'Running') return `its copy is ${powerState.toLowerCase()}`;
  if (context.output(vm.startedBy) === null) return 'its start was not seen to succeed';
  if (vm.readyBy !== null && context.output(vm.readyBy) === null)
    return 'it runs, but did not become ready in time';
  return null;
}

function disksOf(vm: VmFacts | undefined, pool: PoolFacts): ProofOutput['vms'][number]['disks'] {
  const disks = byUuid(pool.vdis);
  return (vm?.vbds ?? [])
    .filter((vbd) => vbd.type === 'Disk')
    .flatMap((vbd) => (vbd.vdiUuid === null ? [] : (disks.get(vbd.vdiUuid) ?? [])))
    .map((vdi) => ({ uuid: vdi.uuid, nameLabel: vdi.nameLabel, bytes: vdi.virtualSize }))
    .sort((a, b) => (a.uuid < b.uuid ? -1 : 1));
}

function networksOf(vm: VmFacts | undefined, pool: PoolFacts): string[] {
  const networks = byUuid(pool.networks);
  return (vm?.vifs ?? []).map((vif) => networks.get(vif.networkUuid)?.nameLabel ?? vif.networkUuid).sort();
}

export interface ComparisonOutput {
  /** Null when the inventory before is not known any more. */
  readonly equal: boolean | null;
  readonly before: string | null;
  readonly after: string;
  /** Sentences; of other people's doing, since nothing that bears a mark of a drill is left. */
  readonly differences: readonly string[];
}

/**
 * Before equals after. What bears a mark of a drill of this group must be gone: anything left fails the step. Other
 * differences are other people's work in the meantime, and are named.
 */
export async function compareInventory(
  world: World,
  action: ActionOf<'compare-inventory'>,
  context: StepContext,
): Promise<ActResult> {
  const pool = await (await world.hypervisor(action.site)).observe(context.signal);
  const left = [...leftInPool(pool, action.group), ...(await leftOnArrays(world, action, context))];
  if (left.length > 0) {
    throw new OperatorError({
      code: 'DR-DRILL-LEFTOVER',
      what: `${left.length} objects of a drill are left at site ${action.site}`,
      where: { site: action.site },
      known: left.slice(0, 10),
      next: `Run \`lifeboat drill cleanup ${action.group}\``,
    });
  }
  const before = action.before ?? recorded(action.recordedBy, context);
  const after = inventoryOf(pool);
  const differences = before === null ? [] : differencesOf(before, after);
  const output: ComparisonOutput = {
    equal: before === null ? null : differences.length === 0,
    before: before?.takenAt ?? null,
    after: after.takenAt,
    differences,
  };
  return {
    output: asJson(output),
    warnings: differences.map((difference) => `not of this drill's doing: ${difference}`),
  };
}

function leftInPool(pool: PoolFacts, group: string): string[] {
  const isOurs = (drill: string | null): boolean => drill !== null && groupOfDrill(drill) === group;
  return [
    ...pool.vms.filter((vm) => isOurs(drillOfVm(vm))).map((vm) => `VM ${vm.nameLabel} (${vm.uuid})`),
    ...pool.srs.filter((sr) => isOurs(drillOfSr(sr))).map((sr) => `SR ${sr.nameLabel} (${sr.uuid})`),
  ];
}

async function leftOnArrays(
  world: World,
  action: ActionOf<'compare-inventory'>,
  context: StepContext,
): Promise<string[]> {
  const left: string[] = [];
  for (const name of action.arrays) {
    const clones = await (await world.array(name)).drillList(context.signal);
    for (const clone of clones)
      if (groupOfDrill(clone.drill) === action.group)
        left.push(`${clone.name} on array ${name}, a clone of volume ${clone.volume}`);
  }
  return left;
}

function recorded(stepId: string | null, context: StepContext): Inventory | null {
  const output = stepId === null ? null : context.output(stepId);
  // Written by recordInventory of the same run.
  return output as unknown as Inventory | null;
}

const kinds = ['vms', 'srs', 'networks', 'appliances'] as const;
const kindWords = { vms: 'VM', srs: 'SR', networks: 'network', appliances: 'vApp' } as const;

export function differencesOf(before: Inventory, after: Inventory): string[] {
  return kinds.flatMap((kind) => {
    const was = new Map(before[kind].map((item) => [item.uuid, item.nameLabel]));
    const is = new Map(after[kind].map((item) => [item.uuid, item.nameLabel]));
    const word = kindWords[kind];
    const gone = [...was].filter(([uuid]) => !is.has(uuid)).map(([, name]) => name);
    const come = [...is].filter(([uuid]) => !was.has(uuid)).map(([, name]) => name);
    const renamed = [...is].filter(([uuid, name]) => was.has(uuid) && was.get(uuid) !== name);
    return [
      ...(gone.length === 0 ? [] : [`${word} ${listed(gone)} is gone`]),
      ...(come.length === 0 ? [] : [`${word} ${listed(come)} has come`]),
      ...renamed.map(([uuid, name]) => `${word} ${was.get(uuid)} is called ${name} now`),
    ];
  });
}

function asJson(value: unknown): Json {
  return JSON.parse(JSON.stringify(value)) as Json;
}
