/**
 * Replication by LINSTOR: two clusters, each behind its controller; snapshots of a resource are shipped from one to the
 * other and stay there as snapshots until one is promoted. Facts from the controller's REST description and source,
 * release 1.28 (storage.md C.12). Planned verbs ask the other controller; unplanned ones, drills and looking never do.
 */
import { PortError } from '../../../domain/errors.ts';
import type {
  Capabilities,
  Divergence,
  DrillLeftover,
  Exposed,
  FoundPair,
  PairView,
  ReplicaPoint,
} from '../../../domain/replication.ts';
import type { ArraySettings } from '../../../domain/settings.ts';
import type { Access, ArrayIdentity, Discarding, Replication } from '../../../ports/replication.ts';
import type { Clock } from '../../../ports/system.ts';
import { unsupported } from '../rest/errors.ts';
import { type Pace, usualPace } from '../rest/poll.ts';
import {
  diverged,
  mustConfirmDiscard,
  mustConfirmPromotion,
  noVolume,
  otherSideIs,
} from '../rest/refusals.ts';
import { type RestSurroundings, Sides } from '../rest/sides.ts';
import { answers } from './answers.ts';
import { LinstorApi } from './api.ts';
import { leftovers, startDrill, stopDrill, unblock } from './drills.ts';
import { makeAvailable, takeAway } from './hosts.ts';
import { type MarkRole, writeMark } from './marks.ts';
import { lookAcross } from './peers.ts';
import { block, keepAside, mustBePrepared, promoteTo } from './promotion.ts';
import {
  look,
  lookAt,
  mustBe,
  receivedPoints,
  roleOf,
  sentPoints,
  type VolumeState,
  viewOf,
} from './state.ts';
import { carry } from './transfer.ts';

export function openLinstorArray(settings: ArraySettings, surroundings: RestSurroundings): Replication {
  return new LinstorReplication(settings, surroundings);
}

class LinstorReplication implements Replication {
  readonly array: string;
  readonly #api: LinstorApi;
  readonly #peers: Sides<LinstorApi>;
  readonly #clock: Clock;
  readonly #pace: Pace;

  constructor(settings: ArraySettings, { secrets, clock, peers, pace = usualPace }: RestSurroundings) {
    this.array = settings.name;
    this.#peers = new Sides(settings, { peers }, (array) => new LinstorApi(array, secrets));
    this.#api = this.#peers.own;
    this.#clock = clock;
    this.#pace = pace;
  }

  async identify(signal?: AbortSignal): Promise<ArrayIdentity> {
    const [{ version, clock }, props] = await Promise.all([
      this.#api.version(signal),
      this.#api.get(answers.props, '/v1/controller/properties', signal),
    ]);
    const serial = props['Cluster/LocalID'] ?? this.#api.endpoint.url;
    return { vendor: 'LINBIT', model: `LINSTOR ${version}`, serial, clock };
  }

  /** Of shipping between clusters, the same in all releases that have it; asked whether the controller is there. */
  async capabilities(signal?: AbortSignal): Promise<Capabilities> {
    await this.#api.version(signal);
    return {
      syncNow: true,
      drill: 'clone',
      drillPausesTransfer: false,
      promoteToPoint: true,
      prepare: true,
      reverse: 'full',
      restore: false,
      consistencyGroups: false,
      fence: true,
      expose: 'file',
    };
  }

  async discover(signal?: AbortSignal): Promise<readonly FoundPair[]> {
    const { volumes, drills } = await look(this.#api, null, signal);
    const copies = new Set(drills.map(({ name }) => name));
    const all = [...volumes.values()].filter(({ volume }) => !copies.has(volume));
    return all.flatMap((state): FoundPair[] => {
      const peer = this.#peers.named(state.volume);
      const shipped = [...receivedPoints(state), ...sentPoints(state)].length > 0;
      if (peer === null && !shipped && state.mark === null) return [];
      const named = peer === null ? null : { array: peer.array.name, volume: peer.volume };
      return [{ volume: state.volume, role: roleOf(state), peer: named }];
    });
  }

  async observe(volume: string, signal?: AbortSignal): Promise<PairView> {
    return viewOf(this.array, await lookAt(this.#api, volume, signal), this.#clock.now());
  }

  async observeAll(
    volumes: readonly string[],
    signal?: AbortSignal,
  ): Promise<ReadonlyMap<string, PairView | PortError>> {
    const { volumes: listed } = await look(this.#api, null, signal);
    const observedAt = this.#clock.now();
    return new Map(
      volumes.map((volume) => {
        const state = listed.get(volume);
        return [
          volume,
          state === undefined ? noVolume(this.array, volume) : viewOf(this.array, state, observedAt),
        ];
      }),
    );
  }

  async points(volume: string, signal?: AbortSignal): Promise<readonly ReplicaPoint[]> {
    return receivedPoints(await lookAt(this.#api, volume, signal));
  }

  async syncNow(volume: string, tag: string, signal?: AbortSignal): Promise<ReplicaPoint> {
    mustBe(this.#api, await lookAt(this.#api, volume, signal), 'sync', 'source');
    await this.#otherSideMustReceive(volume, 'sync', signal);
    return this.#carry(volume, tag, signal);
  }

  async prepare(volume: string, tag: string, signal?: AbortSignal): Promise<ReplicaPoint> {
    const state = await lookAt(this.#api, volume, signal);
    const prepared = state.mark?.role === 'prepared';
    if (!prepared) mustBe(this.#api, state, 'prepare', 'source');
    await this.#otherSideMustReceive(volume, 'prepare', signal);
    if (prepared) await block(this.#api, state, signal);
    else await this.#stop(state, 'preparing', signal);
    const point = await this.#carry(volume, tag, signal);
    await this.#mark(volume, 'prepared', point.ref, signal);
    return point;
  }

  async unprepare(volume: string, signal?: AbortSignal): Promise<void> {
    const state = await lookAt(this.#api, volume, signal);
    if (state.mark?.role !== 'prepared') mustBe(this.#api, state, 'unprepare', 'source');
    if (state.mark === null) return;
    await this.#otherSideMustReceive(volume, 'unprepare', signal);
    await unblock(this.#api, volume, signal);
    await writeMark(this.#api, volume, null, signal);
  }

  async promote(
    volume: string,
    options: { readonly mode: 'planned' | 'unplanned'; readonly point: string; readonly confirm: string },
    signal?: AbortSignal,
  ): Promise<void> {
    const { mode, point, confirm } = options;
    mustConfirmPromotion(this.array, volume, point, confirm);
    const state = await lookAt(this.#api, volume, signal);
    if (mode === 'planned' && roleOf(state) === 'target')
      await mustBePrepared(this.#api, volume, this.#peers.of(volume), point, signal);
    await promoteTo(this.#api, state, point, signal);
  }

  async divergence(volume: string, signal?: AbortSignal): Promise<Divergence> {
    const state = await lookAt(this.#api, volume, signal);
    return this.#divergenceOf(state, await this.#promotedPoint(volume, signal));
  }

  async demote(volume: string, options: Discarding, signal?: AbortSignal): Promise<void> {
    const state = await lookAt(this.#api, volume, signal);
    if (state.mark?.role === 'demoted' || roleOf(state) === 'target') return;
    const promoted = await this.#promotedPoint(volume, signal);
    const { common, says } = this.#divergenceOf(state, promoted);
    mustConfirmDiscard(this.array, 'demote', volume, common?.ref ?? null, options);
    if (promoted === null) {
      const other = await lookAcross(this.#peers.of(volume), signal);
      throw otherSideIs(this.array, volume, 'demote', other === null ? 'unknown' : roleOf(other));
    }
    const nothingLost = state.mark?.role === 'prepared' && state.mark.point === promoted;
    if (!nothingLost && !options.discard) throw diverged(this.array, volume, says);
    await block(this.#api, state, signal);
    if (!nothingLost) await keepAside(this.#api, volume, common?.ref ?? null, signal);
    await this.#mark(volume, 'demoted', common?.ref ?? null, signal);
  }

  async reverse(
    volume: string,
    tag: string,
    options: Discarding,
    signal?: AbortSignal,
  ): Promise<ReplicaPoint> {
    const state = await lookAt(this.#api, volume, signal);
    const other = this.#peers.of(volume);
    if (roleOf(state) === 'source' && (await this.#isTarget(volume, signal)))
      return this.#carry(volume, tag, signal);
    mustBe(this.#api, state, 'reverse', 'promoted');
    mustConfirmDiscard(this.array, 'reverse', volume, state.mark?.point ?? null, options);
    const old = await lookAcross(other, signal);
    const ready = old?.mark?.role === 'demoted' || old?.mark?.role === 'target';
    if (old !== null && !ready) throw otherSideIs(this.array, volume, 'reverse', roleOf(old));
    await this.#mark(volume, 'reversing', state.mark?.point ?? null, signal);
    const point = await this.#carry(volume, tag, signal);
    await writeMark(other.api, other.volume, { role: 'target', point: point.ref }, signal);
    await writeMark(this.#api, volume, null, signal);
    return point;
  }

  /** LINSTOR does not tell whether anybody wrote to a promoted resource, so that nobody can say what it would cost. */
  async restore(volume: string, _options: Discarding, signal?: AbortSignal): Promise<void> {
    await lookAt(this.#api, volume, signal);
    throw unsupported(
      this.#api.endpoint,
      `LINSTOR cannot undo the promotion of ${volume}`,
      'Demote the old source and reverse, or remove the resources of the promoted side by hand',
    );
  }

  async expose(volume: string, access: Access, signal?: AbortSignal): Promise<Exposed> {
    const state = await lookAt(this.#api, volume, signal);
    mustBe(this.#api, state, 'expose', 'source', 'promoted');
    return makeAvailable(this.#api, volume, access, signal);
  }

  async conceal(volume: string, access: Access, signal?: AbortSignal): Promise<void> {
    await lookAt(this.#api, volume, signal);
    await takeAway(this.#api, volume, access, signal);
  }

  async drillStart(
    volume: string,
    options: { readonly drill: string; readonly point: string; readonly access: Access },
    signal?: AbortSignal,
  ): Promise<Exposed> {
    return startDrill(this.#api, await lookAt(this.#api, volume, signal), options, signal);
  }

  drillStop(volume: string, drill: string, signal?: AbortSignal): Promise<void> {
    return stopDrill(this.#api, volume, drill, signal);
  }

  async drillList(signal?: AbortSignal): Promise<readonly DrillLeftover[]> {
    return leftovers(await look(this.#api, null, signal));
  }

  async fence(volume: string, signal?: AbortSignal): Promise<void> {
    const state = await lookAt(this.#api, volume, signal);
    if (roleOf(state) === 'demoted' || roleOf(state) === 'target') return;
    mustBe(this.#api, state, 'fence', 'source');
    await this.#stop(state, state.mark?.role ?? 'fenced', signal);
  }

  async close(): Promise<void> {
    await this.#peers.close();
  }

  #carry(volume: string, tag: string, signal: AbortSignal | undefined): Promise<ReplicaPoint> {
    const other = this.#peers.of(volume);
    return carry({ api: this.#api, volume, other, clock: this.#clock, pace: this.#pace, signal }, tag);
  }

  /** The mark comes first, so that a block that was set half way is known to be ours; it goes when hosts are still writing. */
  async #stop(state: VolumeState, role: MarkRole, signal: AbortSignal | undefined): Promise<void> {
    await this.#mark(state.volume, role, null, signal);
    try {
      await block(this.#api, state, signal);
    } catch (error) {
      if (error instanceof PortError && error.problem.code === 'DR-ARRAY-IN-USE')
        await writeMark(this.#api, state.volume, state.mark, signal);
      throw error;
    }
  }

  #mark(
    volume: string,
    role: MarkRole,
    point: string | null,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    return writeMark(this.#api, volume, { role, point }, signal);
  }

  /** LINSTOR would ship to a definition that is deployed: that the other side is promoted is ours to see. */
  async #otherSideMustReceive(volume: string, verb: string, signal: AbortSignal | undefined): Promise<void> {
    const other = await lookAcross(this.#peers.of(volume), signal);
    const role = other === null ? 'target' : roleOf(other);
    if (role !== 'target' && role !== 'unpaired') throw otherSideIs(this.array, volume, verb, role);
  }

  async #isTarget(volume: string, signal: AbortSignal | undefined): Promise<boolean> {
    const other = await lookAcross(this.#peers.of(volume), signal);
    return other !== null && roleOf(other) === 'target';
  }

  /** The point at which the other side was promoted; null when it was not. */
  async #promotedPoint(volume: string, signal: AbortSignal | undefined): Promise<string | null> {
    const other = await lookAcross(this.#peers.of(volume), signal);
    return other !== null && roleOf(other) === 'promoted' ? (other.mark?.point ?? null) : null;
  }

  #divergenceOf(state: VolumeState, promotedThere: string | null): Divergence {
    const held = [...receivedPoints(state), ...sentPoints(state)];
    const point = roleOf(state) === 'promoted' ? (state.mark?.point ?? null) : promotedThere;
    const common = point === null ? (held[0] ?? null) : (held.find(({ ref }) => ref === point) ?? null);
    const nothing = state.mark?.role === 'prepared' && state.mark.point === point;
    return {
      common,
      pointsLost: nothing ? 0 : null,
      bytesLost: nothing ? 0 : null,
      says: [
        common === null
          ? 'the two sides hold no point in common'
          : `the newest common point is of ${common.takenAt}`,
        nothing
          ? 'nothing was written here since'
          : 'LINSTOR does not tell what was written here since; a snapshot of it is kept aside',
      ],
    };
  }
}
