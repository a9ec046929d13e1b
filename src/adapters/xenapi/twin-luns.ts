/**
 * Original and copy of a LUN beside each other (xapi.md 7.6). Both carry the volume group of the same name; LVM takes
 * either of them, and only one driver looks: lvmoiscsi refuses the plug with 119, lvmohba goes ahead. So the probe of a
 * LUN asks for its twins, by the list of LUNs that a probe without SCSIid is refused with (7.4).
 */
import { PortError } from '../../domain/errors.ts';
import type { TextMap, Uuid } from '../../domain/pool.ts';
import type { Clock } from '../../ports/system.ts';
import { portError } from './failures.ts';
import { offeredLuns, type SeenLun, srUuids } from './probe.ts';

/** Drivers with one volume group per LUN; true: the driver has no guard of its own, and every LUN is looked at. */
const unguarded: ReadonlyMap<string, boolean> = new Map([
  ['lvmoiscsi', false],
  ['lvmohba', true],
  ['lvmofcoe', true],
]);

type Ask = (config: TextMap) => Promise<string>;

/** Which hosts see a LUN differs, what is on it does not: the hosts of a pool share what one of them has read just now. */
const sharedSeconds = 60;

export class TwinLuns {
  readonly #site: string;
  readonly #clock: Pick<Clock, 'monotonicSeconds'>;
  readonly #read = new Map<string, { readonly atSeconds: number; readonly srs: Promise<readonly Uuid[]> }>();

  constructor(site: string, clock: Pick<Clock, 'monotonicSeconds'>) {
    this.#site = site;
    this.#clock = clock;
  }

  /**
   * @param found - the SRs that the probe of this LUN has found
   * @param ask - probes with another device_config from the same host
   * @throws PortError refused, DR-SR-DUPLICATE-LUN
   */
  async assertNone(type: string, deviceConfig: TextMap, found: readonly Uuid[], ask: Ask): Promise<void> {
    const everyLun = unguarded.get(type);
    const { SCSIid: ours, ...rung } = deviceConfig;
    if (everyLun === undefined || ours === undefined || found.length === 0) return;
    const luns = await lunsOf(rung, ask, everyLun);
    const size = luns.find((lun) => lun.scsiId === ours)?.size;
    const twins: string[] = [];
    for (const { scsiId, size: itsSize } of luns) {
      // A login for each LUN of a target takes long, and the plug of lvmoiscsi looks once more.
      if (scsiId === ours || !(everyLun || size === undefined || itsSize === size)) continue;
      const srs = await this.#srsOn(scsiId, () => ask({ ...deviceConfig, SCSIid: scsiId }));
      if (srs.some((uuid) => found.includes(uuid))) twins.push(scsiId);
    }
    if (twins.length === 0) return;
    throw portError('refused', this.#site, {
      code: 'DR-SR-DUPLICATE-LUN',
      what: 'Original and copy of the LUN are both visible to the host',
      known: [`LUN ${[ours, ...twins].sort().join(' and LUN ')} hold SR ${found.join(', ')}`],
      next: 'Mask one of the two LUNs on the array: they can never be attached to one pool together',
    });
  }

  /** A LUN that this host cannot read is in use by something else; the next host reads it for itself. */
  async #srsOn(scsiId: string, ask: () => Promise<string>): Promise<readonly Uuid[]> {
    const nowSeconds = this.#clock.monotonicSeconds();
    const known = this.#read.get(scsiId);
    const isFresh = known !== undefined && nowSeconds - known.atSeconds <= sharedSeconds;
    const looked = isFresh
      ? known
      : { atSeconds: nowSeconds, srs: ask().then((answer) => srUuids(answer) ?? []) };
    this.#read.set(scsiId, looked);
    try {
      return await looked.srs;
    } catch (error) {
      if (this.#read.get(scsiId) === looked) this.#read.delete(scsiId);
      if (!isRefusal(error)) throw error;
      return [];
    }
  }
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

function isRefusal(error: unknown): error is PortError {
  return error instanceof PortError && error.kind === 'refused';
}
