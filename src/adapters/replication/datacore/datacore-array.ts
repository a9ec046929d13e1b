/**
 * Replication by DataCore SANsymphony: asynchronous, from one virtual disk to another of a second server group, each
 * behind its REST server (storage.md C.3). A volume is a virtual disk by its alias. Planned verbs ask the other server
 * group; unplanned promotion, drills and looking never do.
 */
import type { PortError } from '../../../domain/errors.ts';
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
import { unsupported } from '../rest/errors.ts';
import { usualPace } from '../rest/poll.ts';
import {
  diverged,
  mustConfirmDiscard,
  mustConfirmPromotion,
  notPrepared,
  noVolume,
  otherPoint,
  otherSideIs,
} from '../rest/refusals.ts';
import { type RestSurroundings, Sides } from '../rest/sides.ts';
import type { VirtualDisk } from './answers.ts';
import { DatacoreApi } from './api.ts';
import { leftovers, mustBeFree, mustBeNewest, startDrill, stopDrill } from './drills.ts';
import { serve, serveAgain, servedTo, unserve, unserveAll } from './hosts.ts';
import { changeMark, type Mark, markOf, withoutRole } from './mark.ts';
import { bring, type Operating, resume } from './operations.ts';
import { mustBe, pointsOf, roleOf, standOf, viewOf } from './state.ts';
import { carry } from './transfer.ts';

export function openDatacoreArray(settings: ArraySettings, surroundings: RestSurroundings): Replication {
  return new DatacoreReplication(settings, surroundings);
}

class DatacoreReplication implements Replication {
  readonly array: string;
  readonly #api: DatacoreApi;
  readonly #surroundings: RestSurroundings;
  readonly #sides: Sides<DatacoreApi>;
  readonly #carrying = new Map<string, Promise<void>>();

  constructor(settings: ArraySettings, surroundings: RestSurroundings) {
    this.array = settings.name;
    this.#sides = new Sides(settings, surroundings, (array) => new DatacoreApi(array, surroundings.secrets));
    this.#api = this.#sides.own;
    this.#surroundings = surroundings;
  }

  async identify(signal?: AbortSignal): Promise<ArrayIdentity> {
    const { id, clock } = await this.#api.group(signal);
    return { vendor: 'DataCore', model: 'SANsymphony', serial: id, clock };
  }

  /** Of asynchronous replication itself; asked whether the REST server lets us in. */
  async capabilities(signal?: AbortSignal): Promise<Capabilities> {
    await this.#api.group(signal);
    return {
      syncNow: true,
      drill: 'in-place',
      drillPausesTransfer: true,
      promoteToPoint: false,
      prepare: true,
      reverse: 'full',
      restore: false,
      consistencyGroups: false,
      fence: true,
      expose: 'lun',
    };
  }

  async discover(signal?: AbortSignal): Promise<readonly FoundPair[]> {
    const disks = await this.#api.disks(signal);
    return disks
      .filter((disk) => standOf(disk) !== 'none')
      .map((disk) => {
        const named = this.#sides.named(disk.Alias);
        const told = disk.VirtualDiskReplicationData?.PartnerVirtualDiskAlias ?? null;
        const volume = told ?? named?.volume ?? null;
        const peer = volume === null ? null : { array: named?.array.name ?? 'unknown', volume };
        return { volume: disk.Alias, role: roleOf(disk), peer };
      });
  }

  async observe(volume: string, signal?: AbortSignal): Promise<PairView> {
    return viewOf(this.array, await this.#api.disk(volume, signal), this.#surroundings.clock.now());
  }

  async observeAll(
    volumes: readonly string[],
    signal?: AbortSignal,
  ): Promise<ReadonlyMap<string, PairView | PortError>> {
    const disks = new Map((await this.#api.disks(signal)).map((disk) => [disk.Alias, disk]));
    const observedAt = this.#surroundings.clock.now();
    return new Map(
      volumes.map((volume) => {
        const disk = disks.get(volume);
        return [
          volume,
          disk === undefined ? noVolume(this.array, volume) : viewOf(this.array, disk, observedAt),
        ];
      }),
    );
  }

  async points(volume: string, signal?: AbortSignal): Promise<readonly ReplicaPoint[]> {
    return pointsOf(await this.#api.disk(volume, signal));
  }

  async syncNow(volume: string, tag: string, signal?: AbortSignal): Promise<ReplicaPoint> {
    mustBe(this.#api, await this.#api.disk(volume, signal), 'sync', 'source');
    await this.#otherSideMustReceive(volume, 'sync', signal);
    return this.#carry(volume, tag, signal);
  }

  async prepare(volume: string, tag: string, signal?: AbortSignal): Promise<ReplicaPoint> {
    const disk = await this.#api.disk(volume, signal);
    const prepared = markOf(disk).role === 'prepared';
    if (!prepared) mustBe(this.#api, disk, 'prepare', 'source');
    await this.#otherSideMustReceive(volume, 'prepare', signal);
    if (!prepared) await this.#takeFromHosts(disk, 'preparing', signal);
    const point = await this.#carry(volume, tag, signal);
    await changeMark(this.#api, volume, (mark) => ({ ...mark, role: 'prepared', ref: point.ref }), signal);
    return point;
  }

  async unprepare(volume: string, signal?: AbortSignal): Promise<void> {
    const disk = await this.#api.disk(volume, signal);
    const { role, hosts = [] } = markOf(disk);
    if (role !== 'prepared') mustBe(this.#api, disk, 'unprepare', 'source');
    if (role === undefined) return;
    await this.#otherSideMustReceive(volume, 'unprepare', signal);
    await serveAgain(this.#api, disk, hosts, signal);
    await changeMark(this.#api, volume, withoutRole, signal);
  }

  async promote(
    volume: string,
    options: { readonly mode: 'planned' | 'unplanned'; readonly point: string; readonly confirm: string },
    signal?: AbortSignal,
  ): Promise<void> {
    const { mode, point, confirm } = options;
    mustConfirmPromotion(this.array, volume, point, confirm);
    const disk = await this.#api.disk(volume, signal);
    const mark = markOf(disk);
    if (roleOf(disk) === 'promoted') {
      if (mark.ref !== point) throw otherPoint(this.array, volume, mark.ref ?? 'an unknown point');
      if (mark.role === 'promoting') await this.#mark(volume, 'promoted', point, signal);
      return;
    }
    mustBeFree(this.array, disk, null);
    mustBe(this.#api, disk, 'promotion', 'target');
    mustBeNewest(this.array, disk, point, 'promoted');
    if (mode === 'planned') await this.#otherSideMustBePrepared(volume, point, signal);
    await this.#mark(volume, 'promoting', point, signal);
    await bring(this.#operating(signal), disk, 'activate', 'active');
    await this.#mark(volume, 'promoted', point, signal);
  }

  async divergence(volume: string, signal?: AbortSignal): Promise<Divergence> {
    const disk = await this.#api.disk(volume, signal);
    if (roleOf(disk) === 'promoted') return divergenceOf(pointsOf(disk), markOf(disk), markOf(disk).ref);
    const other = this.#sides.of(volume);
    const there = await other.api.disk(other.volume, signal);
    return divergenceOf(pointsOf(there), markOf(disk), markOf(there).ref);
  }

  /** What it alone holds is overwritten once the other side sends: SANsymphony keeps nothing aside by itself. */
  async demote(volume: string, options: Discarding, signal?: AbortSignal): Promise<void> {
    const disk = await this.#api.disk(volume, signal);
    const standby = standOf(disk) === 'standby';
    if (standby && (roleOf(disk) === 'target' || markOf(disk).role === 'demoted')) return;
    const { common, pointsLost, says } = await this.divergence(volume, signal);
    mustConfirmDiscard(this.array, 'demote', volume, common?.ref ?? null, options);
    const other = this.#sides.of(volume);
    const role = roleOf(await other.api.disk(other.volume, signal));
    if (role !== 'promoted') throw otherSideIs(this.array, volume, 'demote', role);
    if (!standby && pointsLost !== 0 && !options.discard) throw diverged(this.array, volume, says);
    await unserveAll(this.#api, disk, signal);
    await bring(this.#operating(signal), disk, 'deactivate', 'standby');
    await changeMark(this.#api, volume, (mark) => ({ ...withoutRole(mark), role: 'demoted' }), signal);
  }

  async reverse(
    volume: string,
    tag: string,
    options: Discarding,
    signal?: AbortSignal,
  ): Promise<ReplicaPoint> {
    const disk = await this.#api.disk(volume, signal);
    const other = this.#sides.of(volume);
    const role = roleOf(await other.api.disk(other.volume, signal));
    if (roleOf(disk) === 'source' && role === 'target') return this.#carry(volume, tag, signal);
    mustBe(this.#api, disk, 'reverse', 'promoted');
    const { ref } = markOf(disk);
    mustConfirmDiscard(this.array, 'reverse', volume, ref ?? null, options);
    if (role !== 'target' && role !== 'demoted') throw otherSideIs(this.array, volume, 'reverse', role);
    await this.#mark(volume, 'reversing', ref ?? '', signal);
    await resume(this.#operating(signal), disk);
    const point = await this.#carry(volume, tag, signal);
    await changeMark(other.api, other.volume, (mark) => ({ ...withoutRole(mark), role: 'target' }), signal);
    await changeMark(this.#api, volume, withoutRole, signal);
    return point;
  }

  async restore(volume: string, _options: Discarding, signal?: AbortSignal): Promise<void> {
    await this.#api.disk(volume, signal);
    throw unsupported(
      this.#api.endpoint,
      `Lifeboat cannot undo the promotion of ${volume} at SANsymphony`,
      'Demote the old source and reverse, or set the direction in the SANsymphony console',
    );
  }

  async expose(volume: string, access: Access, signal?: AbortSignal): Promise<Exposed> {
    const disk = await this.#api.disk(volume, signal);
    mustBe(this.#api, disk, 'expose', 'source', 'promoted');
    return serve(this.#api, disk, access, signal);
  }

  async conceal(volume: string, access: Access, signal?: AbortSignal): Promise<void> {
    await unserve(this.#api, await this.#api.disk(volume, signal), access, signal);
  }

  drillStart(
    volume: string,
    options: { readonly drill: string; readonly point: string; readonly access: Access },
    signal?: AbortSignal,
  ): Promise<Exposed> {
    return startDrill(this.#operating(signal), volume, options);
  }

  drillStop(volume: string, drill: string, signal?: AbortSignal): Promise<void> {
    return stopDrill(this.#operating(signal), volume, drill);
  }

  async drillList(signal?: AbortSignal): Promise<readonly DrillLeftover[]> {
    return leftovers(await this.#api.disks(signal));
  }

  async fence(volume: string, signal?: AbortSignal): Promise<void> {
    const disk = await this.#api.disk(volume, signal);
    if (roleOf(disk) === 'demoted' || roleOf(disk) === 'target') return;
    mustBe(this.#api, disk, 'fence', 'source');
    await this.#takeFromHosts(disk, markOf(disk).role ?? 'fenced', signal);
  }

  async close(): Promise<void> {
    await this.#sides.close();
  }

  #operating(signal: AbortSignal | undefined): Operating {
    const { clock, pace = usualPace } = this.#surroundings;
    return { api: this.#api, clock, pace, signal };
  }

  /** One at a time for a volume: each writes its point into the same description. */
  #carry(volume: string, tag: string, signal: AbortSignal | undefined): Promise<ReplicaPoint> {
    const carrying = { ...this.#operating(signal), volume, other: this.#sides.of(volume) };
    const before = this.#carrying.get(volume) ?? Promise.resolve();
    const point = before.then(() => carry(carrying, tag));
    const settled = point.then(
      () => undefined,
      () => undefined,
    );
    this.#carrying.set(volume, settled);
    return point;
  }

  /** The hosts are written down before they are taken away, so that `unprepare` finds them. */
  async #takeFromHosts(
    disk: VirtualDisk,
    role: NonNullable<Mark['role']>,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { hosts } = await servedTo(this.#api, disk, signal);
    const known = (mark: Mark): string[] => [...new Set([...(mark.hosts ?? []), ...hosts])];
    await changeMark(this.#api, disk.Alias, (mark) => ({ ...mark, role, hosts: known(mark) }), signal);
    await unserveAll(this.#api, disk, signal);
  }

  async #mark(
    volume: string,
    role: NonNullable<Mark['role']>,
    ref: string,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    await changeMark(this.#api, volume, (mark) => ({ ...mark, role, ref }), signal);
  }

  async #otherSideMustReceive(volume: string, verb: string, signal: AbortSignal | undefined): Promise<void> {
    const other = this.#sides.of(volume);
    const role = roleOf(await other.api.disk(other.volume, signal));
    if (role !== 'target' && role !== 'in-test') throw otherSideIs(this.array, volume, verb, role);
  }

  async #otherSideMustBePrepared(
    volume: string,
    point: string,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const other = this.#sides.of(volume);
    const { role, ref } = markOf(await other.api.disk(other.volume, signal));
    if (role === 'prepared' && ref === point) return;
    throw notPrepared(this.array, volume, [
      role === 'prepared' ? `its last point is ${ref}` : 'it takes writes',
    ]);
  }
}

/** @param promotedAt - the point of the side that was promoted; undefined when none was */
function divergenceOf(held: readonly ReplicaPoint[], own: Mark, promotedAt: string | undefined): Divergence {
  const common = held.find(({ ref }) => ref === promotedAt) ?? held[0] ?? null;
  const nothing = own.role === 'prepared' && own.ref !== undefined && own.ref === promotedAt;
  return {
    common,
    pointsLost: nothing ? 0 : null,
    bytesLost: nothing ? 0 : null,
    says: [
      common === null ? 'no common point is known' : `the newest common point is of ${common.takenAt}`,
      nothing
        ? 'nothing was written here since'
        : 'SANsymphony does not tell what was written here since, and keeps none of it once the direction is turned',
    ],
  };
}
