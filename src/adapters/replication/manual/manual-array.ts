/**
 * An array that only a person can work. Nothing is sent anywhere: the plan prints what to do and asks whether it is done,
 * and what the hosts see afterwards decides. What people state is shown as stated, and is never healthy.
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
import type { ArrayIdentity, Replication } from '../../../ports/replication.ts';
import type { Clock } from '../../../ports/system.ts';
import { type ManualOptions, manualOptions } from './options.ts';
import { readStatements, type Statement } from './statements.ts';

interface Peer {
  readonly array: ArraySettings;
  readonly volume: string;
}

interface Surroundings {
  readonly clock: Clock;
  readonly peers: ReadonlyMap<string, Peer>;
}

export function openManualArray(settings: ArraySettings, surroundings: Surroundings): Replication {
  return new ManualArray(settings, surroundings);
}

class ManualArray implements Replication {
  readonly array: string;
  readonly #options: ManualOptions;
  readonly #surroundings: Surroundings;

  constructor(settings: ArraySettings, surroundings: Surroundings) {
    this.array = settings.name;
    this.#options = manualOptions(settings);
    this.#surroundings = surroundings;
  }

  /** Its clock is ours: nobody tells another one. */
  async identify(): Promise<ArrayIdentity> {
    const clock = this.#surroundings.clock.now();
    return { vendor: 'worked by hand', model: '', serial: this.array, clock };
  }

  async capabilities(): Promise<Capabilities> {
    const { say_promote: promote, say_drill_start: drillStart, say_drill_stop: drillStop } = this.#options;
    const { say_prepare: prepare, say_reverse: reverse } = this.#options;
    const drills = this.#drillPlace() !== null;
    return {
      syncNow: false,
      drill: drills ? 'clone' : 'none',
      drillPausesTransfer: false,
      promoteToPoint: false,
      prepare: false,
      reverse: 'none',
      restore: false,
      consistencyGroups: false,
      fence: false,
      expose: this.#options.kind === 'iscsi' || this.#options.kind === 'fc' ? 'lun' : 'file',
      handOffs: {
        promote,
        ...(prepare === undefined ? {} : { prepare }),
        ...(reverse === undefined ? {} : { reverse }),
        ...(drills ? { drillStart, drillStop } : {}),
      },
      stated: true,
    };
  }

  async discover(signal?: AbortSignal): Promise<readonly FoundPair[]> {
    const said = await this.#statements(signal);
    return [...this.#surroundings.peers].map(([volume, peer]) => ({
      volume,
      role: said[volume]?.role ?? 'unknown',
      peer: { array: peer.array.name, volume: peer.volume },
    }));
  }

  async observe(volume: string, signal?: AbortSignal): Promise<PairView> {
    return this.#view(volume, (await this.#statements(signal))[volume]);
  }

  async observeAll(
    volumes: readonly string[],
    signal?: AbortSignal,
  ): Promise<ReadonlyMap<string, PairView | PortError>> {
    const said = await this.#statements(signal);
    return new Map(volumes.map((volume) => [volume, this.#view(volume, said[volume])]));
  }

  async points(volume: string, signal?: AbortSignal): Promise<readonly ReplicaPoint[]> {
    return pointsOf((await this.#statements(signal))[volume]);
  }

  async expose(volume: string): Promise<Exposed> {
    const { kind, server, path, portals, iqn, scsi_id: scsiId } = this.#options;
    return filled({ kind, server, path, portals, iqn, scsiId }, { volume, array: this.array });
  }

  /** Where the copy is to be found; that a person has made it is what the step before this one asked. */
  async drillStart(volume: string, { drill }: { readonly drill: string }): Promise<Exposed> {
    const copy = this.#drillPlace();
    if (copy === null) throw this.#byHand('drillStart');
    return filled({ kind: this.#options.kind, ...copy }, { volume, drill, array: this.array });
  }

  /** What a person made a person removes, as the step before this one asked. */
  async drillStop(): Promise<void> {
    await Promise.resolve();
  }

  /** Nobody can list them: the question at the end of a drill, and the hosts, are all there is. */
  async drillList(): Promise<readonly DrillLeftover[]> {
    return Promise.resolve([]);
  }

  async syncNow(): Promise<ReplicaPoint> {
    throw this.#byHand('syncNow');
  }
  async prepare(): Promise<ReplicaPoint> {
    throw this.#byHand('prepare');
  }
  async unprepare(): Promise<void> {
    throw this.#byHand('unprepare');
  }
  async promote(): Promise<void> {
    throw this.#byHand('promote');
  }
  async divergence(): Promise<Divergence> {
    throw this.#byHand('divergence');
  }
  async demote(): Promise<void> {
    throw this.#byHand('demote');
  }
  async reverse(): Promise<ReplicaPoint> {
    throw this.#byHand('reverse');
  }
  async restore(): Promise<void> {
    throw this.#byHand('restore');
  }
  async conceal(): Promise<void> {
    throw this.#byHand('conceal');
  }
  async fence(): Promise<void> {
    throw this.#byHand('fence');
  }
  async close(): Promise<void> {
    await Promise.resolve();
  }

  async #statements(signal: AbortSignal | undefined): Promise<Readonly<Record<string, Statement>>> {
    if (signal?.aborted === true)
      throw new PortError('cancelled', {
        code: 'DR-ARRAY-CANCELLED',
        what: 'The request was stopped',
        where: { object: `array ${this.array}` },
        next: 'Nothing is needed; start again when you want it',
      });
    return readStatements(this.array, this.#options.statements_file);
  }

  #drillPlace(): Omit<Place, 'kind'> | null {
    const {
      drill_server: server,
      drill_path: path,
      drill_portals: portals,
      drill_iqn: iqn,
      drill_scsi_id: scsiId,
    } = this.#options;
    if (path === undefined && scsiId === undefined) return null;
    const { server: usual, portals: usualPortals, iqn: usualIqn } = this.#options;
    return { server: server ?? usual, path, portals: portals ?? usualPortals, iqn: iqn ?? usualIqn, scsiId };
  }

  #view(volume: string, said: Statement | undefined): PairView {
    return {
      pair: { array: this.array, volume },
      observedAt: this.#surroundings.clock.now(),
      role: said?.role ?? 'unknown',
      activity: 'unknown',
      link: 'unknown',
      health: { level: 'unknown', reasons: [this.#reason(volume, said)] },
      newestComplete: pointsOf(said)[0] ?? null,
      writable: 'unknown',
      reportedLagSeconds: null,
      raw: said === undefined ? null : { ...said, point_taken_at: said.point_taken_at ?? null },
    };
  }

  #reason(volume: string, said: Statement | undefined): string {
    return said === undefined
      ? `nobody has stated anything about volume ${volume}: write it into ${this.#options.statements_file}`
      : `stated by ${said.by} at ${said.at}, and seen by nobody else`;
  }

  #byHand(verb: string): PortError {
    return new PortError(
      'refused',
      {
        code: 'DR-ARRAY-CANNOT',
        what: `Array ${this.array} is worked by hand: Lifeboat cannot do ${verb}`,
        where: { object: `array ${this.array}` },
        next: 'Do it on the array, state it in the statements file, then make a new plan',
      },
      { peerCode: 'unsupported' },
    );
  }
}

/** Its name is the moment that was stated: another statement is another point. */
function pointsOf(said: Statement | undefined): readonly ReplicaPoint[] {
  const takenAt = said?.point_taken_at;
  if (takenAt === undefined) return [];
  return [{ ref: `stated-${takenAt}`, takenAt, clock: 'source', complete: true, consistency: 'unknown' }];
}

interface Place {
  readonly kind: Exposed['kind'];
  readonly server: string | undefined;
  readonly path: string | undefined;
  readonly portals: readonly string[] | undefined;
  readonly iqn: string | undefined;
  readonly scsiId: string | undefined;
}

/** The place with the names put in; what is not given is left out. */
function filled(place: Place, names: Readonly<Record<string, string>>): Exposed {
  const put = (text: string): string => text.replace(/\{(\w+)\}/g, (whole, name) => names[name] ?? whole);
  const { kind, server, path, portals, iqn, scsiId } = place;
  return {
    kind,
    ...(server === undefined ? {} : { server: put(server) }),
    ...(path === undefined ? {} : { path: put(path) }),
    ...(portals === undefined ? {} : { portals: portals.map(put) }),
    ...(iqn === undefined ? {} : { iqn: put(iqn) }),
    ...(scsiId === undefined ? {} : { scsiId: put(scsiId) }),
  };
}
