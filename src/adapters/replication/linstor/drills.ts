/** Copies for drills: a received snapshot restored into a resource definition of its own, known by its mark. */
import { createHash } from 'node:crypto';
import { PortError } from '../../../domain/errors.ts';
import type { DrillLeftover, Exposed } from '../../../domain/replication.ts';
import type { Access } from '../../../ports/replication.ts';
import { inUse, noPoint, otherPoint } from '../rest/refusals.ts';
import type { Snapshot } from './answers.ts';
import { definitionPath, type LinstorApi } from './api.ts';
import { makeAvailable } from './hosts.ts';
import { type DrillMark, forgetDrill, writeDrill } from './marks.ts';
import {
  blockedProp,
  type Cluster,
  isReceived,
  look,
  openAt,
  receiptOf,
  refOf,
  type VolumeState,
} from './state.ts';

export interface DrillOrder {
  readonly drill: string;
  readonly point: string;
  readonly access: Access;
}

export function copyName(volume: string, drill: string): string {
  return `lbdrill_${createHash('sha256').update(`${volume}\0${drill}`).digest('hex').slice(0, 24)}`;
}

export async function startDrill(
  api: LinstorApi,
  state: VolumeState,
  { drill, point, access }: DrillOrder,
  signal: AbortSignal | undefined,
): Promise<Exposed> {
  const snapshot = receivedAs(api, state, point);
  const name = copyName(state.volume, drill);
  const cluster = await look(api, name, signal);
  const mark = cluster.drills.find((one) => one.name === name);
  const copy = cluster.volumes.get(name);
  if (mark === undefined && copy !== undefined) throw notOurs(api, name);
  if (mark !== undefined && mark.point !== point) throw otherPoint(api.array, `drill ${drill}`, mark.point);
  if (mark === undefined) {
    const { clock: madeAt } = await api.version(signal);
    await writeDrill(api, { name, volume: state.volume, drill, point, madeAt }, signal);
  }
  if (copy === undefined || copy.resources.length === 0)
    await restore(api, state.volume, snapshot, name, signal);
  await unblock(api, name, signal);
  return makeAvailable(api, name, access, signal);
}

/** Into a definition that has no resources yet; its own one, or that of a copy. */
export async function restore(
  api: LinstorApi,
  volume: string,
  { name: snapshot }: Snapshot,
  into: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const of = encodeURIComponent(snapshot);
  const body = { to_resource: into };
  if (into !== volume) {
    await api.make('/v1/resource-definitions', { resource_definition: { name: into } }, signal);
    await api.make(definitionPath(volume, `/snapshot-restore-volume-definition/${of}`), body, signal);
  }
  await api.act('POST', definitionPath(volume, `/snapshot-restore-resource/${of}`), body, signal);
}

/** A snapshot of a source that was prepared brings its block along. */
export async function unblock(
  api: LinstorApi,
  definition: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const body = { override_props: {}, delete_props: [blockedProp], delete_namespaces: [] };
  await api.act('PUT', definitionPath(definition), body, signal);
}

export async function stopDrill(
  api: LinstorApi,
  volume: string,
  drill: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const name = copyName(volume, drill);
  const cluster = await look(api, name, signal);
  if (!cluster.drills.some((one) => one.name === name)) return;
  const copy = cluster.volumes.get(name);
  const open = copy === undefined ? [] : openAt(copy);
  if (open.length > 0) throw inUse(api.array, `the copy of drill ${drill}`, open);
  await api.remove(definitionPath(name), signal);
  await forgetDrill(api, name, signal);
}

export function leftovers({ drills }: Cluster): DrillLeftover[] {
  return drills.map(({ name, volume, drill, madeAt }: DrillMark) => ({ volume, drill, name, madeAt }));
}

/** The snapshot that a point is here; DR-ARRAY-POINT when it is not here whole. */
export function receivedAs(api: LinstorApi, { volume, snapshots }: VolumeState, point: string): Snapshot {
  const found = snapshots.find(
    (one) => isReceived(one) && refOf(one) === point && receiptOf(one) === 'complete',
  );
  if (found === undefined) throw noPoint(api.array, volume, point);
  return found;
}

function notOurs(api: LinstorApi, name: string): PortError {
  return new PortError(
    'refused',
    {
      code: 'DR-ARRAY-NOT-OURS',
      what: `A resource definition ${name} is there, and nothing says that Lifeboat made it`,
      where: { object: `array ${api.array}` },
      next: 'Find out whose it is, and rename or remove it; Lifeboat touches only what it has marked',
    },
    { peerCode: 'not-ours' },
  );
}
