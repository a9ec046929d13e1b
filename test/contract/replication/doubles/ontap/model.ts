/**
 * Two ONTAP clusters in memory: volumes with files, snapshots, SnapMirror relationships with their states, export policies,
 * igroups and LUNs. What ONTAP refuses is refused with its codes (storage.md C.1). Transfers and changes of state take a
 * few looks at the relationship, so that nobody can take a request for its effect.
 */
export class OntapError extends Error {
  readonly code: string;
  readonly status: number;
  constructor(code: string, message: string, status = 400) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

export type Files = Map<string, string>;

export interface ModelSnapshot {
  readonly name: string;
  readonly uuid: string;
  readonly versionUuid: string;
  readonly createTime: number;
  readonly label: string | null;
  readonly files: Files;
}

export interface ModelVolume {
  readonly uuid: string;
  readonly svm: string;
  readonly name: string;
  type: 'rw' | 'dp';
  state: 'online' | 'offline';
  comment: string;
  junction: string;
  policy: string;
  readonly clone: { readonly parent: string; readonly snapshot: string } | null;
  files: Files;
  snapshots: ModelSnapshot[];
  readonly luns: ModelLun[];
}

export interface ModelLun {
  readonly name: string;
  readonly uuid: string;
  readonly serialHex: string;
  readonly maps: { readonly igroup: string; readonly id: number }[];
}

/** A consistency group. */
export interface ModelGroup {
  readonly uuid: string;
  /** `SVM:/cg/NAME` */
  readonly path: string;
  /** Paths of its volumes. */
  readonly volumes: readonly string[];
}

export interface ModelRelationship {
  readonly uuid: string;
  /** `SVM:VOLUME`, or `SVM:/cg/NAME`. */
  readonly source: string;
  readonly destination: string;
  /** Each volume that it carries. */
  readonly pairs: readonly { readonly source: string; readonly destination: string }[];
  readonly policy: string;
  state: string;
  healthy: boolean;
  reasons: { code: string; message: string }[];
  exported: string | null;
  transfer: { uuid: string; state: string; bytes: number; looks: number; run: () => void } | null;
  /** A state that was asked for and comes about after so many looks. */
  coming: { looks: number; run: () => void } | null;
}

export interface ModelPolicy {
  readonly id: number;
  readonly svm: string;
  readonly name: string;
  rules: { readonly index: number; readonly client: string }[];
}

export interface ModelIgroup {
  readonly uuid: string;
  readonly svm: string;
  readonly name: string;
  readonly initiators: string[];
}

/** What both clusters share. */
export class Fabric {
  linked = true;
  holding = false;
  bytesCarried = 0;
  #ids = 0;
  id(): string {
    this.#ids += 1;
    return `00000000-0000-11ef-8000-${String(this.#ids).padStart(12, '0')}`;
  }
}

export class OntapCluster {
  readonly name: string;
  readonly fabric: Fabric;
  peer!: OntapCluster;
  up = true;
  lies = false;
  clockOffsetSeconds = 0;
  volumes = new Map<string, ModelVolume>();
  relationships: ModelRelationship[] = [];
  groups: ModelGroup[] = [];
  outgoing: { readonly uuid: string; readonly source: string; readonly destination: string }[] = [];
  policies: ModelPolicy[] = [];
  igroups: ModelIgroup[] = [];

  constructor(name: string, fabric: Fabric) {
    this.name = name;
    this.fabric = fabric;
  }

  reset(): void {
    this.volumes = new Map();
    this.relationships = [];
    this.groups = [];
    this.outgoing = [];
    this.policies = [];
    this.igroups = [];
    this.up = true;
    this.lies = false;
    this.clockOffsetSeconds = 0;
  }

  now(): number {
    return Date.now() + this.clockOffsetSeconds * 1000;
  }

  addVolume(path: string, changes: Partial<ModelVolume> = {}): ModelVolume {
    const [svm = '', name = ''] = path.split(':');
    if (this.volumes.has(path))
      throw new OntapError('917927', `Volume "${name}" already exists in SVM "${svm}".`);
    const volume: ModelVolume = {
      uuid: this.fabric.id(),
      svm,
      name,
      type: 'rw',
      state: 'online',
      comment: '',
      junction: '',
      policy: 'default',
      clone: null,
      files: new Map(),
      snapshots: [],
      luns: [],
      ...changes,
    };
    this.volumes.set(path, volume);
    return volume;
  }

  addLun(volume: ModelVolume, name: string): ModelLun {
    const serial = Buffer.from(`${this.name}-${volume.luns.length}`.padEnd(12, 'x').slice(0, 12));
    const lun = {
      name: `/vol/${volume.name}/${name}`,
      uuid: this.fabric.id(),
      serialHex: serial.toString('hex'),
      maps: [],
    };
    volume.luns.push(lun);
    return lun;
  }

  volume(path: string): ModelVolume {
    const found = this.volumes.get(path);
    if (found === undefined) throw new OntapError('917927', `Volume ${path} does not exist.`, 404);
    return found;
  }

  snapshot(path: string, name: string, label: string | null): void {
    const volume = this.volume(path);
    if (volume.type === 'dp')
      throw new OntapError('524379', 'Snapshots can only be created on read/write (RW) volumes.');
    if (volume.snapshots.some((one) => one.name === name))
      throw new OntapError('1638537', 'A snapshot with this name already exists.');
    const uuid = this.fabric.id();
    const newest = Math.max(0, ...volume.snapshots.map(({ createTime }) => createTime));
    // ONTAP counts in seconds, and two snapshots of a volume within one are not told apart by it.
    const createTime = Math.max(Math.floor(this.now() / 1000) * 1000, newest + 1000);
    volume.snapshots.push({ name, uuid, versionUuid: uuid, createTime, label, files: new Map(volume.files) });
  }

  dropSnapshot(path: string, uuid: string): void {
    const volume = this.volume(path);
    const snapshot = volume.snapshots.find((one) => one.uuid === uuid);
    if (snapshot === undefined) throw new OntapError('4', "entry doesn't exist", 404);
    if (this.#locked(volume, snapshot.name))
      throw new OntapError('1638555', 'The snapshot is in use. Snapshot is busy.');
    volume.snapshots = volume.snapshots.filter((one) => one !== snapshot);
  }

  #locked(volume: ModelVolume, snapshot: string): boolean {
    return [...this.volumes.values()].some(
      ({ svm, clone }) => svm === volume.svm && clone?.parent === volume.name && clone.snapshot === snapshot,
    );
  }

  addGroup(path: string, volumes: readonly string[]): ModelGroup {
    for (const volume of volumes) this.volume(volume);
    const group = { uuid: this.fabric.id(), path, volumes };
    this.groups.push(group);
    return group;
  }

  group(uuid: string): ModelGroup {
    const found = this.groups.find((one) => one.uuid === uuid);
    if (found === undefined) throw new OntapError('53411842', 'The consistency group does not exist.', 404);
    return found;
  }

  snapshotGroup(uuid: string, name: string, label: string | null): void {
    for (const volume of this.group(uuid).volumes) this.snapshot(volume, name, label);
  }

  dropGroupSnapshot(uuid: string, name: string): void {
    for (const path of this.group(uuid).volumes)
      for (const one of this.volume(path).snapshots) if (one.name === name) this.dropSnapshot(path, one.uuid);
  }

  restoreGroup(uuid: string, name: string): void {
    const volumes = this.group(uuid).volumes.map((path) => this.volume(path));
    for (const volume of volumes) {
      const point = volume.snapshots.find((one) => one.name === name);
      if (volume.type === 'dp') throw new OntapError('53411921', 'The volumes of the group are read-only.');
      if (point === undefined) throw new OntapError('53411922', `Snapshot ${name} is not whole.`);
      const newer = volume.snapshots.filter(({ createTime }) => createTime > point.createTime);
      if (newer.some((one) => this.#locked(volume, one.name)))
        throw new OntapError('53411923', 'A newer snapshot is locked by a clone.');
      volume.files = new Map(point.files);
      volume.snapshots = volume.snapshots.filter((one) => !newer.includes(one));
    }
  }

  relate(
    source: string,
    destination: string,
    policy: string,
    pairs: ModelRelationship['pairs'] = [{ source, destination }],
  ): ModelRelationship {
    if (this.relationships.some((one) => one.destination === destination && one.source === source))
      throw new OntapError('6619637', `Relationship with destination ${destination} already exists.`, 409);
    const relationship: ModelRelationship = {
      uuid: this.fabric.id(),
      source,
      destination,
      policy,
      pairs,
      state: pairs.every((one) => this.volume(one.destination).type === 'rw')
        ? 'broken_off'
        : 'uninitialized',
      healthy: true,
      reasons: [],
      exported: null,
      transfer: null,
      coming: null,
    };
    this.relationships.push(relationship);
    this.peer.outgoing.push({ uuid: relationship.uuid, source, destination });
    return relationship;
  }

  relationship(uuid: string): ModelRelationship {
    const found = this.relationships.find((one) => one.uuid === uuid);
    if (found === undefined) throw new OntapError('4', "entry doesn't exist", 404);
    return found;
  }

  /** One look at the relationships moves what is under way. */
  look(): void {
    for (const one of this.relationships) {
      const { transfer, coming } = one;
      if (transfer?.state === 'transferring') this.#advance(one, transfer);
      else if (coming !== null) {
        if (coming.looks > 0) coming.looks -= 1;
        else {
          one.coming = null;
          coming.run();
        }
      }
    }
  }

  #advance(one: ModelRelationship, transfer: NonNullable<ModelRelationship['transfer']>): void {
    if (!this.#reaches()) {
      transfer.state = 'failed';
      this.#unwell(one);
    } else if (!this.fabric.holding) {
      if (transfer.looks > 0) transfer.looks -= 1;
      else {
        transfer.run();
        transfer.state = 'success';
        one.healthy = true;
        one.reasons = [];
      }
    }
  }

  #reaches(): boolean {
    return this.fabric.linked && this.peer.up;
  }

  #unwell(one: ModelRelationship): void {
    one.healthy = false;
    one.reasons = [
      { code: '6619717', message: 'Transfer failed. (Failed to connect: the peer cluster is unreachable.)' },
    ];
  }

  transfer(uuid: string, snapshot: string): void {
    const one = this.relationship(uuid);
    this.#mustBeIdle(one, '13303812', 'Transfer failed. (Another transfer is in progress.)');
    if (one.state !== 'snapmirrored')
      throw new OntapError(
        '13303844',
        `Update failed: the relationship is ${one.state === 'paused' ? 'quiesced' : one.state}.`,
      );
    if (!this.#reaches()) {
      this.#unwell(one);
      throw new OntapError('13303844', 'Transfer failed. (The peer cluster is unreachable.)');
    }
    if (
      one.pairs.some(
        ({ source }) => !this.peer.volume(source).snapshots.some(({ name }) => name === snapshot),
      )
    )
      throw new OntapError('13303844', `Snapshot ${snapshot} does not exist on the source.`);
    this.#begin(one, snapshot);
  }

  #begin(one: ModelRelationship, snapshot: string): void {
    one.transfer = {
      uuid: this.fabric.id(),
      state: 'transferring',
      bytes: 0,
      looks: 1,
      run: () => this.#arrive(one, snapshot),
    };
  }

  #mustBeIdle(one: ModelRelationship, code: string, message: string): void {
    if (one.transfer?.state === 'transferring' || one.coming !== null) throw new OntapError(code, message);
  }

  /** The policy mirrors all snapshots of the source up to the one that is asked for. */
  #arrive(one: ModelRelationship, name: string): void {
    const bytes = one.pairs.reduce((sum, pair) => sum + this.#arriveAt(pair, name), 0);
    this.fabric.bytesCarried += bytes;
    if (one.transfer !== null) one.transfer.bytes = bytes;
    one.exported = name;
    one.state = 'snapmirrored';
  }

  #arriveAt(pair: ModelRelationship['pairs'][number], name: string): number {
    const source = this.peer.volume(pair.source);
    const destination = this.volume(pair.destination);
    const asked = source.snapshots.find((each) => each.name === name);
    if (asked === undefined) throw new Error(`snapshot ${name} vanished in transfer`);
    const wanted = source.snapshots.filter(({ createTime }) => createTime <= asked.createTime);
    const bytes = changedBytes(destination.files, asked.files);
    const held = (each: ModelSnapshot) =>
      destination.snapshots.find(({ versionUuid }) => versionUuid === each.versionUuid) ?? {
        ...each,
        uuid: this.fabric.id(),
      };
    const kept = destination.snapshots.filter(({ name: old }) => this.#locked(destination, old));
    destination.snapshots = [...new Set([...wanted.map(held), ...kept])];
    destination.files = new Map(asked.files);
    destination.type = 'dp';
    return bytes;
  }

  abort(uuid: string): void {
    const one = this.relationship(uuid);
    if (one.transfer?.state !== 'transferring') throw new OntapError('4', "entry doesn't exist", 404);
    one.transfer.state = 'aborted';
  }

  /** What PATCH of a state begins. */
  change(uuid: string, state: string, restoreTo: string | null): void {
    const one = this.relationship(uuid);
    if (state === 'paused') this.#quiesce(one);
    else if (state === 'broken_off') this.#break(one, restoreTo);
    else if (state === 'snapmirrored') this.#resync(one);
    else throw new OntapError('13303829', `Invalid state ${state}.`);
  }

  #quiesce(one: ModelRelationship): void {
    if (one.state === 'paused') return;
    if (one.state !== 'snapmirrored')
      throw new OntapError('13303824', 'Failed to quiesce: the relationship is not mirrored.');
    this.#comes(one, 'paused');
  }

  #comes(one: ModelRelationship, state: string): void {
    const run = (): void => {
      one.state = state;
    };
    one.coming = { looks: 1, run };
  }

  #break(one: ModelRelationship, restoreTo: string | null): void {
    this.#mustBeIdle(one, '13303808', 'Break failed: another transfer is in progress.');
    if (one.state === 'broken_off') return;
    if (one.state !== 'paused')
      throw new OntapError('13303808', 'Break failed: the relationship must be quiesced first.');
    if (restoreTo !== null && one.destination.includes(':/cg/'))
      throw new OntapError('13303833', 'restore_to_snapshot is for relationships of single volumes.');
    const broken = one.pairs.map(({ destination }) => this.#brokenAt(this.volume(destination), restoreTo));
    one.coming = {
      looks: 1,
      run: () => {
        one.state = 'broken_off';
        for (const run of broken) run();
      },
    };
  }

  /** What a break at this snapshot is going to do to the volume. */
  #brokenAt(volume: ModelVolume, restoreTo: string | null): () => void {
    const point = restoreTo === null ? null : volume.snapshots.find(({ name }) => name === restoreTo);
    if (point === undefined)
      throw new OntapError('13303808', `Break failed: snapshot ${restoreTo} does not exist.`);
    const newer = volume.snapshots.filter(
      ({ createTime }) => point !== null && createTime > point.createTime,
    );
    if (newer.some(({ name }) => this.#locked(volume, name)))
      throw new OntapError('13303808', 'Break failed: a newer snapshot is locked by a clone.');
    return () => {
      volume.type = 'rw';
      if (point !== null) volume.files = new Map(point.files);
      volume.snapshots = volume.snapshots.filter((each) => !newer.includes(each));
    };
  }

  #resync(one: ModelRelationship): void {
    this.#mustBeIdle(one, '13303812', 'Resync failed: another transfer is in progress.');
    if (one.state === 'snapmirrored') return;
    if (one.state === 'paused') {
      this.#comes(one, 'snapmirrored');
      return;
    }
    if (!this.#reaches()) {
      this.#unwell(one);
      throw new OntapError('13303844', 'Resync failed. (The peer cluster is unreachable.)');
    }
    const sides = one.pairs.map(({ source, destination }) => ({
      path: source,
      source: this.peer.volume(source),
      volume: this.volume(destination),
    }));
    const sharedOf = ({ volume, source }: (typeof sides)[number]): ModelSnapshot[] =>
      volume.snapshots.filter((each) =>
        source.snapshots.some((held) => held.versionUuid === each.versionUuid),
      );
    if (sides.some((side) => sharedOf(side).length === 0))
      throw new OntapError('13303817', 'Resync failed: no common snapshot.');
    const base = `snapmirror.${one.uuid}.${sides[0]?.source.snapshots.length}`;
    for (const side of sides) {
      const shared = sharedOf(side);
      this.peer.snapshot(side.path, base, null);
      side.volume.snapshots = shared;
    }
    this.#begin(one, base);
  }

  unrelate(uuid: string): void {
    const one = this.relationship(uuid);
    this.relationships = this.relationships.filter((each) => each !== one);
  }

  forget(uuid: string): void {
    const before = this.outgoing.length;
    this.outgoing = this.outgoing.filter((one) => one.uuid !== uuid);
    if (this.outgoing.length === before) throw new OntapError('4', "entry doesn't exist", 404);
  }

  clone(svm: string, name: string, parent: string, snapshot: string, comment: string): void {
    const volume = this.volumes.get(`${svm}:${parent}`);
    if (volume === undefined)
      throw new OntapError('524601', 'The parent volume of the clone does not exist.');
    const from = volume.snapshots.find((one) => one.name === snapshot);
    if (from === undefined)
      throw new OntapError('524597', `Clone failed: snapshot ${snapshot} does not exist.`);
    const clone = this.addVolume(`${svm}:${name}`, {
      comment,
      clone: { parent, snapshot },
      files: new Map(from.files),
    });
    for (const lun of volume.luns) this.addLun(clone, lun.name.split('/').at(-1) ?? 'lun');
  }

  mount(path: string, junction: string): void {
    const volume = this.volume(path);
    const taken = [...this.volumes.values()].some(
      (one) => one !== volume && one.svm === volume.svm && one.junction === junction,
    );
    if (junction !== '' && taken) throw new OntapError('918235', `The junction path ${junction} is in use.`);
    volume.junction = junction;
  }

  deleteVolume(path: string): void {
    const volume = this.volume(path);
    if (volume.junction !== '') throw new OntapError('917658', 'Volume must be unmounted first.');
    if (volume.state !== 'offline') throw new OntapError('917656', 'Volume must be offline.');
    if (volume.luns.some(({ maps }) => maps.length > 0))
      throw new OntapError('917601', 'Volume has mapped LUNs.');
    if (this.relationships.some(({ destination }) => destination === path))
      throw new OntapError('918722', 'Volume is the destination of a SnapMirror relationship.');
    this.volumes.delete(path);
  }

  usePolicy(path: string, policy: string): void {
    const volume = this.volume(path);
    this.policy(volume.svm, policy);
    volume.policy = policy;
  }

  addPolicy(svm: string, name: string): ModelPolicy {
    if (this.policies.some((one) => one.svm === svm && one.name === name))
      throw new OntapError('1704055', `Export policy ${name} already exists.`, 409);
    const policy = { id: this.policies.length + 1, svm, name, rules: [] };
    this.policies.push(policy);
    return policy;
  }

  policy(svm: string, name: string): ModelPolicy {
    const found = this.policies.find((one) => one.svm === svm && one.name === name);
    if (found === undefined) throw new OntapError('1703954', `Export policy ${name} does not exist.`, 404);
    return found;
  }

  dropPolicy(policy: ModelPolicy): void {
    const used = [...this.volumes.values()].some(
      (one) => one.svm === policy.svm && one.policy === policy.name,
    );
    if (used) throw new OntapError('1703944', `Export policy ${policy.name} is in use by a volume.`);
    policy.rules = [];
    this.policies[this.policies.indexOf(policy)] = { ...policy, name: '' };
  }

  addRule(policy: ModelPolicy, client: string): void {
    policy.rules.push({ index: policy.rules.length + 1, client });
  }

  addIgroup(svm: string, name: string, initiators: readonly string[]): void {
    if (this.igroups.some((one) => one.svm === svm && one.name === name))
      throw new OntapError('5374733', `Igroup ${name} already exists.`, 409);
    this.igroups.push({ uuid: this.fabric.id(), svm, name, initiators: [...initiators] });
  }

  lun(svm: string, name: string): { readonly lun: ModelLun; readonly volume: ModelVolume } {
    for (const volume of this.volumes.values())
      for (const lun of volume.luns) if (volume.svm === svm && lun.name === name) return { lun, volume };
    throw new OntapError('1254201', `LUN ${name} does not exist.`, 404);
  }

  map(svm: string, lunName: string, igroup: string, id: number | null): void {
    const { lun, volume } = this.lun(svm, lunName);
    if (volume.type === 'dp') throw new OntapError('5374238', 'The LUN is in a read-only volume.');
    if (lun.maps.some((one) => one.igroup === igroup))
      throw new OntapError('5374922', 'LUN already mapped to this group.', 409);
    lun.maps.push({ igroup, id: id ?? lun.maps.length });
  }

  unmap(svm: string, lunName: string, igroup: string): void {
    const { lun } = this.lun(svm, lunName);
    const at = lun.maps.findIndex((one) => one.igroup === igroup);
    if (at < 0) throw new OntapError('4', "entry doesn't exist", 404);
    lun.maps.splice(at, 1);
  }

  /** A client mounts by NFS: what it sees, or an error as its mount would have. */
  mounted(junction: string, client: string): ModelVolume {
    const volume = [...this.volumes.values()].find((one) => one.junction === junction && one.junction !== '');
    if (!this.up || volume === undefined || volume.state !== 'online')
      throw new Error(`nothing is mounted at ${junction}`);
    const { rules } = this.policy(volume.svm, volume.policy);
    if (!rules.some((rule) => rule.client === client)) throw new Error(`${client} may not mount ${junction}`);
    return volume;
  }
}

function changedBytes(before: Files, after: Files): number {
  let bytes = 0;
  for (const [name, text] of after) if (before.get(name) !== text) bytes += Buffer.byteLength(text);
  return bytes;
}
