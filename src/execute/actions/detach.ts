/**
 * An SR let go by a pool: its PBDs unplugged on every host, members before the master, the record kept with its names
 * and disks for the way back (xapi.md 7.5, 7.9). A pool without a plugged PBD cannot write to the storage.
 */
import type { NamedSr } from '../../domain/actions/moving.ts';
import { OperatorError, PortError } from '../../domain/errors.ts';
import type { PoolFacts, SrFacts } from '../../domain/pool.ts';
import type { Hypervisor } from '../../ports/hypervisor.ts';
import type { ActionOf, ActResult, StepContext, Verdict } from '../handlers.ts';
import { concernsOneObject, inParallel, listed, sentenceOf, type World } from './world.ts';

const hostsAtOnce = 4;

export async function detachSr(
  world: World,
  action: ActionOf<'detach-sr'>,
  context: StepContext,
): Promise<ActResult> {
  const hypervisor = await world.hypervisor(action.site);
  const pool = await hypervisor.observe(context.signal);
  const sr = pool.srs.find((candidate) => candidate.uuid === action.sr.uuid);
  // A pool that does not know the SR cannot write to it.
  if (sr === undefined) return { output: { hosts: [] }, warnings: [] };
  try {
    const hosts = await unplugAll(hypervisor, pool, sr, context.signal);
    return { output: { hosts }, warnings: [] };
  } catch (error) {
    if (error instanceof PortError && error.peerCode === 'VDI_IN_USE')
      throw inUse(action, pool, sr, error, context);
    throw error;
  }
}

/** LVM SRs are let go by the master last: it is the one that writes their metadata (xapi.md 7.9). */
async function unplugAll(
  hypervisor: Hypervisor,
  pool: PoolFacts,
  sr: SrFacts,
  signal: AbortSignal,
): Promise<string[]> {
  const plugged = sr.pbds.filter((pbd) => pbd.attached).map((pbd) => pbd.hostUuid);
  const members = plugged.filter((host) => host !== pool.masterUuid);
  await inParallel(members, hostsAtOnce, (host) => hypervisor.unplugPbd(sr.uuid, host, signal));
  for (const master of plugged.filter((host) => host === pool.masterUuid))
    await hypervisor.unplugPbd(sr.uuid, master, signal);
  return pool.hosts.filter((host) => plugged.includes(host.uuid)).map((host) => host.nameLabel);
}

function inUse(
  { site }: ActionOf<'detach-sr'>,
  pool: PoolFacts,
  sr: SrFacts,
  cause: PortError,
  { run }: StepContext,
): OperatorError {
  const users = usersOf(pool, sr.uuid);
  return new OperatorError(
    {
      code: 'DR-SR-STILL-USED',
      what: `SR ${sr.nameLabel} cannot be let go: something at site ${site} uses it`,
      where: { site, object: `SR ${sr.uuid}` },
      known: [
        sentenceOf(cause),
        ...(users.length === 0 ? [] : [`VMs with an attached disk on it: ${listed(users)}`]),
      ],
      next: `Shut these VMs down or detach their disks, then resume the run: \`lifeboat run resume ${run}\``,
    },
    { cause },
  );
}

/** Names of VMs that are not halted and have a disk on this SR. */
function usersOf(pool: PoolFacts, srUuid: string): string[] {
  const disks = new Set(pool.vdis.filter((vdi) => vdi.srUuid === srUuid).map((vdi) => vdi.uuid));
  return pool.vms
    .filter(
      (vm) =>
        vm.powerState !== 'Halted' &&
        !vm.isSnapshot &&
        vm.vbds.some((vbd) => vbd.vdiUuid !== null && disks.has(vbd.vdiUuid)),
    )
    .map((vm) => vm.nameLabel)
    .sort();
}

export async function isDetached(
  world: World,
  site: string,
  sr: NamedSr,
  signal: AbortSignal,
): Promise<Verdict> {
  const pool = await (await world.hypervisor(site)).observe(signal);
  const pbds = pool.srs.find((candidate) => candidate.uuid === sr.uuid)?.pbds ?? [];
  const plugged = new Set(pbds.filter((pbd) => pbd.attached).map((pbd) => pbd.hostUuid));
  if (plugged.size === 0) return { holds: true };
  const hosts = pool.hosts.filter((host) => plugged.has(host.uuid)).map((host) => host.nameLabel);
  return { holds: false, because: `SR ${sr.nameLabel} is still plugged on ${listed(hosts)}` };
}

/** Undoes a detachment: the PBDs are as they were, so they are plugged as they are. */
export async function plugSr(
  world: World,
  action: ActionOf<'plug-sr'>,
  context: StepContext,
): Promise<ActResult> {
  const hypervisor = await world.hypervisor(action.site);
  for (const { uuid } of action.hosts.filter((host) => host.master))
    await hypervisor.plugPbd(action.sr.uuid, uuid, context.signal);
  await inParallel(
    action.hosts.filter((host) => !host.master),
    hostsAtOnce,
    ({ uuid }) => hypervisor.plugPbd(action.sr.uuid, uuid, context.signal),
  );
  return { output: { hosts: action.hosts.map((host) => host.nameLabel) }, warnings: [] };
}

/** At a site that was given up: what can be let go is let go, the rest is named, and nobody waits for it. */
export async function releaseStorage(
  world: World,
  action: ActionOf<'release-storage'>,
  context: StepContext,
): Promise<ActResult> {
  const hypervisor = await world.hypervisor(action.site);
  const pool = await hypervisor.observe(context.signal);
  const released: string[] = [];
  const warnings: string[] = [];
  for (const { uuid, nameLabel } of action.srs) {
    const sr = pool.srs.find((candidate) => candidate.uuid === uuid);
    if (sr === undefined) continue;
    try {
      await unplugAll(hypervisor, pool, sr, context.signal);
      released.push(nameLabel);
    } catch (error) {
      if (!concernsOneObject(error)) throw error;
      warnings.push(`SR ${nameLabel} stays attached at site ${action.site}: ${sentenceOf(error)}`);
    }
  }
  return { output: { released }, warnings, partial: warnings.length > 0 };
}
