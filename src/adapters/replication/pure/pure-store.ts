/**
 * Volumes as protection groups of a FlashArray, or as members of one (`places.ts`). What arrives is listed as `ARRAY:GROUP` and touches no volume; a
 * promotion makes, or overwrites, the volume of the group of the same name here. An array of this kind has no read-only
 * volumes: a closed one is connected to no host. Marks are tags of the member volume.
 */
import { z } from 'zod';
import { PortError } from '../../../domain/errors.ts';
import type { Exposed } from '../../../domain/replication.ts';
import type { Access } from '../../../ports/replication.ts';
import { refusedByArray, unsupported } from '../rest/errors.ts';
import { badName, noPoint, noVolume } from '../send-receive/errors.ts';
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
import type { PureApi, Query } from './api.ts';
import { addressOf, connect, connectionsOf, disconnect, hostsOf, mustKnowHosts } from './hosts.ts';
import { type Place, type Places, placeOf } from './places.ts';
import {
  arrayItem,
  arrivalOf,
  contentName,
  isHere,
  type Listing,
  list,
  listMarks,
  listMembership,
  listTags,
  type Membership,
  memberOf,
  pointPrefix,
  stateOfGroup,
  tagSpace,
} from './state.ts';

const volumeItem = z.looseObject({ name: z.string(), created: z.number().nullish() });
const snapshotVolumeItem = z.looseObject({ name: z.string() });
const copyName = /^(.+)-lifeboat-drill-([A-Za-z0-9-]+)$/;

/** The volume of a group, null where nothing but points is here, and what is written on it. */
interface Member {
  readonly member: string | null;
  readonly tags: Readonly<Record<string, string>>;
}

interface Group extends Member {
  readonly listing: Listing;
  readonly state: VolumeState;
}

export class PureStore implements VolumeStore {
  readonly api: PureApi;
  readonly arrayName: string;
  readonly #keepPoints: number;
  readonly #places: Places;

  constructor(
    api: PureApi,
    options: { readonly array_name: string; readonly keep_points: number },
    places: Places,
  ) {
    this.api = api;
    this.arrayName = options.array_name;
    this.#keepPoints = options.keep_points;
    this.#places = places;
  }

  async identify(signal?: AbortSignal): Promise<StoreIdentity> {
    const [array] = await this.api.list('/arrays', arrayItem, {}, signal);
    if (array === undefined) throw noVolume(this.api.endpoint.array, this.arrayName);
    const model = `FlashArray ${array.name}, ${array.os ?? 'Purity//FA'} ${array.version}`;
    return { vendor: 'Pure Storage', model, serial: array.id, clockSeconds: array._as_of / 1000 };
  }

  async look(volumes: readonly string[], signal?: AbortSignal): Promise<StoreLook> {
    const listing = await this.#list(signal);
    const states = new Map<string, VolumeState>();
    for (const volume of volumes) {
      const state = stateOfGroup(listing, volume, placeOf(this.#places, volume));
      if (state !== null) states.set(volume, state);
    }
    return { clockSeconds: listing.clockMilliseconds / 1000, volumes: states };
  }

  async marked(signal?: AbortSignal): Promise<readonly string[]> {
    return [...(await listMarks(this.api, this.#places, signal)).keys()];
  }

  /** Volumes that take writes here because they were promoted. */
  async promotedVolumes(signal?: AbortSignal): Promise<ReadonlySet<string>> {
    const marks = await listMarks(this.api, this.#places, signal);
    return new Set([...marks].filter(([, { role }]) => role === 'promoted').map(([volume]) => volume));
  }

  async mark(volume: string, mark: Mark | null): Promise<void> {
    const { member } = await this.#member(volume);
    if (mark === null) {
      if (member !== null) await this.#untag(member, ['mark', 'shown']);
      return;
    }
    if (member !== null) await this.#tag(member, { mark: writeMark(mark) });
    // A replica without a volume of its own needs no mark: it cannot be anything but a target.
    else if (mark.role === 'promoting') {
      const { state } = await this.#group(volume);
      await this.#makeMember(volume, mustHold(this, state, mark.point), mark);
    }
  }

  async cut(volume: string, tag: string): Promise<void> {
    if (!/^[A-Za-z0-9-]{1,50}$/.test(tag)) throw badName(this.api.endpoint.array, 'the tag of a point', tag);
    await this.#quietly('exists', () =>
      this.api.tell(
        'POST',
        '/protection-group-snapshots',
        { source_names: this.#place(volume).group, replicate_now: true },
        { suffix: `${pointPrefix}${tag}` },
      ),
    );
  }

  async close(volume: string): Promise<void> {
    const { member } = await this.#member(volume);
    if (member === null) return;
    const hosts = (await connectionsOf(this.api, member)).map(({ host }) => host.name);
    await this.#tag(member, { closed: 'yes', ...(hosts.length === 0 ? {} : { hosts: hosts.join(',') }) });
    await disconnect(this.api, member, hosts);
  }

  async open(volume: string): Promise<void> {
    const { member, tags, state } = await this.#group(volume);
    if (member === null) throw noVolume(this.api.endpoint.array, volume);
    // No host has reached it yet, so that doing it again takes nothing from anybody.
    if (state.mark?.role === 'promoting')
      await this.#overwrite(volume, member, mustHold(this, state, state.mark.point));
    const hosts = (tags['hosts'] ?? '').split(',').filter(Boolean);
    await connect(this.api, member, hosts);
    await this.#untag(member, ['closed', 'hosts']);
  }

  /** Purity does not tell what was written: a volume that no host could reach since its promotion is unchanged. */
  async changedSince(volume: string): Promise<boolean> {
    const { member, tags } = await this.#member(volume);
    const role = readMark(tags['mark'])?.role;
    const promoted = role === 'promoted' || role === 'promoting';
    return !promoted || (await this.#isReachable({ member, tags }));
  }

  /** Purity does not tell what was written. The site may have connected hosts itself, of which no tag tells. */
  async #isReachable({ member, tags }: Member): Promise<boolean> {
    if (tags['shown'] === 'yes') return true;
    return member !== null && (await connectionsOf(this.api, member)).length > 0;
  }

  async rewind(volume: string, point: StoredPoint): Promise<void> {
    const { member, tags, state, listing } = await this.#group(volume);
    if (member === null) return;
    if (state.mark?.role !== 'promoting' || (await this.#isReachable({ member, tags }))) {
      const { clockSeconds } = await this.identify();
      const now = Math.round(clockSeconds * 1000);
      const suffix = `lifeboat-kept-${now}`;
      await this.#quietly('exists', () =>
        this.api.tell('POST', '/volume-snapshots', { source_names: member }, { suffix }),
      );
      const at = { name: point.name, created: Math.round(point.takenAtSeconds * 1000) };
      const range = `${arrivalOf(listing, at)}-${now}`;
      const kept = [...(tags['kept'] ?? '').split(',').filter(Boolean).slice(-4), range].join(',');
      await this.#tag(member, { kept });
    }
    await this.#overwrite(volume, member, point);
    await this.#untag(member, ['shown']);
  }

  /** Each step of a rewind can be done again by the verb that is asked again. */
  finishRewind(): Promise<void> {
    return Promise.resolve();
  }

  /** What arrives touches no volume. */
  stopArriving(): Promise<void> {
    return Promise.resolve();
  }

  /** Destroyed snapshots stay in Purity's bin for its own delay; the newest common one and those of others stay. */
  async settle(state: VolumeState, point: StoredPoint): Promise<void> {
    const own = state.points.find(({ ref }) => ref === point.ref);
    if (own === undefined) return;
    const older = state.points.filter((one) => one.ours && !after(state, own).includes(one) && one !== own);
    for (const { name } of older.slice(0, Math.max(0, older.length + 1 - this.#keepPoints)))
      await this.#quietly('not-found', () =>
        this.api.tell('PATCH', '/protection-group-snapshots', { names: name }, { destroyed: true }),
      );
  }

  async copy(volume: string, point: StoredPoint, drill: string): Promise<string> {
    const name = `${volume}-lifeboat-drill-${drill}`;
    if (!copyName.test(name) || name.length > 63)
      throw badName(this.api.endpoint.array, 'the name of a copy', name);
    await this.#quietly('exists', async () =>
      this.api.tell(
        'POST',
        '/volumes',
        { names: name },
        { source: { name: await this.#contentOf(volume, point) } },
      ),
    );
    await this.#tag(name, { point: point.ref });
    return name;
  }

  async copies(signal?: AbortSignal): Promise<readonly DrillCopy[]> {
    const filter = { filter: "name='*-lifeboat-drill-*'", destroyed: false };
    const [volumes, tags] = await Promise.all([
      this.api.list('/volumes', volumeItem, filter, signal),
      listTags(this.api, signal),
    ]);
    return volumes.flatMap(({ name, created }) => {
      const [, volume, drill] = copyName.exec(name) ?? [];
      if (volume === undefined || drill === undefined) return [];
      const point = tags.get(name)?.['point'] ?? null;
      return [
        { name, volume, drill, point, madeAtSeconds: typeof created === 'number' ? created / 1000 : null },
      ];
    });
  }

  /** A name in the bin cannot be given again, so that the copy is eradicated; arrays with SafeMode keep it for a while. */
  async removeCopy({ name, volume, drill }: DrillCopy): Promise<void> {
    if (name !== `${volume}-lifeboat-drill-${drill}`) throw noVolume(this.api.endpoint.array, name);
    const hosts = (await connectionsOf(this.api, name)).map(({ host }) => host.name);
    await disconnect(this.api, name, hosts);
    await this.#quietly('not-found', () =>
      this.api.tell('PATCH', '/volumes', { names: name }, { destroyed: true }),
    );
    await this.api.tell('DELETE', '/volumes', { names: name }).catch((error: unknown) => {
      if (!(error instanceof PortError) || error.kind !== 'refused') throw error;
    });
  }

  async publish(name: string, access: Access): Promise<Exposed> {
    const volume = await this.#volumeNamed(name);
    const hosts = await mustKnowHosts(this.api, volume, access);
    if (volume !== name) await this.#tag(volume, { shown: 'yes' });
    await connect(this.api, volume, hosts);
    return addressOf(this.api, volume, access);
  }

  async unpublish(name: string, access: Access): Promise<void> {
    await disconnect(this.api, await this.#volumeNamed(name), await hostsOf(this.api, access));
  }

  /** The group replicates to that array from now on. */
  async mustReplicateTo(volume: string, array: string): Promise<void> {
    const query: Query = { group_names: this.#place(volume).group, member_names: array };
    await this.#quietly('exists', () => this.api.tell('POST', '/protection-groups/targets', query));
  }

  async #volumeNamed(name: string): Promise<string> {
    if (copyName.test(name)) return name;
    const { member } = await this.#member(name);
    if (member === null) throw noVolume(this.api.endpoint.array, name);
    return member;
  }

  #place(volume: string): Place {
    return placeOf(this.#places, volume);
  }

  #list(signal?: AbortSignal): Promise<Listing> {
    return list(
      this.api,
      [...this.#places.values()].some(({ member }) => member !== null),
      signal,
    );
  }

  async #group(volume: string): Promise<Group> {
    const listing = await this.#list();
    const state = stateOfGroup(listing, volume, this.#place(volume));
    if (state === null) throw noVolume(this.api.endpoint.array, volume);
    return { listing, state, ...this.#memberIn(listing, volume) };
  }

  async #member(volume: string): Promise<Member> {
    const membership = await listMembership(this.api);
    if (!isHere(membership, this.#place(volume))) throw noVolume(this.api.endpoint.array, volume);
    return this.#memberIn(membership, volume);
  }

  #memberIn(membership: Membership, volume: string): Member {
    const place = this.#place(volume);
    const all = membership.members.get(place.group) ?? [];
    if (place.member === null && all.length > 1)
      throw unsupported(
        this.api.endpoint,
        `Protection group ${volume} of array ${this.api.endpoint.array} has ${all.length} volumes`,
        'Name its volumes, and the protection group as consistency_group of each; or give each a protection group of its own',
      );
    const member = memberOf(membership, place);
    return { member, tags: member === null ? {} : (membership.tags.get(member) ?? {}) };
  }

  /** Volume, mark, membership, in this order: a volume that is seen as a member bears its mark already. */
  async #makeMember(volume: string, point: StoredPoint, mark: Mark): Promise<void> {
    const { group, member } = this.#place(volume);
    const source = await this.#contentOf(volume, point);
    const name = member ?? source.slice(source.lastIndexOf('.') + 1);
    await this.#quietly('exists', () => this.api.tell('POST', '/protection-groups', { names: group }));
    const [there] = await this.api.list('/volumes', volumeItem, {
      filter: `name='${name}'`,
      destroyed: false,
    });
    const tags = await listTags(this.api);
    if (there !== undefined && tags.get(name)?.['of'] !== group)
      throw refusedByArray(this.api.endpoint, `volume ${name} is there and is not ours`, 'exists');
    if (there === undefined)
      await this.api.tell('POST', '/volumes', { names: name }, { source: { name: source } });
    await this.#tag(name, { of: group, closed: 'yes', mark: writeMark(mark) });
    await this.api.tell('POST', '/protection-groups/volumes', { group_names: group, member_names: name });
  }

  async #overwrite(volume: string, member: string, point: StoredPoint): Promise<void> {
    const source = { name: await this.#contentOf(volume, point) };
    await this.api.tell('POST', '/volumes', { names: member, overwrite: true }, { source });
  }

  /** The snapshot of the volume inside a snapshot of the group: `[ARRAY:]GROUP.SUFFIX.VOLUME`. */
  async #contentOf(volume: string, point: StoredPoint): Promise<string> {
    const place = this.#place(volume);
    const filter = `name='${place.member === null ? `${point.name}.*` : contentName(place, point.name)}'`;
    const [found] = await this.api.list('/volume-snapshots', snapshotVolumeItem, {
      filter,
      destroyed: false,
    });
    if (found === undefined) throw noPoint(this.api.endpoint.array, point.name, point.ref);
    return found.name;
  }

  async #tag(volume: string, tags: Readonly<Record<string, string>>): Promise<void> {
    const body = Object.entries(tags).map(([key, value]) => ({
      key,
      value,
      namespace: tagSpace,
      copyable: false,
    }));
    await this.api.tell('PUT', '/volumes/tags/batch', { resource_names: volume }, body);
  }

  async #untag(volume: string, keys: readonly string[]): Promise<void> {
    const query = { resource_names: volume, namespaces: tagSpace, keys: keys.join(',') };
    await this.#quietly('not-found', () => this.api.tell('DELETE', '/volumes/tags', query));
  }

  async #quietly(already: 'exists' | 'not-found', act: () => Promise<unknown>): Promise<void> {
    try {
      await act();
    } catch (error) {
      if (!(error instanceof PortError) || error.peerCode !== already) throw error;
    }
  }
}

function mustHold({ api }: PureStore, state: VolumeState, ref: string | null): StoredPoint {
  const point = state.points.find((one) => one.complete && one.ref === ref);
  if (point === undefined) throw noPoint(api.endpoint.array, state.volume, ref ?? 'none');
  return point;
}
