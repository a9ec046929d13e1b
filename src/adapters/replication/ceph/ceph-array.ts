/**
 * Replication by Ceph RBD mirroring, through `rbd` on an admin host over SSH. A volume is one image; both sides go by
 * the same pool, namespace and name. Planned verbs ask the other side through the admin host that sites.yaml names for
 * it; unplanned promotion, drills and looking never do.
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
import type { ArraySettings } from '../../../domain/settings.ts';
import type { Access, ArrayIdentity, Discarding, Replication } from '../../../ports/replication.ts';
import type { Clock, Secrets } from '../../../ports/system.ts';
import { sshServerOf } from '../../ssh/options.ts';
import { SshRemote } from '../../ssh/pool.ts';
import { divergenceOf, mayDiscard, wrongConfirmation } from './direction.ts';
import { listDrills, makeDrill, removeOurs } from './drills.ts';
import { hostOf, mustBeUnused, watchersOf } from './hosts.ts';
import { discoverAll, mirroredPools, observeMany } from './many.ts';
import { type CephOptions, cephOptions, imageSpec, parseImage } from './options.ts';
import { type Peer, Peers } from './peers.ts';
import { brokeOff, cutPoint, cutsIn, halfArrived, lastWord, newestCopy, ownLastWord } from './points.ts';
import { finish, promote, promoteDemoted } from './promotion.ts';
import { exits, type Limits, Rbd, usualLimits } from './rbd.ts';
import {
  bothPrimary,
  inUse,
  mustBe,
  noPeer,
  noPoint,
  notPrepared,
  otherPoint,
  promotable,
} from './refusals.ts';
import {
  type ImageState,
  inJournalMode,
  marks,
  pointsOf,
  promotionOf,
  readState,
  roleOf,
  viewOf,
} from './state.ts';
import { awaitThere, clockOf, cut, cutAnew, holdsWhole } from './transfer.ts';

export interface CephSurroundings {
  readonly secrets: Secrets;
  readonly clock: Clock;
  readonly peers: ReadonlyMap<string, Peer>;
  /** For tests; the usual ones when absent. */
  readonly limits?: Limits;
}

export function openCephArray(settings: ArraySettings, surroundings: CephSurroundings): CephReplication {
  return new CephReplication(settings, surroundings);
}

export class CephReplication implements Replication {
  readonly array: string;
  readonly remote: SshRemote;
  readonly #rbd: Rbd;
  readonly #options: CephOptions;
  readonly #clock: Clock;
  readonly #peers: Peers;
  readonly #cutting = new Map<string, Promise<unknown>>();

  constructor(settings: ArraySettings, surroundings: CephSurroundings) {
    this.array = settings.name;
    this.#options = cephOptions(settings);
    const limits = surroundings.limits ?? usualLimits;
    this.remote = new SshRemote(sshServerOf(settings, this.#options, surroundings.secrets));
    this.#rbd = new Rbd(settings.name, this.remote, this.#options, limits);
    this.#peers = new Peers(this.#rbd, surroundings.peers, surroundings.secrets, limits);
    this.#clock = surroundings.clock;
  }

  async identify(signal?: AbortSignal): Promise<ArrayIdentity> {
    const version = { effect: 'read', seconds: this.#rbd.limits.readSeconds, signal } as const;
    const [clock, fsid, model] = await Promise.all([
      clockOf(this.#rbd, signal),
      this.#rbd.ceph(['fsid'], signal),
      this.#rbd.run(['rbd', '--version'], version),
    ]);
    const [, release] = /ceph version (\S+)/.exec(model.stdout) ?? [];
    return {
      vendor: 'Ceph',
      model: `RBD mirroring ${release ?? ''}`.trim(),
      serial: fsid.stdout.trim(),
      clock,
    };
  }

  /** Of RBD mirroring itself, the same in every release from 16 on; asked whether the commands are there. */
  async capabilities(signal?: AbortSignal): Promise<Capabilities> {
    const { readSeconds: seconds } = this.#rbd.limits;
    await this.#rbd.run(['rbd', '--version'], { effect: 'read', seconds, signal });
    return {
      syncNow: true,
      drill: 'clone',
      drillPausesTransfer: false,
      promoteToPoint: false,
      prepare: true,
      reverse: 'full',
      restore: true,
      consistencyGroups: false,
      fence: true,
      expose: 'file',
    };
  }

  discover(signal?: AbortSignal): Promise<readonly FoundPair[]> {
    return discoverAll(this.#rbd, signal);
  }

  async observe(volume: string, signal?: AbortSignal): Promise<PairView> {
    const state = await this.#state(volume, signal);
    return viewOf(this.array, volume, this.#clock.now(), state);
  }

  observeAll(
    volumes: readonly string[],
    signal?: AbortSignal,
  ): Promise<ReadonlyMap<string, PairView | PortError>> {
    return observeMany(this.#rbd, volumes, () => this.#clock.now(), signal);
  }

  async points(volume: string, signal?: AbortSignal): Promise<readonly ReplicaPoint[]> {
    return pointsOf(await this.#state(volume, signal));
  }

  async syncNow(volume: string, tag: string, signal?: AbortSignal): Promise<ReplicaPoint> {
    const { point, journal } = await this.#oneAtATime(volume, async () => {
      const state = await this.#state(volume, signal);
      mustBe(this.#rbd, state, 'syncNow', 'source');
      const other = await this.#peers.state(volume, signal);
      if (other?.info.mirroring.primary === true) throw bothPrimary(this.#rbd, volume);
      const made = await cut(this.#rbd, state, tag, this.#options.keep_points, signal);
      return { point: made, journal: inJournalMode(state) };
    });
    await this.#await(volume, `Point ${tag} of ${volume}`, holdsWhole(point.ref, journal), signal);
    return point;
  }

  /** Two calls with one tag must not both find that its point is not there yet. */
  async #oneAtATime<T>(volume: string, work: () => Promise<T>): Promise<T> {
    const before = this.#cutting.get(volume) ?? Promise.resolve();
    const mine = before.then(work, work);
    this.#cutting.set(volume, mine);
    return mine;
  }

  async prepare(volume: string, tag: string, signal?: AbortSignal): Promise<ReplicaPoint> {
    const state = await this.#state(volume, signal);
    mustBe(this.#rbd, state, 'prepare', 'source', 'demoted');
    const there = lastCutOfDemoted(state, tag);
    if (roleOf(state) === 'source')
      await mustBeUnused(
        this.#rbd,
        state.image,
        this.#peers.side(volume),
        this.#options.mirror_hosts,
        signal,
      );
    const point = there ?? (await this.#lastPoint(volume, state, tag, signal));
    const journal = inJournalMode(state);
    const whole = holdsWhole(point.ref, journal);
    await this.#await(
      volume,
      `The last point of ${volume}`,
      (seen) => whole(seen) && (journal || lastWord(seen)),
      signal,
    );
    return point;
  }

  async unprepare(volume: string, signal?: AbortSignal): Promise<void> {
    const state = await this.#state(volume, signal);
    if (roleOf(state) === 'source') return;
    mustBe(this.#rbd, state, 'unprepare', 'demoted');
    const other = await this.#peers.state(volume, signal);
    if (other?.info.mirroring.primary === true) throw bothPrimary(this.#rbd, volume);
    await promoteDemoted(this.#rbd, state, (seconds) => this.#clock.sleep(seconds, signal), signal);
    await this.#forget(this.#rbd, state, signal);
    if (!inJournalMode(state))
      await this.#await(
        volume,
        `The news that ${volume} takes writes again`,
        (seen) => !lastWord(seen),
        signal,
      );
  }

  async promote(
    volume: string,
    options: { readonly mode: 'planned' | 'unplanned'; readonly point: string; readonly confirm: string },
    signal?: AbortSignal,
  ): Promise<void> {
    if (options.confirm !== promotionConfirmation(volume, options.point))
      throw wrongConfirmation(this.#rbd, `point ${options.point} of volume ${volume}`);
    const state = await this.#state(volume, signal);
    const before = promotionOf(state);
    if (state.info.mirroring.primary && before !== null) {
      if (before.point !== options.point) throw otherPoint(this.#rbd, volume, before.point);
      if (state.underWay !== null) await finish(this.#rbd, state, state.underWay, signal);
      return;
    }
    mustBe(this.#rbd, state, 'promote', 'target');
    if (state.underWay !== null && brokeOff(state.snapshots) && state.underWay.point !== options.point)
      throw otherPoint(this.#rbd, volume, state.underWay.point);
    const point = promotable(this.#rbd, state, volume, options.point);
    if (options.mode === 'planned') await this.#mustBePrepared(state, volume, signal);
    await promote(
      this.#rbd,
      state,
      options.mode,
      point,
      (seconds) => this.#clock.sleep(seconds, signal),
      signal,
    );
  }

  async divergence(volume: string, signal?: AbortSignal): Promise<Divergence> {
    return this.#divergence(volume, await this.#state(volume, signal), signal);
  }

  async demote(volume: string, options: Discarding, signal?: AbortSignal): Promise<void> {
    const state = await this.#state(volume, signal);
    if (!state.info.mirroring.primary) return;
    mayDiscard(this.#rbd, 'demote', volume, options, await this.#divergence(volume, state, signal));
    await this.#demote(state, signal);
  }

  async reverse(
    volume: string,
    tag: string,
    options: Discarding,
    signal?: AbortSignal,
  ): Promise<ReplicaPoint> {
    const state = await this.#state(volume, signal);
    mustBe(this.#rbd, state, 'reverse', 'promoted', 'source');
    const side = this.#peers.side(volume);
    const other = await this.#peers.state(volume, signal);
    if (other?.info.mirroring.primary === true) throw bothPrimary(this.#rbd, volume);
    // What the confirmation names was true before the first point of this tag was cut.
    const begun = cutsIn(state.snapshots).some((one) => one.tag === tag);
    if (options.discard && !begun)
      mayDiscard(this.#rbd, 'reverse', volume, options, await this.#divergence(volume, state, signal));
    // An unplanned promotion leaves the old source with a last word of its own: Ceph takes it back only by a whole copy.
    if (other !== null && roleOf(other) === 'demoted' && promotionOf(state)?.mode === 'unplanned')
      await side.rbd.verb(['mirror', 'image', 'resync', imageSpec(side.image)], signal);
    const point = await this.#carried(volume, state, tag, signal);
    await this.#forget(this.#rbd, state, signal);
    return point;
  }

  async restore(volume: string, options: Discarding, signal?: AbortSignal): Promise<void> {
    const state = await this.#state(volume, signal);
    if (roleOf(state) === 'target') return;
    mustBe(this.#rbd, state, 'restore', 'promoted', 'demoted');
    const side = this.#peers.side(volume);
    const other = await this.#peers.state(volume, signal);
    if (other === null) throw noPeer(this.#rbd, volume);
    if (state.info.mirroring.primary) {
      mayDiscard(this.#rbd, 'restore', volume, options, await divergenceOf(this.#rbd, state, other, signal));
      await this.#demote(state, signal);
    }
    if (!other.info.mirroring.primary) {
      await promoteDemoted(side.rbd, other, (seconds) => this.#clock.sleep(seconds, signal), signal);
      await this.#forget(side.rbd, other, signal);
    }
    const diverged = other.info.mirroring.primary || promotionOf(state)?.mode === 'unplanned';
    if (diverged) await this.#rbd.verb(['mirror', 'image', 'resync', imageSpec(state.image)], signal);
    await awaitThere(
      { rbd: this.#rbd, image: state.image },
      this.#clock,
      this.#options.stall_seconds,
      `The original direction of ${volume}`,
      (seen) =>
        newestCopy(seen)?.mirror.state === 'non-primary' && halfArrived(seen) === null && !ownLastWord(seen),
      signal,
    );
  }

  /** RBD keeps no list of hosts: whoever has a key for the pool reaches an image. */
  async expose(volume: string, _access: Access, signal?: AbortSignal): Promise<Exposed> {
    const state = await this.#state(volume, signal);
    if (!state.info.mirroring.primary) mustBe(this.#rbd, state, 'expose', 'source', 'promoted');
    return this.#exposed(volume, signal);
  }

  /** Nothing is taken from anybody: it is made sure that none of these hosts has it open. */
  async conceal(volume: string, access: Access, signal?: AbortSignal): Promise<void> {
    const state = await this.#state(volume, signal);
    const watching = await watchersOf(this.#rbd, state.image, signal);
    const still = watching.filter((address) => access.addresses.includes(hostOf(address)));
    if (still.length > 0) throw inUse(this.#rbd, volume, still);
  }

  async drillStart(
    volume: string,
    options: { readonly drill: string; readonly point: string; readonly access: Access },
    signal?: AbortSignal,
  ): Promise<Exposed> {
    const state = await this.#state(volume, signal);
    const point = pointsOf(state).find(({ ref }) => ref === options.point);
    if (point === undefined) throw noPoint(this.#rbd, volume, options.point);
    const made = await makeDrill(this.#rbd, state, options.drill, point, this.#clock.now(), signal);
    return this.#exposed(imageSpec(state.image, made), signal);
  }

  async drillStop(volume: string, drill: string, signal?: AbortSignal): Promise<void> {
    await removeOurs(this.#rbd, parseImage(this.array, volume), drill, signal);
  }

  async drillList(signal?: AbortSignal): Promise<readonly DrillLeftover[]> {
    return listDrills(this.#rbd, await mirroredPools(this.#rbd, signal), signal);
  }

  /** A demotion, whoever has the image open: their next write is refused by Ceph. */
  async fence(volume: string, signal?: AbortSignal): Promise<void> {
    const state = await this.#state(volume, signal);
    if (state.info.mirroring.primary) await this.#demote(state, signal);
  }

  async close(): Promise<void> {
    await Promise.all([this.remote.close(), this.#peers.close()]);
  }

  async #state(volume: string, signal: AbortSignal | undefined): Promise<ImageState> {
    return readState(this.#rbd, parseImage(this.array, volume), signal);
  }

  async #carried(
    volume: string,
    state: ImageState,
    tag: string,
    signal: AbortSignal | undefined,
  ): Promise<ReplicaPoint> {
    const point = await cut(this.#rbd, state, tag, this.#options.keep_points, signal);
    await this.#await(
      volume,
      `Point ${tag} of ${volume}`,
      holdsWhole(point.ref, inJournalMode(state)),
      signal,
    );
    return point;
  }

  /** A call that died before the demotion leaves a point that is not the last: it is cut anew. */
  async #lastPoint(
    volume: string,
    state: ImageState,
    tag: string,
    signal: AbortSignal | undefined,
  ): Promise<ReplicaPoint> {
    if (roleOf(state) !== 'source') throw noPoint(this.#rbd, volume, tag);
    const point = await cutAnew(this.#rbd, state, tag, signal);
    await this.#demote(state, signal);
    return point;
  }

  async #demote(state: ImageState, signal: AbortSignal | undefined): Promise<void> {
    const spec = imageSpec(state.image);
    if (inJournalMode(state))
      await this.#rbd.verb(['image-meta', 'set', spec, marks.demoted, state.info.id], signal);
    await this.#rbd.verb(['mirror', 'image', 'demote', spec], signal, { accept: [exits.already] });
  }

  /** This side is an ordinary source from here on. */
  async #forget(rbd: Rbd, state: ImageState, signal: AbortSignal | undefined): Promise<void> {
    for (const mark of [marks.promoted, marks.demoted])
      if (state.meta[mark] !== undefined)
        await rbd.verb(['image-meta', 'remove', imageSpec(state.image), mark], signal, {
          accept: [exits.absent],
        });
  }

  async #await(
    volume: string,
    what: string,
    holds: Parameters<typeof awaitThere>[4],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    await awaitThere(this.#peers.side(volume), this.#clock, this.#options.stall_seconds, what, holds, signal);
  }

  async #divergence(volume: string, state: ImageState, signal: AbortSignal | undefined): Promise<Divergence> {
    const other = await this.#peers.state(volume, signal);
    if (other === null) throw noPeer(this.#rbd, volume);
    return divergenceOf(this.#rbd, state, other, signal);
  }

  async #exposed(volume: string, signal: AbortSignal | undefined): Promise<Exposed> {
    return { kind: 'rbd', server: await this.#rbd.monitors(signal), path: volume };
  }

  async #mustBePrepared(state: ImageState, volume: string, signal: AbortSignal | undefined): Promise<void> {
    const other = await this.#peers.state(volume, signal);
    const demoted = other !== null && !other.info.mirroring.primary;
    if (demoted && (inJournalMode(state) || lastWord(state.snapshots))) return;
    throw notPrepared(this.#rbd, volume, demoted);
  }
}

/** The point of this tag, where the image is demoted and stays as it is. */
function lastCutOfDemoted(state: ImageState, tag: string): ReplicaPoint | null {
  if (state.info.mirroring.primary) return null;
  const found = cutsIn(state.snapshots).find((one) => one.tag === tag);
  return found === undefined ? null : cutPoint(found);
}
