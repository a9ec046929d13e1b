/**
 * Replication by NetApp SnapMirror between two clusters, over REST or over the CLI (`control.ts`). A volume is
 * `SVM:VOLUME`; relationships live at the destination. Planned verbs ask the other cluster as sites.yaml names it;
 * unplanned promotion, drills and looking never do.
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
  type Role,
} from '../../../domain/replication.ts';
import type { Access, ArrayIdentity, Discarding, Replication } from '../../../ports/replication.ts';
import { cannotKeepTogether } from '../consistency-group.ts';
import { closeTo, closeVolume, openTo, reopenVolume, writeMark } from './access.ts';
import type { Asking, OntapControl, Patience, Snapshot } from './control.ts';
import { divergenceOf, giveUp, goBack, mayDiscard, type Side, turnRound } from './direction.ts';
import { listDrills, startDrill, stopDrill } from './drills.ts';
import { endOf, knowsGroups, membersOf, noMember } from './groups.ts';
import type { Closed } from './marks.ts';
import { checkedPath, type OntapOptions } from './options.ts';
import { promoteTo } from './promotion.ts';
import {
  diverged,
  drillsOpen,
  noPoint,
  notPrepared,
  noVolume,
  otherPoint,
  otherSidePromoted,
  wrongConfirmation,
  wrongRole,
} from './refusals.ts';
import {
  newestFirst,
  pointOf,
  pointsOf,
  readSituation,
  readSituations,
  refOf,
  roleOf,
  type Situation,
  viewOf,
} from './state.ts';
import { carry, cut, thinOut } from './transfer.ts';

export interface OntapSurroundings {
  readonly options: OntapOptions;
  readonly patience: Patience;
  /** Those that sites.yaml names. */
  readonly volumes: readonly string[];
  /** The other side of a volume; throws DR-ARRAY-PEER when sites.yaml names none. Nobody is contacted by it. */
  peer(volume: string): Side;
  closePeers(): Promise<void>;
}

export class OntapReplication implements Replication {
  readonly array: string;
  readonly #control: OntapControl;
  readonly #around: OntapSurroundings;
  readonly #cutting = new Map<string, Promise<unknown>>();

  constructor(control: OntapControl, around: OntapSurroundings) {
    this.array = control.endpoint.array;
    this.#control = control;
    this.#around = around;
  }

  async identify(signal?: AbortSignal): Promise<ArrayIdentity> {
    const { name, serial, version, clock } = await this.#control.cluster({ signal });
    return { vendor: 'NetApp', model: `ONTAP ${version} (${name})`, serial, clock };
  }

  /** Of SnapMirror in every release of clustered ONTAP, and what this release and these volumes add to it. */
  async capabilities(signal?: AbortSignal): Promise<Capabilities> {
    const asking = { signal };
    const [cluster, withLuns] = await Promise.all([
      this.#control.cluster(asking),
      this.#control.volumesWithLuns(asking),
    ]);
    const { volumes } = this.#around;
    const luns = volumes.filter((volume) => withLuns.has(volume)).length;
    return {
      syncNow: true,
      drill: 'clone',
      drillPausesTransfer: false,
      promoteToPoint: true,
      prepare: true,
      reverse: 'incremental',
      restore: true,
      consistencyGroups: this.#control.keepsTogether && knowsGroups(cluster),
      fence: true,
      expose: luns > 0 && luns === volumes.length ? 'lun' : 'nfs',
    };
  }

  async discover(signal?: AbortSignal): Promise<readonly FoundPair[]> {
    const situations = await readSituations(this.#control, { signal });
    return [...situations.values()].flatMap((situation) => {
      const peer = peerOf(situation);
      return peer === null ? [] : [{ volume: situation.volume.path, role: roleOf(situation), peer }];
    });
  }

  async observe(volume: string, signal?: AbortSignal): Promise<PairView> {
    const situation = await this.#situation(volume, { signal });
    return viewOf(this.#control, volume, this.#now(), situation);
  }

  async observeAll(
    volumes: readonly string[],
    signal?: AbortSignal,
  ): Promise<ReadonlyMap<string, PairView | PortError>> {
    if (volumes.length === 0) return new Map();
    const situations = await readSituations(this.#control, { signal });
    return new Map(
      volumes.map((volume) => {
        const situation = situations.get(volume);
        return [
          volume,
          situation === undefined
            ? noVolume(this.#control, volume)
            : viewOf(this.#control, volume, this.#now(), situation),
        ];
      }),
    );
  }

  async points(volume: string, signal?: AbortSignal): Promise<readonly ReplicaPoint[]> {
    return pointsOf(await this.#situation(volume, { signal }));
  }

  async syncNow(volume: string, tag: string, signal?: AbortSignal): Promise<ReplicaPoint> {
    const asking = { signal };
    await this.#mayKeepTogether(volume, asking);
    return this.#oneAtATime(endOf(this.#control, volume), async () => {
      const situation = await this.#situation(volume, asking);
      this.#mustBe(situation, 'syncNow', 'source');
      const point = await this.#carried(situation, tag, asking);
      await thinOut(this.#control, situation, this.#around.options.keep_points, asking);
      return pointOf(point);
    });
  }

  async prepare(volume: string, tag: string, signal?: AbortSignal): Promise<ReplicaPoint> {
    const asking = { signal };
    await this.#mayKeepTogether(volume, asking);
    const situation = await this.#situation(volume, asking);
    this.#mustBe(situation, 'prepare', 'source', 'demoted');
    const closed: Closed[] = [];
    for (const member of situation.members) {
      const mark = await closeVolume(this.#control, member, { demoted: false }, asking);
      if (mark.closed !== undefined) closed.push(mark.closed);
    }
    const shut =
      closed
        .map(({ at }) => at)
        .toSorted()
        .at(-1) ?? '';
    const isLast = (one: Snapshot): boolean => closed.some(({ last }) => last === refOf(one));
    const early = situation.snapshots.find((one) => one.name === tag && !isLast(one) && !isAfter(one, shut));
    // Cut before the hosts were kept out, by a call that died: it is not the last word.
    if (early !== undefined && closed.every(({ last }) => last === null))
      await this.#drop(volume, situation, early, asking);
    const last = await cut(this.#control, await this.#situation(volume, asking), tag, asking);
    for (const { volume: one, mark } of (await this.#situation(volume, asking)).members)
      if (mark.closed !== undefined && mark.closed.last !== refOf(last))
        await writeMark(
          this.#control,
          one,
          { ...mark, closed: { ...mark.closed, last: refOf(last) } },
          asking,
        );
    return pointOf(await this.#carried(await this.#situation(volume, asking), tag, asking));
  }

  async unprepare(volume: string, signal?: AbortSignal): Promise<void> {
    const asking = { signal };
    const situation = await this.#situation(volume, asking);
    if (roleOf(situation) === 'source') return;
    this.#mustBe(situation, 'unprepare', 'demoted');
    const { control, path } = this.#around.peer(volume);
    const [relationship] = await control.relationships(endOf(control, path), asking);
    if (relationship?.state === 'broken_off') throw otherSidePromoted(control, volume);
    await reopenVolume(this.#control, situation, asking);
  }

  async promote(
    volume: string,
    options: { readonly mode: 'planned' | 'unplanned'; readonly point: string; readonly confirm: string },
    signal?: AbortSignal,
  ): Promise<void> {
    if (options.confirm !== promotionConfirmation(volume, options.point))
      throw wrongConfirmation(this.#control, `point ${options.point} of volume ${volume}`);
    const asking = { signal };
    await this.#mayKeepTogether(volume, asking);
    const situation = await this.#situation(volume, asking);
    const { promoted } = situation.mark;
    if (roleOf(situation) === 'promoted' && promoted !== undefined) {
      if (promoted.point !== options.point) throw otherPoint(this.#control, volume, promoted.point);
      return;
    }
    this.#mustBe(situation, 'promote', 'target');
    const point = this.#point(situation, options.point);
    if (options.mode === 'planned') await this.#mustBePrepared(volume, point, asking);
    await this.#mustBeFree(situation, point, asking);
    await promoteTo(this.#control, situation, point, this.#around.patience, asking);
  }

  async divergence(volume: string, signal?: AbortSignal): Promise<Divergence> {
    return divergenceOf(this.#side(volume), this.#around.peer(volume), { signal });
  }

  async demote(volume: string, options: Discarding, signal?: AbortSignal): Promise<void> {
    const asking = { signal };
    const situation = await this.#situation(volume, asking);
    const role = roleOf(situation);
    if (role === 'target' || situation.mark.closed?.demoted === true) return;
    this.#mustBe(situation, 'demote', 'source', 'promoted', 'demoted');
    const side = this.#side(volume);
    const divergence = await divergenceOf(side, this.#around.peer(volume), asking);
    mayDiscard(this.#control, 'demote', volume, options, divergence);
    await giveUp(side, situation, asking);
  }

  async reverse(
    volume: string,
    tag: string,
    options: Discarding,
    signal?: AbortSignal,
  ): Promise<ReplicaPoint> {
    const asking = { signal };
    await this.#mayKeepTogether(volume, asking);
    const situation = await this.#situation(volume, asking);
    this.#mustBe(situation, 'reverse', 'promoted', 'source');
    const other = this.#around.peer(volume);
    if (roleOf(situation) === 'promoted') {
      if (options.discard) {
        const divergence = await divergenceOf(this.#side(volume), other, asking);
        mayDiscard(this.#control, 'reverse', volume, options, divergence);
      }
    }
    await turnRound(this.#side(volume), other, this.#around.patience, asking);
    return pointOf(await this.#carried(await this.#situation(volume, asking), tag, asking));
  }

  async restore(volume: string, options: Discarding, signal?: AbortSignal): Promise<void> {
    const asking = { signal };
    const situation = await this.#situation(volume, asking);
    const role = roleOf(situation);
    if (role === 'target' && situation.mark.promoted === undefined) return;
    this.#mustBe(situation, 'restore', 'promoted', 'target');
    const side = this.#side(volume);
    const other = this.#around.peer(volume);
    if (role === 'promoted') {
      mayDiscard(this.#control, 'restore', volume, options, await divergenceOf(side, other, asking));
      await this.#mayDiscardOthers(situation, options, asking);
    }
    await goBack(side, other, situation, this.#around.patience, asking);
  }

  async expose(volume: string, access: Access, signal?: AbortSignal): Promise<Exposed> {
    const asking = { signal };
    const situation = await this.#situation(volume, asking);
    this.#mustBe(situation, 'expose', 'source', 'promoted');
    const { mark, volume: seen } = situation;
    // Before the first host is let in: from here on what is written counts.
    if (mark.promoted?.opened === false)
      await writeMark(this.#control, seen, { ...mark, promoted: { ...mark.promoted, opened: true } }, asking);
    return openTo(this.#control, seen, access, this.#around.options, asking);
  }

  async conceal(volume: string, access: Access, signal?: AbortSignal): Promise<void> {
    const asking = { signal };
    await closeTo(this.#control, (await this.#situation(volume, asking)).volume, access, asking);
  }

  async drillStart(
    volume: string,
    options: { readonly drill: string; readonly point: string; readonly access: Access },
    signal?: AbortSignal,
  ): Promise<Exposed> {
    const asking = { signal };
    const situation = await this.#situation(volume, asking);
    const point = this.#point(situation, options.point);
    const { drill, access } = options;
    return startDrill(this.#control, situation.volume, drill, point, access, this.#around.options, asking);
  }

  async drillStop(volume: string, drill: string, signal?: AbortSignal): Promise<void> {
    await stopDrill(this.#control, checkedPath(this.array, volume), drill, { signal });
  }

  async drillList(signal?: AbortSignal): Promise<readonly DrillLeftover[]> {
    return listDrills(this.#control, { signal });
  }

  /** Whatever hosts have open: their next request is refused by ONTAP. */
  async fence(volume: string, signal?: AbortSignal): Promise<void> {
    const asking = { signal };
    const situation = await this.#situation(volume, asking);
    if (situation.volume.type === 'dp') return;
    await closeVolume(this.#control, situation, { demoted: false }, asking);
  }

  async close(): Promise<void> {
    await Promise.all([this.#control.close(), this.#around.closePeers()]);
  }

  #side(volume: string): Side {
    return { control: this.#control, path: volume };
  }

  #now(): string {
    return this.#around.patience.clock.now();
  }

  #situation(volume: string, asking: Asking): Promise<Situation> {
    return readSituation(this.#control, checkedPath(this.array, volume), asking);
  }

  #mustBe(situation: Situation, verb: string, ...roles: readonly Role[]): void {
    const role = roleOf(situation);
    if (roles.includes(role)) return;
    const state = situation.incoming?.state;
    const known = state === undefined ? [] : [`its relationship is ${state}`];
    throw wrongRole(this.#control, verb, situation.volume.path, role, roles, known);
  }

  #point({ snapshots, volume }: Situation, ref: string): Snapshot {
    const point = snapshots.find((one) => refOf(one) === ref);
    if (point === undefined) throw noPoint(this.#control, volume.path, ref);
    return point;
  }

  /** Asked where sites.yaml keeps volumes together: an older release would make a point of each by itself. */
  async #mayKeepTogether(volume: string, asking: Asking): Promise<void> {
    const group = this.#control.groups.get(volume);
    if (group === undefined) return;
    const cluster = await this.#control.cluster(asking);
    if (!knowsGroups(cluster))
      throw cannotKeepTogether(
        this.array,
        volume,
        `ONTAP ${cluster.version} does not replicate consistency groups; 9.13.1 and later do`,
      );
    const { members } = await this.#situation(volume, asking);
    for (const path of membersOf(this.#control, volume))
      if (!members.some((one) => one.volume.path === path)) throw noMember(this.#control, path, group);
  }

  /** What is done to one volume of a group is done to all: a person has named the point that all of them go back to. */
  async #mayDiscardOthers(
    { volume, members }: Situation,
    { discard }: Discarding,
    asking: Asking,
  ): Promise<void> {
    if (discard) return;
    for (const { volume: one } of members) {
      if (one.path === volume.path) continue;
      const { path } = one;
      const { bytesLost, says } = await divergenceOf(this.#side(path), this.#around.peer(path), asking);
      if (bytesLost !== 0) throw diverged(this.#control, 'restore', path, says);
    }
  }

  #drop(volume: string, situation: Situation, snapshot: Snapshot, asking: Asking): Promise<void> {
    const group = this.#control.groups.get(volume);
    return group === undefined
      ? this.#control.dropSnapshot(situation.volume, snapshot, asking)
      : this.#control.dropGroupSnapshot(group, snapshot.name, asking);
  }

  /** Two calls with one tag must not both find that its snapshot is not there yet. */
  async #oneAtATime<T>(volume: string, work: () => Promise<T>): Promise<T> {
    const before = this.#cutting.get(volume) ?? Promise.resolve();
    const mine = before.then(work, work);
    this.#cutting.set(volume, mine);
    return mine;
  }

  /** Cut, and whole at the other side. */
  async #carried(situation: Situation, tag: string, asking: Asking): Promise<Snapshot> {
    const own = situation.volume.path;
    const { control, path } = this.#around.peer(own);
    const [relationship] = await control.relationships(endOf(control, path), asking);
    if (relationship?.state === 'broken_off') throw otherSidePromoted(control, own);
    const point = await cut(this.#control, situation, tag, asking);
    await carry(control, endOf(this.#control, own), path, point, this.#around.patience, asking);
    return point;
  }

  async #mustBePrepared(volume: string, point: Snapshot, asking: Asking): Promise<void> {
    const { control, path } = this.#around.peer(volume);
    const { members } = await readSituation(control, path, asking);
    if (members.some(({ mark }) => mark.closed?.last !== refOf(point)))
      throw notPrepared(this.#control, volume);
  }

  /** Going back to an older point removes the newer ones, and those may be what drills stand on. */
  async #mustBeFree(
    { volume, snapshots, incoming, members }: Situation,
    point: Snapshot,
    asking: Asking,
  ): Promise<void> {
    if (incoming?.exportedSnapshot === point.name || newestFirst(snapshots)[0]?.name === point.name) return;
    const paths = new Set(members.map((one) => one.volume.path));
    const drills = (await listDrills(this.#control, asking)).filter((one) => paths.has(one.volume));
    if (drills.length > 0)
      throw drillsOpen(
        this.#control,
        volume.path,
        drills.map(({ drill }) => drill),
      );
  }
}

/** Cluster and volume on the other side, as this cluster knows them; null for a volume that is not replicated. */
function peerOf({ incoming, outgoing: [leaving] }: Situation): FoundPair['peer'] {
  if (incoming !== null) return { array: incoming.sourceCluster ?? '', volume: incoming.source };
  if (leaving === undefined) return null;
  return { array: leaving.destinationCluster ?? '', volume: leaving.destination };
}

function isAfter({ createTime }: Snapshot, instant: string): boolean {
  return Date.parse(createTime) >= Date.parse(instant);
}
