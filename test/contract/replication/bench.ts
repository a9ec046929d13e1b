/** A rig with its capabilities and the movements that most cases share. */
import type { Test } from 'tap';
import { OperatorError, PortError } from '../../../src/domain/errors.ts';
import {
  type Capabilities,
  discardConfirmation,
  type Exposed,
  type PairView,
  promotionConfirmation,
  type ReplicaPoint,
} from '../../../src/domain/replication.ts';
import type { Replication } from '../../../src/ports/replication.ts';
import type { OpenRig, Place, Rig, Side } from './rig.ts';

const pollMilliseconds = 50;

export const notDiscarding = { discard: false, confirm: '' } as const;

export async function openBench(test: Test, open: OpenRig): Promise<Bench> {
  const rig = await open((work) => test.teardown(work));
  return new Bench(test, rig, await rig.target.capabilities());
}

export class Bench {
  readonly test: Test;
  readonly rig: Rig;
  readonly can: Capabilities;

  constructor(test: Test, rig: Rig, can: Capabilities) {
    this.test = test;
    this.rig = rig;
    this.can = can;
  }

  /** What the adapter of a side is told as volume. */
  volume(side: Side): string {
    return this.rig.volumes[side];
  }

  /** The error with which this ends; fails the case when it does not, or when it tells a secret. */
  async refusal(work: Promise<unknown>): Promise<PortError> {
    try {
      await work;
    } catch (error) {
      this.#tellsNoSecret(error);
      if (error instanceof PortError) return error;
      throw error;
    }
    throw new Error('it was done, and must have been refused');
  }

  #tellsNoSecret(error: unknown): void {
    const said = [String(error), error instanceof Error ? error.stack : ''];
    if (error instanceof PortError) said.push(JSON.stringify(error.problem), ...error.peerParams);
    if (error instanceof OperatorError) said.push(JSON.stringify(error.problems));
    for (const secret of this.rig.secrets)
      if (said.join('\n').includes(secret)) throw new Error('an error tells a secret');
  }

  /** The array or the adapter says no, in words for a person. */
  async refused(work: Promise<unknown>, message: string): Promise<PortError> {
    const error = await this.refusal(work);
    this.test.equal(error.kind, 'refused', `${message}: ${error.message}`);
    this.test.match(error.problem.code, /^DR-[A-Z0-9-]+$/);
    this.test.not(error.problem.next, '');
    return error;
  }

  /** A verb that is not among the capabilities. */
  async unsupported(work: Promise<unknown>, verb: string): Promise<void> {
    const error = await this.refused(work, `${verb} is not among the capabilities`);
    this.test.equal(error.peerCode, 'unsupported', `${verb} says that it is not there at all`);
  }

  /** The verb has been sent and its answer lost: it may only end as unknown, or be found out by the adapter itself. */
  async unknownOrDone(work: Promise<unknown>): Promise<void> {
    try {
      await work;
    } catch (error) {
      this.#tellsNoSecret(error);
      if (!(error instanceof PortError)) throw error;
      this.test.equal(error.kind, 'outcome-unknown', error.message);
    }
  }

  /** Looks until it is so. */
  async until<T>(look: () => Promise<T>, holds: (seen: T) => boolean, what: string): Promise<T> {
    const end = performance.now() + this.rig.patienceSeconds * 1000;
    for (;;) {
      const seen = await look();
      if (holds(seen)) return seen;
      if (performance.now() > end)
        throw new Error(`not within the rig's patience: ${what}; last seen ${JSON.stringify(seen)}`);
      await new Promise((resolve) => setTimeout(resolve, pollMilliseconds));
    }
  }

  seen(side: Side, holds: (view: PairView) => boolean, what: string): Promise<PairView> {
    const adapter = this.rig[side];
    return this.until(() => adapter.observe(this.volume(side)), holds, `${side}: ${what}`);
  }

  role(side: Side, ...roles: PairView['role'][]): Promise<PairView> {
    return this.seen(side, (view) => roles.includes(view.role), roles.join(' or '));
  }

  async write(side: Side, file: string, text: string): Promise<void> {
    await this.rig.write({ side, exposed: null, as: 'host' }, file, text);
  }

  /** Writes, and has it carried to the target under this tag. */
  async replicated(tag: string, files: Readonly<Record<string, string>>): Promise<ReplicaPoint> {
    for (const [file, text] of Object.entries(files)) await this.write('source', file, text);
    if (this.can.syncNow) return this.rig.source.syncNow(this.volume('source'), tag);
    if (this.rig.replicate === undefined) throw new Error('the rig must replicate where syncNow does not');
    return this.rig.replicate();
  }

  promotion(mode: 'planned' | 'unplanned', point: ReplicaPoint, side: Side = 'target') {
    return { mode, point: point.ref, confirm: promotionConfirmation(this.volume(side), point.ref) };
  }

  async promote(mode: 'planned' | 'unplanned', point: ReplicaPoint, side: Side = 'target'): Promise<void> {
    await this.rig[side].promote(this.volume(side), this.promotion(mode, point, side));
    await this.role(side, 'promoted', 'source');
  }

  /** Throws away what stands in the way, by name, as a person would after reading `divergence`. */
  async discarding(verb: 'demote' | 'reverse' | 'restore', side: Side) {
    const volume = this.volume(side);
    const { common } = await this.rig[side].divergence(volume);
    return { discard: true, confirm: discardConfirmation(verb, volume, common?.ref ?? null) };
  }

  /** The volume of a side as its hosts reach it. */
  async place(side: Side, as: Place['as'] = 'host'): Promise<Place> {
    if (this.can.expose === 'none') return { side, exposed: null, as };
    const exposed = await this.rig[side].expose(this.volume(side), this.rig.hosts(side));
    return { side, exposed, as };
  }

  async read(side: Side, file: string): Promise<string | null> {
    return this.rig.read(await this.place(side), file);
  }

  async reaches(place: Place): Promise<boolean> {
    try {
      await this.rig.read(place, 'any');
      return true;
    } catch {
      return false;
    }
  }

  async takesWrites(place: Place, file = 'probe'): Promise<boolean> {
    try {
      await this.rig.write(place, file, 'written');
      return true;
    } catch {
      return false;
    }
  }

  drill(drill: string, point: ReplicaPoint, adapter: Replication = this.rig.target): Promise<Exposed> {
    const access = this.rig.hosts('target');
    return adapter.drillStart(this.volume('target'), { drill, point: point.ref, access });
  }

  inDrill(exposed: Exposed, as: Place['as'] = 'host'): Place {
    return { side: 'target', exposed, as };
  }

  /** Content of a point without promoting it; by promoting it where the array has no drills. */
  async contentOf(point: ReplicaPoint, file: string): Promise<string | null> {
    if (this.can.drill === 'none') {
      await this.promote('unplanned', point);
      return this.read('target', file);
    }
    const exposed = await this.drill('content', point);
    const text = await this.rig.read(this.inDrill(exposed), file);
    await this.rig.target.drillStop(this.volume('target'), 'content');
    return text;
  }

  newest(side: Side = 'target'): Promise<PairView['newestComplete']> {
    return this.rig[side].observe(this.volume(side)).then((view) => view.newestComplete);
  }

  /** A mishap of the rig; only for cases that say in `needs` that they use it. */
  mishap<K extends Exclude<keyof Rig, 'source' | 'target'>>(name: K): NonNullable<Rig[K]> {
    const found = this.rig[name];
    if (found === undefined) throw new Error(`the case uses ${name} without naming it in needs`);
    return (typeof found === 'function' ? found.bind(this.rig) : found) as NonNullable<Rig[K]>;
  }
}
