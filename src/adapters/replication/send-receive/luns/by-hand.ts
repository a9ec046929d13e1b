/** What a person maps on a filer without target software: the very names by which the hosts will look for it. */
import type { Capabilities } from '../../../../domain/replication.ts';
import type { Lun } from './target.ts';

/** @param chapUser - whom hosts log in as; null without CHAP */
export function handOff(
  luns: readonly Lun[],
  chapUser: string | null,
): Pick<Capabilities, 'handOffs' | 'handOffNames'> {
  const login = chapUser === null ? 'no CHAP' : `CHAP user ${chapUser} with the password of the SR`;
  return {
    handOffs: {
      expose: `On filer {array} map {backing} as LUN {lun} of target {target}, unit serial number {serial}, at {portals}, with ${login}, for these hosts alone: {hosts}. The SR is looked for there as SCSIid {scsiId}; a LUN that shows another one is not attached`,
    },
    handOffNames: Object.fromEntries(
      luns.map(({ volume, backing, number, target, serial, portals, scsiId }) => [
        volume,
        {
          backing: backing.path,
          lun: String(number),
          target,
          serial,
          portals: portals.join(' and '),
          scsiId,
        },
      ]),
    ),
  };
}
