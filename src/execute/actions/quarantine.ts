/**
 * Copies that must not start by themselves (xapi.md 8.4, 8.5): every way of starting blocked, auto-start and HA off, and
 * a mark that tells them apart from anything else. A guest that runs is a question for a person.
 */

import type { QuarantinedVm } from '../../domain/actions/moving.ts';
import { OperatorError } from '../../domain/errors.ts';
import type { PoolFacts, VmFacts } from '../../domain/pool.ts';
import { autoStartKey, isQuarantined, quarantineKey } from '../../domain/quarantine.ts';
import type { Hypervisor } from '../../ports/hypervisor.ts';
import type { ActionOf, ActResult, StepContext, Verdict } from '../handlers.ts';
import { ours } from './shutdown.ts';
import { fencedOperations, stopVm } from './vms.ts';
import { byUuid, inParallel, listed, type World } from './world.ts';

const callsAtOnce = 4;
const shutdownsAtOnce = 32;

export async function quarantineVms(
  world: World,
  action: ActionOf<'quarantine-vms'>,
  context: StepContext,
): Promise<ActResult> {
  const { signal } = context;
  const hypervisor = await world.hypervisor(action.site);
  const there = byUuid((await hypervisor.observe(signal)).vms);
  const vms = action.vms.filter((vm) => there.has(vm.uuid));
  // Blocked first: what is stopped afterwards cannot be started again in between, by HA or by a person.
  await inParallel(vms, callsAtOnce, (vm) =>
    hypervisor.blockOperations(vm.uuid, fencedOperations, action.reason, signal),
  );
  const warnings: string[] = [];
  const running = vms.filter((vm) => there.get(vm.uuid)?.powerState !== 'Halted');
  if (running.length > 0) {
    if (!action.stopRunning) throw twinsRun(action.site, running, context);
    await inParallel(running, shutdownsAtOnce, (vm) => stopVm(world, hypervisor, vm, warnings, signal));
  }
  const reason = `${action.reason} (run ${context.run})`;
  await inParallel(vms, callsAtOnce, (vm) => putAway(hypervisor, vm, there.get(vm.uuid), reason, signal));
  return {
    output: {
      quarantined: vms.map((vm) => vm.nameLabel),
      stopped: running.map((vm) => vm.nameLabel),
      notThere: action.vms.filter((vm) => !there.has(vm.uuid)).map((vm) => vm.nameLabel),
    },
    warnings,
  };
}

async function putAway(
  hypervisor: Hypervisor,
  { uuid }: QuarantinedVm,
  found: VmFacts | undefined,
  reason: string,
  signal: AbortSignal,
): Promise<void> {
  if (found?.otherConfig[autoStartKey] !== undefined)
    await hypervisor.setVmOtherConfig(uuid, autoStartKey, null, signal);
  if (found !== undefined && found.haRestartPriority !== '')
    await hypervisor.setHaRestartPriority(uuid, '', signal);
  // The mark comes last: whoever bears it is quarantined wholly.
  if (found === undefined || !isQuarantined(found))
    await hypervisor.setVmOtherConfig(uuid, quarantineKey, reason, signal);
}

function twinsRun(
  site: string,
  running: readonly QuarantinedVm[],
  { plan, run }: StepContext,
): OperatorError {
  return new OperatorError({
    code: 'DR-TWIN-RUNNING',
    what: `${running.length === 1 ? '1 VM' : `${running.length} VMs`} of group ${plan.group} ${running.length === 1 ? 'runs' : 'run'} at site ${site}, which is to hold halted copies only`,
    where: { site },
    known: [`running: ${listed(running.map((vm) => vm.nameLabel))}`, 'none of them can be started again'],
    next: `Shut them down there and go on: \`lifeboat run resume ${run}\`; or let it be done: \`lifeboat ${plan.operation} ${plan.group} --stop-old "REASON"\``,
  });
}

/** Undoes a quarantine: only what the quarantine itself took away is given back. */
export async function releaseVms(
  world: World,
  action: ActionOf<'release-vms'>,
  context: StepContext,
): Promise<ActResult> {
  const { signal } = context;
  const hypervisor = await world.hypervisor(action.site);
  const there = byUuid((await hypervisor.observe(signal)).vms);
  const vms = action.vms.filter((vm) => there.has(vm.uuid));
  await inParallel(vms, callsAtOnce, async ({ uuid, autoStart, haPriority, blocked }) => {
    await hypervisor.setVmOtherConfig(uuid, quarantineKey, null, signal);
    if (autoStart) await hypervisor.setVmOtherConfig(uuid, autoStartKey, 'true', signal);
    if (haPriority !== '') await hypervisor.setHaRestartPriority(uuid, haPriority, signal);
    await hypervisor.unblockOperations(uuid, ours(blocked), signal);
  });
  return { output: { released: vms.map((vm) => vm.nameLabel) }, warnings: [] };
}

export async function areQuarantined(
  world: World,
  site: string,
  vms: readonly QuarantinedVm[],
  signal: AbortSignal,
): Promise<Verdict> {
  const hypervisor = await world.hypervisor(site);
  const open = atLarge(await hypervisor.observe(signal), vms);
  return open.length === 0
    ? { holds: true }
    : { holds: false, because: `not quarantined at site ${site}: ${listed(open)}` };
}

/** Names of those that are there and could start, or run. */
function atLarge(pool: PoolFacts, vms: readonly QuarantinedVm[]): string[] {
  const there = byUuid(pool.vms);
  return vms.flatMap((vm) => {
    const found = there.get(vm.uuid);
    const isAway =
      found === undefined ||
      (found.powerState === 'Halted' &&
        isQuarantined(found) &&
        found.haRestartPriority === '' &&
        found.otherConfig[autoStartKey] === undefined &&
        fencedOperations.every((name) => found.blockedOperations[name] !== undefined));
    return isAway ? [] : [vm.nameLabel];
  });
}
