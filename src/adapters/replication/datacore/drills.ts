/** Drills in place: test mode lets hosts write to the destination; what arrives waits, what they wrote goes afterwards. */
import { PortError } from '../../../domain/errors.ts';
import type { DrillLeftover, Exposed } from '../../../domain/replication.ts';
import type { Access } from '../../../ports/replication.ts';
import { noPoint } from '../rest/refusals.ts';
import type { VirtualDisk } from './answers.ts';
import { serve, unserveAll } from './hosts.ts';
import { changeMark, markOf, writeMark } from './mark.ts';
import { bring, type Operating } from './operations.ts';
import { mustBe, pointsOf, roleOf } from './state.ts';

export interface DrillOrder {
  readonly drill: string;
  readonly point: string;
  readonly access: Access;
}

export async function startDrill(
  operating: Operating,
  volume: string,
  { drill, point, access }: DrillOrder,
): Promise<Exposed> {
  const { api, signal } = operating;
  const disk = await api.disk(volume, signal);
  const mark = markOf(disk);
  mustBe(api, disk, 'a drill', 'target', 'in-test');
  mustBeFree(api.array, disk, drill);
  if (roleOf(disk) === 'in-test' && mark.drill === undefined) throw foreignTest(api.array, volume);
  mustBeNewest(api.array, disk, point, 'opened as a drill');
  if (mark.drill === undefined) {
    const { clock } = await api.group(signal);
    await writeMark(api, disk, { ...mark, drill: { drill, ref: point, at: Date.parse(clock) } }, signal);
  }
  await bring(operating, disk, 'testModeOn', 'testing');
  return serve(api, disk, access, signal);
}

export async function stopDrill(operating: Operating, volume: string, drill: string): Promise<void> {
  const { api, signal } = operating;
  const disk = await api.disk(volume, signal);
  if (markOf(disk).drill?.drill !== drill) return;
  await unserveAll(api, disk, signal);
  await bring(operating, disk, 'testModeOff', 'standby');
  await changeMark(api, volume, ({ drill: _, ...rest }) => rest, signal);
}

export function leftovers(disks: readonly VirtualDisk[]): DrillLeftover[] {
  return disks.flatMap((disk) => {
    const { drill } = markOf(disk);
    if (drill === undefined) return [];
    const madeAt = new Date(drill.at).toISOString();
    return [{ volume: disk.Alias, drill: drill.drill, name: `test mode of ${disk.Alias}`, madeAt }];
  });
}

/** No drill is open, or this one. */
export function mustBeFree(array: string, disk: VirtualDisk, drill: string | null): void {
  const open = markOf(disk).drill;
  if (open === undefined || open.drill === drill) return;
  throw new PortError(
    'refused',
    {
      code: 'DR-ARRAY-ROLE',
      what: `Drill ${open.drill} is open on ${disk.Alias}`,
      where: { object: `array ${array}` },
      known: ['SANsymphony tests in place: one drill at a time, and no promotion beside it'],
      next: 'Clean the drill up first: `lifeboat drill cleanup GROUP`',
    },
    { peerCode: 'in-test', peerParams: [open.drill] },
  );
}

/** Only what arrived last is there: DR-ARRAY-POINT for a point that is not, `unsupported` for an older one. */
export function mustBeNewest(array: string, disk: VirtualDisk, point: string, done: string): void {
  const points = pointsOf(disk);
  if (!points.some(({ ref }) => ref === point)) throw noPoint(array, disk.Alias, point);
  if (points[0]?.ref === point) return;
  throw new PortError(
    'refused',
    {
      code: 'DR-ARRAY-OLDER-POINT',
      what: `${disk.Alias} can only be ${done} as it is now`,
      where: { object: `array ${array}` },
      known: [`asked for ${point}`, `the newest is ${points[0]?.ref ?? 'unknown'}`],
      next: 'Make a new plan with the newest point; an older state is in snapshots or rollbacks of SANsymphony, by hand',
    },
    { peerCode: 'unsupported', peerParams: [point] },
  );
}

function foreignTest(array: string, volume: string): PortError {
  return new PortError(
    'refused',
    {
      code: 'DR-ARRAY-NOT-OURS',
      what: `Test mode of ${volume} is on, and Lifeboat did not switch it on`,
      where: { object: `array ${array}` },
      next: 'Find out whose test it is; it is switched off in the SANsymphony console',
    },
    { peerCode: 'not-ours' },
  );
}
