/**
 * Reattaching an SR (xapi.md 7): probe on every host, the same uuid and the true name, a PBD per host, the master
 * first. A record that is there already is used again: it keeps names and drives (7.5).
 */
import type { Json } from '../../domain/canonical.ts';
import { drillOfSr } from '../../domain/drill.ts';
import { OperatorError, PortError } from '../../domain/errors.ts';
import type { SrToAttach } from '../../domain/plan.ts';
import { type PoolFacts, plainDeviceConfig, type SrFacts, type TextMap } from '../../domain/pool.ts';
import { isQuarantined } from '../../domain/quarantine.ts';
import type { ObjectRef } from '../../domain/recovery-point.ts';
import type { Hypervisor } from '../../ports/hypervisor.ts';
import type { ActionOf, ActResult, StepContext, Verdict } from '../handlers.ts';
import { deviceConfigAt } from './device-config.ts';
import { assertNotOver } from './drill-clone.ts';
import { exposedBy } from './replica.ts';
import { concernsOneObject, inParallel, listed, sentenceOf, type World } from './world.ts';

/** Types whose drivers cannot be probed: the plug is the first contact (xapi.md 7.4). */
const unprobed = new Set(['iso', 'udev', 'zfs', 'linstor', 'hba', 'rawhba']);
/** Types whose plug on the master has scanned already: a second scan is time lost (performance.md 6). */
const scannedByPlug = new Set(['nfs']);
const hostsAtOnce = 4;

export async function attachSr(
  world: World,
  action: ActionOf<'attach-sr'>,
  context: StepContext,
): Promise<ActResult> {
  const { sr } = action;
  assertNotOver(context);
  const hypervisor = await world.hypervisor(action.site);
  const deviceConfig = await deviceConfigOf(world, sr, context);
  const pool = await hypervisor.observe(context.signal);
  const known = pool.srs.find((candidate) => candidate.uuid === sr.uuid);
  assertSameSr(sr, known, deviceConfig);
  const warnings: string[] = [];

  const attachedHosts = new Set(known?.pbds.filter((pbd) => pbd.attached).map((pbd) => pbd.hostUuid) ?? []);
  const hosts = hostsNow(sr.hosts, pool);
  const missing = hosts.filter((host) => !attachedHosts.has(host.uuid));
  const blind = await probeAll(hypervisor, sr, missing, deviceConfig, warnings, context.signal);

  const saved =
    known === undefined ? [] : await saveUsers(world, hypervisor, pool, known, warnings, context.signal);
  if (known === undefined) {
    const { uuid, nameLabel, nameDescription, type, contentType, shared, smConfig } = sr;
    await hypervisor.introduceSr(
      { uuid, nameLabel, nameDescription, type, contentType, shared, smConfig },
      context.signal,
    );
  }
  const plug = async (host: SrToAttach['hosts'][number]): Promise<void> => {
    await hypervisor.createPbd(sr.uuid, host.uuid, deviceConfig, context.signal);
    await onHost(host.nameLabel, () => hypervisor.plugPbd(sr.uuid, host.uuid, context.signal));
  };
  // LVM SRs repair and upgrade themselves only on the master (xapi.md 7.2).
  for (const master of missing.filter((host) => host.master)) await plug(master);
  // One member that cannot reach the storage must not keep the group down: the VMs start on the others.
  await inParallel(
    missing.filter((host) => !host.master && !blind.has(host.uuid)),
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
  for (const { host, reason } of blind.values())
    warnings.push(
      `host ${host} has no access to SR ${sr.nameLabel}, so none of its VMs can run there: ${reason}`,
    );
  const scanned = missing.length > 0 && !scannedByPlug.has(sr.type);
  if (scanned) await hypervisor.scanSr(sr.uuid, context.signal);
  return {
    output: JSON.parse(
      JSON.stringify({
        hosts: hosts.filter((host) => !blind.has(host.uuid)).map((host) => host.nameLabel),
        recordWasThere: known !== undefined,
        scanned,
        savedBefore: saved,
      }),
    ) as Json,
    warnings,
    partial: blind.size > 0,
  };
}

/** The hosts of the plan, and the master as it is now: it may have changed since, and no SR is attached without it. */
function hostsNow(hosts: SrToAttach['hosts'], pool: PoolFacts): SrToAttach['hosts'] {
  const master = pool.hosts.find((host) => host.uuid === pool.masterUuid);
  if (master === undefined) return hosts;
  return [
    { uuid: master.uuid, nameLabel: master.nameLabel, master: true },
    ...hosts.filter((host) => host.uuid !== master.uuid).map((host) => ({ ...host, master: false })),
  ];
}

interface Blind {
  readonly host: string;
  readonly reason: string;
}

async function deviceConfigOf(world: World, sr: SrToAttach, context: StepContext): Promise<TextMap> {
  const place = world.deviceConfigFor ?? deviceConfigAt;
  const plain =
    sr.exposedBy === null
      ? sr.deviceConfig
      : place(sr.type, sr.deviceConfig, exposedBy(sr.exposedBy, context));
  const catalog = await world.catalog();
  const point = await catalog.read(sr.pointId, context.signal);
  const secrets = point.srs.find((candidate) => candidate.uuid === sr.uuid)?.secretDeviceConfig ?? {};
  return { ...plain, ...secrets };
}

/** What carries this uuid here must be the same SR, and must not be attached from somewhere else. */
function assertSameSr(sr: SrToAttach, known: SrFacts | undefined, deviceConfig: TextMap): void {
  if (known === undefined) return;
  assertSameDrill(sr, known);
  const wanted = plainDeviceConfig(deviceConfig);
  const elsewhere = known.pbds.filter(
    (pbd) => pbd.attached && isElsewhere(plainDeviceConfig(pbd.deviceConfig), wanted),
  );
  if (known.type === sr.type && elsewhere.length === 0) return;
  throw new OperatorError({
    code: 'DR-SR-OTHER',
    what: `SR ${sr.nameLabel} is already known here, and it is not the replica`,
    where: { object: `SR ${sr.uuid}` },
    known: [
      ...(known.type === sr.type ? [] : [`it has type ${known.type}, the plan says ${sr.type}`]),
      ...elsewhere.map(
        (pbd) =>
          `it is plugged with ${JSON.stringify(plainDeviceConfig(pbd.deviceConfig))}, the replica is at ${JSON.stringify(wanted)}`,
      ),
    ],
    next: 'Unplug its PBDs after making sure that nothing uses it (perhaps it is the production storage or a drill), then resume the run',
  });
}

/** A clone under the uuid of an SR that is known here for another reason would take its place, and its users with it. */
function assertSameDrill(sr: SrToAttach, known: SrFacts): void {
  const [wanted, there] = [drillOfSr(sr), drillOfSr(known)];
  if (wanted === there) return;
  throw new OperatorError({
    code: 'DR-SR-OTHER',
    what:
      there === null
        ? `SR ${known.nameLabel} is known here as a true one, and a drill would take its place`
        : `SR ${known.nameLabel} is known here as the clone of drill ${there}`,
    where: { object: `SR ${sr.uuid}` },
    known: [
      wanted === null
        ? 'the plan attaches the replica itself'
        : `the plan attaches the clone of drill ${wanted}`,
    ],
    next:
      there === null
        ? 'Drill where this SR is not known: original and clone cannot be in one pool'
        : 'Clean up that drill first: `lifeboat drill cleanup GROUP`',
  });
}

/** Drivers write keys of their own into the device_config when they attach, such as the paths that they found. */
function isElsewhere(there: TextMap, wanted: TextMap): boolean {
  return Object.keys(wanted).some((key) => there[key] !== wanted[key]);
}

/**
 * Who sees the SR is found out before anything is introduced. Returns the members that do not, by uuid. The master must
 * see it; and where a host sees another SR in its place, the volume is the wrong one or another copy is in the way.
 */
async function probeAll(
  hypervisor: Hypervisor,
  sr: SrToAttach,
  hosts: SrToAttach['hosts'],
  deviceConfig: TextMap,
  warnings: string[],
  signal: AbortSignal,
): Promise<Map<string, Blind>> {
  const blind = new Map<string, Blind>();
  if (unprobed.has(sr.type)) return blind;
  let seesAnother = false;
  let unsupported: string | null = null;
  await inParallel(hosts, hostsAtOnce, async (host) => {
    const note = (reason: string) => blind.set(host.uuid, { host: host.nameLabel, reason });
    try {
      const found = await hypervisor.probe(host.uuid, sr.type, deviceConfig, sr.smConfig, signal);
      if (found.some((uuid) => uuid.toLowerCase() === sr.uuid.toLowerCase())) return;
      seesAnother ||= found.length > 0;
      note(found.length === 0 ? 'it finds no SR there' : `it finds another SR there (${listed(found)})`);
    } catch (error) {
      if (!concernsOneObject(error)) throw error;
      if (isUnsupported(error)) unsupported = sentenceOf(error);
      else note(sentenceOf(error));
    }
  });
  if (unsupported !== null) warnings.push(`SR type ${sr.type} cannot be probed here: ${unsupported}`);
  const masterIsBlind = hosts.some((host) => host.master && blind.has(host.uuid));
  if (!masterIsBlind && !seesAnother) return blind;
  throw new OperatorError({
    code: 'DR-SR-NOT-SEEN',
    what: `SR ${sr.nameLabel} is not seen by ${blind.size} of ${hosts.length} hosts`,
    where: { object: `SR ${sr.uuid}` },
    known: [...blind.values()].map(({ host, reason }) => `host ${host}: ${reason}`).sort(),
    next: seesAnother
      ? 'Find out which volume the named hosts see, and give them the promoted one alone; then resume the run'
      : 'Give these hosts access to the volume (export, LUN mask, network, CHAP), then resume the run',
  });
}

function isUnsupported(error: unknown): boolean {
  if (!(error instanceof PortError)) return false;
  if (error.problem.code === 'DR-SR-NO-PROBE' || error.peerCode === 'SR_OPERATION_NOT_SUPPORTED') return true;
  return (
    error.peerCode === 'INTERNAL_ERROR' && error.peerParams.some((text) => /probe not supported/i.test(text))
  );
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

export async function isAttached(
  world: World,
  site: string,
  srUuid: string,
  hosts: readonly string[],
  signal: AbortSignal,
): Promise<Verdict> {
  const hypervisor = await world.hypervisor(site);
  const pool = await hypervisor.observe(signal);
  const sr = pool.srs.find((candidate) => candidate.uuid === srUuid);
  if (sr === undefined) return { holds: false, because: `SR ${srUuid} is not known at site ${site}` };
  const plugged = new Set(sr.pbds.filter((pbd) => pbd.attached).map((pbd) => pbd.hostUuid));
  const names = new Map(pool.hosts.map((host) => [host.uuid, host.nameLabel]));
  const without = hosts.filter((host) => !plugged.has(host)).map((host) => names.get(host) ?? host);
  return without.length === 0
    ? { holds: true }
    : { holds: false, because: `SR ${sr.nameLabel} is not plugged on ${listed(without)}` };
}
