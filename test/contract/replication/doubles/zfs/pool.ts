/**
 * A pool of OpenZFS 2.x in memory: datasets and zvols, snapshots with holds, bookmarks, clones, streams that can break off
 * and be resumed. Its refusals are those of zfs(8); what it does not know it refuses, so that nothing passes by luck.
 */
export class Refusal extends Error {
  readonly code: number;
  /** What was printed before it. */
  printed: string;

  constructor(words: string, code = 1, printed = '') {
    super(words);
    this.code = code;
    this.printed = printed;
  }
}

export interface Snapshot {
  readonly short: string;
  readonly guid: string;
  readonly createtxg: number;
  readonly creation: number;
  readonly content: string;
  readonly local: Map<string, string>;
  readonly holds: Set<string>;
}

/** What `receive -s` keeps of a stream that broke off. */
interface Partial {
  readonly head: StreamHead;
  readonly body: string;
}

export interface StreamHead {
  readonly toname: string;
  readonly toguid: string;
  readonly fromguid: string | null;
  readonly creation: number;
  readonly type: 'filesystem' | 'volume';
  readonly bytes: number;
  readonly offset: number;
}

export interface Dataset {
  readonly name: string;
  readonly type: 'filesystem' | 'volume';
  readonly origin: string;
  readonly local: Map<string, string>;
  readonly snapshots: Snapshot[];
  readonly bookmarks: { readonly short: string; readonly of: Snapshot }[];
  mounted: boolean;
  content: string;
  partial: Partial | null;
}

let guids = 1000;

export class ZfsPool {
  readonly name: string;
  readonly features: { resume: boolean; bookmarks: boolean };
  readonly datasets = new Map<string, Dataset>();
  clock = 1_790_000_000;
  #txg = 1;

  constructor(name: string, features = { resume: true, bookmarks: true }) {
    this.name = name;
    this.features = features;
  }

  create(name: string, type: Dataset['type'], origin = '-'): Dataset {
    if (this.datasets.has(name)) throw new Refusal(`cannot create '${name}': dataset already exists`);
    const made: Dataset = {
      ...{ name, type, origin, content: '', partial: null, mounted: false },
      ...{ local: new Map(), snapshots: [], bookmarks: [] },
    };
    this.datasets.set(name, made);
    return made;
  }

  dataset(name: string): Dataset {
    const found = this.datasets.get(name);
    if (found === undefined) throw new Refusal(`cannot open '${name}': dataset does not exist`);
    return found;
  }

  snapshot(name: string): { readonly dataset: Dataset; readonly snapshot: Snapshot } {
    const [of = '', short = ''] = name.split('@');
    const dataset = this.dataset(of);
    const snapshot = dataset.snapshots.find((one) => one.short === short);
    if (snapshot === undefined) throw new Refusal(`cannot open '${name}': dataset does not exist`);
    return { dataset, snapshot };
  }

  cut(name: string, local: ReadonlyMap<string, string>): void {
    const [of = '', short = ''] = name.split('@');
    const { snapshots, content } = this.dataset(of);
    if (snapshots.some((one) => one.short === short))
      throw new Refusal(`cannot create snapshot '${name}': dataset already exists`);
    guids += 1;
    this.clock += 1;
    snapshots.push({
      ...{ short, content, guid: String(guids), creation: this.clock, createtxg: this.#nextTxg() },
      ...{ local: new Map(local), holds: new Set() },
    });
  }

  bookmark(from: string, to: string): void {
    if (!this.features.bookmarks) throw new Refusal("unrecognized command 'bookmark'", 2);
    const { dataset, snapshot } = this.snapshot(from);
    const [of, short = ''] = to.split('#');
    if (of !== dataset.name)
      throw new Refusal(`cannot create bookmark '${to}': bookmark is in another dataset`);
    if (dataset.bookmarks.some((one) => one.short === short))
      throw new Refusal(`cannot create bookmark '${to}': bookmark exists`);
    dataset.bookmarks.push({ short, of: snapshot });
  }

  destroy(name: string): void {
    const [of = '', mark = ''] = name.split(/[@#]/);
    const dataset = this.dataset(of);
    if (name.includes('#')) {
      const at = dataset.bookmarks.findIndex(({ short }) => short === mark);
      if (at < 0) throw new Refusal(`bookmark '${name}' does not exist.`);
      dataset.bookmarks.splice(at, 1);
    } else if (name.includes('@')) {
      const { snapshot } = this.snapshot(name);
      const clone = [...this.datasets.values()].find(({ origin }) => origin === name);
      if (snapshot.holds.size > 0) throw new Refusal(`cannot destroy '${name}': dataset is busy`);
      if (clone !== undefined) throw new Refusal(`cannot destroy '${name}': snapshot has dependent clones`);
      dataset.snapshots.splice(dataset.snapshots.indexOf(snapshot), 1);
    } else {
      if (dataset.snapshots.length > 0)
        throw new Refusal(`cannot destroy '${name}': filesystem has children`);
      this.datasets.delete(name);
    }
  }

  /** `base`: `@snapshot` or `#bookmark` of the same dataset. */
  send(name: string, base: string | null): { readonly head: StreamHead; readonly body: string } {
    const { dataset, snapshot } = this.snapshot(name);
    const from = base === null ? null : sourceOf(dataset, base);
    if (from !== null && from.createtxg >= snapshot.createtxg)
      throw new Refusal(`cannot send '${name}': not an earlier snapshot from the same fs`);
    return {
      head: {
        ...{ toname: name, toguid: snapshot.guid, fromguid: from?.guid ?? null, offset: 0 },
        ...{ creation: snapshot.creation, type: dataset.type, bytes: snapshot.content.length },
      },
      body: snapshot.content,
    };
  }

  resend(token: string): { readonly head: StreamHead; readonly body: string } {
    const head = readToken(token);
    for (const dataset of this.datasets.values()) {
      const snapshot = dataset.snapshots.find(({ guid }) => guid === head.toguid);
      if (snapshot === undefined) continue;
      const known = [...dataset.snapshots, ...dataset.bookmarks.map(({ of }) => of)];
      if (head.fromguid !== null && !known.some(({ guid }) => guid === head.fromguid))
        throw new Refusal(`cannot resume send: incremental source ${head.fromguid} no longer exists`, 255);
      return { head, body: snapshot.content.slice(head.offset) };
    }
    throw new Refusal(`cannot resume send: '${head.toname}' used in the initial send no longer exists`, 255);
  }

  /** `body` may be shorter than the head says: the stream has broken off. */
  receive(name: string, head: StreamHead, body: string, keep: boolean): void {
    const target = this.datasets.get(name) ?? null;
    mustTake(name, target, head);
    const sofar = head.offset === 0 ? '' : (target?.partial?.body ?? '');
    const whole = sofar + body;
    if (whole.length < head.bytes) {
      if (keep) (target ?? this.create(name, head.type)).partial = { head, body: whole };
      throw new Refusal('cannot receive: failed to read from stream');
    }
    const dataset = target ?? this.create(name, head.type);
    dataset.partial = null;
    dataset.content = whole;
    dataset.snapshots.push({
      ...{ short: head.toname.split('@')[1] ?? '', guid: head.toguid, createtxg: this.#nextTxg() },
      ...{ creation: head.creation, content: whole, local: new Map(), holds: new Set<string>() },
    });
  }

  abandon(name: string): void {
    const dataset = this.dataset(name);
    if (dataset.partial === null)
      throw new Refusal(`'${name}' does not have any resumable receive state to abort`);
    dataset.partial = null;
    if (dataset.snapshots.length === 0) this.datasets.delete(name);
  }

  #nextTxg(): number {
    this.#txg += 1;
    return this.#txg;
  }
}

function sourceOf({ snapshots, bookmarks, name }: Dataset, base: string): Snapshot {
  const short = base.slice(1);
  const found = base.startsWith('#')
    ? bookmarks.find((one) => one.short === short)?.of
    : snapshots.find((one) => one.short === short);
  if (found === undefined) throw new Refusal(`cannot open '${name}${base}': dataset does not exist`);
  return found;
}

function mustTake(name: string, target: Dataset | null, head: StreamHead): void {
  if (head.offset > 0) {
    const kept = target?.partial ?? null;
    if (kept === null || kept.head.toguid !== head.toguid || kept.body.length !== head.offset)
      throw new Refusal(`cannot receive resume stream: destination '${name}' does not have that state`);
    return;
  }
  if (target?.partial != null)
    throw new Refusal(
      `cannot receive: destination ${name} contains partially-complete state from "zfs receive -s".`,
    );
  if (head.fromguid === null && target !== null)
    throw new Refusal(`cannot receive new filesystem stream: destination '${name}' exists`);
  if (head.fromguid !== null && target === null)
    throw new Refusal(`cannot receive incremental stream: destination '${name}' does not exist`);
  if (head.fromguid !== null && target?.snapshots.at(-1)?.guid !== head.fromguid)
    throw new Refusal(`cannot receive incremental stream: most recent snapshot of ${name} does not match`);
  if (head.fromguid !== null && target?.snapshots.at(-1)?.content !== target?.content)
    throw new Refusal(`cannot receive incremental stream: destination ${name} has been modified`);
}

export function tokenOf({ partial }: Dataset): string {
  if (partial === null) return '-';
  const head = { ...partial.head, offset: partial.body.length };
  return Buffer.from(JSON.stringify(head)).toString('base64url');
}

function readToken(token: string): StreamHead {
  return JSON.parse(Buffer.from(token, 'base64url').toString('utf8'));
}
