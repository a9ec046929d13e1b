/**
 * Reattaching an SR (xapi.md 7): probe on every host, the same uuid and the true name, a PBD per host, the master
 * first. A record that is there already is used again: it keeps names and drives (7.5).
 */
import type { Json } from '../../domain/canonical.ts';
import { PortError } from '../../domain/errors.ts';
import type { SrToAttach } from '../../domain/plan.ts';
import type { PoolFacts, SrFacts } from '../../domain/pool.ts';
import { isQuarantined } from '../../domain/quarantine.ts';
import type { ObjectRef } from '../../domain/recovery-point.ts';
import type { Hypervisor } from '../../ports/hypervisor.ts';
import type { ActionOf, ActResult, ConditionOf, StepContext, Verdict } from '../handlers.ts';
import {
  assertDriver,
  assertLunFree,
  assertSameSr,
  multipathWarnings,
  pluggedElsewhere,
} from './attach-guards.ts';
import { lookFromAll, type Sight } from './attach-probe.ts';
import { placeOf, waysTo } from './attach-ways.ts';
import { assertNotOver } from './drill-clone.ts';
import { concernsOneObject, inParallel, listed, sentenceOf, type World } from './world.ts';

/** Types whose plug on the master has scanned already: a second scan is time lost (performance.md 6). */
const scannedByPlug = new Set(['nfs']);
const hostsAtOnce = 4;

type Hosts = SrToAttach['hosts'];

export async function attachSr(
  world: World,
  action: ActionOf<'attach-sr'>,
  context: StepContext,
): Promise<ActResult> {
  const { sr } = action;
  const { signal } = context;
  assertNotOver(context);
  const hypervisor = await world.hypervisor(action.site);
  const catalog = await world.catalog();
  const point = await catalog.read(sr.pointId, signal);
  const pool = await hypervisor.observe(signal);
  const known = pool.srs.find((candidate) => candidate.uuid === sr.uuid);
  assertDriver(sr, pool);
  assertSameSr(sr, known, placeOf(world, sr, context));
  const ways = await waysTo(world, sr, known, point, hypervisor, context);
  assertLunFree(sr, ways.general, pool);

  const hosts = hostsNow(sr.hosts, pool);
  const missing = withoutPbd(sr, hosts, known);
  const look = { sr, hosts: missing, ways: ways.of, doubts: ways.doubts };
  const sight = await lookFromAll(hypervisor, look, signal);
  const warnings = [...sight.warnings, ...multipathWarnings(sr, hosts, pool, point.hosts)];

  const saved = known === undefined ? [] : await saveUsers(world, hypervisor, pool, known, warnings, signal);
  if (known === undefined) {
    const { uuid, nameLabel, nameDescription, type, contentType, shared, smConfig } = sr;
    await hypervisor.introduceSr(
      { uuid, nameLabel, nameDescription, type, contentType, shared, smConfig },
      signal,
    );
  }
  const plugged = await plugOn(hypervisor, sr, missing, sight, signal);
  if (sr.shared)
    for (const { host, reason } of sight.blind.values())
      warnings.push(
        `host ${host} has no access to SR ${sr.nameLabel}, so none of its VMs can run there: ${reason}`,
      );
  const scanned = plugged.length > 0 && !scannedByPlug.has(sr.type);
  if (scanned) await hypervisor.scanSr(sr.uuid, signal);
  const before = hosts.filter((host) => isPluggedOn(known, host.uuid));
  return {
    output: JSON.parse(
      JSON.stringify({
        hosts: hosts
          .filter((host) => plugged.includes(host) || before.includes(host))
          .map((host) => host.nameLabel),
        recordWasThere: known !== undefined,
        scanned,
        savedBefore: saved,
      }),
    ) as Json,
    warnings,
    partial: sr.shared && sight.blind.size > 0,
  };
}

/** The hosts of the plan, and the master as it is now: it may have changed since, and no SR is attached without it. */
function hostsNow(hosts: Hosts, pool: PoolFacts): Hosts {
  const master = pool.hosts.find((host) => host.uuid === pool.masterUuid);
  if (master === undefined) return hosts;
  return [
    { uuid: master.uuid, nameLabel: master.nameLabel, master: true },
    ...hosts.filter((host) => host.uuid !== master.uuid).map((host) => ({ ...host, master: false })),
  ];
}

/** Hosts that are still to get it. An SR that is not shared has one PBD: a second one lets no plug succeed (xapi.md 7.2). */
function withoutPbd(sr: SrToAttach, hosts: Hosts, known: SrFacts | undefined): Hosts {
  if (!sr.shared && hosts.some((host) => isPluggedOn(known, host.uuid))) return [];
  return hosts.filter((host) => !isPluggedOn(known, host.uuid));
}

function isPluggedOn(known: SrFacts | undefined, host: string): boolean {
  return known?.pbds.some((pbd) => pbd.attached && pbd.hostUuid === host) ?? false;
}

/**
 * LVM SRs repair and upgrade themselves only on the master, which comes first (xapi.md 7.2). One member that cannot reach
 * the storage must not keep the group down: its VMs start on the others. Returns the hosts that have it now.
 */
async function plugOn(
  hypervisor: Hypervisor,
  sr: SrToAttach,
  missing: Hosts,
  { configs, blind }: Sight,
  signal: AbortSignal,
): Promise<Hosts> {
  const plug = async (host: Hosts[number]): Promise<void> => {
    await hypervisor.createPbd(sr.uuid, host.uuid, configs.get(host.uuid) ?? {}, signal);
    await onHost(host.nameLabel, () => hypervisor.plugPbd(sr.uuid, host.uuid, signal));
  };
  const seeing = missing.filter((host) => !blind.has(host.uuid));
  if (!sr.shared) {
    const one = seeing.slice(0, 1);
    for (const host of one) await plug(host);
    return one;
  }
  for (const master of seeing.filter((host) => host.master)) await plug(master);
  await inParallel(
    seeing.filter((host) => !host.master),
    hostsAtOnce,
    async (host) => {
      try {
        await plug(host);
      } catch (error) {
        if (!concernsOneObject(error)) throw error;
        blind.set(host.uuid, { host: host.nameLabel, reason: sentenceOf(error) });
      }
    },
  );
  return seeing.filter((host) => !blind.has(host.uuid));
}

async function onHost(nameLabel: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof PortError)) throw error;
    throw new PortError(
      error.kind,
      { ...error.problem, known: [`on host ${nameLabel}`, ...(error.problem.known ?? [])] },
      {
        ...(error.peerCode === undefined ? {} : { peerCode: error.peerCode }),
        peerParams: error.peerParams,
        cause: error,
      },
    );
  }
}

/**
 * A scan forgets disks that the replica does not hold, and with them the drives of halted VMs (xapi.md 7.9): whoever
 * uses the SR here already is saved to the catalog first.
 */
async function saveUsers(
  world: World,
  hypervisor: Hypervisor,
  pool: PoolFacts,
  known: SrFacts,
  warnings: string[],
  signal: AbortSignal,
): Promise<{ readonly uuid: string; readonly nameLabel: string; readonly document: ObjectRef }[]> {
  const disks = new Set(pool.vdis.filter((vdi) => vdi.srUuid === known.uuid).map((vdi) => vdi.uuid));
  const users = pool.vms.filter((vm) =>
    vm.vbds.some((vbd) => vbd.vdiUuid !== null && disks.has(vbd.vdiUuid)),
  );
  if (users.length === 0 || known.pbds.some((pbd) => pbd.attached)) return [];
  const catalog = await world.catalog();
  const saved: { uuid: string; nameLabel: string; document: ObjectRef }[] = [];
  await inParallel(users, hostsAtOnce, async (vm) => {
    const archive = await hypervisor.exportMetadata(vm.uuid, { snapshots: true }, signal);
    saved.push({ uuid: vm.uuid, nameLabel: vm.nameLabel, document: await catalog.put(archive, signal) });
  });
  // Copies that were put away are replaced by the import, as the plan says.
  const others = users.filter((vm) => !isQuarantined(vm));
  if (others.length > 0)
    warnings.push(
      `${others.length} VMs here already use SR ${known.nameLabel} (${listed(others.map((vm) => vm.nameLabel))}): their metadata was saved before the replica was attached`,
    );
  return saved;
}

/**
 * Plugged on all of the hosts, or on one of them where the SR is not shared; and, for a step that attaches a replica, from
 * where the replica is: production's storage under the same uuid is no replica, however well it is plugged.
 */
export async function isAttached(
  world: World,
  { site, srUuid, hosts }: ConditionOf<'sr-attached'>,
  context: StepContext,
): Promise<Verdict> {
  const hypervisor = await world.hypervisor(site);
  const pool = await hypervisor.observe(context.signal);
  const sr = pool.srs.find((candidate) => candidate.uuid === srUuid);
  if (sr === undefined) return { holds: false, because: `SR ${srUuid} is not known at site ${site}` };
  const { action } = context.step;
  // Where a person has skipped the exposure, nobody knows the place better than the PBDs.
  const isPlaced = action.do === 'attach-sr' && isPlaceKnown(action.sr, context);
  if (isPlaced) {
    const [elsewhere] = pluggedElsewhere(sr, placeOf(world, action.sr, context));
    if (elsewhere !== undefined) return { holds: false, because: `SR ${sr.nameLabel}: ${elsewhere}` };
  }
  const without = hosts.filter((host) => !isPluggedOn(sr, host));
  if (without.length === 0 || (!sr.shared && without.length < hosts.length)) return { holds: true };
  const names = new Map(pool.hosts.map((host) => [host.uuid, host.nameLabel]));
  return {
    holds: false,
    because: `SR ${sr.nameLabel} is not plugged on ${listed(without.map((host) => names.get(host) ?? host))}`,
  };
}

function isPlaceKnown(sr: SrToAttach, context: StepContext): boolean {
  return sr.exposedBy === null || context.output(sr.exposedBy) !== null;
}
