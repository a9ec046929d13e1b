/**
 * `Replication` for filers that replicate by sending points to each other: ZFS and btrfs. The roles are marks on the
 * volumes themselves; each verb looks first, does what is missing, and can be asked again after any crash. Verbs that a
 * lost site must not hold up (points, promote unplanned, drills, expose) speak to their own filer only.
 */
import type { PortError } from '../../../domain/errors.ts';
import {
  type Capabilities,
  type Divergence,
  type DrillLeftover,
  type Exposed,
  type FoundPair,
  type PairView,
  promotionConfirmation,
  type ReplicaPoint,
} from '../../../domain/replication.ts';
import type { Access, ArrayIdentity, Discarding, Replication } from '../../../ports/replication.ts';
import { groupHalfWay } from '../consistency-group.ts';
import { type End, mustExist, stateOf } from './carry.ts';
import {
  badName,
  cancelled,
  diverged,
  noPair,
  noPoint,
  noVolume,
  wrongConfirmation,
  wrongState,
} from './errors.ts';
import {
  choiceFor,
  heldAlone,
  mustBeLast,
  mustBeOnePoint,
  mustDiscard,
  notA,
  stateIn,
  surelyUnchanged,
} from './guards.ts';
import { putBack } from './put-back.ts';
import type { StoredPoint, VolumeState, VolumeStore } from './store.ts';
import {
  commonOf,
  divergenceOf,
  instantOf,
  type LinkView,
  linkUnknown,
  newestOf,
  pairView,
  replicaPoint,
  roleOf,
} from './views.ts';

/** How points travel between two sides. */
export interface Transport<S extends End> {
  /** Returns when the point with this tag, which is cut where it is missing, is complete at the other side. */
  carry(from: S, to: S, tag: string, signal?: AbortSignal): Promise<StoredPoint>;
  /** What the sending filer can tell of the other side of these volumes; a missing one is unknown. */
  links(
    from: S['filer'],
    pairs: readonly { readonly volume: string; readonly peer: S }[],
    signal?: AbortSignal,
  ): Promise<ReadonlyMap<string, LinkView>>;
}

export interface Ends<S extends End> {
  readonly filer: S['filer'];
  readonly store: VolumeStore;
  /** A volume of this array. */
  side(volume: string): S;
  readonly transport: Transport<S>;
  readonly capabilities: Capabilities;
  /** The other side of each volume. */
  readonly peers: ReadonlyMap<string, S>;
  /** All volumes of the consistency group of each volume that belongs to one. */
  readonly companions: ReadonlyMap<string, readonly string[]>;
}

const goodTag = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$/;

export class SendReceiveReplication<S extends End> implements Replication {
  readonly array: string;
  readonly #filer: S['filer'];
  readonly #store: VolumeStore;
  readonly #side: (volume: string) => S;
  readonly #transport: Transport<S>;
  readonly #capabilities: Capabilities;
  readonly #peers: ReadonlyMap<string, S>;
  readonly #companions: ReadonlyMap<string, readonly string[]>;

  constructor({ filer, store, side, transport, capabilities, peers, companions }: Ends<S>) {
    this.array = filer.array;
    this.#filer = filer;
    this.#store = store;
    this.#side = side;
    this.#transport = transport;
    this.#capabilities = capabilities;
    this.#peers = peers;
    this.#companions = companions;
  }

  async identify(signal?: AbortSignal): Promise<ArrayIdentity> {
    const { clockSeconds, ...identity } = await this.#store.identify(signal);
    return { ...identity, clock: instantOf(clockSeconds) };
  }

  async capabilities(signal?: AbortSignal): Promise<Capabilities> {
    const asked = await this.#store.capable?.([...this.#peers.keys()], signal);
    return { ...this.#capabilities, ...asked };
  }

  async discover(signal?: AbortSignal): Promise<readonly FoundPair[]> {
    const marked = await this.#store.marked(signal);
    const { volumes } = await this.#store.look([...new Set([...this.#peers.keys(), ...marked])], signal);
    return [...volumes.values()].map((state) => {
      const peer = this.#peers.get(state.volume);
      return {
        volume: state.volume,
        role: roleOf(state),
        peer: peer === undefined ? null : { array: peer.filer.array, volume: peer.volume },
      };
    });
  }

  async observe(volume: string, signal?: AbortSignal): Promise<PairView> {
    const view = (await this.observeAll([volume], signal)).get(volume);
    if (view === undefined || !('role' in view)) throw view ?? noVolume(this.array, volume);
    return view;
  }

  async observeAll(
    volumes: readonly string[],
    signal?: AbortSignal,
  ): Promise<ReadonlyMap<string, PairView | PortError>> {
    if (volumes.length === 0) return new Map();
    const { volumes: found, clockSeconds } = await this.#store.look(volumes, signal);
    const links = await this.#links([...found.values()], signal);
    const at = this.#filer.clock.now();
    return new Map(
      volumes.map((volume): [string, PairView | PortError] => {
        const state = found.get(volume);
        if (state === undefined) return [volume, noVolume(this.array, volume)];
        const link = links.get(volume) ?? linkUnknown;
        return [volume, pairView(this.array, state, { at, seconds: clockSeconds, link })];
      }),
    );
  }

  async points(volume: string, signal?: AbortSignal): Promise<readonly ReplicaPoint[]> {
    const states = await this.#together(volume, signal);
    const chosen = choiceFor(states, volume);
    return (states.get(volume)?.points ?? [])
      .filter(({ complete, ref }) => complete && (chosen === null || ref === chosen))
      .reverse()
      .map(replicaPoint);
  }

  async syncNow(volume: string, tag: string, signal?: AbortSignal): Promise<ReplicaPoint> {
    this.#mustBeTag(tag);
    const state = await mustExist(this.#side(volume), signal);
    if (roleOf(state) !== 'source' && state.mark?.role !== 'prepared' && state.mark?.role !== 'fenced')
      throw notA(this.array, 'source', state);
    return replicaPoint(await this.#transport.carry(this.#side(volume), this.#peer(volume), tag, signal));
  }

  async prepare(volume: string, tag: string, signal?: AbortSignal): Promise<ReplicaPoint> {
    this.#mustBeTag(tag);
    const peer = this.#peer(volume);
    const states = await this.#together(volume, signal);
    for (const state of states.values()) this.#mayPrepare(state);
    for (const [one, { mark }] of states) {
      if (mark?.role !== 'prepared') await this.#store.mark(one, { role: 'prepared', point: null });
      await this.#store.close(one);
    }
    const point = await this.#transport.carry(this.#side(volume), peer, tag, signal);
    for (const one of states.keys()) await this.#store.mark(one, { role: 'prepared', point: point.ref });
    return replicaPoint(point);
  }

  async unprepare(volume: string, signal?: AbortSignal): Promise<void> {
    const state = await mustExist(this.#side(volume), signal);
    if (roleOf(state) === 'source') return;
    if (state.mark?.role !== 'prepared' && state.mark?.role !== 'fenced')
      throw notA(this.array, 'source', state);
    for (const one of this.#members(volume)) {
      const there = await stateOf(this.#peer(one), signal);
      if (there?.mark?.role === 'promoted' || there?.mark?.role === 'promoting')
        throw wrongState(this.array, `Volume ${volume} is not opened again: the other side was promoted`, []);
    }
    await this.#reopen(this.#side(volume));
  }

  async promote(
    volume: string,
    options: { readonly mode: 'planned' | 'unplanned'; readonly point: string; readonly confirm: string },
    signal?: AbortSignal,
  ): Promise<void> {
    if (options.confirm !== promotionConfirmation(volume, options.point))
      throw wrongConfirmation(
        this.array,
        `The confirmation does not name point ${options.point} of volume ${volume}`,
      );
    this.#mustGoOn(signal);
    await this.#store.finishRewind(volume);
    const states = await this.#together(volume, signal);
    const state = stateIn(states, this.array, volume);
    const { mark } = state;
    const begun = mark?.role === 'promoted' || mark?.role === 'promoting';
    if (begun && mark.point !== options.point)
      throw wrongState(this.array, `Volume ${volume} was promoted to another point`, [`it is ${mark.point}`]);
    if (!begun && roleOf(state) !== 'target') throw notA(this.array, 'target', state);
    const point = state.points.find(({ ref, complete }) => complete && ref === options.point);
    if (mark?.role === 'promoted') {
      await this.#store.open(volume);
      return;
    }
    mustBeOnePoint(this.array, states, options.point);
    if (point === undefined) throw noPoint(this.array, volume, options.point);
    if (options.mode === 'planned')
      for (const one of this.#members(volume))
        mustBeLast(this.array, await mustExist(this.#peer(one), signal), point);
    await this.#store.mark(volume, { role: 'promoting', point: point.ref });
    await this.#store.stopArriving(volume);
    if (newestOf(state)?.ref !== point.ref) await this.#store.rewind(volume, point);
    await this.#store.open(volume);
    await this.#store.mark(volume, { role: 'promoted', point: point.ref });
  }

  async divergence(volume: string, signal?: AbortSignal): Promise<Divergence> {
    const [state, other] = await this.#both(volume, signal);
    return divergenceOf(state, other, surelyUnchanged(state, commonOf(state, other)) ? false : null);
  }

  async demote(volume: string, options: Discarding, signal?: AbortSignal): Promise<void> {
    this.#mustGoOn(signal);
    await this.#store.finishRewind(volume);
    const [state, other] = await this.#both(volume, signal);
    if (state.mark?.role === 'demoted' || roleOf(state) === 'target') return;
    if (other.mark?.role !== 'promoted')
      throw wrongState(
        this.array,
        `Volume ${volume} is not demoted: the other side was not promoted`,
        [`the other side is ${roleOf(other)}`],
        'Promote the other side first, so that there is always one true side',
      );
    const common = commonOf(state, other);
    const alone = await heldAlone(this.#store, state, common);
    if (alone.length > 0) mustDiscard(this.array, 'demote', volume, common, alone, options);
    if (common === null)
      throw diverged(this.array, volume, [...alone, 'there is no common point to go back to']);
    await this.#store.mark(volume, { role: 'fenced', point: common.ref });
    await this.#store.close(volume);
    if (alone.length > 0) await this.#store.rewind(volume, common);
    await this.#store.mark(volume, { role: 'demoted', point: common.ref });
  }

  async reverse(
    volume: string,
    tag: string,
    options: Discarding,
    signal?: AbortSignal,
  ): Promise<ReplicaPoint> {
    this.#mustBeTag(tag);
    const side = this.#side(volume);
    const peer = this.#peer(volume);
    await peer.store.finishRewind(peer.volume);
    const [state, other] = await this.#both(volume, signal);
    const turned = roleOf(state) === 'source' && other.mark?.role === 'target';
    if (!turned && state.mark?.role !== 'promoted') throw notA(this.array, 'promoted', state);
    if (!turned && other.mark?.role !== 'demoted' && other.mark?.role !== 'target')
      throw wrongState(
        this.array,
        `Replication of ${volume} is not reversed: the old source was not demoted`,
        [`${peer.filer.array} is ${roleOf(other)}`],
        'Demote the old source first',
      );
    await this.#mustBeReady(volume, signal);
    if (!turned) await putBack(this.array, state, peer, other, options);
    const point = await this.#transport.carry(side, peer, tag, signal);
    await peer.store.mark(peer.volume, { role: 'target', point: null });
    await this.#store.mark(volume, null);
    return replicaPoint(point);
  }

  async restore(volume: string, options: Discarding, signal?: AbortSignal): Promise<void> {
    this.#mustGoOn(signal);
    await this.#store.finishRewind(volume);
    const [state, other] = await this.#both(volume, signal);
    if (roleOf(state) === 'target' && state.mark?.role !== 'promoting') {
      await this.#reopenPrepared(volume, other);
      return;
    }
    if (state.mark?.role !== 'promoted' && state.mark?.role !== 'promoting')
      throw notA(this.array, 'promoted', state);
    const common = commonOf(state, other);
    const alone = await heldAlone(this.#store, state, common);
    if (alone.length > 0) mustDiscard(this.array, 'restore', volume, common, alone, options);
    if (common === null) throw diverged(this.array, volume, alone);
    await this.#store.close(volume);
    if (alone.length > 0) await this.#store.rewind(volume, common);
    await this.#store.mark(volume, { role: 'target', point: null });
    await this.#reopenPrepared(volume, other);
  }

  async describe(volume: string, signal?: AbortSignal): Promise<Readonly<Record<string, string>>> {
    await mustExist(this.#side(volume), signal);
    return (await this.#store.describe?.(volume, signal)) ?? {};
  }

  async expose(volume: string, access: Access, signal?: AbortSignal): Promise<Exposed> {
    const state = await mustExist(this.#side(volume), signal);
    if (!state.writable || state.mark?.role === 'promoting')
      throw wrongState(
        this.array,
        `Volume ${volume} is not shown to hosts: it is ${roleOf(state)}`,
        ['a replica is never read while points arrive'],
        'Promote it first',
      );
    return this.#store.publish(volume, access);
  }

  async conceal(volume: string, access: Access, signal?: AbortSignal): Promise<void> {
    await mustExist(this.#side(volume), signal);
    await this.#store.unpublish(volume, access);
  }

  async drillStart(
    volume: string,
    options: { readonly drill: string; readonly point: string; readonly access: Access },
    signal?: AbortSignal,
  ): Promise<Exposed> {
    if (!goodTag.test(options.drill)) throw badName(this.array, 'the name of a drill', options.drill);
    const state = await mustExist(this.#side(volume), signal);
    const point = state.points.find(({ ref, complete }) => complete && ref === options.point);
    if (point === undefined) throw noPoint(this.array, volume, options.point);
    const open = (await this.#store.copies(signal)).find(
      (copy) => copy.volume === volume && copy.drill === options.drill,
    );
    if (open !== undefined && open.point !== point.ref)
      throw wrongState(
        this.array,
        `Drill ${options.drill} of volume ${volume} is open with another point`,
        [`it is ${open.point}`],
        'Stop the drill first: `lifeboat drill cleanup`',
      );
    return this.#store.publish(await this.#store.copy(volume, point, options.drill), options.access);
  }

  async drillStop(volume: string, drill: string, signal?: AbortSignal): Promise<void> {
    for (const copy of await this.#store.copies(signal))
      if (copy.volume === volume && copy.drill === drill) await this.#store.removeCopy(copy);
  }

  async drillList(signal?: AbortSignal): Promise<readonly DrillLeftover[]> {
    return (await this.#store.copies(signal)).map(({ volume, drill, name, madeAtSeconds }) => ({
      volume,
      drill,
      name,
      madeAt: madeAtSeconds === null ? null : instantOf(madeAtSeconds),
    }));
  }

  async fence(volume: string, signal?: AbortSignal): Promise<void> {
    const state = await mustExist(this.#side(volume), signal);
    if (state.mark === null && state.writable)
      await this.#store.mark(volume, { role: 'fenced', point: null });
    if (state.writable) await this.#store.close(volume);
  }

  async close(): Promise<void> {
    const filers = new Set([this.#filer, ...[...this.#peers.values()].map(({ filer }) => filer)]);
    await Promise.all([...filers].map((filer) => filer.close()));
  }

  /** The volumes that are one with this one, itself included. */
  #members(volume: string): readonly string[] {
    return this.#companions.get(volume) ?? [volume];
  }

  /** Their states, looked at together; each must be there. */
  async #together(volume: string, signal?: AbortSignal): Promise<ReadonlyMap<string, VolumeState>> {
    const members = this.#members(volume);
    const { volumes } = await this.#store.look(members, signal);
    for (const one of [volume, ...members]) if (!volumes.has(one)) throw noVolume(this.array, one);
    return new Map(members.map((one) => [one, stateIn(volumes, this.array, one)]));
  }

  #mayPrepare(state: VolumeState): void {
    const role = state.mark?.role;
    if (role !== 'prepared' && role !== 'fenced' && roleOf(state) !== 'source')
      throw notA(this.array, 'source', state);
  }

  /** What turns one volume of a group round may turn all of it: none may stand where its content would be lost. */
  async #mustBeReady(volume: string, signal?: AbortSignal): Promise<void> {
    for (const one of this.#members(volume)) {
      if (one === volume) continue;
      const [state, other] = await this.#both(one, signal);
      const served = state.mark?.role === 'promoted' || roleOf(state) === 'source';
      const waits = other.mark?.role === 'demoted' || other.mark?.role === 'target';
      if (!served || !waits)
        throw groupHalfWay(
          this.array,
          `Replication of ${volume} is not reversed: volume ${one} of its consistency group is not ready`,
          [`here it is ${roleOf(state)}`, `at ${this.#peer(one).filer.array} it is ${roleOf(other)}`],
        );
    }
  }

  #peer(volume: string): S {
    const peer = this.#peers.get(volume);
    if (peer === undefined) throw noPair(this.array, volume);
    return peer;
  }

  async #both(volume: string, signal?: AbortSignal): Promise<readonly [VolumeState, VolumeState]> {
    const own = await mustExist(this.#side(volume), signal);
    return [own, await mustExist(this.#peer(volume), signal)];
  }

  /** The link matters to those that send; a replica must never wait for its source. */
  #links(states: readonly VolumeState[], signal?: AbortSignal): Promise<ReadonlyMap<string, LinkView>> {
    const senders = states.filter((state) => roleOf(state) === 'source');
    return this.#transport.links(
      this.#filer,
      senders.flatMap(({ volume }) => {
        const peer = this.#peers.get(volume);
        return peer === undefined ? [] : [{ volume, peer }];
      }),
      signal,
    );
  }

  async #reopenPrepared(volume: string, other: VolumeState): Promise<void> {
    const { role } = other.mark ?? {};
    if (role === 'prepared' || role === 'fenced' || role === 'demoted')
      await this.#reopen(this.#peer(volume));
  }

  async #reopen({ store, volume }: S): Promise<void> {
    await store.open(volume);
    await store.mark(volume, null);
  }

  #mustBeTag(tag: string): void {
    if (!goodTag.test(tag)) throw badName(this.array, 'the tag of a point', tag);
  }

  #mustGoOn(signal: AbortSignal | undefined): void {
    if (signal?.aborted === true) throw cancelled(this.array);
  }
}
