/** An array of the model: role by role as the replication port says (src/ports/replication.ts), with what was written. */
import { PortError } from '../../../src/domain/errors.ts';
import {
  type Capabilities,
  type Divergence,
  type DrillLeftover,
  discardConfirmation,
  type Exposed,
  type PairView,
  promotionConfirmation,
  type ReplicaPoint,
  type Role,
} from '../../../src/domain/replication.ts';
import type { Discarding, Replication } from '../../../src/ports/replication.ts';
import { refused, silent } from './pool.ts';
import { type Content, type ModelVolume, type ModelWorld, plain } from './state.ts';

export class ModelArray implements Replication {
  readonly array: string;
  readonly #world: ModelWorld;

  constructor(world: ModelWorld, array: string) {
    this.#world = world;
    this.array = array;
  }

  #volume(name: string): ModelVolume {
    const volume = this.#world.state.volumes[`${this.array}/${name}`];
    if (volume === undefined) throw refused('NO_VOLUME', `no volume ${name} on ${this.array}`);
    if (!this.#world.site(volume.site).up) throw silent(`array ${this.array} does not answer`);
    return volume;
  }
  /** The other side, when it can be reached. */
  #peer(volume: ModelVolume): ModelVolume | null {
    const peer = this.#world.state.volumes[volume.peer];
    return peer !== undefined && this.#world.site(peer.site).up ? peer : null;
  }
  #own(): [string, ModelVolume][] {
    const own = Object.entries(this.#world.state.volumes).filter(([, { array }]) => array === this.array);
    const [first] = own;
    if (first !== undefined && !this.#world.site(first[1].site).up)
      throw silent(`array ${this.array} does not answer`);
    return own.map(([key, volume]) => [key.slice(this.array.length + 1), volume]);
  }
  #expect(name: string, ...roles: readonly Role[]): ModelVolume {
    const volume = this.#volume(name);
    if (!roles.includes(volume.role)) throw refused('wrong-state', `volume ${name} is ${volume.role}`);
    return volume;
  }
  #become(name: string, volume: ModelVolume, role: Role, verb: string): void {
    if (volume.role === role) return;
    volume.role = role;
    this.#world.did(`${verb} ${name}`);
  }

  async identify() {
    this.#own();
    return { vendor: 'model', model: 'm', serial: this.array, clock: this.#world.now() };
  }
  async capabilities(): Promise<Capabilities> {
    this.#own();
    return {
      ...{ syncNow: true, drill: 'clone', drillPausesTransfer: false, promoteToPoint: true, prepare: true },
      ...{ reverse: 'incremental', restore: true, consistencyGroups: false, fence: true, expose: 'nfs' },
    };
  }
  async discover() {
    return this.#own().map(([volume, { role }]) => ({ volume, role, peer: null }));
  }
  async observe(name: string): Promise<PairView> {
    const volume = this.#volume(name);
    const newest = volume.points[0];
    const writable = volume.role === 'source' || volume.role === 'promoted';
    return {
      pair: { array: this.array, volume: name },
      observedAt: this.#world.now(),
      role: volume.role,
      link: this.#peer(volume) === null ? 'down' : 'up',
      health: { level: 'ok', reasons: [] },
      newestComplete: newest === undefined ? null : plain(newest),
      writable,
      reportedLagSeconds: null,
      raw: null,
    };
  }
  async observeAll(names: readonly string[]): Promise<ReadonlyMap<string, PairView | PortError>> {
    const found = new Map<string, PairView | PortError>();
    for (const name of names) {
      try {
        found.set(name, await this.observe(name));
      } catch (error) {
        if (!(error instanceof PortError)) throw error;
        found.set(name, error);
      }
    }
    return found;
  }
  async points(name: string): Promise<readonly ReplicaPoint[]> {
    return this.#volume(name).points.map(plain);
  }
  #send(name: string, tag: string): ReplicaPoint {
    if (this.#peer(this.#volume(name)) === null) throw silent('the other array does not answer');
    const point = this.#world.send(`${this.array}/${name}`, tag);
    this.#world.did(`sync ${name}`);
    return point;
  }
  async syncNow(name: string, tag: string): Promise<ReplicaPoint> {
    this.#expect(name, 'source', 'demoted');
    this.#world.write();
    return this.#send(name, tag);
  }
  async prepare(name: string, tag: string): Promise<ReplicaPoint> {
    this.#become(name, this.#expect(name, 'source', 'demoted'), 'demoted', 'prepare');
    return this.#send(name, tag);
  }
  async unprepare(name: string): Promise<void> {
    const volume = this.#expect(name, 'source', 'demoted');
    if (this.#peer(volume)?.role === 'promoted') throw refused('wrong-state', 'the other side is promoted');
    this.#become(name, volume, 'source', 'unprepare');
  }
  async promote(
    name: string,
    options: { readonly mode: 'planned' | 'unplanned'; readonly point: string; readonly confirm: string },
  ): Promise<void> {
    const volume = this.#expect(name, 'target', 'promoted');
    if (options.confirm !== promotionConfirmation(name, options.point))
      throw refused('refused', 'the confirmation names something else');
    if (volume.role === 'promoted') return;
    const point = volume.points.find(({ ref, complete }) => ref === options.point && complete);
    if (point === undefined) throw refused('refused', `there is no complete point ${options.point}`);
    if (options.mode === 'planned') this.#assertFinallySynced(name, volume, point.content);
    volume.content = { ...point.content };
    volume.common = point.ref;
    this.#become(name, volume, 'promoted', 'promote');
  }
  #assertFinallySynced(name: string, volume: ModelVolume, content: Content): void {
    const source = this.#world.state.volumes[volume.peer];
    if (source?.role !== 'demoted' || JSON.stringify(content) !== JSON.stringify(source.content)) {
      this.#world.violation(`invariant 4: ${name} was to be promoted without a verified final sync`);
      throw refused('refused', 'the source is not prepared');
    }
    if (this.#peer(volume) === null) throw silent('the other array does not answer: is the source prepared?');
  }
  async divergence(name: string): Promise<Divergence> {
    const volume = this.#volume(name);
    const common = this.#commonOf(volume);
    const alone = Object.entries(volume.content).reduce(
      (sum, [vm, written]) => sum + Math.max(0, written - (common?.content[vm] ?? 0)),
      0,
    );
    const says = alone === 0 ? [] : [`${alone} writes are on ${name} alone`];
    return { common: common === null ? null : plain(common), pointsLost: 0, bytesLost: alone, says };
  }
  /** The newest point that both sides had: the promoted side keeps what it was promoted to. */
  #commonOf(volume: ModelVolume) {
    const peer = this.#world.state.volumes[volume.peer];
    const points = [...volume.points, ...(peer?.points ?? [])];
    const ref = peer?.role === 'promoted' ? peer.common : volume.common;
    return points.find((point) => point.ref === ref) ?? null;
  }
  #assertMayDiscard(verb: 'demote' | 'reverse', name: string, volume: ModelVolume, given: Discarding): void {
    const common = this.#commonOf(volume);
    const alone = Object.entries(volume.content).some(
      ([vm, written]) => written > (common?.content[vm] ?? 0),
    );
    if (!alone) return;
    if (!given.discard || given.confirm !== discardConfirmation(verb, name, common?.ref ?? null))
      throw refused('refused', `volume ${name} holds writes that the other side does not`);
  }
  async demote(name: string, options: Discarding): Promise<void> {
    const volume = this.#expect(name, 'source', 'split', 'demoted');
    this.#assertMayDiscard('demote', name, volume, options);
    this.#become(name, volume, 'demoted', 'demote');
  }
  async reverse(name: string, tag: string, options: Discarding): Promise<ReplicaPoint> {
    const volume = this.#expect(name, 'promoted', 'source');
    const peer = this.#peer(volume);
    if (peer === null) throw silent('the other array does not answer');
    if (volume.role === 'promoted') {
      if (peer.role !== 'demoted') throw refused('wrong-state', `the other side is ${peer.role}`);
      const common = this.#commonOf(volume)?.content ?? {};
      const alone = Object.entries(peer.content).some(([vm, written]) => written > (common[vm] ?? 0));
      if (alone && !options.discard) throw refused('refused', 'the old source holds writes of its own');
      // Given up by name: from here on nobody can be expected to bring it back.
      for (const [vm, written] of Object.entries(volume.content))
        if ((peer.content[vm] ?? 0) > written) this.#world.state.latest[vm] = written;
      peer.role = 'target';
      peer.points = [];
      this.#become(name, volume, 'source', 'reverse');
    }
    return this.#send(name, tag);
  }
  async restore(): Promise<void> {
    throw new Error('no plan restores');
  }
  async expose(name: string): Promise<Exposed> {
    this.#volume(name);
    return { kind: 'nfs', server: this.array, path: `/${name}` };
  }
  async conceal(name: string): Promise<void> {
    this.#volume(name);
  }
  async drillStart(name: string, { drill, point }: { drill: string; point: string }): Promise<Exposed> {
    const volume = this.#volume(name);
    const found = volume.points.find(({ ref, complete }) => ref === point && complete);
    if (found === undefined) throw refused('refused', `there is no complete point ${point}`);
    if (volume.drills[drill] === undefined) {
      volume.drills[drill] = { ...found.content };
      this.#world.did(`clone ${name} for ${drill}`);
    }
    return { kind: 'nfs', server: this.array, path: `/drills/${drill}/${name}` };
  }
  async drillStop(name: string, drill: string): Promise<void> {
    const volume = this.#volume(name);
    if (volume.drills[drill] === undefined) return;
    delete volume.drills[drill];
    this.#world.did(`remove clone of ${name}`);
  }
  async drillList(): Promise<readonly DrillLeftover[]> {
    return this.#own().flatMap(([volume, { drills }]) =>
      Object.keys(drills).map((drill) => ({
        volume,
        drill,
        name: `/drills/${drill}/${volume}`,
        madeAt: null,
      })),
    );
  }
  async fence(name: string): Promise<void> {
    this.#become(name, this.#expect(name, 'source', 'demoted'), 'demoted', 'fence');
  }
  async close(): Promise<void> {
    return undefined;
  }
}
