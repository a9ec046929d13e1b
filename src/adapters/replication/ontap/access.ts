/**
 * Which hosts reach a volume. ONTAP cannot make a volume in use read-only, so a source that must take no more writes is
 * kept from its hosts: LUNs unmapped, export policy without rules, both looked at afterwards. What was taken is written into
 * the comment of the volume first, so that it can be given back.
 */
import type { Exposed } from '../../../domain/replication.ts';
import type { Access } from '../../../ports/replication.ts';
import type { Asking, Lun, OntapControl, Volume } from './control.ts';
import { type Closed, commentOf, longestComment, type Mark } from './marks.ts';
import type { OntapOptions } from './options.ts';
import { markTooLong, severalLuns, stillOpen } from './refusals.ts';
import { closedPolicy, type Member } from './state.ts';

export async function writeMark(
  control: OntapControl,
  volume: Volume,
  text: Mark,
  asking: Asking,
): Promise<void> {
  const comment = commentOf(text);
  if (comment.length > longestComment) throw markTooLong(control, volume.path);
  if (comment !== volume.comment) await control.comment(volume, comment, asking);
}

/** Keeps every host out and makes sure of it; again: what a call before it has left open is closed too. */
export async function closeVolume(
  control: OntapControl,
  { volume, mark }: Member,
  changes: Pick<Closed, 'demoted'>,
  asking: Asking,
): Promise<Mark> {
  const luns = await control.luns(volume, asking);
  const text = await markedClosed(control, volume, mark, luns, changes, asking);
  await shut(control, volume, luns, asking);
  await mustBeShut(control, volume, asking);
  return text;
}

async function markedClosed(
  control: OntapControl,
  volume: Volume,
  mark: Mark,
  luns: readonly Lun[],
  { demoted }: Pick<Closed, 'demoted'>,
  asking: Asking,
): Promise<Mark> {
  const before = mark.closed;
  const maps = mapsOf(luns);
  const known = before?.taken ?? { policy: volume.exportPolicy, maps: [] };
  const added = maps.filter(
    ([lun, igroup]) => !known.maps.some((one) => one[0] === lun && one[1] === igroup),
  );
  const text: Mark = {
    ...mark,
    closed: {
      at: before?.at ?? (await control.cluster(asking)).clock,
      last: before?.last ?? null,
      demoted: demoted || before?.demoted === true,
      taken: { policy: known.policy, maps: [...known.maps, ...added] },
    },
  };
  await writeMark(control, volume, text, asking);
  return text;
}

function mapsOf(luns: readonly Lun[]): [string, string, number][] {
  return luns.flatMap(({ path, maps }) =>
    maps.map(({ igroup, id }): [string, string, number] => [path, igroup, id]),
  );
}

/** Takes every mapping and export away, and remembers nothing. */
export async function shutOut(control: OntapControl, volume: Volume, asking: Asking): Promise<void> {
  await shut(control, volume, await control.luns(volume, asking), asking);
}

async function shut(
  control: OntapControl,
  volume: Volume,
  luns: readonly Lun[],
  asking: Asking,
): Promise<void> {
  for (const [lun, igroup] of mapsOf(luns)) await control.unmap(volume.svm, lun, igroup, asking);
  if (volume.exportPolicy === closedPolicy) return;
  await control.createPolicy(volume.svm, closedPolicy, asking);
  await control.useExportPolicy(volume, closedPolicy, asking);
}

async function mustBeShut(control: OntapControl, volume: Volume, asking: Asking): Promise<void> {
  const [now] = await control.volumes(volume.path, asking);
  const rules = await control.rules(volume.svm, closedPolicy, asking);
  const maps = mapsOf(await control.luns(volume, asking));
  const open = [
    ...(now?.exportPolicy === closedPolicy ? [] : [`its export policy is ${now?.exportPolicy ?? 'unknown'}`]),
    ...(rules === null || rules.length === 0 ? [] : [`export policy ${closedPolicy} has rules`]),
    ...maps.map(([lun, igroup]) => `${lun} is mapped to ${igroup}`),
  ];
  if (open.length > 0) throw stillOpen(control, volume.path, open);
}

/** Gives back what `closeVolume` has taken. */
export async function reopenVolume(
  control: OntapControl,
  { volume, mark }: Member,
  asking: Asking,
): Promise<void> {
  const { closed, ...rest } = mark;
  if (closed === undefined) return;
  for (const [lun, igroup, id] of closed.taken.maps) await control.map(volume.svm, lun, igroup, id, asking);
  await control.useExportPolicy(volume, closed.taken.policy, asking);
  await writeMark(control, volume, rest, asking);
}

/** Whether no host can have written: neither mounted nor mapped. */
export async function isUnreachable(control: OntapControl, volume: Volume, asking: Asking): Promise<boolean> {
  if (volume.junction !== '' && volume.exportPolicy !== closedPolicy) return false;
  return mapsOf(await control.luns(volume, asking)).length === 0;
}

/** Shows a volume to these hosts and no others of ours: by LUN where it holds one, by NFS else. */
export async function openTo(
  control: OntapControl,
  volume: Volume,
  access: Access,
  options: OntapOptions,
  asking: Asking,
): Promise<Exposed> {
  const [lun, ...more] = await control.luns(volume, asking);
  if (more.length > 0)
    throw severalLuns(
      control,
      volume.path,
      [lun, ...more].flatMap((one) => one?.path ?? []),
    );
  return lun === undefined
    ? exportTo(control, volume, access, options, asking)
    : mapTo(control, volume, lun, access, options, asking);
}

async function exportTo(
  control: OntapControl,
  volume: Volume,
  access: Access,
  options: OntapOptions,
  asking: Asking,
): Promise<Exposed> {
  const policy = ownName(volume);
  await control.createPolicy(volume.svm, policy, asking);
  const rules = (await control.rules(volume.svm, policy, asking)) ?? [];
  const allowed = new Set(rules.flatMap(({ clients }) => clients));
  for (const address of access.addresses)
    if (!allowed.has(address)) await control.addRule(volume.svm, policy, address, asking);
  if (volume.exportPolicy !== policy) await control.useExportPolicy(volume, policy, asking);
  const path = volume.junction === '' ? `/${volume.name}` : volume.junction;
  if (volume.junction === '') await control.mount(volume, path, asking);
  const server = options.nfs_server ?? (await control.portals(volume.svm, asking)).nfs[0];
  return { kind: 'nfs', path, ...(server === undefined ? {} : { server }) };
}

async function mapTo(
  control: OntapControl,
  volume: Volume,
  lun: Lun,
  access: Access,
  options: OntapOptions,
  asking: Asking,
): Promise<Exposed> {
  const name = ownName(volume);
  const wanted = options.protocol === 'fcp' ? (access.wwns ?? []) : access.iqns;
  const igroup = await control.igroup(volume.svm, name, asking);
  if (igroup === null) await control.createIgroup(volume.svm, name, wanted, asking);
  for (const one of wanted)
    if (igroup !== null && !igroup.initiators.includes(one))
      await control.addInitiator(volume.svm, name, one, asking);
  if (!lun.maps.some((map) => map.igroup === name))
    await control.map(volume.svm, lun.path, name, null, asking);
  const [shown] = await control.luns(volume, asking);
  const id = shown?.maps.find((map) => map.igroup === name)?.id;
  const scsiId = shown?.serialHex == null ? {} : { scsiId: `3600a0980${shown.serialHex}` };
  const number = id === undefined ? {} : { lun: id };
  if (options.protocol === 'fcp') return { kind: 'fc', ...number, ...scsiId };
  const { iscsi, iqn } = await control.portals(volume.svm, asking);
  return { kind: 'iscsi', portals: iscsi, ...(iqn === null ? {} : { iqn }), ...number, ...scsiId };
}

/** Takes the volume away from these hosts; an igroup is one set of hosts and goes as a whole. */
export async function closeTo(
  control: OntapControl,
  volume: Volume,
  access: Access,
  asking: Asking,
): Promise<void> {
  const name = ownName(volume);
  const rules = (await control.rules(volume.svm, name, asking)) ?? [];
  for (const { index, clients } of rules)
    if (clients.every((client) => access.addresses.includes(client)))
      await control.removeRule(volume.svm, name, index, asking);
  const leaving = [...access.iqns, ...(access.wwns ?? [])];
  const igroup = await control.igroup(volume.svm, name, asking);
  if (igroup?.initiators.every((one) => leaving.includes(one)) !== true) return;
  for (const lun of await control.luns(volume, asking))
    if (lun.maps.some((map) => map.igroup === name)) await control.unmap(volume.svm, lun.path, name, asking);
}

/** Takes away what `openTo` has made beside the volume. */
export async function removeAccess(control: OntapControl, volume: Volume, asking: Asking): Promise<void> {
  const name = ownName(volume);
  for (const lun of await control.luns(volume, asking))
    for (const { igroup } of lun.maps) await control.unmap(volume.svm, lun.path, igroup, asking);
  await control.deleteIgroup(volume.svm, name, asking);
}

/** Export policy and igroup of ours for a volume. */
export function ownName({ name }: Pick<Volume, 'name'>): string {
  return `lifeboat_${name}`;
}
