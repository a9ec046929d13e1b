/** ActiveDR of two FlashArrays: pods that are promoted or demoted as a whole, and a link that follows from that. */
import { type Files, type FlashArray, PurityError } from './flash-array.ts';

export interface PodSnapshot {
  readonly suffix: string;
  readonly created: number;
  /** By volume, without the name of the pod. */
  readonly contents: ReadonlyMap<string, Files>;
}

type Contents = ReadonlyMap<string, Files>;

export class Pod {
  readonly array: FlashArray;
  readonly name: string;
  status: 'promoted' | 'demoted' | 'promoting' | 'quiescing';
  snapshots: PodSnapshot[] = [];
  /** `POD.undo-demote` */
  undo: Contents | null = null;
  /** Clones of what was undone. */
  readonly kept: Contents[] = [];
  #coming: { looks: number; readonly run: () => void } | null = null;

  constructor(array: FlashArray, name: string, status: Pod['status']) {
    this.array = array;
    this.name = name;
    this.status = status;
  }

  get files(): Contents {
    const prefix = `${this.name}::`;
    return new Map(
      [...this.array.volumes.values()]
        .filter(({ name, destroyed }) => name.startsWith(prefix) && !destroyed)
        .map(({ name, files }) => [name.slice(prefix.length), new Map(files)]),
    );
  }

  hold(contents: Contents): void {
    for (const [name, files] of contents)
      this.array.mustVolume(`${this.name}::${name}`).files = new Map(files);
  }

  comes(status: Pod['status'], run: () => void): void {
    this.status = status;
    this.#coming = { looks: 1, run };
  }

  look(): void {
    if (this.#coming === null) return;
    if (this.#coming.looks > 0) this.#coming.looks -= 1;
    else {
      const { run } = this.#coming;
      this.#coming = null;
      run();
    }
  }
}

export class ReplicaLink {
  from: Pod;
  to: Pod;
  recoveryPoint = 0;
  held = false;
  lying = false;
  bytes = 0;
  /** What has arrived, whether or not it can be seen. */
  #journal: { readonly files: Contents; readonly snapshots: readonly PodSnapshot[] } | null = null;

  constructor(from: Pod, to: Pod) {
    this.from = from;
    this.to = to;
  }

  get isUp(): boolean {
    return this.from.array.up && this.from.array.connected();
  }

  /** Everything that was written until now is sent. */
  advance(): void {
    if (!this.isUp) return;
    if (this.from.status === 'demoted' && this.to.status === 'promoted')
      [this.from, this.to, this.#journal] = [this.to, this.from, null];
    if (this.held || this.from.status === 'demoted') return;
    const files = this.from.files;
    const before = this.#journal?.files ?? this.to.files;
    for (const [name, content] of files)
      for (const [file, text] of content) if (before.get(name)?.get(file) !== text) this.bytes += text.length;
    this.#journal = { files, snapshots: [...this.from.snapshots] };
    this.recoveryPoint = this.from.array.now();
    this.apply();
  }

  /** A replica that nobody has opened shows what has arrived. */
  apply(): void {
    if (this.#journal === null || this.to.status !== 'demoted') return;
    this.to.hold(this.#journal.files);
    this.to.snapshots = [...this.#journal.snapshots];
  }

  status(): string {
    if (this.lying) return 'replicating';
    if (!this.isUp) return 'unhealthy';
    return this.from.status === 'quiescing' ? 'quiescing' : 'replicating';
  }
}

/** What both arrays know of their pods. */
export class Pods {
  pods: Pod[] = [];
  links: ReplicaLink[] = [];

  tie(from: Pod, to: Pod): ReplicaLink {
    const link = new ReplicaLink(from, to);
    this.pods.push(from, to);
    this.links.push(link);
    link.advance();
    return link;
  }

  at(array: FlashArray): Pod[] {
    return this.pods.filter((pod) => pod.array === array);
  }

  linkOf(pod: Pod): ReplicaLink | undefined {
    return this.links.find(({ from, to }) => from === pod || to === pod);
  }

  must(array: FlashArray, name: string): Pod {
    const found = this.at(array).find((pod) => pod.name === name);
    if (found === undefined) throw new PurityError(name, 'Pod does not exist.');
    return found;
  }

  look(): void {
    for (const pod of this.pods) pod.look();
    for (const link of this.links) link.advance();
  }

  promote(pod: Pod, from: string | null): void {
    if (pod.status !== 'demoted') throw new PurityError(pod.name, 'Pod is not demoted.');
    if (from !== null && (from !== `${pod.name}.undo-demote` || pod.undo === null))
      throw new PurityError(from, 'Pod does not exist.');
    pod.comes('promoting', () => {
      if (from !== null && pod.undo !== null) {
        pod.hold(pod.undo);
        pod.undo = null;
      }
      pod.status = 'promoted';
    });
  }

  demote(pod: Pod, leaving: { readonly quiesce: boolean; readonly skip: boolean }): void {
    if (pod.status !== 'promoted') throw new PurityError(pod.name, 'Pod is not promoted.');
    if (pod.undo !== null)
      throw new PurityError(pod.name, 'Pod cannot be demoted: its undo-demote pod is pending eradication.');
    const link = this.linkOf(pod);
    if (leaving.quiesce === leaving.skip)
      throw new PurityError(pod.name, 'One of quiesce and skip_quiesce must be given.');
    if (leaving.quiesce && link?.isUp !== true)
      throw new PurityError(pod.name, 'Pod cannot be quiesced: its replica link is unhealthy.');
    const done = (): void => {
      pod.undo = pod.files;
      pod.status = 'demoted';
      if (link?.to === pod) link.apply();
    };
    if (leaving.skip) done();
    else
      pod.comes('quiescing', () => {
        link?.advance();
        done();
      });
  }

  /** Of volumes of one pod, at one moment. */
  snapshot(array: FlashArray, sources: readonly string[], suffix: string): void {
    const [name = ''] = (sources[0] ?? '').split('::');
    const pod = this.must(array, name);
    if (pod.status !== 'promoted') throw new PurityError(name, 'Pod is demoted.');
    if (pod.snapshots.some((one) => one.suffix === suffix))
      throw new PurityError(`${sources[0]}.${suffix}`, 'Volume snapshot already exists.');
    const wanted = new Set(sources.map((source) => source.split('::')[1] ?? ''));
    const contents = new Map([...pod.files].filter(([volume]) => wanted.has(volume)));
    pod.snapshots.push({ suffix, created: array.now(), contents });
  }
}
