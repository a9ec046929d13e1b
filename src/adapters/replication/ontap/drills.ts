/** FlexClones of the destination for drills: found by their comment, removed only with it. */
import type { DrillLeftover, Exposed } from '../../../domain/replication.ts';
import type { Access } from '../../../ports/replication.ts';
import { openTo, ownName, removeAccess } from './access.ts';
import type { Asking, OntapControl, Snapshot, Volume } from './control.ts';
import { drillComment, drillMarkOf, drillPrefix } from './marks.ts';
import { type OntapOptions, partsOf } from './options.ts';
import { notOurs, otherPoint } from './refusals.ts';
import { refOf } from './state.ts';
import { volumeAt } from './transfer.ts';

const longestName = 203;

export async function startDrill(
  control: OntapControl,
  parent: Volume,
  drill: string,
  point: Snapshot,
  access: Access,
  options: OntapOptions,
  asking: Asking,
): Promise<Exposed> {
  const path = await cloneFor(control, parent, drill, point, asking);
  return openTo(control, await volumeAt(control, path, asking), access, options, asking);
}

async function cloneFor(
  control: OntapControl,
  parent: Volume,
  drill: string,
  point: Snapshot,
  asking: Asking,
): Promise<string> {
  const existing = await ours(control, parent.path, drill, asking);
  if (existing !== undefined) {
    const madeAt = drillMarkOf(existing.comment)?.point ?? '';
    if (madeAt !== refOf(point)) throw otherPoint(control, existing.path, madeAt);
    return existing.path;
  }
  const { svm } = partsOf(parent.path);
  const name = cloneName(parent.name, drill);
  const [foreign] = await control.volumes(`${svm}:${name}`, asking);
  if (foreign !== undefined) throw notOurs(control, foreign.path);
  const comment = drillComment({ drill, of: parent.path, point: refOf(point) });
  await control.clone(parent, name, point.name, comment, asking);
  return `${svm}:${name}`;
}

export async function stopDrill(
  control: OntapControl,
  volume: string,
  drill: string,
  asking: Asking,
): Promise<void> {
  const clone = await ours(control, volume, drill, asking);
  if (clone !== undefined) {
    await removeAccess(control, clone, asking);
    if (clone.junction !== '') await control.unmount(clone, asking);
    if (clone.online) await control.takeOffline(clone, asking);
    await control.deleteVolume(clone, asking);
  }
  const { svm, name } = partsOf(volume);
  const own = cloneName(name, drill);
  const [foreign] = clone === undefined ? await control.volumes(`${svm}:${own}`, asking) : [];
  if (foreign !== undefined) throw notOurs(control, foreign.path);
  await control.deletePolicy(svm, ownName({ name: own }), asking);
}

async function ours(
  control: OntapControl,
  volume: string,
  drill: string,
  asking: Asking,
): Promise<Volume | undefined> {
  const marked = await control.volumesWithComment(drillPrefix, asking);
  return marked.find(({ comment, cloneParent }) => {
    const mark = drillMarkOf(comment);
    // A comment can be copied by hand; what a clone is made of cannot.
    return mark?.drill === drill && mark.of === volume && cloneParent === partsOf(volume).name;
  });
}

export async function listDrills(control: OntapControl, asking: Asking): Promise<DrillLeftover[]> {
  const marked = await control.volumesWithComment(drillPrefix, asking);
  return marked.flatMap(({ comment, path, cloneParent, madeAt }) => {
    const mark = drillMarkOf(comment);
    return mark === null || cloneParent === null
      ? []
      : [{ volume: mark.of, drill: mark.drill, name: path, madeAt }];
  });
}

/** ONTAP allows letters, digits and underscores: others become codes, so that two drills never share a name. */
function cloneName(parent: string, drill: string): string {
  const coded = drill.replaceAll(/[^A-Za-z0-9]/g, (sign) => `_${sign.charCodeAt(0).toString(16)}`);
  return `lifeboat_drill_${parent}_${coded}`.slice(0, longestName);
}
