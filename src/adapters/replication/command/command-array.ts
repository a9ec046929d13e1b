/**
 * An array behind a program of the site (docs/command-adapter.md). What Lifeboat can see to itself is not left to a
 * program that was written in an afternoon: confirmations, capabilities, that only what is complete counts, and that a
 * planned promotion takes the last point of a source that takes no more writes.
 */
import type { z } from 'zod';
import { PortError } from '../../../domain/errors.ts';
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
} from '../../../domain/replication.ts';
import type { ArraySettings } from '../../../domain/settings.ts';
import type { Access, ArrayIdentity, Discarding, Replication } from '../../../ports/replication.ts';
import type { Clock, Secrets } from '../../../ports/system.ts';
import { companionsOf, type Paired } from '../consistency-group.ts';
import { answers, foundPairs, newestFirst, pairView, replicaPoint } from './answers.ts';
import { type Effort, issuesOf, type Parameters, ProgramCalls } from './calls.ts';
import { notUnderstood, refused, stopped, unsupported } from './failures.ts';

interface Peer extends Paired {
  readonly array: ArraySettings;
}

interface Surroundings {
  readonly secrets: Secrets;
  readonly clock: Clock;
  readonly peers: ReadonlyMap<string, Peer>;
}

/** Seconds between two calls while an array is busy, or a point is under way: soon at first, then more seldom. */
const poll = { firstSeconds: 0.2, mostSeconds: 10 };

export function openCommandArray(settings: ArraySettings, surroundings: Surroundings): Replication {
  return new CommandArray(settings, surroundings);
}

class CommandArray implements Replication {
  readonly array: string;
  readonly #settings: ArraySettings;
  readonly #surroundings: Surroundings;
  readonly #calls: ProgramCalls;
  #capabilities: Capabilities | null = null;

  constructor(settings: ArraySettings, surroundings: Surroundings) {
    this.array = settings.name;
    this.#settings = settings;
    this.#calls = new ProgramCalls(settings, surroundings.secrets);
    this.#surroundings = surroundings;
  }

  identify(signal?: AbortSignal): Promise<ArrayIdentity> {
    return this.#calls.ask(answers.identity, 'identify', {}, 'read', signal);
  }

  /** Asked once: a program does not change while it is used. */
  async capabilities(signal?: AbortSignal): Promise<Capabilities> {
    this.#capabilities ??= await this.#calls.ask(answers.capabilities, 'capabilities', {}, 'read', signal);
    return this.#capabilities;
  }

  async discover(signal?: AbortSignal): Promise<readonly FoundPair[]> {
    return foundPairs(await this.#calls.ask(answers.pairs, 'discover', {}, 'read', signal));
  }

  async observe(volume: string, signal?: AbortSignal): Promise<PairView> {
    const view = (await this.observeAll([volume], signal)).get(volume);
    if (view === undefined) throw this.#noVolume(volume);
    if (view instanceof PortError) throw view;
    return view;
  }

  async observeAll(
    volumes: readonly string[],
    signal?: AbortSignal,
  ): Promise<ReadonlyMap<string, PairView | PortError>> {
    if (volumes.length === 0) return new Map();
    const { volumes: said } = await this.#calls.ask(answers.views, 'observe', { volumes }, 'read', signal);
    const observedAt = this.#surroundings.clock.now();
    return new Map(
      volumes.map((volume) => {
        const raw = Object.hasOwn(said, volume) ? (said[volume] ?? null) : null;
        if (raw === null) return [volume, this.#noVolume(volume)];
        const view = answers.view.safeParse(raw);
        return [
          volume,
          view.success
            ? pairView({ array: this.array, volume }, view.data, observedAt, raw)
            : notUnderstood(this.#calls.asked('observe', 'read'), issuesOf(view.error)),
        ];
      }),
    );
  }

  async points(volume: string, signal?: AbortSignal): Promise<readonly ReplicaPoint[]> {
    return newestFirst((await this.#of(answers.points, 'points', volume, {}, 'read', signal)).points);
  }

  async syncNow(volume: string, tag: string, signal?: AbortSignal): Promise<ReplicaPoint> {
    await this.#can('syncNow', signal, ({ syncNow }) => syncNow);
    return this.#untilArrived('syncNow', volume, { tag }, signal);
  }

  async prepare(volume: string, tag: string, signal?: AbortSignal): Promise<ReplicaPoint> {
    await this.#can('prepare', signal, ({ prepare }) => prepare);
    return this.#untilArrived('prepare', volume, { tag }, signal);
  }

  async unprepare(volume: string, signal?: AbortSignal): Promise<void> {
    await this.#can('unprepare', signal, ({ prepare }) => prepare);
    await this.#of(answers.done, 'unprepare', volume, {}, 'write', signal);
  }

  async promote(
    volume: string,
    options: { readonly mode: 'planned' | 'unplanned'; readonly point: string; readonly confirm: string },
    signal?: AbortSignal,
  ): Promise<void> {
    const { mode, point, confirm } = options;
    if (confirm !== promotionConfirmation(volume, point))
      throw this.#wrongConfirmation(`point ${point} of volume ${volume}`);
    const { role } = await this.observe(volume, signal);
    // Once promoted only the array can say at which point; until then the points decide.
    if (role !== 'promoted') await this.#mayPromote(volume, mode, point, signal);
    await this.#of(answers.done, 'promote', volume, { mode, point }, 'transfer', signal);
  }

  async #mayPromote(
    volume: string,
    mode: 'planned' | 'unplanned',
    ref: string,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const points = await this.points(volume, signal);
    const newest = points.find(({ complete }) => complete);
    const point = points.find((candidate) => candidate.ref === ref);
    if (point?.complete !== true)
      throw refused(this.array, {
        code: 'DR-ARRAY-POINT',
        what: `Volume ${volume} holds no complete point ${ref}`,
        next: 'Make a new plan: it chooses among the points that are there now',
      });
    if (mode === 'planned') await this.#mustBeLast(volume, point, newest, signal);
    if (point !== newest)
      await this.#can('promotion of an older point', signal, ({ promoteToPoint }) => promoteToPoint);
  }

  /** No write is left behind only when the source takes none any more and this is the last thing that it sent (B.4.6). */
  async #mustBeLast(
    volume: string,
    point: ReplicaPoint,
    newest: ReplicaPoint | undefined,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const role = await this.#roleOfPeer(volume, signal);
    if (role === 'demoted' && point === newest) return;
    throw refused(this.array, {
      code: 'DR-ARRAY-NOT-PREPARED',
      what: `The source of ${volume} is not prepared: it may take writes that are not here`,
      known: [
        role === 'demoted' ? `the last point is ${newest?.ref}, not ${point.ref}` : `its source is ${role}`,
      ],
      next: 'Prepare the source first, or make a plan for an unplanned failover',
    });
  }

  async #roleOfPeer(volume: string, signal: AbortSignal | undefined): Promise<PairView['role']> {
    const peer = this.#surroundings.peers.get(volume);
    if (peer === undefined || peer.array.type !== this.#settings.type)
      throw refused(this.array, {
        code: 'DR-ARRAY-PEER',
        what: `The other side of ${volume} cannot be asked`,
        known: ['a planned promotion needs the word of both sides'],
        next: 'Name source and target of the volume, both of type command, under `storage` of a group in sites.yaml',
      });
    const other = openCommandArray(peer.array, { ...this.#surroundings, peers: new Map() });
    try {
      return (await other.observe(peer.volume, signal)).role;
    } finally {
      await other.close();
    }
  }

  async divergence(volume: string, signal?: AbortSignal): Promise<Divergence> {
    const said = await this.#of(answers.divergence, 'divergence', volume, {}, 'read', signal);
    return { ...said, common: said.common === null ? null : replicaPoint(said.common) };
  }

  async demote(volume: string, options: Discarding, signal?: AbortSignal): Promise<void> {
    const common = await this.#confirmed('demote', volume, options, signal);
    await this.#of(
      answers.done,
      'demote',
      volume,
      { discard: options.discard, ...common },
      'transfer',
      signal,
    );
  }

  async reverse(
    volume: string,
    tag: string,
    options: Discarding,
    signal?: AbortSignal,
  ): Promise<ReplicaPoint> {
    await this.#can('reverse', signal, ({ reverse }) => reverse !== 'none');
    const common = await this.#confirmed('reverse', volume, options, signal);
    return this.#untilArrived('reverse', volume, { tag, discard: options.discard, ...common }, signal);
  }

  async restore(volume: string, options: Discarding, signal?: AbortSignal): Promise<void> {
    await this.#can('restore', signal, ({ restore }) => restore);
    const common = await this.#confirmed('restore', volume, options, signal);
    await this.#of(
      answers.done,
      'restore',
      volume,
      { discard: options.discard, ...common },
      'transfer',
      signal,
    );
  }

  /** What is thrown away must be named as it stands now, and not as it stood when somebody agreed. */
  async #confirmed(
    verb: 'demote' | 'reverse' | 'restore',
    volume: string,
    { discard, confirm }: Discarding,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly common?: string }> {
    if (!discard) return {};
    const { role } = await this.observe(volume, signal);
    const isOver = verb === 'restore' ? role === 'target' : verb === 'reverse' && role === 'source';
    if (isOver && confirm.startsWith(`${verb} ${volume} to `)) return {};
    const common = (await this.divergence(volume, signal)).common?.ref;
    if (confirm !== discardConfirmation(verb, volume, common ?? null))
      throw this.#wrongConfirmation(`what ${verb} of volume ${volume} throws away`);
    return common === undefined ? {} : { common };
  }

  async expose(volume: string, access: Access, signal?: AbortSignal): Promise<Exposed> {
    await this.#can('expose', signal, ({ expose }) => expose !== 'none');
    return (await this.#of(answers.exposed, 'expose', volume, accessOf(access), 'write', signal)).exposed;
  }

  async conceal(volume: string, access: Access, signal?: AbortSignal): Promise<void> {
    await this.#can('conceal', signal, ({ expose }) => expose !== 'none');
    await this.#of(answers.done, 'conceal', volume, accessOf(access), 'write', signal);
  }

  async drillStart(
    volume: string,
    options: { readonly drill: string; readonly point: string; readonly access: Access },
    signal?: AbortSignal,
  ): Promise<Exposed> {
    await this.#can('drillStart', signal, ({ drill }) => drill !== 'none');
    const { drill, point, access } = options;
    const asked = { drill, point, ...accessOf(access) };
    return (await this.#of(answers.exposed, 'drillStart', volume, asked, 'transfer', signal)).exposed;
  }

  async drillStop(volume: string, drill: string, signal?: AbortSignal): Promise<void> {
    await this.#can('drillStop', signal, (can) => can.drill !== 'none');
    await this.#of(answers.done, 'drillStop', volume, { drill }, 'transfer', signal);
  }

  async drillList(signal?: AbortSignal): Promise<readonly DrillLeftover[]> {
    if ((await this.capabilities(signal)).drill === 'none') return [];
    return (await this.#calls.ask(answers.drills, 'drillList', {}, 'read', signal)).drills;
  }

  async fence(volume: string, signal?: AbortSignal): Promise<void> {
    await this.#can('fence', signal, ({ fence }) => fence);
    await this.#of(answers.done, 'fence', volume, {}, 'write', signal);
  }

  close(): Promise<void> {
    this.#calls.close();
    return Promise.resolve();
  }

  async #can(
    verb: string,
    signal: AbortSignal | undefined,
    holds: (capabilities: Capabilities) => boolean,
  ): Promise<void> {
    if (!holds(await this.capabilities(signal))) throw unsupported(this.array, verb);
  }

  /** A busy array and a point under way are asked again: the same tag is the same point. */
  async #untilArrived(
    verb: 'syncNow' | 'prepare' | 'reverse',
    volume: string,
    parameters: Parameters,
    signal: AbortSignal | undefined,
  ): Promise<ReplicaPoint> {
    const { clock } = this.#surroundings;
    const end = clock.monotonicSeconds() + this.#calls.options.transfer_seconds;
    for (let wait = poll.firstSeconds; ; wait = Math.min(wait * 2, poll.mostSeconds)) {
      const point = await this.#sendOnce(verb, volume, parameters, signal);
      if (point !== null) return point;
      if (clock.monotonicSeconds() > end)
        throw new PortError('busy', {
          code: 'DR-ARRAY-SYNC-LATE',
          what: `A point of volume ${volume} has not arrived within ${this.#calls.options.transfer_seconds} s`,
          where: { object: `array ${this.array}` },
          next: 'Look at the link between the arrays; asking again with the same tag finds the point',
        });
      try {
        await clock.sleep(wait, signal);
      } catch {
        throw stopped({ array: this.array });
      }
    }
  }

  async #sendOnce(
    verb: string,
    volume: string,
    parameters: Parameters,
    signal: AbortSignal | undefined,
  ): Promise<ReplicaPoint | null> {
    try {
      const { point } = await this.#of(answers.sent, verb, volume, parameters, 'transfer', signal);
      return point.complete ? replicaPoint(point) : null;
    } catch (error) {
      if (error instanceof PortError && error.kind === 'busy') return null;
      throw error;
    }
  }

  #of<T>(
    schema: z.ZodType<T>,
    verb: string,
    volume: string,
    parameters: Parameters,
    effort: Effort,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    const peer = this.#surroundings.peers.get(volume);
    const other = peer === undefined ? {} : { peerArray: peer.array.name, peerVolume: peer.volume };
    const group = peer?.consistencyGroup;
    const kept =
      group === undefined
        ? {}
        : {
            consistencyGroup: group.here,
            groupVolumes: companionsOf(this.#surroundings.peers).get(volume) ?? [volume],
          };
    return this.#calls.ask(schema, verb, { volume, ...other, ...kept, ...parameters }, effort, signal);
  }

  #noVolume(volume: string): PortError {
    return new PortError(
      'refused',
      {
        code: 'DR-ARRAY-VOLUME',
        what: `Array ${this.array} has no volume ${volume}`,
        where: { object: `array ${this.array}` },
        next: 'Compare the name in sites.yaml with what the array lists',
      },
      { peerCode: 'not-found', peerParams: [volume] },
    );
  }

  #wrongConfirmation(what: string): PortError {
    return refused(this.array, {
      code: 'DR-ARRAY-CONFIRM',
      what: `The confirmation does not name ${what}`,
      next: 'Make a new plan; this one was made for something else',
    });
  }
}

function accessOf({ addresses, iqns, wwns = [] }: Access): Parameters {
  return { addresses, iqns, wwns };
}
