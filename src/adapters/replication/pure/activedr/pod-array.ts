/**
 * `Replication` over ActiveDR pods: the verbs of `../../send-receive`, and what is otherwise with pods. A move demotes the
 * source once its last point has arrived; a drill opens the replica itself, while what is sent waits in the array's journal.
 */
import { PortError } from '../../../../domain/errors.ts';
import type { Exposed, PairView, ReplicaPoint } from '../../../../domain/replication.ts';
import type { Access } from '../../../../ports/replication.ts';
import { unsupported } from '../../rest/errors.ts';
import { type End, mustExist } from '../../send-receive/carry.ts';
import { badName, noPoint, wrongState } from '../../send-receive/errors.ts';
import { notA } from '../../send-receive/guards.ts';
import { type Ends, SendReceiveReplication } from '../../send-receive/replication.ts';
import type { VolumeState } from '../../send-receive/store.ts';
import { newestOf, roleOf } from '../../send-receive/views.ts';
import type { PodStore } from './pod-store.ts';
import { drillOf, isPromoted, type OpenDrill, podOf } from './pods.ts';

export interface PodEnd extends End {
  readonly filer: End['filer'] & { readonly store: PodStore };
  readonly store: PodStore;
}

export class PodReplication extends SendReceiveReplication<PodEnd> {
  readonly #ends: Ends<PodEnd>;

  constructor(ends: Ends<PodEnd>) {
    super(ends);
    this.#ends = ends;
  }

  override async observeAll(
    volumes: readonly string[],
    signal?: AbortSignal,
  ): Promise<ReadonlyMap<string, PairView | PortError>> {
    const seen = await super.observeAll(volumes, signal);
    return new Map(
      [...seen].map(([volume, view]) => [volume, view instanceof PortError ? view : tested(view)]),
    );
  }

  override async prepare(volume: string, tag: string, signal?: AbortSignal): Promise<ReplicaPoint> {
    const side = this.#ends.side(volume);
    const { points, raw } = await mustExist(side, signal);
    // Demoted, it can cut no point any more: this one was the last, and has arrived.
    const last = points.find((point) => point.tag === tag);
    if (raw['promotion_status'] === 'demoted' && last === undefined) {
      await this.unprepare(volume, signal);
      return this.prepare(volume, tag, signal);
    }
    const point = await super.prepare(volume, tag, signal);
    await side.store.demotePod(volume, 'quiesced');
    return point;
  }

  override async unprepare(volume: string, signal?: AbortSignal): Promise<void> {
    await this.#mustNotOpenBoth(volume, signal);
    return super.unprepare(volume, signal);
  }

  override async promote(
    volume: string,
    options: { readonly mode: 'planned' | 'unplanned'; readonly point: string; readonly confirm: string },
    signal?: AbortSignal,
  ): Promise<void> {
    const side = this.#ends.side(volume);
    const state = await mustExist(side, signal);
    const drill = drillOf(state.raw);
    if (drill !== null) throw this.#drillIsOpen(volume, drill);
    if (state.mark?.role !== 'promoted' && state.mark?.role !== 'promoting') {
      this.#mustBeNewest(state, options.point);
      await side.store.mustHoldAll(podOf(volume));
    }
    return super.promote(volume, options, signal);
  }

  override async drillStart(
    volume: string,
    options: { readonly drill: string; readonly point: string; readonly access: Access },
    signal?: AbortSignal,
  ): Promise<Exposed> {
    if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$/.test(options.drill))
      throw badName(this.array, 'the name of a drill', options.drill);
    const { store } = this.#ends.side(volume);
    const state = await mustExist(this.#ends.side(volume), signal);
    const open = drillOf(state.raw);
    if (open !== null && open.drill !== options.drill) throw this.#drillIsOpen(volume, open);
    if (open !== null && open.point !== options.point)
      throw wrongState(this.array, `Drill ${open.drill} of volume ${volume} is open with another point`, [
        `it is ${open.point}`,
      ]);
    if (open === null) {
      if (roleOf(state) !== 'target' || state.mark?.role === 'promoting')
        throw notA(this.array, 'target', state);
      this.#mustBeNewest(state, options.point);
    }
    await store.openDrill(volume, options.drill, options.point);
    return store.publish(volume, options.access);
  }

  /** A person can promote a pod on the array, where Lifeboat has no mark of it: the other one, once demoted, stays so. */
  async #mustNotOpenBoth(volume: string, signal?: AbortSignal): Promise<void> {
    const other = this.#ends.peers.get(volume);
    if (other === undefined) return;
    const { raw } = await mustExist(this.#ends.side(volume), signal);
    if (raw['promotion_status'] !== 'demoted') return;
    const pod = podOf(other.volume);
    if (!isPromoted(await other.store.listing(signal), pod)) return;
    throw wrongState(
      this.array,
      `Volume ${volume} is not opened again: pod ${pod} is promoted at ${other.filer.array}`,
      ['both would take writes'],
      `Find out who promoted pod ${pod}; demote it when nothing that was written there is needed, and try again`,
    );
  }

  /** ActiveDR has one state, the newest that arrived. */
  #mustBeNewest(state: VolumeState, ref: string): void {
    const point = state.points.find((one) => one.complete && one.ref === ref);
    if (point === undefined) throw noPoint(this.array, state.volume, ref);
    if (newestOf(state)?.ref !== ref)
      throw unsupported(
        this.#ends.filer.store.api.endpoint,
        `Pod of volume ${state.volume} is at a newer point than ${ref}, and opens with what has arrived`,
        'Make a new plan, which takes the newest point; an older one is put back from its snapshot by hand',
      );
  }

  #drillIsOpen(volume: string, { drill }: OpenDrill): PortError {
    return wrongState(
      this.array,
      `The pod of volume ${volume} is open for drill ${drill}`,
      ['a drill opens the replica itself: there is one at a time, and no promotion beside it'],
      'Stop the drill first: `lifeboat drill cleanup`; everything that was sent meanwhile is kept',
    );
  }
}

function tested(view: PairView): PairView {
  const { raw } = view;
  const isOpen = raw !== null && typeof raw === 'object' && 'drill' in raw && raw['drill'] !== undefined;
  if (!isOpen) return view;
  const reasons = ['the pod is open for a drill: what arrives waits in the journal of the array'];
  return { ...view, role: 'in-test', health: { level: 'warn', reasons } };
}
