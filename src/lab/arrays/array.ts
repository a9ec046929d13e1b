/**
 * A replicating array: volumes, points, roles (storage.md B.3, B.4). Volumes are directories that hosts mount as NFS
 * exports; a point is a copy of one, kept out of reach; a target volume cannot be mounted until it is promoted.
 */
import { execFile, execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { promotionConfirmation } from '../../domain/replication.ts';
import type { LabClock } from '../core/clock.ts';
import type { Access, Share } from '../storage/fabric.ts';

const run = promisify(execFile);

/** Complete points that a target keeps. */
const keptPoints = 12;

export type State = 'standalone' | 'source' | 'demoted' | 'target' | 'promoted';

export interface Point {
  readonly ref: string;
  readonly tag: string | null;
  /** Milliseconds since 1970 on the source's clock. */
  readonly takenAt: number;
  complete: boolean;
}

/** What an array refuses: `busy` passes, the others do not. */
export class ArrayRefusal extends Error {
  readonly code: 'not-found' | 'busy' | 'wrong-state' | 'refused' | 'link-down';
  constructor(code: ArrayRefusal['code'], message: string) {
    super(message);
    this.name = 'ArrayRefusal';
    this.code = code;
  }
}

export interface Peer {
  readonly array: LabArray;
  readonly volume: string;
}

export interface Volume {
  readonly name: string;
  readonly directory: string;
  readonly exportPath: string;
  state: State;
  peer: Peer | null;
  /** Points that this array holds, oldest first. */
  points: Point[];
  /** The point that it was promoted from. */
  promotedFrom: string | null;
  /** Host addresses that may mount it; null for all. */
  admitted: readonly string[] | null;
  intervalSeconds: number | null;
  /** A transfer that runs from here. */
  transfer: { readonly point: Point; readonly over: AbortController; readonly done: Promise<void> } | null;
  promoting: Promise<void> | null;
  /** Why the last transfer failed; null when it did not. */
  lastFailure: string | null;
}

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
  readonly clock: LabClock;
  readonly volumes = new Map<string, Volume>();
  /** Seconds that a transfer takes beside the copying itself. */
  transferSeconds = 0;
  up = true;
  readonly #root: string;
  readonly #cut = new Set<LabArray>();
  readonly #over = new AbortController();
  #sequence = 0;

  constructor(spec: ArraySpec, root: string, clock: LabClock) {
    this.name = spec.name;
    this.site = spec.site;
    this.address = spec.address;
    this.serial = `LAB${randomUUID().slice(0, 8).toUpperCase()}`;
    this.clock = clock;
    this.#root = root;
  }

  addVolume(name: string): Volume {
    const directory = join(this.#root, 'volumes', name);
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    mkdirSync(this.#store(name), { recursive: true, mode: 0o700 });
    const volume: Volume = {
      name,
      directory,
      exportPath: `/volumes/${name}`,
      state: 'standalone',
      peer: null,
      points: [],
      promotedFrom: null,
      admitted: null,
      intervalSeconds: null,
      transfer: null,
      promoting: null,
      lastFailure: null,
    };
    this.volumes.set(name, volume);
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
      admits: (address) => volume.admitted === null || volume.admitted.includes(address),
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
        a.#abortTransfers(b, 'the replication link went down');
      }
  }

  #abortTransfers(to: LabArray | null, reason: string): void {
    for (const volume of this.volumes.values())
      if (volume.transfer !== null && (to === null || volume.peer?.array === to))
        volume.transfer.over.abort(new ArrayRefusal('link-down', reason));
  }

  /** Power off: nothing answers, what is under way is lost. Power on: roles are as they were. */
  setPower(up: boolean): void {
    this.up = up;
    if (up) return;
    this.#abortTransfers(null, 'the array lost its power');
    for (const { peer } of this.volumes.values())
      if (peer !== null) peer.array.#abortTransfers(this, 'the other array lost its power');
  }

  /** Cuts a point now and sends it. The same tag twice is one point; what runs under it is answered with. */
  sync(name: string, tag: string | null): { readonly point: Point; readonly done: Promise<void> } {
    const volume = this.volume(name);
    const { peer } = volume;
    if (peer === null || (volume.state !== 'source' && volume.state !== 'demoted'))
      refuse('wrong-state', `volume ${name} is ${volume.state}, not the source of a pair`);
    const known = tag === null ? undefined : volume.points.find((point) => point.tag === tag);
    if (known?.complete === true) return { point: known, done: Promise.resolve() };
    if (volume.transfer !== null) {
      if (known !== undefined && volume.transfer.point === known)
        return { point: known, done: volume.transfer.done };
      refuse('busy', `a transfer of volume ${name} is under way`);
    }
    if (!this.linkUp(peer.array)) refuse('link-down', `array ${peer.array.name} does not answer`);
    const target = peer.array.volume(peer.volume);
    if (target.state !== 'target')
      refuse(
        'wrong-state',
        `volume ${peer.volume} of array ${peer.array.name} is ${target.state}, not a target`,
      );
    const point = known ?? this.#cutPoint(volume, tag);
    const over = new AbortController();
    const done = this.#send(volume, peer, point, over.signal).finally(() => {
      volume.transfer = null;
    });
    volume.transfer = { point, over, done };
    // Whoever asked looks at the point; a schedule has nobody who looks.
    done.catch((error: unknown) => {
      volume.lastFailure = error instanceof Error ? error.message : String(error);
    });
    return { point, done };
  }

  /** A copy of one moment: nothing else of the lab runs while it is made. */
  #cutPoint(volume: Volume, tag: string | null): Point {
    this.#sequence += 1;
    const takenAt = this.clock.now();
    const ref = `${this.serial}-${volume.name}-${String(this.#sequence).padStart(6, '0')}`;
    copyNow(volume.directory, join(this.#store(volume.name), ref));
    const point: Point = { ref, tag, takenAt, complete: false };
    volume.points.push(point);
    return point;
  }

  async #send(volume: Volume, peer: Peer, point: Point, signal: AbortSignal): Promise<void> {
    const target = peer.array.volume(peer.volume);
    const store = peer.array.#store(target.name);
    const partial = join(store, `${point.ref}.partial`);
    rmSync(partial, { recursive: true, force: true });
    try {
      if (this.transferSeconds > 0) await this.clock.sleep(this.transferSeconds, signal);
      await copy(join(this.#store(volume.name), point.ref), partial, signal);
      signal.throwIfAborted();
    } catch (error) {
      rmSync(partial, { recursive: true, force: true });
      throw signal.aborted ? signal.reason : error;
    }
    renameSync(partial, join(store, point.ref));
    point.complete = true;
    target.points.push({ ...point });
    volume.lastFailure = null;
    this.#prune(volume, 1);
    peer.array.#prune(target, keptPoints);
  }

  #prune(volume: Volume, kept: number): void {
    const complete = volume.points.filter((point) => point.complete && point.ref !== volume.promotedFrom);
    for (const point of complete.slice(0, Math.max(0, complete.length - kept)))
      rmSync(join(this.#store(volume.name), point.ref), { recursive: true, force: true });
    // Tags outlive the copy at the source, so that a second request with one is still the same point.
    if (volume.state === 'target')
      volume.points = volume.points.filter((point) => existsSync(join(this.#store(volume.name), point.ref)));
  }

  /** What could be promoted here, newest first. */
  points(name: string): Point[] {
    const volume = this.volume(name);
    return volume.points.filter((point) => point.complete).toReversed();
  }

  /**
   * Makes a point the content of the target volume and lets it be written. Unplanned, it asks nobody else. Again with
   * the same point it changes nothing.
   */
  async promote(
    name: string,
    given: { readonly mode: 'planned' | 'unplanned'; readonly point: string; readonly confirm: string },
  ): Promise<{ readonly changed: boolean }> {
    const volume = this.volume(name);
    if (given.confirm !== promotionConfirmation(name, given.point))
      refuse('refused', 'the confirmation names another volume or point');
    await volume.promoting;
    if (volume.state === 'promoted') {
      if (volume.promotedFrom === given.point) return { changed: false };
      refuse('wrong-state', `volume ${name} is promoted already, from point ${volume.promotedFrom}`);
    }
    if (volume.state !== 'target') refuse('wrong-state', `volume ${name} is ${volume.state}, not a target`);
    const point = volume.points.find((p) => p.ref === given.point);
    if (point?.complete !== true) refuse('refused', `volume ${name} holds no complete point ${given.point}`);
    if (given.mode === 'planned') this.#checkPlanned(volume, point);
    // What still arrives belongs to a source that is given up.
    const { peer } = volume;
    if (peer !== null) peer.array.#abortTransfers(this, `volume ${name} is being promoted`);
    const work = this.#materialise(volume, point);
    volume.promoting = work.catch(() => undefined);
    try {
      await work;
    } finally {
      volume.promoting = null;
    }
    return { changed: true };
  }

  #checkPlanned(volume: Volume, point: Point): void {
    const { peer } = volume;
    if (peer === null || !this.linkUp(peer.array)) refuse('link-down', 'the source does not answer');
    const source = peer.array.volume(peer.volume);
    if (source.state !== 'demoted') refuse('refused', `the source volume ${peer.volume} still takes writes`);
    if (source.points.at(-1)?.ref !== point.ref)
      refuse('refused', `point ${point.ref} is not the last of the source`);
  }

  async #materialise(volume: Volume, point: Point): Promise<void> {
    const fresh = `${volume.directory}.promoting`;
    rmSync(fresh, { recursive: true, force: true });
    await copy(join(this.#store(volume.name), point.ref), fresh);
    rmSync(volume.directory, { recursive: true, force: true });
    renameSync(fresh, volume.directory);
    volume.state = 'promoted';
    volume.promotedFrom = point.ref;
    volume.admitted = null;
  }

  /** Lets hosts mount the volume, beside those that may already. */
  expose(name: string, addresses: readonly string[]): { readonly server: string; readonly path: string } {
    const volume = this.volume(name);
    if (volume.state === 'target')
      refuse('wrong-state', `volume ${name} is a replication target; it must be promoted first`);
    // A volume that everybody may mount stays so; a promoted one starts with nobody.
    if (volume.admitted !== null || volume.state === 'promoted')
      volume.admitted = [...new Set([...(volume.admitted ?? []), ...addresses])];
    return { server: this.address, path: volume.exportPath };
  }

  /** At the source: read-only from now on. */
  fence(name: string): { readonly changed: boolean } {
    const volume = this.volume(name);
    if (volume.state === 'demoted' || volume.state === 'target') return { changed: false };
    volume.state = 'demoted';
    return { changed: true };
  }

  /** Replicates by the clock until the array is stopped. */
  async followSchedule(volume: Volume): Promise<void> {
    const { signal } = this.#over;
    while (!signal.aborted && volume.intervalSeconds !== null) {
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
  }

  stop(): void {
    this.#over.abort();
    this.#abortTransfers(null, 'the lab is going down');
  }

  /** Files of the point store, for tests that look for halves. */
  storedPoints(name: string): string[] {
    return readdirSync(this.#store(name)).sort();
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
  from.intervalSeconds = options.intervalSeconds;
  to.state = 'target';
  to.peer = source;
  to.intervalSeconds = options.intervalSeconds;
  if (options.intervalSeconds !== null) void source.array.followSchedule(from);
}

function refuse(code: ArrayRefusal['code'], message: string): never {
  throw new ArrayRefusal(code, message);
}

const copyOptions = ['-a', '--sparse=always', '--reflink=auto', '-T'];

function copyNow(from: string, to: string): void {
  execFileSync('cp', [...copyOptions, from, to], { stdio: ['ignore', 'ignore', 'pipe'] });
}

async function copy(from: string, to: string, signal?: AbortSignal): Promise<void> {
  await run('cp', [...copyOptions, from, to], signal === undefined ? {} : { signal });
}
