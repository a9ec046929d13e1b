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

export interface VolumeGroup {
  readonly id: string;
  readonly name: string;
  readonly members: ReadonlySet<string>;
  /** Write-order consistency. */
  ordered?: boolean;
}

/** Its members are snapshots of the volumes, of the same name. */
export interface GroupSnapshot {
  readonly id: string;
  readonly name: string;
  readonly group: string;
  readonly created: number;
  readonly sourceTime: number;
  readonly members: readonly string[];
}

export interface Session {
  readonly id: string;
  readonly kind: 'volume' | 'volume_group';
  /** What is replicated: a volume, or a group. */
  readonly local: string;
  readonly remote: string;
  /** Each volume, and what it becomes there. */
  readonly pairs: readonly { readonly volume: string; readonly remoteVolume: string }[];
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
  groups: VolumeGroup[] = [];
  groupSnapshots: GroupSnapshot[] = [];
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

  mustGroup(id: string): VolumeGroup {
    const found = this.groups.find((one) => one.id === id);
    if (found === undefined)
      throw new Refusal(404, '0xE04040020009', `Volume group with id ${id} is not found.`);
    return found;
  }

  snapshotGroup(group: VolumeGroup, name: string): GroupSnapshot {
    if (this.groupSnapshots.some((one) => one.group === group.id && one.name === name))
      throw new Refusal(422, '0xE0A060010012', `Snapshot name ${name} is already in use.`);
    const sourceTime = this.now();
    const members = [...group.members].map(
      (id) => this.add(name, 'Snapshot', this.must(id).files, { sourceId: id, sourceTime }).id,
    );
    return this.#addGroupSnapshot({ name, group: group.id, sourceTime, members });
  }

  #addGroupSnapshot(made: Omit<GroupSnapshot, 'id' | 'created'>): GroupSnapshot {
    const snapshot = { ...made, id: randomUUID(), created: this.now() };
    this.groupSnapshots.push(snapshot);
    return snapshot;
  }

  /** All volumes of the group go back at once; none may be in use. */
  restoreGroup(group: VolumeGroup, snapshotId: string, backup: string | null): void {
    const snapshot = this.groupSnapshots.find(({ id }) => id === snapshotId);
    if (snapshot?.group !== group.id)
      throw new Refusal(422, '0xE0A060010020', 'The snapshot is not one of this volume group.');
    for (const id of group.members) {
      this.mustBeChangeable(id);
      if (this.mappings.some((one) => one.volume === id))
        throw new Refusal(422, '0xE0A080020001', 'A volume of the group is attached to a host.');
    }
    if (backup !== null) this.snapshotGroup(group, backup);
    for (const id of snapshot.members) {
      const { sourceId, files } = this.must(id);
      this.must(sourceId ?? '').files = new Map(files);
    }
  }

  removeGroupSnapshot(id: string): void {
    const snapshot = this.groupSnapshots.find((one) => one.id === id);
    if (snapshot === undefined)
      throw new Refusal(404, '0xE04040020009', `Volume group with id ${id} is not found.`);
    for (const member of snapshot.members) this.volumes.delete(member);
    this.groupSnapshots = this.groupSnapshots.filter((one) => one !== snapshot);
  }

  isInGroup(volume: string): boolean {
    return this.groups.some(({ members }) => members.has(volume));
  }

  sessionOf(volume: string): Session | undefined {
    return this.sessions.find(({ pairs }) => pairs.some((one) => one.volume === volume));
  }

  isDestination(id: string): boolean {
    const session = this.sessionOf(id);
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
    const state = this.#stateNow(session);
    session.state = 'Synchronizing';
    const finish = (): void => {
      if (session.state !== 'Synchronizing') return;
      session.state = this.#deliver(session, state) ? 'OK' : 'System_Paused';
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
    session.state = 'Reprotecting';
    peer.state = 'Reprotecting';
    this.#pass(session, () => {
      for (const { volume, remoteVolume } of session.pairs) {
        const there = other.must(remoteVolume);
        const known = new Set(other.snapshotsOf(there.id).map(identity));
        const common = this.snapshotsOf(volume).findLast((one) => known.has(identity(one)));
        there.files = new Map(common?.files);
      }
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
    if (this.sessionOf(id) !== undefined)
      throw new Refusal(422, '0xE0A080010026', 'The volume has a protection policy.');
    this.volumes.delete(id);
  }

  /** Everything that a case has made; each has its own, and lists stay short. */
  forget(): void {
    this.volumes.clear();
    this.sessions = [];
    this.groups = [];
    this.groupSnapshots = [];
    this.mappings = [];
    this.#queue = [];
    this.held = false;
  }

  #pass(session: Session, next: () => void): void {
    session.looks = passingLooks;
    session.next = next;
  }

  /** What a synchronization that begins now carries. */
  #stateNow(session: Session): Carried {
    return {
      volumes: session.pairs.map(({ volume, remoteVolume }) => ({
        remoteVolume,
        files: new Map(this.must(volume).files),
        snapshots: this.snapshotsOf(volume).filter(({ name }) => !name.startsWith(keptPrefix)),
      })),
      groupSnapshots: this.groupSnapshots.filter(
        ({ group, name }) => group === session.local && !name.startsWith(keptPrefix),
      ),
    };
  }

  #deliver(session: Session, { volumes, groupSnapshots }: Carried): boolean {
    const { other } = this;
    if (!this.reaches() || other === null) return false;
    this.bytesSent += 1;
    for (const { remoteVolume, files, snapshots } of volumes) {
      const there = other.must(remoteVolume);
      for (const [name, text] of files) if (there.files.get(name) !== text) this.bytesSent += text.length;
      const known = new Set(other.snapshotsOf(there.id).map(identity));
      for (const one of snapshots)
        if (!known.has(identity(one)))
          other.add(one.name, 'Snapshot', one.files, { sourceId: there.id, sourceTime: one.sourceTime });
      there.files = new Map(files);
    }
    for (const one of groupSnapshots) other.#receiveGroupSnapshot(session, one);
    session.lastSync = this.now();
    return true;
  }

  #receiveGroupSnapshot({ remote, pairs }: Session, { name, sourceTime }: GroupSnapshot): void {
    const there = this.groupSnapshots.filter(({ group }) => group === remote);
    if (there.some((one) => one.name === name && one.sourceTime === sourceTime)) return;
    const members = pairs.flatMap(({ remoteVolume }) =>
      this.snapshotsOf(remoteVolume)
        .filter((one) => one.name === name && one.sourceTime === sourceTime)
        .map(({ id }) => id),
    );
    this.#addGroupSnapshot({ name, group: remote, sourceTime, members });
  }
}

interface Carried {
  readonly volumes: readonly {
    readonly remoteVolume: string;
    readonly files: Files;
    readonly snapshots: readonly Volume[];
  }[];
  readonly groupSnapshots: readonly GroupSnapshot[];
}

function identity({ name, sourceTime }: Volume): string {
  return `${name}@${sourceTime}`;
}
