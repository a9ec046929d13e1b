/** An array of the fake world: pairs that answer at once, with every verb of the port and nothing behind it. */
import { PortError } from '../../src/domain/errors.ts';
import {
  type Capabilities,
  type Divergence,
  type DrillLeftover,
  discardConfirmation,
  type Exposed,
  type FoundPair,
  type PairView,
  promotionConfirmation,
  type ReplicaPoint,
} from '../../src/domain/replication.ts';
import type { Access, Discarding, Replication } from '../../src/ports/replication.ts';
import { at, type FakeState, type FakeVolume } from './fake-sites.ts';

/** What the array needs of the world around it. */
export interface FakeSurroundings {
  readonly state: FakeState;
  did(deed: string): void;
}

function refused(peerCode: string, what: string): PortError {
  return new PortError('refused', { code: 'DR-FAKE', what, next: 'Look' }, { peerCode });
}

export class FakeArray implements Replication {
  readonly array: string;
  readonly #world: FakeSurroundings;
  confirms: string[] = [];

  constructor(world: FakeSurroundings, array: string) {
    this.#world = world;
    this.array = array;
  }
  #volume(volume: string): FakeVolume {
    const found = this.#world.state.volumes[volume];
    if (found === undefined) throw refused('NO_VOLUME', `no volume ${volume} on ${this.array}`);
    return found;
  }
  #peer(volume: string): FakeVolume {
    const { peer } = this.#volume(volume);
    if (peer === undefined) throw refused('NO_PAIR', `volume ${volume} has no other side`);
    return this.#volume(peer);
  }
  #expect(volume: string, ...roles: FakeVolume['role'][]): FakeVolume {
    const found = this.#volume(volume);
    if (!roles.includes(found.role)) throw refused('wrong-state', `volume ${volume} is ${found.role}`);
    return found;
  }
  #discard(verb: 'demote' | 'reverse' | 'restore', volume: string, holder: FakeVolume, given: Discarding) {
    if ((holder.bytesAlone ?? 0) === 0) return;
    const common = holder.points[0]?.ref ?? null;
    if (!given.discard || given.confirm !== discardConfirmation(verb, volume, common))
      throw refused('refused', `volume ${volume} holds writes that the other side does not`);
    holder.bytesAlone = 0;
  }
  async identify() {
    return { vendor: 'fake', model: 'f', serial: '1', clock: at };
  }
  async capabilities(): Promise<Capabilities> {
    return {
      syncNow: true,
      drill: 'clone',
      drillPausesTransfer: false,
      promoteToPoint: true,
      prepare: true,
      reverse: 'incremental',
      restore: true,
      consistencyGroups: false,
      fence: true,
      expose: 'nfs',
    };
  }
  async discover(): Promise<readonly FoundPair[]> {
    return Object.entries(this.#world.state.volumes).map(([volume, { role }]) => ({
      volume,
      role,
      peer: null,
    }));
  }
  async observe(volume: string): Promise<PairView> {
    const found = this.#volume(volume);
    return {
      pair: { array: this.array, volume },
      observedAt: at,
      role: found.role,
      link: 'up',
      health: { level: 'ok', reasons: [] },
      newestComplete: found.points[0] ?? null,
      writable: found.role === 'promoted' || found.role === 'source',
      reportedLagSeconds: null,
      raw: null,
    };
  }
  async observeAll(volumes: readonly string[]): Promise<ReadonlyMap<string, PairView | PortError>> {
    const one = async (volume: string): Promise<PairView | PortError> => {
      try {
        return await this.observe(volume);
      } catch (error) {
        if (error instanceof PortError) return error;
        throw error;
      }
    };
    return new Map(await Promise.all(volumes.map(async (volume) => [volume, await one(volume)] as const)));
  }
  async points(volume: string): Promise<readonly ReplicaPoint[]> {
    return this.#volume(volume).points;
  }
  async syncNow(volume: string, tag: string): Promise<ReplicaPoint> {
    this.#expect(volume, 'source', 'demoted');
    return this.#send(volume, tag);
  }
  /** The other side holds a point with this tag from here on; the same tag twice is one point. */
  #send(volume: string, tag: string): ReplicaPoint {
    const peer = this.#peer(volume);
    const known = peer.points.find((point) => point.tag === tag);
    if (known !== undefined) return known;
    const point: ReplicaPoint = {
      ref: `snap-${tag}`,
      tag,
      takenAt: at,
      clock: 'source',
      complete: true,
      consistency: 'crash',
    };
    peer.points = [point, ...peer.points];
    this.#world.did(`sync ${volume}`);
    return point;
  }
  async prepare(volume: string, tag: string): Promise<ReplicaPoint> {
    this.#become(volume, 'demoted', 'prepare', 'source', 'demoted');
    return this.#send(volume, tag);
  }
  async unprepare(volume: string): Promise<void> {
    if (this.#peer(volume).role === 'promoted') throw refused('wrong-state', 'the other side is promoted');
    this.#become(volume, 'source', 'unprepare', 'source', 'demoted');
  }
  #become(volume: string, role: FakeVolume['role'], verb: string, ...from: FakeVolume['role'][]): void {
    const found = this.#expect(volume, ...from);
    if (found.role === role) return;
    found.role = role;
    this.#world.did(`${verb} ${volume}`);
  }
  async promote(
    volume: string,
    options: { readonly point: string; readonly confirm: string },
  ): Promise<void> {
    this.confirms.push(options.confirm);
    if (options.confirm !== promotionConfirmation(volume, options.point))
      throw refused('refused', 'the confirmation names something else');
    this.#volume(volume).role = 'promoted';
    this.#world.did(`promote ${volume}`);
  }
  async divergence(volume: string): Promise<Divergence> {
    const { points, bytesAlone = 0 } = this.#volume(volume);
    return {
      common: points[0] ?? null,
      pointsLost: 0,
      bytesLost: bytesAlone,
      says: bytesAlone === 0 ? [] : [`${bytesAlone} bytes are on ${volume} alone`],
    };
  }
  async demote(volume: string, options: Discarding): Promise<void> {
    const found = this.#expect(volume, 'source', 'split', 'demoted');
    this.#discard('demote', volume, found, options);
    this.#become(volume, 'demoted', 'demote', 'source', 'split', 'demoted');
  }
  async reverse(volume: string, tag: string, options: Discarding): Promise<ReplicaPoint> {
    const found = this.#expect(volume, 'promoted', 'source');
    const peer = this.#peer(volume);
    if (found.role === 'promoted') {
      if (peer.role !== 'demoted') throw refused('wrong-state', `the other side is ${peer.role}`);
      this.#discard('reverse', volume, peer, options);
      peer.role = 'target';
      this.#become(volume, 'source', 'reverse', 'promoted');
    }
    return this.#send(volume, tag);
  }
  async restore(volume: string, options: Discarding): Promise<void> {
    const found = this.#expect(volume, 'promoted', 'target');
    if (found.role === 'target') return;
    this.#discard('restore', volume, found, options);
    this.#peer(volume).role = 'source';
    this.#become(volume, 'target', 'restore', 'promoted');
  }
  async expose(volume: string): Promise<Exposed> {
    return { kind: 'nfs', server: this.array, path: `/${volume}` };
  }
  async conceal(volume: string): Promise<void> {
    this.#world.did(`conceal ${volume}`);
  }
  async drillStart(
    volume: string,
    options: { readonly drill: string; readonly point: string; readonly access: Access },
  ): Promise<Exposed> {
    const found = this.#volume(volume);
    if (!found.points.some(({ ref, complete }) => ref === options.point && complete))
      throw refused('refused', `volume ${volume} holds no complete point ${options.point}`);
    found.drills ??= [];
    if (!found.drills.includes(options.drill)) {
      found.drills.push(options.drill);
      this.#world.did(`drill ${options.drill} of ${volume}`);
    }
    return { kind: 'nfs', server: this.array, path: `/drills/${options.drill}/${volume}` };
  }
  async drillStop(volume: string, drill: string): Promise<void> {
    const found = this.#volume(volume);
    if (found.drills?.includes(drill) !== true) return;
    found.drills = found.drills.filter((name) => name !== drill);
    this.#world.did(`drill ${drill} of ${volume} removed`);
  }
  async drillList(): Promise<readonly DrillLeftover[]> {
    return Object.entries(this.#world.state.volumes).flatMap(([volume, { drills = [] }]) =>
      drills.map((drill) => ({ volume, drill, name: `/drills/${drill}/${volume}`, madeAt: at })),
    );
  }
  async fence(volume: string): Promise<void> {
    this.#become(volume, 'demoted', 'fence', 'source', 'demoted');
  }
  async close(): Promise<void> {
    this.confirms = [];
  }
}
