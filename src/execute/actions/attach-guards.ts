/** What forbids to attach a replica, seen before anything is changed: another SR, drill or LUN in its place, no driver. */
import { drillOfSr } from '../../domain/drill.ts';
import { OperatorError } from '../../domain/errors.ts';
import type { SrToAttach } from '../../domain/plan.ts';
import { type PoolFacts, plainDeviceConfig, type SrFacts, type TextMap } from '../../domain/pool.ts';
import { listed } from './world.ts';

/** `SR.introduce` takes any type; only the plug would find out (xapi.md 7.2). */
export function assertDriver(sr: SrToAttach, pool: PoolFacts): void {
  const { storageDrivers } = pool;
  if (storageDrivers === undefined || storageDrivers.includes(sr.type)) return;
  throw new OperatorError({
    code: 'DR-SR-NO-DRIVER',
    what: `Pool ${pool.nameLabel} has no driver for SR ${sr.nameLabel} of type ${sr.type}`,
    where: { object: `SR ${sr.uuid}` },
    known: [`it drives ${[...storageDrivers].join(', ')}`],
    next: `Install the storage manager for ${sr.type} on every host of the pool, then resume the run`,
  });
}

/** What carries this uuid here must be the same SR, and must not be attached from somewhere else. */
export function assertSameSr(
  sr: SrToAttach,
  known: SrFacts | undefined,
  placeOf: (how: TextMap) => TextMap,
): void {
  if (known === undefined) return;
  assertSameDrill(sr, known);
  const elsewhere = pluggedElsewhere(known, placeOf);
  if (known.type === sr.type && elsewhere.length === 0) return;
  throw new OperatorError({
    code: 'DR-SR-OTHER',
    what: `SR ${sr.nameLabel} is already known here, and it is not the replica`,
    where: { object: `SR ${sr.uuid}` },
    known: [
      ...(known.type === sr.type ? [] : [`it has type ${known.type}, the plan says ${sr.type}`]),
      ...elsewhere,
    ],
    next: 'Unplug its PBDs after making sure that nothing uses it (perhaps it is the production storage or a drill), then resume the run',
  });
}

/** Sentences on the plugged PBDs whose address is not the wanted one. */
export function pluggedElsewhere(known: SrFacts, placeOf: (how: TextMap) => TextMap): string[] {
  return known.pbds.flatMap((pbd) => {
    if (!pbd.attached) return [];
    const there = plainDeviceConfig(pbd.deviceConfig);
    const wanted = placeOf(there);
    return isElsewhere(there, wanted)
      ? [`it is plugged with ${JSON.stringify(there)}, the replica is at ${JSON.stringify(wanted)}`]
      : [];
  });
}

/**
 * A LUN is known by its SCSIid, whatever portals lead to it. Drivers write keys of their own into the device_config when
 * they attach, such as the paths that they found.
 */
function isElsewhere(there: TextMap, wanted: TextMap): boolean {
  const keys = 'SCSIid' in wanted ? ['SCSIid'] : Object.keys(wanted);
  return keys.some((key) => there[key] !== wanted[key]);
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

/** One LUN carries one SR: a second one on it would write over the first (storage.md C.0). */
export function assertLunFree(sr: SrToAttach, wanted: TextMap, pool: PoolFacts): void {
  const lun = wanted['SCSIid'];
  if (lun === undefined) return;
  const others = pool.srs.filter(
    (other) =>
      other.uuid !== sr.uuid &&
      (other.smConfig['SCSIid'] === lun || other.pbds.some((pbd) => pbd.deviceConfig['SCSIid'] === lun)),
  );
  if (others.length === 0) return;
  throw new OperatorError({
    code: 'DR-SR-LUN-TAKEN',
    what: `LUN ${lun}, where SR ${sr.nameLabel} is to be attached, belongs to another SR of this pool`,
    where: { object: `SR ${sr.uuid}` },
    known: [`it is the LUN of ${listed(others.map((other) => `${other.nameLabel} (${other.uuid})`))}`],
    next: 'Find out which LUN the array presents for this volume; forget the other SR only if nothing uses it; then resume the run',
  });
}

/** Types whose LUNs a host may reach over several paths (xapi.md 7.11). */
const overPaths = new Set(['lvmoiscsi', 'lvmohba', 'lvmofcoe', 'iscsi', 'hba', 'rawhba']);

/** @param before - hosts that production had, as the recovery point knows them */
export function multipathWarnings(
  sr: SrToAttach,
  hosts: readonly { readonly uuid: string }[],
  pool: PoolFacts,
  before: PoolFacts['hosts'],
): string[] {
  if (!overPaths.has(sr.type)) return [];
  const ours = new Set(hosts.map((host) => host.uuid));
  const names = (on: boolean): string[] =>
    pool.hosts
      .filter((host) => ours.has(host.uuid) && (host.multipathing === true) === on)
      .map((host) => host.nameLabel)
      .sort();
  const [on, off] = [names(true), names(false)];
  if (on.length > 0 && off.length > 0)
    return [
      `multipathing is on at ${listed(on)} and off at ${listed(off)}: the hosts of a pool have to be alike, or SR ${sr.nameLabel} behaves differently on each`,
    ];
  if (on.length === 0 && before.some((host) => host.multipathing === true))
    return [
      `production reached SR ${sr.nameLabel} over several paths, and multipathing is off at ${listed(off)}: one broken path takes the SR away`,
    ];
  return [];
}
