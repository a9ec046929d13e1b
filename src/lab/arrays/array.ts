/**
 * A replicating array: volumes, points, roles (storage.md B.3, B.4). Volumes are directories that hosts mount as NFS
 * exports; a point is a copy of one, kept out of reach; a target volume cannot be mounted until it is promoted.
 */
import { randomUUID } from 'node:crypto';
import { mkdirSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Exposed } from '../../domain/replication.ts';
import type { LabClock } from '../core/clock.ts';
import type { Access, Share } from '../storage/fabric.ts';
import { Directions } from './direction.ts';
import { Drills } from './drill.ts';
import { ArrayFaults } from './faults.ts';
import { type Changed, type Promotion, Promotions } from './promotion.ts';
import { type Sending, Transfers } from './transfer.ts';
import { ArrayRefusal, type Peer, type Point, refuse, type Volume } from './volume.ts';

export interface ArraySpec {
  readonly name: string;
  readonly site: string;
  /** Address that hosts mount from and that the control API listens on: a loopback address of its own. */
  readonly address: string;
}

export class LabArray {
  readonly name: string;
  readonly site: string;
  readonly address: string;
  readonly serial: string;
  /** What waits; `now()` is what the array believes. */
  readonly clock: LabClock;
  readonly volumes = new Map<string, Volume>();
  readonly transfers = new Transfers(this);
  readonly promotions = new Promotions(this);
  readonly directions = new Directions(this);
  readonly drills = new Drills(this);
  readonly faults = new ArrayFaults();
  /** Seconds that a transfer takes beside the copying itself. */
  transferSeconds = 0;
  up = true;
  /** How often it lost its power: work that began before is lost. */
  powerCycles = 0;
  readonly #root: string;
  readonly #cut = new Set<LabArray>();
  readonly #over = new AbortController();

  constructor(spec: ArraySpec, root: string, clock: LabClock) {
    this.name = spec.name;
    this.site = spec.site;
    this.address = spec.address;
    this.serial = `LAB${randomUUID().slice(0, 8).toUpperCase()}`;
    this.clock = clock;
    this.#root = root;
  }

  /** Milliseconds since 1970 on the array's own clock. */
  now(): number {
    return this.clock.now() + this.faults.clockSkewSeconds * 1000;
  }

  addVolume(
    name: string,
    present: Volume['present'] = () => () => undefined,
    offer: Volume['offer'] = (path) => ({ kind: 'nfs', server: this.address, path }),
  ): Volume {
    const directory = join(this.#root, 'volumes', name);
    for (const made of [directory, this.#store(name)]) mkdirSync(made, { recursive: true, mode: 0o700 });
    const volume: Volume = {
      name,
      directory,
      exportPath: `/volumes/${name}`,
      state: 'standalone',
      peer: null,
      points: [],
      promotedFrom: null,
      awaitsFirst: false,
      admitted: null,
      concealed: new Set(),
      intervalSeconds: null,
      scheduled: false,
      transfer: null,
      promoting: null,
      lastFailure: null,
      kept: [],
      drills: new Map(),
      present,
      offer,
    };
    this.volumes.set(name, volume);
    present(this.share(volume));
    return volume;
  }

  volume(name: string): Volume {
    return this.volumes.get(name) ?? refuse('not-found', `array ${this.name} has no volume ${name}`);
  }

  /** The volume as an NFS export. */
  share(volume: Volume): Share {
    return {
      server: this.address,
      path: volume.exportPath,
      directory: volume.directory,
      access: () => this.access(volume),
      admits: (address) =>
        !volume.concealed.has(address) && (volume.admitted === null || volume.admitted.includes(address)),
    };
  }

  access(volume: Volume): Access {
    if (!this.up || volume.promoting !== null) return 'none';
    switch (volume.state) {
      case 'standalone':
      case 'source':
        return 'rw';
      case 'demoted':
        return 'ro';
      case 'target':
        return 'none';
      case 'promoted':
        // Promotion alone shows it to nobody.
        return volume.admitted === null ? 'none' : 'rw';
    }
  }

  /** Lets hosts mount the volume, beside those that may already. */
  expose(name: string, addresses: readonly string[]): Exposed {
    const volume = this.volume(name);
    if (volume.state === 'target')
      refuse('wrong-state', `volume ${name} is a replication target; it must be promoted first`);
    for (const address of addresses) volume.concealed.delete(address);
    // A volume that everybody may mount stays so; a promoted one starts with nobody.
    if (volume.admitted !== null || volume.state === 'promoted')
      volume.admitted = [...new Set([...(volume.admitted ?? []), ...addresses])];
    return volume.offer(volume.exportPath);
  }

  /** These hosts may not mount it any more; others may as before. */
  conceal(name: string, addresses: readonly string[]): Changed {
    const volume = this.volume(name);
    const before = volume.concealed.size;
    for (const address of addresses) volume.concealed.add(address);
    return { changed: volume.concealed.size > before };
  }

  linkUp(other: LabArray): boolean {
    return this.up && other.up && !this.#cut.has(other);
  }

  /** Cuts the link to another array, or mends it; what is under way is lost. */
  setLink(other: LabArray, up: boolean): void {
    for (const [a, b] of [
      [this, other],
      [other, this],
    ] as const)
      if (up) a.#cut.delete(b);
      else {
        a.#cut.add(b);
        a.abortTransfers(b, 'the replication link went down');
      }
  }

  /** @param to - the array that they go to; null: any */
  abortTransfers(to: LabArray | null, reason: string): void {
    for (const volume of this.volumes.values())
      if (volume.transfer !== null && (to === null || volume.peer?.array === to))
        volume.transfer.over.abort(new ArrayRefusal('link-down', reason));
  }

  /** Power off: nothing answers, what is under way is lost. Power on: roles are as they were. */
  setPower(up: boolean): void {
    this.up = up;
    if (up) return;
    this.powerCycles += 1;
    this.abortTransfers(null, 'the array lost its power');
    for (const { peer } of this.volumes.values())
      if (peer !== null) peer.array.abortTransfers(this, 'the other array lost its power');
  }

  /** Cuts a point now and sends it (transfer.ts). */
  sync(name: string, tag: string | null): Sending {
    return this.transfers.sync(name, tag);
  }

  /** What could be promoted or cloned here, newest first. */
  points(name: string): Point[] {
    return this.transfers.points(name);
  }

  promote(name: string, given: Promotion): Promise<Changed> {
    return this.promotions.promote(name, given);
  }

  /** Replicates by the clock for as long as this side is the source. */
  async followSchedule(volume: Volume): Promise<void> {
    const { signal } = this.#over;
    if (volume.intervalSeconds === null || volume.scheduled) return;
    volume.scheduled = true;
    while (!signal.aborted && (volume.state === 'source' || volume.state === 'demoted')) {
      try {
        await this.clock.sleep(volume.intervalSeconds, signal);
      } catch (error) {
        if (signal.aborted) return;
        throw error;
      }
      if (!this.up || volume.state !== 'source') continue;
      try {
        await this.sync(volume.name, null).done;
      } catch (error) {
        volume.lastFailure = error instanceof Error ? error.message : String(error);
      }
    }
    volume.scheduled = false;
  }

  stop(): void {
    this.#over.abort();
    this.abortTransfers(null, 'the lab is going down');
  }

  /** Files of the point store, for tests that look for halves. */
  storedPoints(name: string): string[] {
    return readdirSync(this.#store(name)).sort();
  }

  pointDirectory(volume: string, ref: string): string {
    return join(this.#store(volume), ref);
  }

  drillDirectory(drill: string, volume: string): string {
    return join(this.#root, 'drills', drill, volume);
  }

  /** Where something is put aside; the place exists up to its last part. */
  keptDirectory(volume: string, ref: string): string {
    const directory = join(this.#root, 'kept', volume, ref);
    mkdirSync(dirname(directory), { recursive: true, mode: 0o700 });
    return directory;
  }

  #store(name: string): string {
    return join(this.#root, 'points', name);
  }
}

/** Makes the volumes of two arrays a pair, from source to target. */
export function pairVolumes(
  source: Peer,
  target: Peer,
  options: { readonly intervalSeconds: number | null },
): void {
  const from = source.array.volume(source.volume);
  const to = target.array.volume(target.volume);
  from.state = 'source';
  from.peer = target;
  to.state = 'target';
  to.peer = source;
  for (const volume of [from, to]) volume.intervalSeconds = options.intervalSeconds;
  void source.array.followSchedule(from);
}
