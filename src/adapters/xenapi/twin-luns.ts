/**
 * Original and copy of a LUN beside each other (xapi.md 7.6). Both carry the volume group of the same name; LVM takes
 * either of them, and only one driver looks: lvmoiscsi refuses the plug with 119, lvmohba goes ahead. So the probe of a
 * LUN asks for its twins, by the list of LUNs that a probe without SCSIid is refused with (7.4).
 */
import { PortError } from '../../domain/errors.ts';
import type { TextMap, Uuid } from '../../domain/pool.ts';
import { portError } from './failures.ts';
import { offeredLuns, type SeenLun, srUuids } from './probe.ts';

/** Drivers with one volume group per LUN; true: the driver has no guard of its own, and every LUN is looked at. */
const unguarded: ReadonlyMap<string, boolean> = new Map([
  ['lvmoiscsi', false],
  ['lvmohba', true],
  ['lvmofcoe', true],
]);

type Ask = (config: TextMap) => Promise<string>;

/**
 * @param found - the SRs that the probe of this LUN has found
 * @param ask - probes with another device_config from the same host
 * @throws PortError refused, DR-SR-DUPLICATE-LUN
 */
export async function assertNoTwin(
  site: string,
  type: string,
  deviceConfig: TextMap,
  found: readonly Uuid[],
  ask: Ask,
): Promise<void> {
  const everyLun = unguarded.get(type);
  const { SCSIid: ours, ...rung } = deviceConfig;
  if (everyLun === undefined || ours === undefined || found.length === 0) return;
  const luns = await lunsOf(rung, ask, everyLun);
  const size = luns.find((lun) => lun.scsiId === ours)?.size;
  const twins: string[] = [];
  for (const lun of luns) {
    // A login for each LUN of a target takes long, and the plug of lvmoiscsi looks once more.
    if (lun.scsiId === ours || !(everyLun || size === undefined || lun.size === size)) continue;
    if (await holdsOneOf(found, { ...deviceConfig, SCSIid: lun.scsiId }, ask)) twins.push(lun.scsiId);
  }
  if (twins.length === 0) return;
  throw portError('refused', site, {
    code: 'DR-SR-DUPLICATE-LUN',
    what: 'Original and copy of the LUN are both visible to the host',
    known: [`LUN ${[ours, ...twins].sort().join(' and LUN ')} hold SR ${found.join(', ')}`],
    next: 'Mask one of the two LUNs on the array: they can never be attached to one pool together',
  });
}

async function lunsOf(rung: TextMap, ask: Ask, everyLun: boolean): Promise<readonly SeenLun[]> {
  try {
    await ask(rung);
    return [];
  } catch (error) {
    if (!isRefusal(error)) throw error;
    const luns = error.peerCode === 'SR_BACKEND_FAILURE_107' ? offeredLuns(error.peerParams[2] ?? '') : null;
    if (luns !== null) return luns;
    // Nobody but us looks for twins there: not to know is no all-clear.
    if (everyLun) throw error;
    return [];
  }
}

/** A LUN that cannot be read is in use by something else, and is no copy of ours that LVM could take. */
async function holdsOneOf(found: readonly Uuid[], config: TextMap, ask: Ask): Promise<boolean> {
  try {
    return srUuids(await ask(config))?.some((uuid) => found.includes(uuid)) ?? false;
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return false;
  }
}

function isRefusal(error: unknown): error is PortError {
  return error instanceof PortError && error.kind === 'refused';
}
