/**
 * Volumes of a PowerStore that a replication session ties to another one. Points are snapshots, which a synchronization
 * carries along. A destination can be changed by nobody: a promotion fails the session over first, and only then writes
 * its mark; what is closed is mapped to no host.
 */
import { PortError } from '../../../domain/errors.ts';
import type { Exposed } from '../../../domain/replication.ts';
import type { Access } from '../../../ports/replication.ts';
import type { Clock } from '../../../ports/system.ts';
import { groupHalfWay } from '../consistency-group.ts';
import { busy, notUnderstood, unsupported } from '../rest/errors.ts';
import { type Pace, pollUntil } from '../rest/poll.ts';
import { badName, noPoint, noVolume, wrongState } from '../send-receive/errors.ts';
import { readMark, writeMark } from '../send-receive/marks.ts';
import type {
  DrillCopy,
  Mark,
  StoredPoint,
  StoreIdentity,
  StoreLook,
  VolumeState,
  VolumeStore,
} from '../send-receive/store.ts';
import { after } from '../send-receive/views.ts';
import type { PowerStoreApi } from './api.ts';
import {
  addressOf,
  attach,
  detach,
  mustKnowReachers,
  reachersFor,
  reachersNamed,
  reachersOf,
  shortName,
} from './hosts.ts';
import { longestDescription, type Notes, notesOf, withNotes } from './notes.ts';
import {
  clusterItem,
  type GroupItem,
  groupFields,
  groupItem,
  groupOf,
  groupSnapshotAt,
  isDestination,
  keptPrefix,
  type Listing,
  list,
  pointPrefix,
  type Session,
  secondsOf,
  sessionFields,
  sessionItem,
  stateOfVolume,
  type VolumeItem,
  volumeFields,
  volumeItem,
} from './state.ts';

const copyName = /^(.+)-lifeboat-drill-([A-Za-z0-9-]+)$/;
const longestName = 128;

interface Found {
  readonly listing: Listing;
  /** The volume group that it shares with others; null for a volume that stands alone. */
  readonly group: GroupItem | null;
  readonly item: VolumeItem;
  readonly notes: Notes;
  readonly state: VolumeState;
  readonly session: Session | undefined;
}

export interface StoreSurroundings {
  readonly clock: Clock;
  readonly pace: Pace;
  readonly keepPoints: number;
  /** The volume group of each volume that sites.yaml keeps together with others. */
  readonly groups: ReadonlyMap<string, string>;
}

export class PowerStoreStore implements VolumeStore {
  readonly api: PowerStoreApi;
  readonly #around: StoreSurroundings;

  constructor(api: PowerStoreApi, around: StoreSurroundings) {
    this.api = api;
    this.#around = around;
  }

  async identify(signal?: AbortSignal): Promise<StoreIdentity> {
    const fields = ['name', 'global_id', 'system_time'];
    const [cluster] = await this.api.list('cluster', clusterItem, fields, {}, signal);
    if (cluster === undefined) throw notUnderstood(this.api.endpoint, 'lists no cluster');
    return {
      vendor: 'Dell',
      model: `PowerStore ${cluster.name}`,
      serial: cluster.global_id,
      clockSeconds: secondsOf(cluster.system_time),
    };
  }

  async look(volumes: readonly string[], signal?: AbortSignal): Promise<StoreLook> {
    const listing = await this.#list(signal);
    const states = new Map<string, VolumeState>();
    for (const volume of volumes) {
      const state = stateOfVolume(listing, volume, this.#groupName(volume));
      if (state !== null) states.set(volume, state);
    }
    return { clockSeconds: listing.clockSeconds, volumes: states };
  }

  async marked(signal?: AbortSignal): Promise<readonly string[]> {
    const { volumes } = await this.#list(signal);
    return [...volumes.values()]
      .filter(({ description }) => readMark(notesOf(description)['mark']) !== null)
      .map(({ name }) => name);
  }

  async mark(volume: string, mark: Mark | null): Promise<void> {
    const found = await this.#find(volume);
    if (mark === null) return this.#note(found, { mark: undefined, shown: undefined });
    if (mark.role !== 'promoting') return this.#mayNote(found, { mark: writeMark(mark) });
    const open = isDestination(found.session) ? await this.#failOver(volume) : found;
    await this.#note(open, { mark: writeMark(mark), closed: 'yes' });
  }

  async cut(volume: string, tag: string): Promise<void> {
    if (!/^[A-Za-z0-9._-]{1,100}$/.test(tag))
      throw badName(this.api.endpoint.array, 'the tag of a point', tag);
    const { item, group } = await this.#find(volume);
    const what = group === null ? `/volume/${item.id}` : `/volume_group/${group.id}`;
    await this.#quietly('exists', () =>
      this.api.tell('POST', `${what}/snapshot`, { name: `${pointPrefix}${tag}` }),
    );
  }

  async close(volume: string): Promise<void> {
    const found = await this.#find(volume);
    if (isDestination(found.session)) return;
    const reachers = await reachersOf(this.api, found.item.id);
    const hosts = reachers.map(shortName).join(',');
    await this.#note(found, { closed: 'yes', ...(hosts === '' ? {} : { hosts }) });
    await detach(this.api, found.item.id, reachers);
  }

  async open(volume: string): Promise<void> {
    const found = await this.#find(volume);
    const { item, notes, state } = found;
    // No host has reached it yet, so that doing it again takes nothing from anybody.
    if (state.mark?.role === 'promoting')
      await this.#putToPoint(found, mustHold(this, state, state.mark.point));
    const names = (notes['hosts'] ?? '').split(',').filter(Boolean);
    await attach(this.api, item.id, await reachersNamed(this.api, names));
    if (notes['closed'] !== undefined || notes['hosts'] !== undefined)
      await this.#note(await this.#find(volume), { closed: undefined, hosts: undefined });
  }

  /** PowerStore does not tell what was written: a volume that no host could reach since its promotion is unchanged. */
  async changedSince(volume: string): Promise<boolean> {
    const { state, notes } = await this.#find(volume);
    const promoted = state.mark?.role === 'promoted' || state.mark?.role === 'promoting';
    return !promoted || notes['shown'] === 'yes';
  }

  async rewind(volume: string, point: StoredPoint): Promise<void> {
    const found = await this.#find(volume);
    const { item, notes, state, listing, group } = found;
    if (state.mark?.role === 'promoting' && notes['shown'] !== 'yes') return this.#putToPoint(found, point);
    const now = Math.round((await this.identify()).clockSeconds * 1000);
    if (group === null) await this.#putBack(item, point, `${keptPrefix}${now}`);
    // A group goes back as a whole, and the others may not be given up yet: what is here is kept, and reprotect overwrites it.
    else await this.api.tell('POST', `/volume/${item.id}/snapshot`, { name: `${keptPrefix}${now}` });
    const at = (listing.snapshots.get(item.id) ?? []).find(({ id }) => id === point.name);
    const range = [Date.parse(at?.creation_timestamp ?? ''), now].map((one) => one.toString(36)).join('-');
    const kept = [...(notes['kept'] ?? '').split(',').filter(Boolean).slice(-2), range].join(',');
    await this.#note(await this.#find(volume), { kept, shown: undefined });
  }

  /** Each step of a rewind can be done again by the verb that is asked again. */
  finishRewind(): Promise<void> {
    return Promise.resolve();
  }

  /** A failover ends what is arriving. */
  stopArriving(): Promise<void> {
    return Promise.resolve();
  }

  async settle(state: VolumeState, point: StoredPoint): Promise<void> {
    const own = state.points.find(({ ref }) => ref === point.ref);
    if (own === undefined) return;
    const older = state.points.filter((one) => one.ours && !after(state, own).includes(one) && one !== own);
    const gone = older.slice(0, Math.max(0, older.length + 1 - this.#around.keepPoints));
    if (gone.length === 0) return;
    const { group, listing } = await this.#find(state.volume);
    for (const { name, ref } of gone) {
      const whole = group === null ? null : groupSnapshotAt(listing, group, ref);
      const path = whole === null ? `/volume/${name}` : `/volume_group/${whole.id}`;
      await this.#quietly('not-found', () => this.api.tell('DELETE', path));
    }
  }

  async copy(volume: string, point: StoredPoint, drill: string): Promise<string> {
    const name = `${volume}-lifeboat-drill-${drill}`;
    if (!copyName.test(name) || name.length > longestName)
      throw badName(this.api.endpoint.array, 'the name of a copy', name);
    const description = withNotes('', { drill, point: point.ref });
    await this.#quietly('exists', () =>
      this.api.tell('POST', `/volume/${point.name}/clone`, { name, description }),
    );
    return name;
  }

  async copies(signal?: AbortSignal): Promise<readonly DrillCopy[]> {
    const volumes = await this.api.list(
      'volume',
      volumeItem,
      volumeFields,
      { name: 'like.*-lifeboat-drill-*' },
      signal,
    );
    return volumes.flatMap(({ name, description, creation_timestamp: created }) => {
      const [, volume, drill] = copyName.exec(name) ?? [];
      const notes = notesOf(description);
      if (volume === undefined || drill === undefined || notes['drill'] !== drill) return [];
      return [{ name, volume, drill, point: notes['point'] ?? null, madeAtSeconds: secondsOf(created) }];
    });
  }

  async removeCopy({ name, volume, drill }: DrillCopy): Promise<void> {
    if (name !== `${volume}-lifeboat-drill-${drill}`) throw noVolume(this.api.endpoint.array, name);
    const { id } = await this.#named(name);
    await detach(this.api, id, await reachersOf(this.api, id));
    await this.#quietly('not-found', () => this.api.tell('DELETE', `/volume/${id}`));
  }

  async publish(name: string, access: Access): Promise<Exposed> {
    const item = await this.#named(name);
    const reachers = await mustKnowReachers(this.api, name, access);
    if (!copyName.test(name)) await this.#note(await this.#find(name), { shown: 'yes' });
    await attach(this.api, item.id, reachers);
    return addressOf(this.api, item, access);
  }

  async unpublish(name: string, access: Access): Promise<void> {
    const { id } = await this.#named(name);
    await detach(this.api, id, await reachersFor(this.api, access));
  }

  /** All volumes that share the group of this one, itself included. */
  companions(volume: string): readonly string[] {
    const group = this.#groupName(volume);
    if (group === null) return [volume];
    return [...this.#around.groups].flatMap(([one, name]) => (name === group ? [one] : []));
  }

  /** The session of the volume, or of the group that sites.yaml names for it. */
  async session(volume: string, signal?: AbortSignal): Promise<Session> {
    const group = this.#groupName(volume);
    const { id } = group === null ? await this.#named(volume, signal) : await this.#groupNamed(group, signal);
    const filter = { local_resource_id: `eq.${id}` };
    const [session] = await this.api.list('replication_session', sessionItem, sessionFields, filter, signal);
    if (session !== undefined) return session;
    throw wrongState(
      this.api.endpoint.array,
      `${group === null ? `Volume ${volume}` : `Volume group ${group}`} has no replication session`,
      [],
      'Give it a protection policy with a replication rule',
    );
  }

  /** Quiet while a synchronization is under way. */
  async synchronize(volume: string): Promise<void> {
    const { id, state } = await this.session(volume);
    if (/^(Paused|Paused_For_\w+|Pausing|Fractured|Deleting|Error)$/.test(state))
      throw wrongState(
        this.api.endpoint.array,
        `Volume ${volume} is not synchronized: its session is ${state}`,
        [],
        'Resume the session in PowerStore Manager, or find out there why it stands',
      );
    if (!/^(OK|System_Paused)$/.test(state)) return;
    try {
      await this.api.tell('POST', `/replication_session/${id}/sync`, {});
    } catch (error) {
      if (!(error instanceof PortError) || error.kind !== 'busy') throw error;
    }
  }

  /** From the promoted side: it sends from now on. The other volume is overwritten, and cannot be written on any more. */
  async reprotect(volume: string, signal?: AbortSignal): Promise<void> {
    const { id, state } = await this.session(volume, signal);
    if (state === 'Failed_Over') await this.api.tell('POST', `/replication_session/${id}/reprotect`, {});
    await this.#until(volume, 'reprotect', ({ state: now }) => !/^(Failed_Over|Reprotecting)$/.test(now));
  }

  async #failOver(volume: string): Promise<Found> {
    const { id, state } = await this.session(volume);
    if (!/^Failing_Over/.test(state))
      await this.api.tell('POST', `/replication_session/${id}/failover`, { is_planned: false });
    await this.#until(volume, 'failover', ({ state: now }) => now === 'Failed_Over');
    return this.#find(volume);
  }

  /** The answer of a verb of a session is no proof: its state is. */
  async #until(volume: string, verb: string, done: (session: Session) => boolean): Promise<void> {
    const { clock, pace } = this.#around;
    const { endpoint } = this.api;
    await pollUntil(
      { endpoint, clock, pace, signal: undefined },
      {
        look: () => this.session(volume),
        done,
        late: ({ state }) => busy(endpoint, `the session of ${volume} stays ${state} after ${verb}`, state),
      },
    );
  }

  #groupName(volume: string): string | null {
    return this.#around.groups.get(volume) ?? null;
  }

  #list(signal?: AbortSignal): Promise<Listing> {
    return list(this.api, this.#around.groups.size > 0, signal);
  }

  async #find(volume: string, signal?: AbortSignal): Promise<Found> {
    const listing = await this.#list(signal);
    const item = listing.volumes.get(volume);
    const groupName = this.#groupName(volume);
    if (item === undefined) throw noVolume(this.api.endpoint.array, volume);
    const group = groupName === null ? null : this.#mustBeMember(listing, item, groupName);
    const state = stateOfVolume(listing, volume, groupName);
    if (state === null) throw noVolume(this.api.endpoint.array, volume);
    const session = listing.sessions.get(item.id);
    if (session !== undefined && session.resource_type !== (group === null ? 'volume' : 'volume_group'))
      throw unsupported(
        this.api.endpoint,
        `Volume ${volume} is replicated as ${session.resource_type === 'volume' ? 'a single volume' : `part of a ${session.resource_type.replaceAll('_', ' ')}`}`,
        'Name its volume group as consistency_group of all its volumes in sites.yaml; or give the volume a replication rule of its own, and name none',
      );
    return { listing, item, group, notes: notesOf(item.description), state, session };
  }

  #mustBeMember(listing: Listing, item: VolumeItem, groupName: string): GroupItem {
    const group = groupOf(listing, item, groupName);
    const { array } = this.api.endpoint;
    if (group === null)
      throw groupHalfWay(array, `Volume ${item.name} is not in volume group ${groupName}`, []);
    if (group.is_write_order_consistent === false)
      throw groupHalfWay(array, `Volume group ${groupName} does not keep the order of writes`, [
        'its snapshots are of different moments: write-order consistency is switched off',
      ]);
    return group;
  }

  async #groupNamed(name: string, signal?: AbortSignal): Promise<GroupItem> {
    const filter = { name: `eq.${name}`, type: 'neq.Snapshot' };
    const [found] = await this.api.list('volume_group', groupItem, groupFields, filter, signal);
    if (found !== undefined) return found;
    throw groupHalfWay(this.api.endpoint.array, `There is no volume group ${name}`, []);
  }

  async #named(name: string, signal?: AbortSignal): Promise<VolumeItem> {
    const filter = { name: `eq.${name}`, type: 'neq.Snapshot' };
    const [found] = await this.api.list('volume', volumeItem, volumeFields, filter, signal);
    if (found === undefined) throw noVolume(this.api.endpoint.array, name);
    return found;
  }

  /** A group goes to the point as a whole; once one of its volumes is open, it is there. */
  async #putToPoint({ item, group, listing }: Found, point: StoredPoint): Promise<void> {
    if (group === null) return this.#putBack(item, point, null);
    const open = this.companions(item.name).some(
      (one) => readMark(notesOf(listing.volumes.get(one)?.description)['mark'])?.role === 'promoted',
    );
    if (open) return;
    const snapshot = groupSnapshotAt(listing, group, point.ref);
    if (snapshot === null) throw noPoint(this.api.endpoint.array, item.name, point.ref);
    await this.api.tell('POST', `/volume_group/${group.id}/restore`, {
      from_snap_id: snapshot.id,
      create_backup_snap: false,
    });
  }

  async #putBack(item: VolumeItem, point: StoredPoint, keepAs: string | null): Promise<void> {
    await this.api.tell('POST', `/volume/${item.id}/restore`, {
      from_snap_id: point.name,
      create_backup_snap: keepAs !== null,
      ...(keepAs === null ? {} : { backup_snap_profile: { name: keepAs } }),
    });
  }

  /** Nothing can be written on a destination, and its session says what it is. */
  async #mayNote(found: Found, changes: Readonly<Record<string, string>>): Promise<void> {
    if (!isDestination(found.session)) await this.#note(found, changes);
  }

  async #note({ item, notes }: Found, changes: Readonly<Record<string, string | undefined>>): Promise<void> {
    const next: Notes = Object.fromEntries(
      Object.entries({ ...notes, ...changes }).flatMap(([key, value]) =>
        value === undefined ? [] : [[key, value]],
      ),
    );
    const description = withNotes(item.description, next);
    if (description.length > longestDescription)
      throw wrongState(
        this.api.endpoint.array,
        `The description of volume ${item.name} has no room for what Lifeboat must remember`,
        [`${description.length} of ${longestDescription} characters`],
        'Shorten it, or map the volume to a host group instead of many hosts',
      );
    await this.api.tell('PATCH', `/volume/${item.id}`, { description });
  }

  async #quietly(already: 'exists' | 'not-found', act: () => Promise<unknown>): Promise<void> {
    try {
      await act();
    } catch (error) {
      if (!(error instanceof PortError) || error.peerCode !== already) throw error;
    }
  }
}

function mustHold({ api }: PowerStoreStore, state: VolumeState, ref: string | null): StoredPoint {
  const point = state.points.find((one) => one.complete && one.ref === ref);
  if (point === undefined) throw noPoint(api.endpoint.array, state.volume, ref ?? 'none');
  return point;
}
