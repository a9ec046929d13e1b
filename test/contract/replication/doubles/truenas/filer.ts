/**
 * A TrueNAS as far as its storage goes: datasets and zvols with snapshots, holds and clones as ZFS keeps them, and
 * replication jobs as zettarepl runs them (`zfs receive -F` included, which takes back what a target wrote).
 */
export type Files = ReadonlyMap<string, string>;

export interface Snapshot {
  readonly name: string;
  readonly guid: string;
  readonly creation: number;
  readonly txg: number;
  readonly files: Files;
  /** Bytes that are not in the snapshot before it. */
  readonly written: number;
  held: boolean;
}

export interface Dataset {
  name: string;
  readonly type: 'FILESYSTEM' | 'VOLUME';
  readonly: boolean;
  origin: string;
  files: Map<string, string>;
  snapshots: Snapshot[];
  readonly properties: Map<string, string>;
}

export interface Job {
  readonly id: number;
  readonly method: string;
  readonly arguments: readonly unknown[];
  state: 'RUNNING' | 'SUCCESS' | 'FAILED' | 'ABORTED';
  error: string | null;
}

export interface PushDefinition {
  readonly source_datasets: readonly string[];
  readonly target_dataset: string;
  readonly name_regex: string;
  readonly readonly: 'SET' | 'REQUIRE' | 'IGNORE';
  readonly allow_from_scratch: boolean;
}

/** A call that the middleware ends with an error. */
export class CallError extends Error {
  readonly errname: string;
  constructor(errname: string, reason: string) {
    super(`[${errname}] ${reason}`);
    this.errname = errname;
  }
}

const jobMilliseconds = 5;
let guids = 9_000_000_000_000_000_001n;

export class Filer {
  readonly name: string;
  readonly pool = 'tank';
  readonly datasets = new Map<string, Dataset>();
  readonly jobs: Job[] = [];
  other: Filer | null = null;
  up = true;
  clockOffsetSeconds = 0;
  bytesSent = 0;
  /** Whether this filer reaches the other one. */
  linked = true;
  #held: (() => void)[] | null = null;
  #txg = 100;

  constructor(name: string) {
    this.name = name;
  }

  nowMilliseconds(): number {
    return Date.now() + this.clockOffsetSeconds * 1000;
  }

  add(name: string, type: Dataset['type'] = 'FILESYSTEM'): Dataset {
    const dataset: Dataset = {
      name,
      type,
      readonly: false,
      origin: '',
      files: new Map(),
      snapshots: [],
      properties: new Map(),
    };
    this.datasets.set(name, dataset);
    return dataset;
  }

  must(name: string): Dataset {
    const found = this.datasets.get(name);
    if (found === undefined) throw new CallError('ENOENT', `${name} does not exist`);
    return found;
  }

  mustSnapshot(id: string): readonly [Dataset, Snapshot] {
    const [dataset = '', name] = id.split('@');
    const found = this.datasets.get(dataset)?.snapshots.find((one) => one.name === name);
    if (found === undefined) throw new CallError('ENOENT', `cannot open '${id}': dataset does not exist`);
    return [this.must(dataset), found];
  }

  snapshot(dataset: string, name: string): Snapshot {
    const found = this.must(dataset);
    if (found.snapshots.some((one) => one.name === name))
      throw new CallError('EEXIST', `Failed to snapshot ${dataset}@${name}: dataset already exists`);
    guids += 7n;
    const made = this.#stored(found, {
      name,
      guid: String(guids),
      creation: Math.floor(this.nowMilliseconds() / 1000),
      files: new Map(found.files),
    });
    return made;
  }

  destroySnapshot(id: string, deferred: boolean): void {
    const [dataset, snapshot] = this.mustSnapshot(id);
    if (snapshot.held && !deferred) throw new CallError('EFAULT', `cannot destroy '${id}': dataset is busy`);
    const clones = [...this.datasets.values()].filter(({ origin }) => origin === id);
    if (clones.length > 0 && !deferred)
      throw new CallError('EFAULT', `cannot destroy '${id}': snapshot has dependent clones`);
    if (!snapshot.held && clones.length === 0)
      dataset.snapshots = dataset.snapshots.filter((one) => one !== snapshot);
  }

  clone(id: string, name: string, properties: Readonly<Record<string, string>>): void {
    const [origin, snapshot] = this.mustSnapshot(id);
    if (this.datasets.has(name))
      throw new CallError('EEXIST', `cannot create '${name}': dataset already exists`);
    const { readonly, ...rest } = properties;
    const made = this.add(name, origin.type);
    made.files = new Map(snapshot.files);
    made.origin = id;
    made.readonly = readonly === 'on';
    for (const [key, value] of Object.entries(rest)) made.properties.set(key, value);
  }

  /** The clone takes over the snapshots up to its origin; the dataset that it came from becomes the clone. */
  promote(name: string): void {
    const clone = this.must(name);
    if (clone.origin === '') throw new CallError('EINVAL', `'${name}' is not a cloned filesystem`);
    const [parent, at] = this.mustSnapshot(clone.origin);
    const taken = parent.snapshots.filter(({ txg }) => txg <= at.txg);
    parent.snapshots = parent.snapshots.filter(({ txg }) => txg > at.txg);
    clone.snapshots = [...taken, ...clone.snapshots];
    const ids = new Set(taken.map((one) => `${parent.name}@${one.name}`));
    for (const dataset of this.datasets.values())
      if (ids.has(dataset.origin)) dataset.origin = `${name}@${dataset.origin.split('@')[1]}`;
    clone.origin = '';
    parent.origin = `${name}@${at.name}`;
  }

  rename(from: string, to: string): void {
    const dataset = this.must(from);
    if (this.datasets.has(to))
      throw new CallError('EEXIST', `cannot rename to '${to}': dataset already exists`);
    this.datasets.delete(from);
    dataset.name = to;
    this.datasets.set(to, dataset);
    for (const other of this.datasets.values())
      if (other.origin.startsWith(`${from}@`)) other.origin = `${to}@${other.origin.split('@')[1]}`;
  }

  destroy(name: string): void {
    const dataset = this.must(name);
    if (dataset.snapshots.some(({ held }) => held))
      throw new CallError('EBUSY', `cannot destroy '${name}': dataset is busy`);
    const ids = new Set(dataset.snapshots.map((one) => `${name}@${one.name}`));
    if ([...this.datasets.values()].some(({ origin }) => ids.has(origin)))
      throw new CallError('EFAULT', `cannot destroy '${name}': filesystem has dependent clones`);
    this.datasets.delete(name);
  }

  push(definition: PushDefinition): Job {
    const job: Job = {
      id: this.jobs.length + 1,
      method: 'replication.run_onetime',
      arguments: [definition],
      state: 'RUNNING',
      error: null,
    };
    this.jobs.push(job);
    const run = (): void => this.#run(job, definition);
    if (this.#held === null) setTimeout(run, jobMilliseconds);
    else this.#held.push(run);
    return job;
  }

  hold(): () => void {
    this.#held ??= [];
    return () => {
      const waiting = this.#held ?? [];
      this.#held = null;
      for (const run of waiting) run();
    };
  }

  #run(job: Job, definition: PushDefinition): void {
    if (job.state !== 'RUNNING') return;
    try {
      const { other } = this;
      if (!this.up) throw new Error('the system was powered off');
      if (other === null || !other.up || !this.linked)
        throw new Error('ssh: connect to host filer port 22: Connection timed out');
      for (const source of definition.source_datasets) this.#send(this.must(source), other, definition);
      job.state = 'SUCCESS';
    } catch (error) {
      job.state = 'FAILED';
      job.error = error instanceof Error ? error.message : String(error);
    }
  }

  #send(source: Dataset, other: Filer, definition: PushDefinition): void {
    const pattern = new RegExp(`^(?:${definition.name_regex})$`);
    const snapshots = source.snapshots.filter(({ name }) => pattern.test(name));
    let target = other.datasets.get(definition.target_dataset);
    if (target !== undefined && definition.readonly === 'REQUIRE' && !target.readonly)
      throw new Error(`Target dataset ${target.name} does not have readonly=on`);
    const there = target?.snapshots.filter(({ name }) => pattern.test(name)) ?? [];
    const base = snapshots.findLast(({ name }) => there.some((one) => one.name === name)) ?? null;
    if (target !== undefined && base === null && !definition.allow_from_scratch)
      throw new Error(
        `No incremental base on dataset ${source.name} and replication from scratch is not allowed`,
      );
    target ??= other.add(definition.target_dataset, source.type);
    let last = base;
    for (const snapshot of snapshots.slice(base === null ? 0 : snapshots.indexOf(base) + 1)) {
      this.#receive(other, target, last, snapshot);
      last = snapshot;
    }
    if (definition.readonly === 'SET') target.readonly = true;
  }

  /** `zfs receive -F`: back to the base, and what is newer there goes, unless it is held. */
  #receive(other: Filer, target: Dataset, base: Snapshot | null, snapshot: Snapshot): void {
    const at = base === null ? null : target.snapshots.find(({ guid }) => guid === base.guid);
    if (at === undefined)
      throw new Error(
        'cannot receive incremental stream: most recent snapshot does not match incremental source',
      );
    const newer = target.snapshots.filter(({ txg }) => at === null || txg > at.txg);
    if (newer.some(({ held }) => held))
      throw new Error(`cannot receive incremental stream: destination ${target.name}: dataset is busy`);
    target.snapshots = target.snapshots.filter((one) => !newer.includes(one));
    this.bytesSent += written(base?.files ?? new Map(), snapshot.files) + 1;
    const { name, guid, creation, files } = snapshot;
    other.#stored(target, { name, guid, creation, files });
    target.files = new Map(files);
  }

  #stored(dataset: Dataset, made: Pick<Snapshot, 'name' | 'guid' | 'creation' | 'files'>): Snapshot {
    this.#txg += 1;
    const before = dataset.snapshots.at(-1)?.files ?? this.#originFiles(dataset);
    const snapshot = { ...made, txg: this.#txg, written: written(before, made.files), held: false };
    dataset.snapshots.push(snapshot);
    return snapshot;
  }

  #originFiles({ origin }: Dataset): Files {
    return origin === '' ? new Map() : this.mustSnapshot(origin)[1].files;
  }
}

function written(before: Files, after: Files): number {
  let bytes = 0;
  for (const [name, text] of after) if (before.get(name) !== text) bytes += Math.max(1, text.length);
  for (const name of before.keys()) if (!after.has(name)) bytes += 1;
  return bytes;
}
