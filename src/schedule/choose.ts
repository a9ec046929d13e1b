/** Which of the turns that are due may begin now: one of a group at a time, and no more than a pool is meant to bear. */
import type { JobName } from '../domain/jobs.ts';
import type { DueTurn } from './due.ts';

export interface Limits {
  readonly perPool: number;
  /** The sites whose pools a job of this group asks; none for a job that asks no pool. */
  readonly sitesOf: (turn: JobName) => readonly string[];
}

/** In the order of the turns; what does not fit waits for a later tick, and holds nobody up who goes elsewhere. */
export function startable(
  turns: readonly DueTurn[],
  underWay: readonly JobName[],
  limits: Limits,
): readonly DueTurn[] {
  const busyGroups = new Set(underWay.map(placeOf));
  const busySites = new Map<string, number>();
  const occupy = (turn: JobName): void => {
    for (const site of limits.sitesOf(turn)) busySites.set(site, (busySites.get(site) ?? 0) + 1);
  };
  for (const turn of underWay) occupy(turn);
  return turns.filter((turn) => {
    const fits =
      !busyGroups.has(placeOf(turn)) &&
      limits.sitesOf(turn).every((site) => (busySites.get(site) ?? 0) < limits.perPool);
    if (!fits) return false;
    busyGroups.add(placeOf(turn));
    occupy(turn);
    return true;
  });
}

/** Jobs of Lifeboat itself stand in nobody's way. */
function placeOf({ job, group }: JobName): string {
  return group === null ? `job ${job}` : `group ${group}`;
}
