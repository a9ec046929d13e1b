/** One look at a cluster, and what it means for a volume: role, points, whether anybody may write. */
import type { Json } from '../../../domain/canonical.ts';
import type { PairView, ReplicaPoint, Role } from '../../../domain/replication.ts';
import type { Instant } from '../../../domain/time.ts';
import { noVolume, wrongRole } from '../rest/refusals.ts';
import { answers, type Definition, type Resource, type Snapshot } from './answers.ts';
import type { LinstorApi } from './api.ts';
import { type DrillMark, type Mark, readMarks } from './marks.ts';

/** DRBD lets nobody open a device for writing unless it was made primary by hand. */
export const blockedProp = 'DrbdOptions/Resource/auto-promote';
/** Properties of a snapshot that travel with a shipment. */
export const tagProp = 'Aux/lifeboat/tag';
export const takenAtProp = 'Aux/lifeboat/taken-at';
/** On what a demotion puts aside; it is never shipped. */
export const keptProp = 'Aux/lifeboat/kept';
/** Set by LINSTOR on what it has received: the identity of the snapshot at the sender. */
const sentAsProp = 'Backup/Target/SourceSnapDfnUUID';
const receivedProp = 'BackupShipping/Target/ShippingStatus';
const sentFrom = 'BackupShipping/Source/';
const startedAtProp = 'BackupShipping/Target/BackupStartTimestamp';

const underWay = new Set(['Shipping', 'Prepare Shipping', 'Aborting', 'Prepare Abort', 'Uploading Metadata']);

export interface VolumeState {
  readonly volume: string;
  readonly definition: Definition;
  readonly mark: Mark | null;
  readonly resources: readonly Resource[];
  readonly snapshots: readonly Snapshot[];
}

export interface Cluster {
  readonly volumes: ReadonlyMap<string, VolumeState>;
  readonly drills: readonly DrillMark[];
}

/** Four requests, for one volume or for all. */
export async function look(
  api: LinstorApi,
  volume: string | null,
  signal: AbortSignal | undefined,
): Promise<Cluster> {
  const only = (name: string): string =>
    volume === null ? '' : `?${new URLSearchParams({ [name]: volume }).toString()}`;
  const [definitions, resources, snapshots, marks] = await Promise.all([
    api.get(answers.definitions, `/v1/resource-definitions${only('resource_definitions')}`, signal),
    api.get(answers.resources, `/v1/view/resources${only('resources')}`, signal),
    api.get(answers.snapshots, `/v1/view/snapshots${only('resources')}`, signal),
    readMarks(api, signal),
  ]);
  const ofResource = Map.groupBy(resources, ({ name }) => name);
  const ofSnapshot = Map.groupBy(snapshots, ({ resource_name: name }) => name);
  const volumes = definitions.map((definition): [string, VolumeState] => [
    definition.name,
    {
      volume: definition.name,
      definition,
      mark: marks.volumes.get(definition.name) ?? null,
      resources: ofResource.get(definition.name) ?? [],
      snapshots: ofSnapshot.get(definition.name) ?? [],
    },
  ]);
  return { volumes: new Map(volumes), drills: marks.drills };
}

/** One request; empty where there is no such definition. */
export function snapshotsOf(
  api: LinstorApi,
  volume: string,
  signal: AbortSignal | undefined,
): Promise<Snapshot[]> {
  const query = new URLSearchParams({ resources: volume }).toString();
  return api.get(answers.snapshots, `/v1/view/snapshots?${query}`, signal);
}

export async function lookAt(
  api: LinstorApi,
  volume: string,
  signal: AbortSignal | undefined,
): Promise<VolumeState> {
  const state = (await look(api, volume, signal)).volumes.get(volume);
  if (state === undefined) throw noVolume(api.array, volume);
  return state;
}

export function roleOf({ mark, resources, snapshots }: VolumeState): Role {
  const deployed = resources.length > 0;
  switch (mark?.role) {
    case 'prepared':
    case 'demoted':
      return 'demoted';
    case 'target':
    case 'rolling':
      return 'target';
    case 'promoting':
      return deployed ? 'promoted' : 'target';
    case 'promoted':
    case 'reversing':
      return deployed ? 'promoted' : 'unknown';
    default:
      if (deployed) return 'source';
      return snapshots.some(isReceived) ? 'target' : 'unpaired';
  }
}

export function mustBe(api: LinstorApi, state: VolumeState, verb: string, ...needed: readonly Role[]): void {
  const role = roleOf(state);
  if (!needed.includes(role)) throw wrongRole(api.array, state.volume, verb, role, needed);
}

export function isBlocked({ definition }: VolumeState): boolean {
  return definition.props[blockedProp] === 'no';
}

/** Nodes at which somebody has the device open. */
export function openAt({ resources }: VolumeState): string[] {
  return resources.filter(({ state }) => state.in_use === true).map(({ node_name: node }) => node);
}

export function isReceived({ snapshot_definition_props: props }: Snapshot): boolean {
  return props[sentAsProp] !== undefined;
}

/** The same on both sides: the identity at the sender. */
export function refOf(snapshot: Snapshot): string {
  return snapshot.snapshot_definition_props[sentAsProp] ?? snapshot.uuid;
}

export type Shipment = 'none' | 'under way' | 'complete' | 'failed';

export function receiptOf({ snapshot_definition_props: props }: Snapshot): Shipment {
  return shipmentOf(props[receivedProp]);
}

/** How far it has come on its way to a remote; to any one when null. */
export function dispatchOf({ snapshot_definition_props: props }: Snapshot, remote: string | null): Shipment {
  const statuses = Object.entries(props).filter(([prop]) => {
    const [name, last, ...rest] = prop.startsWith(sentFrom) ? prop.slice(sentFrom.length).split('/') : [];
    const asked = remote === null || name?.toLowerCase() === remote.toLowerCase();
    return asked && last === 'ShippingStatus' && rest.length === 0;
  });
  const all = statuses.map(([, value]) => shipmentOf(value));
  return all.find((one) => one === 'under way') ?? all.find((one) => one === 'complete') ?? all[0] ?? 'none';
}

function shipmentOf(status: string | undefined): Shipment {
  if (status === undefined) return 'none';
  if (status === 'Success') return 'complete';
  return underWay.has(status) ? 'under way' : 'failed';
}

/** What has been received whole, newest first. */
export function receivedPoints({ snapshots }: VolumeState): ReplicaPoint[] {
  const whole = snapshots.filter((one) => isReceived(one) && receiptOf(one) === 'complete');
  return newestFirst(whole).map((one) => pointOf(one, true));
}

/** What was cut here and has gone out whole, newest first. */
export function sentPoints({ snapshots }: VolumeState): ReplicaPoint[] {
  const sent = snapshots.filter((one) => !isReceived(one) && dispatchOf(one, null) === 'complete');
  return newestFirst(sent).map((one) => pointOf(one, true));
}

export function newestFirst(snapshots: readonly Snapshot[]): Snapshot[] {
  // Our dates are of whole seconds: within one, the order in which the cluster made them decides.
  const second = (snapshot: Snapshot): number => Math.floor(takenAt(snapshot) / 1000);
  return snapshots.toSorted((a, b) => second(b) - second(a) || madeAt(b) - madeAt(a));
}

export function pointOf(snapshot: Snapshot, complete: boolean): ReplicaPoint {
  const tag = snapshot.snapshot_definition_props[tagProp];
  const dated = datedBySource(snapshot) !== null || !isReceived(snapshot);
  return {
    ref: refOf(snapshot),
    ...(tag === undefined ? {} : { tag }),
    takenAt: new Date(takenAt(snapshot)).toISOString(),
    clock: dated ? 'source' : 'target',
    complete,
    consistency: 'crash',
  };
}

function takenAt(snapshot: Snapshot): number {
  return datedBySource(snapshot) ?? madeAt(snapshot);
}

/** Milliseconds by the sender's clock: our own date, or LINSTOR's for what a schedule has shipped. */
function datedBySource({ snapshot_definition_props: props }: Snapshot): number | null {
  const dates = [Date.parse(props[takenAtProp] ?? ''), Number(props[startedAtProp] ?? Number.NaN)];
  return dates.find((date) => Number.isFinite(date) && date > 0) ?? null;
}

function madeAt({ snapshots }: Snapshot): number {
  return Math.max(0, ...snapshots.map(({ create_timestamp: at }) => at ?? 0));
}

export function viewOf(array: string, state: VolumeState, observedAt: Instant): PairView {
  const role = roleOf(state);
  const writes = role === 'source' || role === 'promoted' ? !isBlocked(state) : false;
  return {
    pair: { array, volume: state.volume },
    observedAt,
    role,
    activity: activityOf(state),
    link: 'unknown',
    health: healthOf(state, role),
    newestComplete: newestOf(state, role),
    writable: role === 'unknown' || role === 'unpaired' ? 'unknown' : writes,
    reportedLagSeconds: null,
    raw: rawOf(state),
  };
}

function newestOf(state: VolumeState, role: Role): ReplicaPoint | null {
  if (role === 'target') return receivedPoints(state)[0] ?? null;
  const all = [...receivedPoints(state), ...sentPoints(state)];
  if (role === 'promoted') return all.find(({ ref }) => ref === state.mark?.point) ?? null;
  return sentPoints(state)[0] ?? null;
}

function activityOf(state: VolumeState): NonNullable<PairView['activity']> {
  const { mark, snapshots } = state;
  if (mark?.role === 'promoting' || mark?.role === 'rolling') return 'promoting';
  const moving = snapshots.some(
    (one) => receiptOf(one) === 'under way' || dispatchOf(one, null) === 'under way',
  );
  if (moving) return 'transferring';
  return mark?.role === 'prepared' ? 'quiesced' : 'idle';
}

function healthOf(state: VolumeState, role: Role): PairView['health'] {
  if (role === 'promoted')
    return { level: 'warn', reasons: ['it is promoted: nothing protects what is written here'] };
  if (role === 'unknown') return { level: 'bad', reasons: ['it was promoted, and its resources are gone'] };
  const last = newestFirst(state.snapshots)[0];
  if (last === undefined) return { level: 'unknown', reasons: ['nothing has been shipped yet'] };
  const failed = [receiptOf(last), dispatchOf(last, null)].includes('failed');
  return failed
    ? { level: 'bad', reasons: [`the shipment of snapshot ${last.name} has failed`] }
    : { level: 'ok', reasons: [] };
}

function rawOf({ definition, mark, resources, snapshots }: VolumeState): Json {
  return {
    uuid: definition.uuid,
    autoPromote: definition.props[blockedProp] ?? 'default',
    mark: mark === null ? null : `${mark.role}:${mark.point ?? '-'}`,
    resources: resources.map(({ node_name: node, flags, state }) => ({
      node,
      flags: [...flags],
      inUse: state.in_use ?? null,
    })),
    snapshots: newestFirst(snapshots)
      .slice(0, 10)
      .map((one) => ({
        name: one.name,
        uuid: one.uuid,
        received: receiptOf(one),
        sent: dispatchOf(one, null),
      })),
  };
}
