/** Copies of VMs for a drill: their new identity, and their removal by mark (xapi.md 8.7). */
import { createHash } from 'node:crypto';
import { drillMark, drillOfVm, drillPrefix, drillTag, originalMark } from '../../domain/drill.ts';
import { OperatorError, PortError } from '../../domain/errors.ts';
import type { ImportedVm } from '../../domain/plan.ts';
import type { VmFacts } from '../../domain/pool.ts';
import type { RecoveryOptions } from '../../metadata/recovery.ts';
import type { Hypervisor } from '../../ports/hypervisor.ts';
import type { ActionOf, ActResult, ConditionOf, StepContext, Verdict } from '../handlers.ts';
import { byUuid, concernsOneObject, inParallel, listed, sentenceOf, type World } from './world.ts';

const callsAtOnce = 4;

/**
 * How the document of a VM becomes that of its copy: the planned uuid, everything else new, marked in the very import,
 * so that a copy that came into being is never without its mark.
 */
export function copyOptions(
  drill: string,
  vm: ImportedVm,
  context: Pick<StepContext, 'run' | 'attempt'>,
): Pick<RecoveryOptions, 'identity' | 'otherConfig' | 'rename' | 'tags'> {
  const next = numbers(`${drill} ${vm.uuid} ${context.run} ${context.attempt}`);
  return {
    identity: { vm: () => vm.uuid, uuid: () => uuidFrom(next()), mac: () => macFrom(next()) },
    otherConfig: {
      [drillMark]: drill,
      [originalMark]: vm.original ?? vm.uuid,
      auto_poweron: null,
    },
    rename: (nameLabel) => `${drillPrefix}${nameLabel}`,
    tags: [drillTag],
  };
}

/** Hashes of a seed and a counter: as good as chance for identities, and the same plan gives the same document. */
function numbers(seed: string): () => Buffer {
  let count = 0;
  return () => {
    count += 1;
    return createHash('sha256').update(`${seed} ${count}`).digest();
  };
}

function uuidFrom(bytes: Buffer): string {
  const hex = bytes.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** Locally administered, and no group address. */
function macFrom(bytes: Buffer): string {
  const first = ((bytes[0] ?? 0) & 0xfc) | 0x02;
  return [first, ...bytes.subarray(1, 6)].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

export async function removeCopies(
  world: World,
  action: ActionOf<'remove-copies'>,
  context: StepContext,
): Promise<ActResult> {
  const hypervisor = await world.hypervisor(action.site);
  const planned = action.vms.map((vm) => vm.uuid);
  const { removed, open } = await removeAll(hypervisor, action.drill, planned, context.signal);
  if (open.length > 0) {
    throw new OperatorError({
      code: 'DR-DRILL-COPIES-LEFT',
      what: `${open.length} copies of drill ${action.drill} could not be removed`,
      where: { site: action.site },
      known: open.slice(0, 10),
      next: `Remove the reason, then run \`lifeboat drill cleanup ${context.plan.group}\``,
    });
  }
  return { output: { removed }, warnings: [] };
}

/**
 * Switches off and removes every VM that bears the mark of the drill, snapshots of such VMs included. A planned uuid
 * without the mark is not ours, and is refused.
 */
export async function removeAll(
  hypervisor: Hypervisor,
  drill: string,
  planned: readonly string[],
  signal: AbortSignal,
): Promise<{ readonly removed: number; readonly open: readonly string[] }> {
  const pool = await hypervisor.observe(signal);
  const there = byUuid(pool.vms);
  const strangers = planned.flatMap((uuid) => there.get(uuid) ?? []).filter((vm) => drillOfVm(vm) !== drill);
  const open = strangers.map((vm) => `VM ${vm.nameLabel} (${vm.uuid}) does not bear the mark of the drill`);
  // Snapshots first: what is left of them would keep the MAC seed of the copy (xapi.md 4.2).
  const ours = pool.vms.filter((vm) => drillOfVm(vm) === drill);
  let removed = 0;
  const remove = async (vm: VmFacts): Promise<void> => {
    try {
      if (!vm.isSnapshot && !vm.isTemplate && vm.powerState !== 'Halted')
        await switchOff(hypervisor, vm, signal);
      await destroy(hypervisor, vm, drill, signal);
      removed += 1;
    } catch (error) {
      if (!concernsOneObject(error)) throw error;
      open.push(`VM ${vm.nameLabel}: ${sentenceOf(error)}`);
    }
  };
  await inParallel(
    ours.filter((vm) => vm.isSnapshot),
    callsAtOnce,
    remove,
  );
  await inParallel(
    ours.filter((vm) => !vm.isSnapshot),
    callsAtOnce,
    remove,
  );
  return { removed, open };
}

/** A start that was still under way when a drill was killed may end between the look and the removal: once more, then. */
async function destroy(
  hypervisor: Hypervisor,
  vm: VmFacts,
  drill: string,
  signal: AbortSignal,
): Promise<void> {
  const mark = { key: drillMark, value: drill };
  try {
    await hypervisor.destroyMarkedVm(vm.uuid, mark, signal);
  } catch (error) {
    if (!(error instanceof PortError) || error.peerCode !== 'VM_BAD_POWER_STATE') throw error;
    await switchOff(hypervisor, vm, signal);
    await hypervisor.destroyMarkedVm(vm.uuid, mark, signal);
  }
}

/** One that has stopped by itself in between is what we want. */
async function switchOff(hypervisor: Hypervisor, vm: VmFacts, signal: AbortSignal): Promise<void> {
  try {
    await hypervisor.hardShutdownVm(vm.uuid, signal);
  } catch (error) {
    if (!(error instanceof PortError) || error.peerCode !== 'VM_BAD_POWER_STATE') throw error;
  }
}

export async function areCopiesGone(
  world: World,
  { site, drill, vms }: ConditionOf<'copies-gone'>,
  { signal }: StepContext,
): Promise<Verdict> {
  const pool = await (await world.hypervisor(site)).observe(signal);
  const planned = new Set(vms.map((vm) => vm.uuid));
  const left = pool.vms.filter((vm) => drillOfVm(vm) === drill || planned.has(vm.uuid));
  return left.length === 0
    ? { holds: true, output: { removed: vms.length } }
    : { holds: false, because: `still there: ${listed(left.map((vm) => vm.nameLabel))}` };
}
