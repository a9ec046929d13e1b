/** A FlashArray as far as its storage goes: volumes, protection groups, snapshots that are sent, tags, connections. */
import type { Pods } from './pods.ts';

export type Files = ReadonlyMap<string, string>;

export interface Volume {
  readonly name: string;
  readonly serial: string;
  readonly created: number;
  files: Map<string, string>;
  destroyed: boolean;
}

export interface GroupSnapshot {
  /** `[ARRAY:]GROUP.SUFFIX` */
  readonly name: string;
  readonly created: number;
  readonly contents: ReadonlyMap<string, Files>;
  destroyed: boolean;
}

export interface Transfer {
  readonly name: string;
  readonly started: number;
  completed: number | null;
}

/** What Purity answers with status 400. */
export class PurityError extends Error {
  readonly context: string;
  constructor(context: string, message: string) {
    super(message);
    this.context = context;
  }
}

const transferMilliseconds = 5;
let serials = 0;

export class FlashArray {
  readonly name: string;
  readonly volumes = new Map<string, Volume>();
  readonly groups = new Map<string, { readonly members: Set<string>; readonly targets: Set<string> }>();
  snapshots: GroupSnapshot[] = [];
  readonly volumeSnapshots: { readonly name: string; readonly files: Files }[] = [];
  readonly transfers: Transfer[] = [];
  tags: { readonly volume: string; readonly key: string; value: string }[] = [];
  connections: { readonly host: string; readonly volume: string; readonly lun: number }[] = [];
  readonly hosts: { readonly name: string; readonly iqns: readonly string[] }[] = [];
  other: FlashArray | null = null;
  /** Of this array and the other one, where they replicate pods. */
  pods: Pods | null = null;
  up = true;
  linked = true;
  clockOffsetSeconds = 0;
  bytesSent = 0;
  #last = 0;
  #held = false;
  #queue: (() => boolean)[] = [];

  constructor(name: string) {
    this.name = name;
  }

  /** The array's clock; never twice the same. */
  now(): number {
    this.#last = Math.max(this.#last + 1, Date.now() + this.clockOffsetSeconds * 1000);
    return this.#last;
  }

  /** Whether the other array is reached. */
  connected(): boolean {
    return this.linked && this.other?.up === true;
  }

  mustVolume(name: string): Volume {
    const found = this.volumes.get(name);
    if (found === undefined) throw new PurityError(name, 'Volume does not exist.');
    return found;
  }

  mustGroup(name: string) {
    const found = this.groups.get(name);
    if (found === undefined) throw new PurityError(name, 'Protection group does not exist.');
    return found;
  }

  addVolume(name: string, files: Files = new Map()): Volume {
    if (this.volumes.has(name)) {
      const pending = this.volumes.get(name)?.destroyed === true;
      throw new PurityError(name, pending ? 'Volume is pending eradication.' : 'Volume already exists.');
    }
    serials += 1;
    const serial = `0C7E5A2B4D9F4E1A${String(serials).padStart(8, '0')}`;
    const made = { name, serial, created: this.now(), files: new Map(files), destroyed: false };
    this.volumes.set(name, made);
    return made;
  }

  addGroup(name: string, members: readonly string[] = [], targets: readonly string[] = []): void {
    if (this.groups.has(name)) throw new PurityError(name, 'Protection group already exists.');
    this.groups.set(name, { members: new Set(members), targets: new Set(targets) });
  }

  /** `GROUP.SUFFIX.VOLUME` and `VOLUME.SUFFIX`. */
  contentOf(snapshot: string): Files {
    const at = snapshot.lastIndexOf('.');
    const whole = this.snapshots.find(({ name, destroyed }) => !destroyed && name === snapshot.slice(0, at));
    const files =
      whole?.contents.get(snapshot.slice(at + 1)) ??
      this.volumeSnapshots.find(({ name }) => name === snapshot)?.files;
    if (files === undefined) throw new PurityError(snapshot, 'Source does not exist.');
    return files;
  }

  snapshot(group: string, suffix: string, send: boolean): GroupSnapshot {
    const { members, targets } = this.mustGroup(group);
    const name = `${group}.${suffix}`;
    if (this.snapshots.some((one) => one.name === name))
      throw new PurityError(name, 'Protection group snapshot already exists.');
    const contents = new Map(
      [...members].map((member) => [member, new Map(this.mustVolume(member).files)] as const),
    );
    const made = { name, created: this.now(), contents, destroyed: false };
    this.snapshots.push(made);
    if (send) for (const target of targets) this.#send(made, target);
    return made;
  }

  hold(): () => void {
    this.#held = true;
    return () => {
      this.#held = false;
      this.resume();
    };
  }

  /** What waits for the link goes on. */
  resume(): void {
    this.#queue = this.#queue.filter((work) => !work());
  }

  /** Everything that a case has made; each has its own, and lists stay short. */
  forget(): void {
    this.volumes.clear();
    this.groups.clear();
    this.snapshots = [];
    this.volumeSnapshots.length = 0;
    this.transfers.length = 0;
    this.tags = [];
    this.connections = [];
    if (this.pods !== null) Object.assign(this.pods, { pods: [], links: [] });
    this.#queue = [];
    this.#held = false;
  }

  destroy(name: string): void {
    if (this.connections.some(({ volume }) => volume === name))
      throw new PurityError(name, 'Volume has connections.');
    this.mustVolume(name).destroyed = true;
  }

  eradicate(name: string): void {
    if (!this.mustVolume(name).destroyed) throw new PurityError(name, 'Volume is not destroyed.');
    this.volumes.delete(name);
    this.tags = this.tags.filter(({ volume }) => volume !== name);
  }

  #send(snapshot: GroupSnapshot, target: string): void {
    const { other } = this;
    if (other?.name !== target) throw new PurityError(target, 'Array is not connected.');
    const own: Transfer = { name: snapshot.name, started: this.now(), completed: null };
    this.transfers.push(own);
    const attempt = (): boolean => {
      if (!this.up) return false;
      if (this.#held || !this.connected()) return false;
      const incoming = `${this.name}:${snapshot.name}`;
      const group = incoming.slice(0, incoming.lastIndexOf('.'));
      if (!other.groups.has(group)) other.addGroup(group);
      this.bytesSent += this.#changed(snapshot);
      other.snapshots.push({ ...snapshot, name: incoming });
      other.transfers.push({ name: incoming, started: own.started, completed: other.now() });
      own.completed = this.now();
      return true;
    };
    setTimeout(() => {
      if (!attempt()) this.#queue.push(attempt);
    }, transferMilliseconds);
  }

  /** Bytes since the newest snapshot of either direction that both arrays hold with this content's volume. */
  #changed(snapshot: GroupSnapshot): number {
    const bases = [...this.snapshots, ...(this.other?.snapshots ?? [])].filter((one) => {
      const done = this.transfers.some(({ name, completed }) => name === one.name && completed !== null);
      return one !== snapshot && (done || one.name.includes(':'));
    });
    let bytes = 1;
    for (const [member, files] of snapshot.contents) {
      const mine = bases.filter(({ contents }) => contents.has(member));
      const base = mine
        .sort((a, b) => a.created - b.created)
        .at(-1)
        ?.contents.get(member);
      for (const [name, text] of files) if (base?.get(name) !== text) bytes += text.length;
    }
    return bytes;
  }
}
