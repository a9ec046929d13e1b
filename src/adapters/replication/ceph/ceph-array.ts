/**
 * Replication by Ceph RBD mirroring, through `rbd` on an admin host over SSH. A volume is one image; both sides go by
 * the same pool, namespace and name. Planned verbs ask the other side through the admin host that sites.yaml names for
 * it; unplanned promotion, drills and looking never do.
 */
import { PortError } from '../../../domain/errors.ts';
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
import { watcherList } from './answers.ts';
import { divergenceOf, mayDiscard, wrongConfirmation } from './direction.ts';
import { listDrills, makeDrill, removeOurs } from './drills.ts';
import { discoverAll, mirroredPools, observeMany } from './many.ts';
import { type CephOptions, cephOptions, imageSpec, parseImage } from './options.ts';
import { brokeOff, cutPoint, cutsIn, halfArrived, lastWord, newestCopy, ownLastWord } from './points.ts';
import { finish, promote, promoteDemoted } from './promotion.ts';
import { exits, type Limits, Rbd, usualLimits } from './rbd.ts';
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
import { awaitThere, clockOf, cut, cutAnew, holdsWhole, type Side } from './transfer.ts';

interface Peer {
  readonly array: ArraySettings;
  readonly volume: string;
}

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
  readonly #surroundings: CephSurroundings;
  readonly #cutting = new Map<string, Promise<unknown>>();
  readonly #peerRemotes = new Map<string, { readonly remote: SshRemote; readonly rbd: Rbd }>();

  constructor(settings: ArraySettings, surroundings: CephSurroundings) {
    this.array = settings.name;
    this.#options = cephOptions(settings);
    this.remote = new SshRemote(sshServerOf(settings, this.#options, surroundings.secrets));
    this.#rbd = new Rbd(settings.name, this.remote, this.#options, surroundings.limits ?? usualLimits);
    this.#clock = surroundings.clock;
    this.#surroundings = surroundings;
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
      this.#mustBe(state, 'syncNow', 'source');
      const other = await this.#otherState(volume, signal);
      if (other?.info.mirroring.primary === true) throw this.#bothPrimary(volume);
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
    this.#mustBe(state, 'prepare', 'source', 'demoted');
    const there = lastCutOfDemoted(state, tag);
    if (roleOf(state) === 'source') await this.#mustBeUnused(volume, state, signal);
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
    this.#mustBe(state, 'unprepare', 'demoted');
    const other = await this.#otherState(volume, signal);
    if (other?.info.mirroring.primary === true) throw this.#bothPrimary(volume);
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
      if (before.point !== options.point) throw this.#otherPoint(volume, before.point);
      if (state.underWay !== null) await finish(this.#rbd, state, state.underWay, signal);
      return;
    }
    this.#mustBe(state, 'promote', 'target');
    if (state.underWay !== null && brokeOff(state.snapshots) && state.underWay.point !== options.point)
      throw this.#otherPoint(volume, state.underWay.point);
    const point = this.#promotable(state, volume, options.point);
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
    this.#mustBe(state, 'reverse', 'promoted', 'source');
    const { side, state: other } = await this.#mustHaveOther(volume, signal);
    if (other?.info.mirroring.primary === true) throw this.#bothPrimary(volume);
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
    this.#mustBe(state, 'restore', 'promoted', 'demoted');
    const { side, state: other } = await this.#mustHaveOther(volume, signal);
    if (other === null) throw this.#noPeer(volume);
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
    if (!state.info.mirroring.primary) this.#mustBe(state, 'expose', 'source', 'promoted');
    return this.#exposed(volume, signal);
  }

  /** Nothing is taken from anybody: it is made sure that none of these hosts has it open. */
  async conceal(volume: string, access: Access, signal?: AbortSignal): Promise<void> {
    const state = await this.#state(volume, signal);
    const watching = await this.#watchers(state, signal);
    const still = watching.filter((address) => access.addresses.includes(hostOf(address)));
    if (still.length > 0) throw this.#inUse(volume, still);
  }

  async drillStart(
    volume: string,
    options: { readonly drill: string; readonly point: string; readonly access: Access },
    signal?: AbortSignal,
  ): Promise<Exposed> {
    const state = await this.#state(volume, signal);
    const point = pointsOf(state).find(({ ref }) => ref === options.point);
    if (point === undefined) throw this.#noPoint(volume, options.point);
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
    await Promise.all(
      [this.remote, ...[...this.#peerRemotes.values()].map(({ remote }) => remote)].map((one) => one.close()),
    );
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
    if (roleOf(state) !== 'source') throw this.#noPoint(volume, tag);
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
    await awaitThere(this.#side(volume), this.#clock, this.#options.stall_seconds, what, holds, signal);
  }

  #side(volume: string): Side {
    const peer = this.#surroundings.peers.get(volume);
    if (peer === undefined || peer.array.type !== 'ceph') throw this.#noPeer(volume);
    const { name } = peer.array;
    const known = this.#peerRemotes.get(name);
    if (known !== undefined) return { rbd: known.rbd, image: parseImage(name, peer.volume) };
    const options = cephOptions(peer.array);
    const remote = new SshRemote(sshServerOf(peer.array, options, this.#surroundings.secrets));
    const rbd = new Rbd(name, remote, options, this.#surroundings.limits ?? usualLimits);
    this.#peerRemotes.set(name, { remote, rbd });
    return { rbd, image: parseImage(name, peer.volume) };
  }

  /** Null while the other side has no image yet, or has thrown it away to copy it anew. */
  async #otherState(volume: string, signal: AbortSignal | undefined): Promise<ImageState | null> {
    const { rbd, image } = this.#side(volume);
    try {
      return await readState(rbd, image, signal);
    } catch (error) {
      if (error instanceof PortError && error.peerCode === 'not-found') return null;
      throw error;
    }
  }

  async #mustHaveOther(
    volume: string,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly side: Side; readonly state: ImageState | null }> {
    return { side: this.#side(volume), state: await this.#otherState(volume, signal) };
  }

  async #divergence(volume: string, state: ImageState, signal: AbortSignal | undefined): Promise<Divergence> {
    const other = await this.#otherState(volume, signal);
    if (other === null) throw this.#noPeer(volume);
    return divergenceOf(this.#rbd, state, other, signal);
  }

  async #exposed(volume: string, signal: AbortSignal | undefined): Promise<Exposed> {
    return { kind: 'rbd', server: await this.#rbd.monitors(signal), path: volume };
  }

  async #watchers(state: ImageState, signal: AbortSignal | undefined): Promise<string[]> {
    const seen = await this.#rbd.read(watcherList, ['status', imageSpec(state.image)], signal);
    return (seen?.watchers ?? []).map(({ address }) => address);
  }

  /** The rbd-mirror of the other cluster watches the source too: it runs where that cluster's own image is watched. */
  async #mustBeUnused(volume: string, state: ImageState, signal: AbortSignal | undefined): Promise<void> {
    const { rbd, image } = this.#side(volume);
    const [here, there] = await Promise.all([
      this.#watchers(state, signal),
      rbd.read(watcherList, ['status', imageSpec(image)], signal),
    ]);
    const mirrors = new Set([
      ...(there?.watchers ?? []).map(({ address }) => hostOf(address)),
      ...this.#options.mirror_hosts.split(',').map((text) => text.trim()),
    ]);
    const still = here.filter((address) => !mirrors.has(hostOf(address)));
    if (still.length > 0) throw this.#inUse(volume, still);
  }

  async #mustBePrepared(state: ImageState, volume: string, signal: AbortSignal | undefined): Promise<void> {
    const other = await this.#otherState(volume, signal);
    const demoted = other !== null && !other.info.mirroring.primary;
    if (demoted && (inJournalMode(state) || lastWord(state.snapshots))) return;
    throw this.#rbd.problem('refused', {
      code: 'DR-ARRAY-NOT-PREPARED',
      what: `The source of ${volume} is not prepared: it may take writes that are not here`,
      known: [demoted ? 'its last point has not arrived' : 'it is primary'],
      next: 'Prepare the source first, or make a plan for an unplanned failover',
    });
  }

  #promotable(state: ImageState, volume: string, ref: string): ReplicaPoint {
    const points = pointsOf(state);
    const point = points.find((one) => one.ref === ref);
    if (point === undefined) throw this.#noPoint(volume, ref);
    const rolling = ref.startsWith('journal:');
    const newest = points.find((one) => !one.ref.startsWith('journal:'));
    if (rolling || point === newest) return point;
    throw new PortError(
      'refused',
      {
        code: 'DR-ARRAY-OLDER-POINT',
        what: `${volume} can only be promoted at its newest point`,
        where: { object: `array ${this.array}` },
        known: [
          `asked for ${ref}`,
          `the newest is ${newest?.ref ?? 'unknown'}`,
          'Ceph promotes what arrived last',
        ],
        next: 'Make a new plan; an older point can be opened as a drill',
      },
      { peerCode: 'unsupported', peerParams: [ref] },
    );
  }

  #mustBe(state: ImageState, verb: string, ...roles: readonly PairView['role'][]): void {
    const role = roleOf(state);
    if (roles.includes(role)) return;
    throw new PortError(
      'refused',
      {
        code: 'DR-ARRAY-ROLE',
        what: `${imageSpec(state.image)} is ${role} at array ${this.array}: ${verb} is for ${roles.join(' or ')}`,
        where: { object: `array ${this.array}` },
        known: state.status === null ? [] : [`rbd-mirror says ${state.status.state}`],
        next: 'Compare the pair in sites.yaml with what the array shows, then make a new plan',
      },
      { peerCode: 'wrong-state', peerParams: [role] },
    );
  }

  #bothPrimary(volume: string): PortError {
    return this.#rbd.problem('refused', {
      code: 'DR-ARRAY-SPLIT',
      what: `The other side of ${volume} is primary as well`,
      known: ['nothing was sent to it'],
      next: 'Demote the old source first: `lifeboat reprotect GROUP` names what that throws away',
    });
  }

  #inUse(volume: string, addresses: readonly string[]): PortError {
    return this.#rbd.problem('refused', {
      code: 'DR-ARRAY-IN-USE',
      what: `${volume} is still open at ${addresses.length} hosts`,
      known: addresses.map((address) => `watched from ${address}`),
      next: 'Shut the VMs down and unplug the SR; name hosts of rbd-mirror in mirror_hosts. A dead host is forgotten after 30 s',
    });
  }

  #otherPoint(volume: string, point: string): PortError {
    return this.#rbd.problem('refused', {
      code: 'DR-ARRAY-OTHER-POINT',
      what: `${volume} was promoted at another point`,
      known: [`it stands at ${point}`],
      next: 'Make a new plan; to go back to the original direction use `lifeboat run undo`',
    });
  }

  #noPoint(volume: string, ref: string): PortError {
    return new PortError(
      'refused',
      {
        code: 'DR-ARRAY-POINT',
        what: `Array ${this.array} holds no complete point ${ref} of ${volume}`,
        where: { object: `array ${this.array}` },
        next: 'Make a new plan: Ceph keeps few points, and this one is gone or has not arrived',
      },
      { peerCode: 'not-found', peerParams: [ref] },
    );
  }

  #noPeer(volume: string): PortError {
    return this.#rbd.problem('refused', {
      code: 'DR-ARRAY-PEER',
      what: `The other side of ${volume} cannot be asked`,
      known: ['a planned step needs both: sites.yaml must name an array of type ceph that has the image'],
      next: 'Name source and target of the volume under storage of its group',
    });
  }
}

/** The point of this tag, where the image is demoted and stays as it is. */
function lastCutOfDemoted(state: ImageState, tag: string): ReplicaPoint | null {
  if (state.info.mirroring.primary) return null;
  const found = cutsIn(state.snapshots).find((one) => one.tag === tag);
  return found === undefined ? null : cutPoint(found);
}

function hostOf(address: string): string {
  return address
    .replace(/^v\d:/, '')
    .replace(/:\d+\/\d+$/, '')
    .replace(/^\[(.*)\]$/, '$1');
}
