/**
 * Ceph clusters in memory, as far as `rbd` shows them: images with their snapshots, mirroring in snapshot mode, and what was
 * seen of real clusters (storage.md A.5): demotion snapshots, orphans, split brain, exit codes, a promotion that is held
 * up. Content is a set of small files per image; a snapshot is a copy of it.
 */

type Files = ReadonlyMap<string, string>;

interface Namespace {
  readonly type: 'user' | 'mirror';
  state?: 'primary' | 'demoted' | 'non-primary';
  complete?: boolean;
  mirror_peer_uuids?: string[];
  primary_mirror_uuid?: string;
  primary_snap_id?: number;
  last_copied_object_number?: number;
}

interface Snapshot {
  readonly id: number;
  readonly name: string;
  readonly at: number;
  readonly namespace: Namespace;
  files: Files;
}

interface Image {
  readonly id: string;
  readonly globalId: string | null;
  primary: boolean;
  snapshots: Snapshot[];
  meta: Map<string, string>;
  files: Map<string, string>;
  readonly parent: string | null;
  resync: boolean;
  /** Ids of the demotions that were taken over from the other side: their image may follow this one. */
  readonly lastTaken: Set<number>;
}

export interface Answer {
  readonly code: number;
  readonly stdout?: unknown;
  readonly stderr?: string;
}

/** Answered never: the command hangs until its limit. */
export const hangs = Symbol('hangs');

const done: Answer = { code: 0 };
const absent: Answer = { code: 2, stderr: 'rbd: error opening image: (2) No such file or directory' };
const readOnly: Answer = { code: 30, stderr: 'rbd: failed: (30) Read-only file system' };

export class Cluster {
  readonly name: string;
  readonly images = new Map<string, Image>();
  peer: Cluster | null = null;
  up = true;
  /** Of the daemon that copies to this cluster. */
  standsStill = false;
  /** The daemon waits for the dead cluster: a forced promotion waits for it until its connection is blocked. */
  waits = false;
  clockOffsetSeconds = 0;
  readonly blocked: string[] = [];
  #ids = 3;
  #link = true;
  #free: (() => void)[] = [];
  /** Promotions that wait: they know what is below their own orphan. */
  readonly #beganHere = new Set<string>();

  constructor(name: string) {
    this.name = name;
  }

  /** Once the daemon's connection is blocked. */
  freed(): Promise<void> {
    return this.waits ? new Promise((resolve) => this.#free.push(resolve)) : Promise.resolve();
  }

  reset(): void {
    this.images.clear();
    this.blocked.length = 0;
    this.up = true;
    this.linked = true;
    this.standsStill = false;
    this.waits = false;
    this.clockOffsetSeconds = 0;
    this.forget();
  }

  /** As if the command that waits had been ended: whoever asks next knows nothing of it. */
  forget(): void {
    this.#beganHere.clear();
  }

  get mirrorUuid(): string {
    return `uuid-of-${this.name}`;
  }

  get linked(): boolean {
    return this.#link && this.up && (this.peer?.up ?? false);
  }

  set linked(up: boolean) {
    this.#link = up;
    if (this.peer !== null) this.peer.#link = up;
  }

  create(
    volume: string,
    options: { readonly globalId?: string; readonly primary?: boolean; readonly parent?: string } = {},
  ): Image {
    this.#ids += 1;
    const image: Image = {
      id: `${this.name}-${this.#ids}`,
      globalId: options.globalId ?? null,
      primary: options.primary ?? true,
      snapshots: [],
      meta: new Map(),
      files: new Map(),
      parent: options.parent ?? null,
      resync: false,
      lastTaken: new Set(),
    };
    this.images.set(volume, image);
    return image;
  }

  /** A mirrored image with its first mirror snapshot. */
  createMirrored(volume: string, globalId: string): void {
    this.#cut(this.create(volume, { globalId }), 'primary');
  }

  now(): number {
    return Date.now() + this.clockOffsetSeconds * 1000;
  }

  /** What `rbd` and `ceph` answer, by the words behind their options. */
  answer(words: readonly string[]): Answer | typeof hangs {
    const [first = '', second = '', third = ''] = words;
    switch (first) {
      case 'info':
        return this.#with(second, (image) => ({ code: 0, stdout: this.#info(second, image) }));
      case 'snap':
        return this.#snap(second, words);
      case 'mirror':
        return second === 'pool' ? this.#pool(third) : this.#mirror(third, words);
      case 'image-meta':
        return this.#with(third, (image) => this.#meta(second, image, words.slice(3)));
      case 'create':
        return this.images.has(words.at(-1) ?? '') ? { code: 17 } : this.#made(words.at(-1) ?? '');
      case 'rm':
        return this.images.delete(second) ? done : absent;
      case 'clone':
      case 'cp':
        return this.#copy(words.at(-2) ?? '', words.at(-1) ?? '');
      case 'ls':
        return { code: 0, stdout: this.#names(second) };
      case 'namespace':
        return { code: 0, stdout: [] };
      case 'status':
        return this.#with(second, (image) => ({ code: 0, stdout: { watchers: this.#watchers(image) } }));
      case 'lock':
        return second === 'rm'
          ? done
          : this.#with(words.at(-1) ?? '', (image) => ({ code: 0, stdout: this.#locks(image) }));
      case 'diff':
        return this.#with(words.at(-1) ?? '', (image) => this.#diff(image, third));
      case 'fsid':
        return { code: 0, stdout: `fsid-of-${this.name}\n` };
      case 'osd':
        return this.#osd(words);
      default:
        return { code: 22, stderr: `rbd: unknown command ${first}` };
    }
  }

  #with(volume: string, work: (image: Image) => Answer | typeof hangs): Answer | typeof hangs {
    const image = this.images.get(volume);
    return image === undefined ? absent : work(image);
  }

  #made(volume: string): Answer {
    this.create(volume);
    return done;
  }

  #info(volume: string, image: Image): unknown {
    const [pool = '', name = ''] = volume.split('/');
    const mirroring = {
      mode: 'snapshot',
      state: 'enabled',
      global_id: image.globalId,
      primary: image.primary,
    };
    return {
      name,
      id: image.id,
      size: 8,
      ...(image.globalId === null ? {} : { mirroring }),
      ...(image.parent === null ? {} : { parent: { pool, image: image.parent.split('/')[1] ?? '' } }),
    };
  }

  #snap(verb: string, words: readonly string[]): Answer | typeof hangs {
    const [volume = '', name = ''] = (words.at(-1) ?? '').split('@');
    return this.#with(volume, (image) => {
      if (verb === 'ls') return { code: 0, stdout: image.snapshots.map(shown) };
      if (!image.primary) return readOnly;
      if (verb === 'create') {
        this.#add(image, name, { type: 'user' }, image.files);
        return done;
      }
      const at = image.snapshots.findIndex((one) => one.name === name);
      if (at < 0) return absent;
      if (verb === 'rollback') image.files = new Map(image.snapshots[at]?.files);
      else image.snapshots.splice(at, 1);
      return done;
    });
  }

  #meta(verb: string, image: Image, words: readonly string[]): Answer {
    const [key = '', value = ''] = words;
    if (verb === 'ls')
      return { code: 0, stdout: image.meta.size === 0 ? '' : Object.fromEntries(image.meta) };
    if (verb === 'get') {
      const text = image.meta.get(key);
      return text === undefined ? absent : { code: 0, stdout: `${text}\n` };
    }
    if (!image.primary) return readOnly;
    if (verb === 'set') image.meta.set(key, value);
    else if (!image.meta.delete(key)) return absent;
    return done;
  }

  #mirror(verb: string, words: readonly string[]): Answer | typeof hangs {
    const volume = words.at(-1) ?? '';
    return this.#with(volume, (image) => {
      switch (verb) {
        case 'status':
          return { code: 0, stdout: this.#status(volume, image) };
        case 'snapshot':
          if (!image.primary) return readOnly;
          this.#cut(image, 'primary');
          this.copyAll();
          return done;
        case 'demote':
          if (!image.primary) return { code: 22 };
          this.#cut(image, 'demoted');
          image.primary = false;
          this.copyAll();
          return done;
        case 'promote':
          return this.#promote(volume, image, words.includes('--force'));
        default:
          image.resync = true;
          this.copyAll();
          return done;
      }
    });
  }

  #promote(volume: string, image: Image, force: boolean): Answer | typeof hangs {
    if (image.primary) return { code: 22, stderr: 'rbd: error promoting image to primary' };
    const newest = newestMirror(image);
    const free = newest?.namespace.state === 'demoted' && newest.namespace.complete === true;
    if (!force && !free) return { code: 16, stderr: 'rbd: error promoting image to primary' };
    if (force && this.waits) {
      this.#orphan(image);
      this.#beganHere.add(volume);
      return hangs;
    }
    const copy = image.snapshots.findLast(
      ({ namespace }) =>
        namespace.primary_mirror_uuid !== '' && namespace.complete === true && namespace.type === 'mirror',
    );
    const onOrphan = newest?.namespace.primary_mirror_uuid === '' && !this.#beganHere.delete(volume);
    if (force && !onOrphan && copy !== undefined) image.files = new Map(copy.files);
    image.snapshots = image.snapshots.filter(({ namespace }) => namespace.type === 'user');
    image.primary = true;
    this.#cut(image, 'primary');
    if (free && this.peer?.images.has(volume) === true) this.copyAll();
    return done;
  }

  /** Left by a forced promotion before it has done anything else. */
  #orphan(image: Image): void {
    const namespace = {
      type: 'mirror',
      state: 'non-primary',
      complete: true,
      mirror_peer_uuids: [],
      primary_mirror_uuid: '',
      primary_snap_id: 2 ** 64,
    } as const;
    this.#add(image, '.mirror.non_primary.orphan', { ...namespace, mirror_peer_uuids: [] }, image.files);
  }

  #pool(verb: string): Answer {
    if (verb === 'info')
      return {
        code: 0,
        stdout: {
          mode: 'image',
          site_name: this.name,
          peers: [{ site_name: this.peer?.name ?? '', mirror_uuid: this.peer?.mirrorUuid ?? '' }],
        },
      };
    const mirrored = [...this.images].filter(([, image]) => image.globalId !== null);
    const daemon = { instance_id: '77', hostname: this.name, health: 'OK' };
    return {
      code: 0,
      stdout: {
        summary: { health: 'OK' },
        daemons: [daemon],
        images: mirrored.map(([volume, image]) => this.#status(volume, image)),
      },
    };
  }

  #status(volume: string, image: Image): unknown {
    const copy = newestMirror(image);
    const split =
      !image.primary &&
      this.peer?.images.get(volume)?.primary === true &&
      !follows(image, this.peer.images.get(volume));
    const words = image.primary
      ? 'local image is primary'
      : `replaying, ${JSON.stringify({ replay_state: 'idle', local_snapshot_timestamp: Math.floor((copy?.at ?? 0) / 1000), remote_snapshot_timestamp: Math.floor((copy?.at ?? 0) / 1000) })}`;
    return {
      name: volume.split('/')[1],
      global_id: image.globalId,
      state: image.primary ? 'up+stopped' : split ? 'up+error' : 'up+replaying',
      description: split ? 'split-brain' : words,
      last_update: '2026-11-21 15:32:18',
      peer_sites: [
        { site_name: this.peer?.name ?? '', state: 'up+stopped', description: '', last_update: '' },
      ],
    };
  }

  #names(pool: string): string[] {
    return [...this.images.keys()]
      .filter((volume) => volume.startsWith(`${pool}/`))
      .map((volume) => volume.slice(pool.length + 1));
  }

  #watchers(image: Image): unknown[] {
    if (image.primary || this.blocked.length > 0) return [];
    return [{ address: '192.0.2.9:0/123456', client: 77 }];
  }

  #locks(image: Image): unknown[] {
    if (this.#watchers(image).length === 0) return [];
    return [{ id: 'auto 1', locker: 'client.77', address: '192.0.2.9:0/123456' }];
  }

  #osd(words: readonly string[]): Answer {
    if (words[1] === 'blocklist') {
      this.blocked.push(words[3] ?? '');
      this.waits = false;
      for (const go of this.#free.splice(0)) go();
      return done;
    }
    return {
      code: 0,
      stdout: [
        { pool_name: 'lb', application_metadata: { rbd: {} } },
        { pool_name: 'other', application_metadata: {} },
      ],
    };
  }

  #copy(from: string, to: string): Answer {
    const [volume = '', name] = from.split('@');
    const parent = this.images.get(volume);
    const files =
      name === undefined ? parent?.files : parent?.snapshots.find((one) => one.name === name)?.files;
    if (files === undefined) return absent;
    const made = this.create(to, name === undefined ? {} : { parent: volume });
    made.files = new Map(files);
    return done;
  }

  #diff(image: Image, from: string): Answer {
    const then = image.snapshots.find(({ name }) => name === from)?.files;
    if (then === undefined) return absent;
    const changed = [...image.files].filter(([file, text]) => then.get(file) !== text);
    return {
      code: 0,
      stdout: changed.map(([, text], offset) => ({ offset, length: text.length, exists: 'true' })),
    };
  }

  #add(image: Image, name: string, namespace: Namespace, files: Files, at = this.now()): Snapshot {
    this.#ids += 1;
    const snapshot: Snapshot = { id: this.#ids, name, at, namespace, files: new Map(files) };
    image.snapshots.push(snapshot);
    return snapshot;
  }

  #cut(image: Image, state: 'primary' | 'demoted'): void {
    this.#ids += 1;
    const name = `.mirror.primary.${image.globalId}.${this.#ids}`;
    this.#add(
      image,
      name,
      { type: 'mirror', state, complete: true, mirror_peer_uuids: ['peer'] },
      image.files,
    );
  }

  /** The daemons of both sides do what there is to do. */
  copyAll(): void {
    if (!this.linked || this.peer === null) return;
    for (const [from, to] of [
      [this, this.peer],
      [this.peer, this],
    ] as const)
      for (const volume of from.images.keys()) to.#take(from, volume);
  }

  #take(from: Cluster, volume: string): void {
    const origin = from.images.get(volume);
    const last = origin === undefined ? undefined : newestMirror(origin);
    if (origin?.globalId == null || last === undefined || last.namespace.primary_mirror_uuid !== undefined)
      return;
    const old = this.images.get(volume);
    if (old?.primary === true) return;
    if (old !== undefined && !old.resync && !follows(old, origin)) return;
    if (old?.resync === true && !origin.primary) return;
    if (old?.resync === true) this.images.delete(volume);
    const image =
      this.images.get(volume) ?? this.create(volume, { globalId: origin.globalId, primary: false });
    if (
      image.snapshots.some(
        ({ namespace }) =>
          namespace.primary_snap_id === last.id &&
          namespace.complete === true &&
          namespace.primary_mirror_uuid === from.mirrorUuid,
      )
    )
      return;
    this.#carry(image, origin, last, from);
  }

  /** Snapshots of the primary come first and the data afterwards; who stands still has got as far as that. */
  #carry(image: Image, origin: Image, last: Snapshot, from: Cluster): void {
    const kept = image.snapshots.filter(
      ({ namespace, name }) =>
        namespace.type === 'mirror' || origin.snapshots.some((one) => one.name === name),
    );
    const complete = kept.filter(({ namespace }) => namespace.complete !== false);
    image.snapshots = this.standsStill
      ? complete
      : complete.filter(({ namespace }) => namespace.type === 'user');
    for (const { name, namespace, files, id } of origin.snapshots)
      if (namespace.type === 'user' && id < last.id && !image.snapshots.some((one) => one.name === name))
        this.#add(image, name, { type: 'user' }, files);
    const state = last.namespace.state === 'demoted' ? 'demoted' : 'non-primary';
    const namespace: Namespace = {
      type: 'mirror',
      state,
      complete: !this.standsStill,
      mirror_peer_uuids: [],
      primary_mirror_uuid: from.mirrorUuid,
      primary_snap_id: last.id,
    };
    this.#ids += 1;
    this.#add(image, `.mirror.non_primary.${image.globalId}.${this.#ids}`, namespace, last.files, last.at);
    if (this.standsStill) {
      for (const [file, text] of last.files) image.files.set(file, `${text} (half)`);
      return;
    }
    if (state === 'demoted') image.lastTaken.add(last.id);
    image.files = new Map(last.files);
    image.meta = new Map(origin.meta);
  }
}

function newestMirror(image: Image): Snapshot | undefined {
  return image.snapshots.findLast(({ namespace }) => namespace.type === 'mirror');
}

/** A replica goes on from what it last took; an old primary only where the new one had taken its last word. */
function follows(old: Image, origin: Image | undefined): boolean {
  const newest = newestMirror(old);
  if (newest === undefined || newest.namespace.primary_mirror_uuid !== undefined) return true;
  return newest.namespace.state === 'demoted' && origin?.lastTaken.has(newest.id) === true;
}

function shown({ id, name, at, namespace }: Snapshot): unknown {
  return {
    id,
    name,
    size: 8,
    protected: 'false',
    timestamp: new Date(at)
      .toUTCString()
      .replace(/^(\w+), (\d+) (\w+) (\d+) ([\d:]+) GMT$/, '$1 $3 $2 $5 $4'),
    namespace,
  };
}
