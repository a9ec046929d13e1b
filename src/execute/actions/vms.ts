/** VMs: fenced at the old site, started at the new one, and what belongs to them afterwards (design, failover 1, 7 to 9). */
import { OperatorError, PortError } from '../../domain/errors.ts';
import type { NamedVm } from '../../domain/plan.ts';
import type { PoolFacts } from '../../domain/pool.ts';
import type { Hypervisor } from '../../ports/hypervisor.ts';
import { lossDeclared } from '../decisions.ts';
import type { ActionOf, ActResult, ConditionOf, StepContext, Verdict } from '../handlers.ts';
import type { ImportOutput } from './import.ts';
import type { TwinWatch } from './twins.ts';
import { byUuid, concernsOneObject, inParallel, listed, outputsOf, sentenceOf, type World } from './world.ts';

/** What keeps a VM from running by any way that xapi knows; exports and destruction stay possible (xapi.md 8.4). */
export const fencedOperations = [
  'start',
  'start_on',
  'resume',
  'resume_on',
  'pool_migrate',
  'migrate_send',
] as const;
const callsAtOnce = 4;
/** Guests shut down beside each other: xapi queues them, and one by one a hundred of them would take hours. */
const shutdownsAtOnce = 32;
/** How long a guest gets to shut down by itself before it is switched off. */
const cleanShutdownSeconds = 120;

/**
 * Does what it can: a VM that cannot be fenced is named, and holds up neither the others nor the failover, since its
 * copy is started only if it is not seen running (invariant 1). A site that falls silent on the way is left alone.
 */
export async function fenceVms(
  world: World,
  action: ActionOf<'fence-vms'>,
  context: StepContext,
): Promise<ActResult> {
  const hypervisor = await world.hypervisor(action.site);
  const warnings: string[] = [];
  const states = await hypervisor.vmStates(
    action.vms.map((vm) => vm.uuid),
    context.signal,
  );
  const there = action.vms.filter((vm) => states.has(vm.uuid));
  const open = new Set<string>();
  let silence: string | null = null;
  const attempt = async (vm: NamedVm, what: string, work: () => Promise<void>): Promise<void> => {
    if (silence !== null) {
      open.add(vm.nameLabel);
      return;
    }
    try {
      await work();
    } catch (error) {
      if (context.signal.aborted || !(error instanceof PortError || error instanceof OperatorError))
        throw error;
      open.add(vm.nameLabel);
      if (concernsOneObject(error))
        warnings.push(`VM ${vm.nameLabel} could not be ${what}: ${sentenceOf(error)}`);
      else silence ??= sentenceOf(error);
    }
  };
  // Blocked first: what is stopped afterwards cannot be started again in between, by HA or by a person.
  await inParallel(there, callsAtOnce, (vm) =>
    attempt(vm, 'blocked', () =>
      hypervisor.blockOperations(vm.uuid, fencedOperations, action.reason, context.signal),
    ),
  );
  const running = there.filter((vm) => states.get(vm.uuid)?.powerState !== 'Halted');
  await inParallel(running, shutdownsAtOnce, (vm) =>
    attempt(vm, 'stopped', () => stopVm(world, hypervisor, vm, warnings, context.signal)),
  );
  if (silence !== null)
    warnings.push(
      `site ${action.site} stopped answering (${silence}): not fenced are ${listed([...open].sort())}`,
    );
  return {
    output: {
      fenced: there.map((vm) => vm.nameLabel).filter((name) => !open.has(name)),
      stopped: running.map((vm) => vm.nameLabel).filter((name) => !open.has(name)),
      notThere: action.vms.filter((vm) => !states.has(vm.uuid)).map((vm) => vm.nameLabel),
    },
    warnings,
    partial: open.size > 0,
  };
}

/** Shut down by the guest if it does so in time, else switched off, which `warnings` then names. */
export async function stopVm(
  world: World,
  hypervisor: Hypervisor,
  vm: NamedVm,
  warnings: string[],
  signal: AbortSignal,
): Promise<void> {
  const limit = new AbortController();
  const timer = new AbortController();
  const late = world.clock.sleep(cleanShutdownSeconds, timer.signal).then(
    () => limit.abort(new Error('the guest did not shut down in time')),
    () => null,
  );
  try {
    await hypervisor.cleanShutdownVm(vm.uuid, AbortSignal.any([limit.signal, signal]));
  } catch (error) {
    if (signal.aborted) throw error;
    warnings.push(
      `VM ${vm.nameLabel} did not shut down by itself (${sentenceOf(error)}) and was switched off`,
    );
    await hypervisor.hardShutdownVm(vm.uuid, signal);
  } finally {
    timer.abort();
    await late;
  }
}

/** A site that a person declared lost and that does not answer any more cannot be fenced: that must hold up nobody. */
export async function areFenced(
  world: World,
  site: string,
  vms: readonly NamedVm[],
  context: StepContext,
): Promise<Verdict> {
  const hypervisor = await world.hypervisor(site);
  let pool: PoolFacts;
  try {
    pool = await hypervisor.observe(context.signal);
  } catch (error) {
    if (!(error instanceof PortError) || lossDeclared(context.decisions) === null) throw error;
    const endpoints = await hypervisor.contact(context.signal);
    if (context.signal.aborted || endpoints.some((endpoint) => endpoint.answered)) throw error;
    return {
      holds: true,
      warnings: [
        `site ${site} does not answer any more and was not fenced: make sure that nothing of the group runs there (${sentenceOf(error)})`,
      ],
    };
  }
  const there = byUuid(pool.vms);
  const open = vms.filter((vm) => {
    const found = there.get(vm.uuid);
    if (found === undefined) return false;
    return (
      found.powerState !== 'Halted' ||
      fencedOperations.some((name) => found.blockedOperations[name] === undefined)
    );
  });
  return open.length === 0
    ? { holds: true }
    : {
        holds: false,
        because: `not stopped and blocked at site ${site}: ${listed(open.map((vm) => vm.nameLabel))}`,
      };
}

export async function startVm(
  world: World,
  twins: TwinWatch,
  action: ActionOf<'start-vm'>,
  context: StepContext,
): Promise<ActResult> {
  const { vm, site } = action;
  const hypervisor = await world.hypervisor(site);
  const state = (await hypervisor.vmStates([vm.uuid], context.signal)).get(vm.uuid);
  if (state === undefined || importFaults(vm, context).length > 0)
    throw notImported(vm, site, state !== undefined, context);
  const delay = action.skippedDelaySeconds;
  // It came up before a crash, and only its start_delay is not as it was.
  const isUp = delay !== undefined && state.powerState === 'Running';
  if (!isUp) {
    if (action.twinSite !== null) await twins.assertNotRunning(vm, action.twinSite, context);
    if (delay !== undefined) await hypervisor.setStartDelay(vm.uuid, 0, context.signal);
    try {
      await hypervisor.startVm(vm.uuid, context.signal);
    } catch (error) {
      // What was refused stays as it was imported, whatever becomes of the run.
      if (delay !== undefined && error instanceof PortError && error.kind === 'refused')
        await hypervisor.setStartDelay(vm.uuid, delay, context.signal);
      if (error instanceof PortError && error.peerCode === 'NO_HOSTS_AVAILABLE')
        throw await explained(error, world, action, context);
      throw error;
    }
  }
  if (delay !== undefined) await hypervisor.setStartDelay(vm.uuid, delay, context.signal);
  // Whether it runs, and where, is for the condition to say: a look here would be one of two at the same moment.
  return { output: null, warnings: [] };
}

/** What the import of this run found wrong with the VM: a wrong network, a disk that is not its own. */
function importFaults(vm: NamedVm, context: StepContext): string[] {
  return outputsOf('import-vms', context).flatMap(({ output }) => {
    // Written by importVms of the same run.
    const made = output as unknown as ImportOutput | null;
    return made?.vms.find((candidate) => candidate.uuid === vm.uuid)?.reason ?? [];
  });
}

function notImported(vm: NamedVm, site: string, isThere: boolean, context: StepContext): OperatorError {
  return new OperatorError({
    code: 'DR-VM-NOT-THERE',
    what: isThere
      ? `VM ${vm.nameLabel} is not started: what is in the pool is not the VM of the recovery point`
      : `VM ${vm.nameLabel} cannot be started: it is not in the pool`,
    where: { site },
    known: importFaults(vm, context),
    next: 'Remove the reason and resume the run, which tries the import and the start again',
  });
}

/** `NO_HOSTS_AVAILABLE` comes without reasons: every host is asked for its own (xapi.md 8.2). */
async function explained(
  error: PortError,
  world: World,
  action: ActionOf<'start-vm'>,
  context: StepContext,
): Promise<PortError> {
  const hypervisor = await world.hypervisor(action.site);
  const reasons = await hypervisor.whyNotHere(action.vm.uuid, context.signal);
  return new PortError(
    'refused',
    {
      code: 'DR-VM-NO-HOST',
      what: `No host of site ${action.site} takes VM ${action.vm.nameLabel}`,
      where: { site: action.site, object: `VM ${action.vm.nameLabel}` },
      known: reasons.map(
        ({ hostName, reason }) => `${hostName}: ${reason === '' ? 'would take it now' : reason}`,
      ),
      next: 'Free what is missing (memory, storage, network, a disabled host), then resume the run',
    },
    { peerCode: 'NO_HOSTS_AVAILABLE', cause: error },
  );
}

export async function isRunning(
  world: World,
  { site, vm, skippedDelaySeconds = 0 }: ConditionOf<'vm-running'>,
  signal: AbortSignal,
): Promise<Verdict> {
  const hypervisor = await world.hypervisor(site);
  const state = (await hypervisor.vmStates([vm.uuid], signal)).get(vm.uuid);
  if (state?.powerState === 'Running' && state.startDelaySeconds === 0 && skippedDelaySeconds > 0)
    return { holds: false, because: `VM ${vm.nameLabel} runs, and its start_delay is not put back yet` };
  if (state?.powerState === 'Running') return { holds: true, output: { host: state.residentOn } };
  const because = state === undefined ? 'is not in the pool' : `is ${state.powerState.toLowerCase()}`;
  return { holds: false, because: `VM ${vm.nameLabel} ${because}` };
}

export async function rebuildAppliance(
  world: World,
  action: ActionOf<'rebuild-appliance'>,
  context: StepContext,
): Promise<ActResult> {
  const hypervisor = await world.hypervisor(action.site);
  const uuids = action.vms.map((vm) => vm.uuid);
  const states = await hypervisor.vmStates(uuids, context.signal);
  const absent = action.vms.filter((vm) => !states.has(vm.uuid));
  const uuid = await hypervisor.rebuildAppliance(
    action.nameLabel,
    action.nameDescription,
    uuids.filter((vm) => states.has(vm)),
    context.signal,
  );
  return {
    output: { uuid },
    warnings: absent.map(
      (vm) => `VM ${vm.nameLabel} is not in vApp ${action.nameLabel}: it was not imported`,
    ),
    partial: absent.length > 0,
  };
}

export async function applianceHas(
  world: World,
  site: string,
  nameLabel: string,
  vms: readonly NamedVm[],
  signal: AbortSignal,
): Promise<Verdict> {
  const pool = await (await world.hypervisor(site)).observe(signal);
  const appliance = pool.appliances.find((candidate) => candidate.nameLabel === nameLabel);
  if (appliance === undefined) return { holds: false, because: `there is no vApp ${nameLabel}` };
  const outside = vms.filter((vm) => !appliance.vmUuids.includes(vm.uuid));
  return outside.length === 0
    ? { holds: true, output: { uuid: appliance.uuid } }
    : { holds: false, because: `not in vApp ${nameLabel}: ${listed(outside.map((vm) => vm.nameLabel))}` };
}

export async function restoreHa(
  world: World,
  action: ActionOf<'restore-ha'>,
  context: StepContext,
): Promise<ActResult> {
  const hypervisor = await world.hypervisor(action.site);
  const warnings: string[] = [];
  const states = await hypervisor.vmStates(
    action.vms.map((vm) => vm.uuid),
    context.signal,
  );
  await inParallel(action.vms, callsAtOnce, async (vm) => {
    // HA starts a halted VM that has a priority by itself: one whose start was refused must stay as it is (xapi.md 8.5).
    const state = states.get(vm.uuid);
    if (state?.powerState !== 'Running') {
      const how = state === undefined ? 'is not in the pool' : `is ${state.powerState.toLowerCase()}`;
      warnings.push(
        `HA priority "${vm.priority}" of VM ${vm.nameLabel} was not restored: it ${how}, and HA could start it`,
      );
      return;
    }
    try {
      await hypervisor.setHaRestartPriority(vm.uuid, vm.priority, context.signal);
    } catch (error) {
      if (!concernsOneObject(error)) throw error;
      warnings.push(
        `HA priority "${vm.priority}" of VM ${vm.nameLabel} was not restored: ${sentenceOf(error)}`,
      );
    }
  });
  if (warnings.length === action.vms.length && warnings.length > 0) {
    throw new OperatorError({
      code: 'DR-HA-NOT-RESTORED',
      what: `The HA priority of none of ${action.vms.length} VMs could be restored`,
      where: { site: action.site },
      known: warnings.slice(0, 5),
      next: 'Set the priorities by hand, or remove the reason and resume the run',
    });
  }
  return {
    output: { restored: action.vms.length - warnings.length },
    warnings,
    partial: warnings.length > 0,
  };
}

export async function isHaRestored(
  world: World,
  site: string,
  vms: readonly (NamedVm & { readonly priority: string })[],
  signal: AbortSignal,
): Promise<Verdict> {
  const pool = await (await world.hypervisor(site)).observe(signal);
  const there = byUuid(pool.vms);
  const open = vms.filter((vm) => there.get(vm.uuid)?.haRestartPriority !== vm.priority);
  return open.length === 0
    ? { holds: true }
    : { holds: false, because: `another HA priority: ${listed(open.map((vm) => vm.nameLabel))}` };
}
