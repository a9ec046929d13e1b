/**
 * `lifeboat catalog extract --format xe`: a recovery point as the numbered files of `xe vm-export --multiple`, and the
 * script that brings the group up from them where nobody has Lifeboat.
 */
import { OperatorError } from '../domain/errors.ts';
import { oriented } from '../domain/orientation.ts';
import { plainDeviceConfig } from '../domain/pool.ts';
import type { PointSr, PointVm, RecoveryPoint } from '../domain/recovery-point.ts';
import type { GroupSettings } from '../domain/settings.ts';
import { placesOf } from '../execute/actions/device-config.ts';
import { packDocument, parseArchive } from '../metadata/document.ts';
import { rewriteForRecovery } from '../metadata/recovery.ts';
import { mappedName } from '../plan/networks.ts';
import { type StartOrder, startOrder } from '../plan/tiers.ts';
import { type XeSr, xeScript } from '../report/xe-script.ts';
import type { AppPorts } from './ports.ts';

export interface XeRequest {
  readonly point: RecoveryPoint;
  /** The VMs that are wanted, in any order. */
  readonly vms: readonly PointVm[];
  /** With the script the documents are prepared for the recovery site; without, they are as they were saved. */
  readonly script: boolean;
}

export interface XeFiles {
  readonly files: readonly { readonly name: string; readonly bytes: Uint8Array }[];
  /** What is different in the documents, one sentence each. */
  readonly notes: readonly string[];
}

/** Throws what the catalog throws, and DR-GROUP-UNKNOWN when the script of a group is wanted that is not configured. */
export async function filesForXe(
  ports: Pick<AppPorts, 'settings' | 'states' | 'catalog'>,
  { point, vms, script }: XeRequest,
  signal?: AbortSignal,
): Promise<XeFiles> {
  const catalog = await ports.catalog();
  const name = (index: number): string => `${point.group}.xva${index === 0 ? '' : index + 1}`;
  if (!script) {
    const files = [];
    for (const [index, vm] of vms.entries())
      files.push({ name: name(index), bytes: await catalog.get(vm.document, signal) });
    return { files, notes: [] };
  }
  const group = await groupOf(ports, point);
  const order = startOrder(group.plan, point, vms);
  const sorted = inOrder(order, vms);
  const files = [];
  const notes = new Set<string>();
  for (const [index, vm] of sorted.entries()) {
    const document = parseArchive(await catalog.get(vm.document, signal));
    const made = rewriteForRecovery(document, { networks: networksOf(group, vm), haltSuspended: true });
    for (const note of made.notes) notes.add(note);
    files.push({ name: name(index), bytes: packDocument(made.document), vm });
  }
  const text = xeScript({
    group: group.name,
    pointId: point.id,
    takenAt: point.takenAt,
    site: group.recovery,
    files: files.map(({ name: file, vm }) => ({ file, uuid: vm.uuid, nameLabel: vm.nameLabel })),
    networks: [
      ...new Set(sorted.flatMap((vm) => vm.networkNames.map((net) => mappedName(group, net)))),
    ].sort(),
    srs: srsOf(group, point, sorted),
    tiers: order.tiers.map((tier) => ({
      name: tier.name,
      vms: tier.vms.map(({ uuid, nameLabel }) => ({ uuid, nameLabel })),
      delaySeconds: tier.delaySeconds,
    })),
    appliances: point.appliances.flatMap(({ nameLabel, nameDescription, vmUuids }) => {
      const members = vmUuids.filter((uuid) => sorted.some((vm) => vm.uuid === uuid));
      return members.length === 0 ? [] : [{ nameLabel, nameDescription, vmUuids: members }];
    }),
    protectedByHa: sorted
      .filter((vm) => vm.haRestartPriority !== '')
      .map((vm) => ({ uuid: vm.uuid, priority: vm.haRestartPriority })),
  });
  return {
    files: [
      ...files.map(({ name: file, bytes }) => ({ name: file, bytes })),
      { name: 'recover.sh', bytes: new TextEncoder().encode(text) },
    ],
    notes: [...notes],
  };
}

async function groupOf(
  ports: Pick<AppPorts, 'settings' | 'states'>,
  point: RecoveryPoint,
): Promise<GroupSettings> {
  const configured = ports.settings.groups.find((group) => group.name === point.group);
  if (configured !== undefined)
    return oriented(configured, await (await ports.states()).get(configured.name));
  throw new OperatorError({
    code: 'DR-GROUP-UNKNOWN',
    what: `The script needs the settings of group ${point.group}, which is not configured`,
    where: { file: ports.settings.file },
    next: 'Describe the group in sites.yaml, or leave out --script: the files are written all the same.',
  });
}

/** Imported as they are started, those that stay halted last. */
function inOrder({ tiers, halted }: StartOrder, vms: readonly PointVm[]): PointVm[] {
  const order = [...tiers.flatMap((tier) => tier.vms), ...halted.map(({ vm }) => vm)];
  return [...order, ...vms.filter((vm) => !order.includes(vm))];
}

/** By name alone: what bridges there are is known only at the recovery site, and the script looks for the names. */
function networksOf(group: GroupSettings, vm: PointVm) {
  return vm.networkNames.map((production) => ({
    production,
    recovery: { uuid: '', nameLabel: mappedName(group, production), bridge: '' },
  }));
}

function srsOf(group: GroupSettings, point: RecoveryPoint, vms: readonly PointVm[]): XeSr[] {
  const wanted = new Set(vms.flatMap((vm) => vm.srUuids));
  const disks = new Set(vms.flatMap((vm) => vm.vdiUuids));
  return point.srs
    .filter((sr) => wanted.has(sr.uuid))
    .map((sr) => ({
      ...plainSr(sr),
      volume: volumeOf(group, sr),
      vdis: point.vdis
        .filter((vdi) => disks.has(vdi.uuid) && vdi.srUuid === sr.uuid)
        .map(({ uuid, nameLabel, nameDescription }) => ({ uuid, nameLabel, nameDescription })),
    }));
}

/** What a driver has found out by itself at the old place, and finds out at the new one. */
const foundByDrivers = new Set([
  'multiSession',
  'multihomelist',
  'usediscoverynumber',
  'LUNid',
  'backupservers',
]);
/** Said of a place, and most often the same at the other. */
const alikeEverywhere = new Set(['port', 'serverport', 'masterport', 'type', 'legacy_mode']);

function plainSr(sr: PointSr): Omit<XeSr, 'volume' | 'vdis'> {
  const { uuid, nameLabel, nameDescription, type, contentType, shared } = sr;
  const configs = sr.pbds.map((pbd) => pbd.deviceConfig);
  const secrets = configs.flatMap((config) =>
    Object.keys(config).flatMap((key) => (key.endsWith('_secret') ? [key.slice(0, -'_secret'.length)] : [])),
  );
  const config = plainDeviceConfig(configs[0] ?? {});
  const isPlace = placeTest(type);
  return {
    ...{ uuid, nameLabel, nameDescription, type, contentType, shared },
    options: Object.fromEntries(
      Object.entries(config).filter(([key]) => !isPlace(key) && !foundByDrivers.has(key)),
    ),
    places: placeKeys(type, config).map((key) => ({ key, atProduction: config[key] ?? null })),
    secretKeys: [...new Set([...secrets, ...Object.keys(sr.secretDeviceConfig)])].sort(),
  };
}

/** Of a type that nobody knows everything may be a place: better asked for than attached at production. */
function placeTest(type: string): (key: string) => boolean {
  const places = placesOf(type);
  return (key) => !alikeEverywhere.has(key) && (places === null || places.includes(key));
}

function placeKeys(type: string, config: Readonly<Record<string, string>>): string[] {
  const isPlace = placeTest(type);
  const keys = (placesOf(type) ?? Object.keys(config)).filter(
    (key) => isPlace(key) && !foundByDrivers.has(key),
  );
  // `device` is the old form of SCSIid.
  return keys.includes('SCSIid') ? keys.filter((key) => key !== 'device') : keys;
}

function volumeOf(group: GroupSettings, sr: PointSr): string | null {
  const target = group.storage.find((each) => each.sr === sr.uuid || each.sr === sr.nameLabel)?.target;
  return target === undefined ? null : `volume ${target.volume} of array ${target.array}`;
}
