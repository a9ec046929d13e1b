/**
 * Volumes in ActiveDR pods. A pod is promoted or demoted as a whole, and everything that is written in a promoted one is
 * sent on by itself; which way, follows from who is promoted. Points are snapshots of all volumes of the pod, which travel
 * along. A closed volume is connected to no host; a pod that is to be a replica is demoted.
 */
import { z } from 'zod';
import { PortError } from '../../../../domain/errors.ts';
import type { Exposed } from '../../../../domain/replication.ts';
import type { Access } from '../../../../ports/replication.ts';
import type { Clock } from '../../../../ports/system.ts';
import { groupHalfWay } from '../../consistency-group.ts';
import { busy, refusedByArray } from '../../rest/errors.ts';
import { type Pace, pollUntil } from '../../rest/poll.ts';
import { badName, noVolume } from '../../send-receive/errors.ts';
import { writeMark } from '../../send-receive/marks.ts';
import type {
  DrillCopy,
  Mark,
  StoredPoint,
  StoreIdentity,
  StoreLook,
  VolumeState,
  VolumeStore,
} from '../../send-receive/store.ts';
import { after } from '../../send-receive/views.ts';
import type { PureApi, Query } from '../api.ts';
import { addressOf, connect, connectionsOf, disconnect, hostsOf, mustKnowHosts } from '../hosts.ts';
import { arrayItem, pointPrefix, tagSpace } from '../state.ts';
import {
  drillOf,
  drillTag,
  listPods,
  markerOf,
  numberOf,
  type PodLink,
  type PodListing,
  podItem,
  podOf,
  stateOfPod,
  suffixOf,
  tagIn,
  tagsOf,
  undoOf,
} from './pods.ts';

const namedItem = z.looseObject({ name: z.string() });
/** The least that Purity makes. */
const markerBytes = 1024 * 1024;

export interface PodSurroundings {
  readonly clock: Clock;
  readonly pace: Pace;
  readonly keepPoints: number;
  /** Volumes that sites.yaml names on this array. */
  readonly volumes: readonly string[];
}

/** How a pod is left: `quiesced` when everything has arrived, `at-once` with what is on its way given up. */
export type Leaving = 'quiesced' | 'at-once';

export class PodStore implements VolumeStore {
  readonly api: PureApi;
  readonly #around: PodSurroundings;
  #cutting: Promise<void> = Promise.resolve();

  constructor(api: PureApi, around: PodSurroundings) {
    this.api = api;
    this.#around = around;
  }

  async identify(signal?: AbortSignal): Promise<StoreIdentity> {
    const [array] = await this.api.list('/arrays', arrayItem, {}, signal);
    if (array === undefined) throw noVolume(this.api.endpoint.array, 'the array itself');
    const model = `FlashArray ${array.name}, ${array.os ?? 'Purity//FA'} ${array.version}`;
    return { vendor: 'Pure Storage', model, serial: array.id, clockSeconds: array._as_of / 1000 };
  }

  async look(volumes: readonly string[], signal?: AbortSignal): Promise<StoreLook> {
    const listing = await listPods(this.api, signal);
    const states = new Map<string, VolumeState>();
    for (const volume of volumes) {
      const state = stateOfPod(listing, volume, this.#membersOf(podOf(volume)));
      if (state !== null) states.set(volume, state);
    }
    return { clockSeconds: listing.clockMilliseconds / 1000, volumes: states };
  }

  marked(): Promise<readonly string[]> {
    return Promise.resolve([]);
  }

  async linkOf(volume: string, signal?: AbortSignal): Promise<PodLink | undefined> {
    return (await listPods(this.api, signal)).links.get(podOf(volume));
  }

  listing(signal?: AbortSignal): Promise<PodListing> {
    return listPods(this.api, signal);
  }

  /** Whoever is to be a replica is demoted with it. */
  async mark(volume: string, mark: Mark | null): Promise<void> {
    const pod = podOf(volume);
    if (mark === null) return this.#untag(pod, ['mark', 'shown']);
    if (mark.role === 'target' || mark.role === 'demoted') await this.demotePod(volume, 'at-once');
    await this.#tag(pod, { mark: writeMark(mark) });
    if (mark.role === 'target') await this.#untag(pod, ['closed', 'shown']);
  }

  /** Of all volumes of the pod at one moment; one after the other, so that a tag is given once. */
  cut(volume: string, tag: string): Promise<void> {
    if (!/^[A-Za-z0-9-]{1,50}$/.test(tag)) throw badName(this.api.endpoint.array, 'the tag of a point', tag);
    const work = (): Promise<void> => this.#cutNext(podOf(volume), tag);
    const mine = this.#cutting.then(work, work);
    this.#cutting = mine;
    return mine;
  }

  async #cutNext(pod: string, tag: string): Promise<void> {
    const [names, { snapshots }] = await Promise.all([this.#volumesIn(pod), listPods(this.api)]);
    const suffixes = names.flatMap((one) => (snapshots.get(one) ?? []).map(({ name }) => suffixOf(name)));
    if (suffixes.some((suffix) => numberOf(suffix) > 0 && tagIn(suffix) === tag)) return;
    const suffix = `${pointPrefix}${Math.max(0, ...suffixes.map(numberOf)) + 1}-${tag}`;
    await this.#quietly('exists', () =>
      this.api.tell('POST', '/volume-snapshots', { source_names: names.join(',') }, { suffix }),
    );
  }

  async close(volume: string): Promise<void> {
    const pod = podOf(volume);
    await this.mustHoldAll(pod);
    const tags = tagsOf(await listPods(this.api), pod);
    for (const member of this.#membersOf(pod)) {
      const hosts = (await connectionsOf(this.api, member)).map(({ host }) => host.name);
      const known = (tags[hostsKey(member)] ?? '').split(',').filter(Boolean);
      const all = [...new Set([...known, ...hosts])].join(',');
      const left = hosts.length === 0 ? {} : { shown: 'yes' };
      await this.#tag(pod, { closed: 'yes', ...left, ...(all === '' ? {} : { [hostsKey(member)]: all }) });
      await disconnect(this.api, member, hosts);
    }
  }

  async open(volume: string): Promise<void> {
    const pod = podOf(volume);
    const listing = await listPods(this.api);
    await this.mustHoldAll(pod);
    await this.promotePod(volume, listing);
    const tags = tagsOf(listing, pod);
    for (const member of this.#membersOf(pod))
      await connect(this.api, member, (tags[hostsKey(member)] ?? '').split(',').filter(Boolean));
    await this.#untag(pod, ['closed', ...this.#membersOf(pod).map(hostsKey)]);
  }

  /**
   * Purity does not tell what was written: a pod that no host could reach since its promotion is unchanged. Hosts may have
   * been connected to a replica long before, by the site.
   */
  async changedSince(volume: string): Promise<boolean> {
    const pod = podOf(volume);
    const tags = tagsOf(await listPods(this.api), pod);
    if (!/^promot(ed|ing):/.test(tags['mark'] ?? '') || tags['shown'] === 'yes') return true;
    const reached = await Promise.all(this.#membersOf(pod).map((one) => connectionsOf(this.api, one)));
    return reached.flat().length > 0;
  }

  /** Demoted, a pod goes to what the other side sends; what it held is kept as `POD.undo-demote`. */
  rewind(volume: string): Promise<void> {
    return this.demotePod(volume, 'at-once');
  }

  finishRewind(): Promise<void> {
    return Promise.resolve();
  }

  stopArriving(): Promise<void> {
    return Promise.resolve();
  }

  /** Only where the pod is promoted; the other side follows. */
  async settle(state: VolumeState, point: StoredPoint): Promise<void> {
    const own = state.points.find(({ ref }) => ref === point.ref);
    if (own === undefined || state.raw['promotion_status'] !== 'promoted') return;
    const older = state.points.filter((one) => !after(state, own).includes(one) && one !== own);
    const members = await this.#volumesIn(podOf(state.volume));
    for (const { name } of older.slice(0, Math.max(0, older.length + 1 - this.#around.keepPoints)))
      for (const member of members)
        await this.#quietly('not-found', () =>
          this.api.tell('PATCH', '/volume-snapshots', { names: `${member}.${name}` }, { destroyed: true }),
        );
  }

  /** A drill opens the pod itself. */
  copy(): Promise<string> {
    return Promise.reject(refusedByArray(this.api.endpoint, 'a pod is not copied', 'unsupported'));
  }

  async copies(signal?: AbortSignal): Promise<readonly DrillCopy[]> {
    const listing = await listPods(this.api, signal);
    return [...listing.pods.keys()].flatMap((pod) => {
      const open = drillOf(tagsOf(listing, pod));
      if (open === null) return [];
      const { drill, point } = open;
      return open.volumes.map((volume) => ({ volume, drill, name: pod, point, madeAtSeconds: null }));
    });
  }

  /** The last volume of a drill that is let go closes the pod, and what was written in it is thrown away. */
  async removeCopy({ volume, drill }: DrillCopy): Promise<void> {
    const pod = podOf(volume);
    const open = drillOf(tagsOf(await listPods(this.api), pod));
    if (open?.drill !== drill) return;
    const hosts = (await connectionsOf(this.api, volume)).map(({ host }) => host.name);
    await disconnect(this.api, volume, hosts);
    const volumes = open.volumes.filter((one) => one !== volume);
    if (volumes.length > 0) return this.#tag(pod, { drill: drillTag({ ...open, volumes }) });
    await this.demotePod(volume, 'at-once');
    await this.#eradicateUndo(pod);
    await this.#untag(pod, ['drill', 'arrived']);
  }

  /** Written down before the pod is opened, so that after a crash it is known for a drill. */
  async openDrill(volume: string, drill: string, point: string): Promise<void> {
    const pod = podOf(volume);
    const listing = await listPods(this.api);
    await this.mustHoldAll(pod);
    const open = drillOf(tagsOf(listing, pod));
    // A drill that could not be closed again is not begun; and what its end throws away must be its own.
    if (open === null) await this.#makeRoom(pod, listing);
    const volumes = [...new Set([...(open?.volumes ?? []), volume])];
    await this.#tag(pod, { drill: drillTag({ drill, point, volumes }) });
    await this.promotePod(volume, listing);
  }

  /** What was sent while a drill has the pod open. */
  async noteArrived(volume: string, point: StoredPoint): Promise<void> {
    await this.#tag(podOf(volume), { arrived: point.ref });
  }

  async publish(volume: string, access: Access): Promise<Exposed> {
    const hosts = await mustKnowHosts(this.api, volume, access);
    const pod = podOf(volume);
    if (drillOf(tagsOf(await listPods(this.api), pod)) === null) await this.#tag(pod, { shown: 'yes' });
    await connect(this.api, volume, hosts);
    return addressOf(this.api, volume, access);
  }

  async unpublish(volume: string, access: Access): Promise<void> {
    await disconnect(this.api, volume, await hostsOf(this.api, access));
  }

  /** From what it was before its own clean demotion, where that is kept; else with what has arrived. */
  async promotePod(volume: string, listing: PodListing): Promise<void> {
    const pod = podOf(volume);
    const { promotion_status: status } = listing.pods.get(pod) ?? {};
    if (status !== 'promoted' && status !== 'promoting') {
      const tags = tagsOf(listing, pod);
      const isOwn = /^(prepared|fenced):/.test(tags['mark'] ?? '') && tags['undo'] === 'clean';
      const from = isOwn && listing.pods.get(undoOf(pod)) !== undefined ? { promote_from: undoOf(pod) } : {};
      await this.#patchPod(pod, from, 'promoted');
    }
    await this.#untilPod(pod, 'promoted');
  }

  async demotePod(volume: string, leaving: Leaving): Promise<void> {
    const pod = podOf(volume);
    const listing = await listPods(this.api);
    const { promotion_status: status } = listing.pods.get(pod) ?? {};
    if (status === 'promoted') {
      await this.#makeRoom(pod, listing);
      const isClean = leaving === 'quiesced' || !(await this.changedSince(volume));
      await this.#tag(pod, { undo: isClean ? 'clean' : 'kept' });
      await this.#patchPod(
        pod,
        leaving === 'quiesced' ? { quiesce: true } : { skip_quiesce: true },
        'demoted',
      );
    }
    await this.#untilPod(pod, 'demoted');
  }

  /** Purity demotes no pod of which an earlier state is kept: what that alone holds becomes a pod of its own first. */
  async #makeRoom(pod: string, listing: PodListing): Promise<void> {
    if (listing.pods.get(undoOf(pod)) === undefined) return;
    if (tagsOf(listing, pod)['undo'] !== 'clean')
      await this.api.tell(
        'POST',
        '/pods',
        { names: keptName(pod, listing.clockMilliseconds) },
        { source: { name: undoOf(pod) } },
      );
    await this.#eradicateUndo(pod);
  }

  async #eradicateUndo(pod: string): Promise<void> {
    await this.#quietly('not-found', () => this.api.tell('DELETE', '/pods', { names: undoOf(pod) }));
  }

  async #patchPod(pod: string, query: Query, state: 'promoted' | 'demoted'): Promise<void> {
    await this.api.tell('PATCH', '/pods', { names: pod, ...query }, { requested_promotion_state: state });
  }

  /** The answer is no proof: the status of the pod is. */
  async #untilPod(pod: string, state: 'promoted' | 'demoted'): Promise<void> {
    const { clock, pace } = this.#around;
    const { endpoint } = this.api;
    await pollUntil(
      { endpoint, clock, pace, signal: undefined },
      {
        look: async () => {
          const [found] = await this.api.list('/pods', podItem, { names: pod });
          if (found === undefined) throw noVolume(endpoint.array, pod);
          return found.promotion_status ?? '';
        },
        done: (status) => status === state,
        late: (status) => busy(endpoint, `pod ${pod} stays ${status}, and is to be ${state}`, status),
      },
    );
  }

  #membersOf(pod: string): readonly string[] {
    return this.#around.volumes.filter((volume) => podOf(volume) === pod);
  }

  async #volumesIn(pod: string): Promise<readonly string[]> {
    const filter = { filter: `name='${pod}::*'`, destroyed: false };
    return (await this.api.list('/volumes', namedItem, filter)).map(({ name }) => name);
  }

  /** A pod moves as a whole: a volume in it that nobody names would move unseen. */
  async mustHoldAll(pod: string): Promise<void> {
    const known = new Set(this.#membersOf(pod));
    const strangers = (await this.#volumesIn(pod)).filter((name) => !known.has(name));
    if (strangers.length > 0)
      throw groupHalfWay(this.api.endpoint.array, `Pod ${pod} holds volumes that sites.yaml does not name`, [
        strangers.join(', '),
      ]);
  }

  async #tag(pod: string, tags: Readonly<Record<string, string>>): Promise<void> {
    const name = markerOf(pod);
    const body = Object.entries(tags).map(([key, value]) => ({
      key,
      value,
      namespace: tagSpace,
      copyable: false,
    }));
    await this.#quietly('exists', () =>
      this.api.tell('POST', '/volumes', { names: name }, { provisioned: markerBytes }),
    );
    await this.api.tell('PUT', '/volumes/tags/batch', { resource_names: name }, body);
  }

  async #untag(pod: string, keys: readonly string[]): Promise<void> {
    const query = { resource_names: markerOf(pod), namespaces: tagSpace, keys: keys.join(',') };
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

/** A person removes it. */
function keptName(pod: string, milliseconds: number): string {
  return `${pod.slice(0, 30)}-lifeboat-kept-${Math.round(milliseconds)}`;
}

function hostsKey(volume: string): string {
  return `hosts-${volume.slice(volume.indexOf('::') + 2)}`.slice(0, 60);
}
