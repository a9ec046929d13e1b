/** A PowerStore as far as its storage goes: volumes, snapshots, replication sessions, hosts. */
import { randomUUID } from 'node:crypto';

export type Files = ReadonlyMap<string, string>;

export interface Volume {
  readonly id: string;
  name: string;
  description: string;
  readonly type: 'Primary' | 'Clone' | 'Snapshot';
  readonly wwn: string | null;
  readonly created: number;
  readonly sourceId: string | null;
  readonly sourceTime: number | null;
  files: Map<string, string>;
}

export interface Session {
  readonly id: string;
  readonly volume: string;
  readonly remoteVolume: string;
  role: 'Source' | 'Destination';
  state: string;
  lastSync: number;
  /** Looks after which a state that passes becomes the next one. */
  looks: number;
  next: (() => void) | null;
}

/** What PowerStore answers with its code and words. */
export class Refusal extends Error {
  readonly status: number;
  readonly code: string;
  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

const syncMilliseconds = 5;
const passingLooks = 2;
const keptPrefix = 'lifeboat-kept-';
let serials = 0;

export class PowerStore {
  readonly name: string;
  readonly volumes = new Map<string, Volume>();
  sessions: Session[] = [];
  mappings: { readonly id: string; readonly host: string; readonly volume: string; readonly lun: number }[] =
    [];
  readonly hosts: { readonly id: string; readonly iqns: readonly string[] }[] = [];
  other: PowerStore | null = null;
  up = true;
  linked = true;
  held = false;
  lying = false;
  clockOffsetSeconds = 0;
  bytesSent = 0;
  #last = 0;
  #queue: (() => void)[] = [];

  constructor(name: string) {
    this.name = name;
  }

  /** Never twice the same. */
  now(): number {
    this.#last = Math.max(this.#last + 1, Date.now() + this.clockOffsetSeconds * 1000);
    return this.#last;
  }

  reaches(): boolean {
    return this.up && this.linked && this.other?.up === true;
  }

  named(name: string): Volume | undefined {
    return [...this.volumes.values()].find((one) => one.name === name && one.type !== 'Snapshot');
  }

  must(id: string): Volume {
    const found = this.volumes.get(id);
    if (found === undefined) throw new Refusal(404, '0xE0A08001000E', `Volume with id ${id} is not found.`);
    return found;
  }

  snapshotsOf(id: string): Volume[] {
    return [...this.volumes.values()].filter((one) => one.type === 'Snapshot' && one.sourceId === id);
  }

  add(name: string, type: Volume['type'], files: Files, more: Partial<Volume> = {}): Volume {
    const family = type === 'Snapshot' ? this.snapshotsOf(more.sourceId ?? '') : [...this.volumes.values()];
    if (family.some((one) => one.name === name && (one.type === 'Snapshot') === (type === 'Snapshot')))
      throw type === 'Snapshot'
        ? new Refusal(422, '0xE0A060010012', `Snapshot name ${name} is already in use.`)
        : new Refusal(422, '0xE0A080010014', `Volume name ${name} is already in use.`);
    serials += 1;
    const made: Volume = {
      id: randomUUID(),
      name,
      description: '',
      type,
      wwn: type === 'Snapshot' ? null : `naa.68ccf09800${serials.toString(16).padStart(22, '0')}`,
      created: this.now(),
      sourceId: null,
      sourceTime: null,
      ...more,
      files: new Map(files),
    };
    this.volumes.set(made.id, made);
    return made;
  }

  snapshot(volume: Volume, name: string): Volume {
    const sourceTime = this.now();
    return this.add(name, 'Snapshot', volume.files, { sourceId: volume.id, sourceTime });
  }

  isDestination(id: string): boolean {
    const session = this.sessions.find(({ volume }) => volume === id);
    return session?.role === 'Destination' && session.state !== 'Failed_Over';
  }

  mustBeChangeable(id: string): Volume {
    if (this.isDestination(id))
      throw new Refusal(422, '0xE0A080010027', 'The volume is a replication destination and is read-only.');
    return this.must(id);
  }

  mustSession(id: string): Session {
    const found = this.sessions.find((one) => one.id === id);
    if (found === undefined) throw new Refusal(404, '0xE04040020009', `Instance ${id} was not found.`);
    return found;
  }

  /** A look lets time pass for what is under way. */
  look(): readonly Session[] {
    for (const session of this.sessions)
      if (session.next !== null) {
        session.looks -= 1;
        if (session.looks <= 0) {
          const { next } = session;
          session.next = null;
          next();
        }
      }
    return this.sessions;
  }

  sync(session: Session): void {
    if (session.role !== 'Source')
      throw new Refusal(422, '0xE02010050005', 'Synchronize is supported only on the source side.');
    if (session.state === 'Synchronizing')
      throw new Refusal(422, '0xE02010050003', 'Another operation is in progress on the session.');
    if (session.state !== 'OK' && session.state !== 'System_Paused')
      throw new Refusal(422, '0xE02010050002', `Synchronize is not allowed in state ${session.state}.`);
    const volume = this.must(session.volume);
    const files = new Map(volume.files);
    const snapshots = this.snapshotsOf(volume.id).filter(({ name }) => !name.startsWith(keptPrefix));
    session.state = 'Synchronizing';
    const finish = (): void => {
      if (session.state !== 'Synchronizing') return;
      session.state = this.#deliver(session, files, snapshots) ? 'OK' : 'System_Paused';
      const peer = this.other?.sessions.find(({ id }) => id === session.id);
      if (session.state === 'OK' && peer !== undefined) peer.lastSync = session.lastSync;
    };
    setTimeout(() => {
      if (this.held) this.#queue.push(finish);
      else finish();
    }, syncMilliseconds);
  }

  release(): void {
    this.held = false;
    for (const finish of this.#queue.splice(0)) finish();
  }

  failOver(session: Session, planned: boolean): void {
    if (planned && session.role === 'Destination')
      throw new Refusal(
        422,
        '0xE0201005000B',
        'Planned failover of Replication Session is supported only on source side.',
      );
    if (session.role === 'Source')
      throw new Refusal(422, '0xE0201005000C', 'Unplanned failover is supported only on destination side.');
    session.state = 'Failing_Over_For_DR';
    this.#pass(session, () => {
      session.state = 'Failed_Over';
      session.role = 'Source';
      this.meet();
    });
  }

  reprotect(session: Session): void {
    if (session.state !== 'Failed_Over' || session.role !== 'Source')
      throw new Refusal(422, '0xE02010050002', `Reprotect is not allowed in state ${session.state}.`);
    const { other } = this;
    const peer = other?.sessions.find(({ id }) => id === session.id);
    if (!this.reaches() || other === null || peer === undefined)
      throw new Refusal(422, '0xE02010050010', 'The remote system is not reachable.');
    const here = this.must(session.volume);
    const there = other.must(peer.volume);
    session.state = 'Reprotecting';
    peer.state = 'Reprotecting';
    this.#pass(session, () => {
      const known = new Set(other.snapshotsOf(there.id).map(identity));
      const common = this.snapshotsOf(here.id).findLast((one) => known.has(identity(one)));
      there.files = new Map(common?.files);
      session.state = 'OK';
      Object.assign(peer, { role: 'Destination', state: 'OK' });
    });
  }

  /** What one side did while the other one was away. */
  meet(): void {
    if (!this.reaches()) return;
    for (const [here, there] of [
      [this, this.other],
      [this.other, this],
    ] as const)
      for (const session of here?.sessions ?? []) {
        const peer = there?.sessions.find(({ id }) => id === session.id);
        if (session.state === 'Failed_Over' && session.role === 'Source' && peer !== undefined)
          if (peer.state !== 'Reprotecting')
            Object.assign(peer, { role: 'Destination', state: 'Failed_Over' });
      }
  }

  map(host: string, volume: string): void {
    if (this.mappings.some((one) => one.host === host && one.volume === volume))
      throw new Refusal(422, '0xE0A010010021', 'The volume is attached to the host already.');
    const used = new Set(this.mappings.filter((one) => one.host === host).map(({ lun }) => lun));
    let lun = 0;
    while (used.has(lun)) lun += 1;
    this.mappings.push({ id: randomUUID(), host, volume, lun });
  }

  unmap(host: string, volume: string): void {
    const left = this.mappings.filter((one) => one.host !== host || one.volume !== volume);
    if (left.length === this.mappings.length)
      throw new Refusal(422, '0xE0A010010020', 'The volume is not attached to the host.');
    this.mappings = left;
  }

  remove(id: string): void {
    this.must(id);
    if (this.mappings.some(({ volume }) => volume === id))
      throw new Refusal(422, '0xE0A080020001', 'The volume is attached to a host.');
    if (this.sessions.some(({ volume }) => volume === id))
      throw new Refusal(422, '0xE0A080010026', 'The volume has a protection policy.');
    this.volumes.delete(id);
  }

  /** Everything that a case has made; each has its own, and lists stay short. */
  forget(): void {
    this.volumes.clear();
    this.sessions = [];
    this.mappings = [];
    this.#queue = [];
    this.held = false;
  }

  #pass(session: Session, next: () => void): void {
    session.looks = passingLooks;
    session.next = next;
  }

  #deliver(session: Session, files: Files, snapshots: readonly Volume[]): boolean {
    const { other } = this;
    if (!this.reaches() || other === null) return false;
    const there = other.must(session.remoteVolume);
    let bytes = 1;
    for (const [name, text] of files) if (there.files.get(name) !== text) bytes += text.length;
    this.bytesSent += bytes;
    const known = new Set(other.snapshotsOf(there.id).map(identity));
    for (const one of snapshots)
      if (!known.has(identity(one)))
        other.add(one.name, 'Snapshot', one.files, { sourceId: there.id, sourceTime: one.sourceTime });
    there.files = new Map(files);
    session.lastSync = this.now();
    return true;
  }
}

function identity({ name, sourceTime }: Volume): string {
  return `${name}@${sourceTime}`;
}
