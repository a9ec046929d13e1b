/**
 * A LINSTOR cluster in memory, after the controller's REST description and source (release 1.28, storage.md C.12):
 * resource definitions, resources on nodes, snapshots, a key-value store, and shipments to another cluster. What a
 * volume holds is a map of files. Nothing happens by the clock: a shipment advances each time somebody looks.
 */
import { createHash } from 'node:crypto';

export type Files = Map<string, string>;
export type Props = Record<string, string>;

export interface Snap {
  readonly name: string;
  readonly uuid: string;
  readonly madeAt: number;
  readonly props: Props;
  /** Of its resource definition at that moment: a restore brings them back. */
  readonly definitionProps: Props;
  files: Files;
}

export interface Definition {
  readonly name: string;
  readonly uuid: string;
  props: Props;
  hasVolume: boolean;
  readonly nodes: Map<string, { readonly diskless: boolean; inUse: boolean }>;
  files: Files | null;
  readonly snaps: Map<string, Snap>;
}

/** The shipping link between two clusters. */
export interface Link {
  up: boolean;
  held: boolean;
  bytes: number;
}

interface Shipment {
  readonly remote: string;
  readonly from: Snap;
  readonly to: Snap;
  readonly into: Definition;
  readonly other: Cluster;
  readonly base: Snap | null;
  looksLeft: number;
}

/** A refusal in the controller's words. */
export class Refusal extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

const looksUntilDone = 2;
const sentAs = 'Backup/Target/SourceSnapDfnUUID';
const received = 'BackupShipping/Target/ShippingStatus';
const block = 'DrbdOptions/Resource/auto-promote';
let serial = 0;

export class Cluster {
  readonly id: string;
  readonly hash: string;
  readonly nodes: ReadonlyMap<string, string>;
  readonly definitions = new Map<string, Definition>();
  readonly keyValues = new Map<string, Props>();
  readonly remotes = new Map<string, Cluster>();
  readonly link: Link;
  skewSeconds = 0;
  up = true;
  /** Answers 'busy' to so many shipments. */
  busyFor = 0;
  #shipments: Shipment[] = [];

  constructor(id: string, nodes: ReadonlyMap<string, string>, link: Link) {
    this.id = id;
    this.hash = createHash('sha1').update(id).digest('hex').slice(0, 6);
    this.nodes = nodes;
    this.link = link;
  }

  now(): number {
    return Date.now() + this.skewSeconds * 1000;
  }

  define(name: string): Definition {
    if (this.definitions.has(name)) throw new Refusal(500, `Resource definition '${name}' already exists.`);
    if (!/^[A-Za-z_][A-Za-z0-9_-]{1,47}$/.test(name))
      throw new Refusal(400, `'${name}' is not a valid name.`);
    const made: Definition = {
      name,
      uuid: uuid(),
      props: {},
      hasVolume: false,
      nodes: new Map(),
      files: null,
      snaps: new Map(),
    };
    this.definitions.set(name, made);
    return made;
  }

  /** A resource that takes writes, on the first node. */
  deploy(name: string): Definition {
    const made = this.define(name);
    made.hasVolume = true;
    this.#place(made, new Map());
    return made;
  }

  definition(name: string): Definition {
    const found = this.definitions.get(name);
    if (found === undefined) throw new Refusal(404, `Resource definition '${name}' not found.`);
    return found;
  }

  snapshot(definition: Definition, name: string): Snap {
    const found = definition.snaps.get(name);
    if (found === undefined)
      throw new Refusal(404, `Snapshot definition ${name} of resource ${definition.name} not found.`);
    return found;
  }

  remove(name: string): void {
    const definition = this.definition(name);
    this.#mustBeFree(definition);
    if (definition.snaps.size > 0) throw new Refusal(500, `Cannot delete ${name} because it has snapshots.`);
    this.definitions.delete(name);
  }

  cut(name: string, snapshot: string, props: Props): Snap {
    const definition = this.definition(name);
    if (definition.snaps.has(snapshot))
      throw new Refusal(500, `A snapshot definition with the name '${snapshot}' already exists in ${name}.`);
    if (definition.files === null) throw new Refusal(500, `Resource definition '${name}' has no resources.`);
    return this.#keep(definition, snapshot, props, definition.files, definition.props);
  }

  deleteSnapshot(name: string, snapshot: string): void {
    const definition = this.definition(name);
    const snap = this.snapshot(definition, snapshot);
    if (this.#moving(snap)) throw new Refusal(500, `Snapshot ${snapshot} is being shipped.`);
    definition.snaps.delete(snapshot);
  }

  restoreVolumes(from: string, snapshot: string, to: string): void {
    this.snapshot(this.definition(from), snapshot);
    const into = this.definition(to);
    if (into.hasVolume) throw new Refusal(500, `A volume definition of ${to} already exists.`);
    into.hasVolume = true;
  }

  restore(from: string, snapshot: string, to: string): void {
    const snap = this.snapshot(this.definition(from), snapshot);
    const into = this.definition(to);
    if (into.nodes.size > 0)
      throw new Refusal(500, 'Cannot restore to resource definition which already has resources');
    this.#mustBeWhole(snap);
    if (!into.hasVolume) throw new Refusal(500, `Resource definition '${to}' has no volume definitions.`);
    Object.assign(into.props, snap.definitionProps);
    this.#place(into, new Map(snap.files));
  }

  rollBack(name: string, snapshot: string): void {
    const definition = this.definition(name);
    const snap = this.snapshot(definition, snapshot);
    this.#mustBeFree(definition);
    this.#mustBeWhole(snap);
    if (definition.files === null) throw new Refusal(500, `Resource definition '${name}' has no resources.`);
    definition.files = new Map(snap.files);
  }

  makeAvailable(name: string, node: string): void {
    const definition = this.definition(name);
    if (!this.nodes.has(node)) throw new Refusal(404, `Node '${node}' not found.`);
    if (definition.files === null) throw new Refusal(500, `Resource definition '${name}' has no resources.`);
    if (!definition.nodes.has(node)) definition.nodes.set(node, { diskless: true, inUse: false });
  }

  removeResource(name: string, node: string): void {
    const definition = this.definition(name);
    const resource = definition.nodes.get(node);
    if (resource === undefined) throw new Refusal(404, `Resource ${name} on node ${node} not found.`);
    if (resource.inUse) throw new Refusal(500, `Resource '${name}' on node '${node}' is still in use.`);
    definition.nodes.delete(node);
    if ([...definition.nodes.values()].every(({ diskless }) => diskless)) {
      definition.nodes.clear();
      definition.files = null;
    }
  }

  ship(remote: string, body: Readonly<Record<string, unknown>>): void {
    const other = this.remotes.get(remote);
    if (other === undefined) throw new Refusal(404, `Remote '${remote}' not found.`);
    if (body['download_only'] !== true)
      throw new Refusal(500, 'The double only ships to be kept as snapshots.');
    const from = this.snapshot(this.definition(String(body['src_rsc_name'])), String(body['src_snap_name']));
    if (!this.link.up || !other.up)
      throw new Refusal(500, `Requesting shipment from remote ${remote} failed.`);
    if (this.busyFor > 0 || other.#receives(String(body['dst_rsc_name']))) {
      this.busyFor = Math.max(0, this.busyFor - 1);
      throw new Refusal(
        500,
        `A backup is currently being restored to resource definition ${String(body['dst_rsc_name'])}.`,
      );
    }
    if (this.#moving(from)) throw new Refusal(500, `Snapshot ${from.name} is already being shipped.`);
    this.#begin(remote, other, from, String(body['src_rsc_name']), String(body['dst_rsc_name']));
  }

  /** Somebody looks: what is under way has come further. */
  advance(): void {
    for (const shipment of this.#shipments) this.#advanceOne(shipment);
    this.#shipments = this.#shipments.filter(
      ({ from, remote }) => from.props[statusOf(remote)] === 'Shipping',
    );
  }

  /** A host of a node writes; throws where DRBD would not let it. */
  write(name: string, file: string, text: string): void {
    const definition = this.definition(name);
    if (definition.files === null) throw new Error('there is no device');
    if (definition.props[block] === 'no') throw new Error('the device is read-only: nobody made it primary');
    definition.files.set(file, text);
  }

  #begin(remote: string, other: Cluster, from: Snap, source: string, target: string): void {
    const definition = this.definition(source);
    const into = other.definitions.get(target) ?? other.define(target);
    into.hasVolume = true;
    // Into a definition without resources a shipment resets the properties to those of the sender.
    if (into.nodes.size === 0) into.props = { ...definition.props };
    const theirs = [...into.snaps.values()].filter((one) => one.props[received] === 'Success');
    const mine = new Set([...definition.snaps.values()].map((one) => one.uuid));
    const base = theirs.findLast((one) => mine.has(one.props[sentAs] ?? '')) ?? null;
    const name = `${from.name}_${this.hash}`;
    into.snaps.delete(name);
    const travelling = Object.entries(from.props).filter(([key]) => !key.startsWith('BackupShipping/'));
    const props = { ...Object.fromEntries(travelling), [sentAs]: from.uuid, [received]: 'Shipping' };
    const to = other.#keep(into, name, props, new Map(), definition.props);
    from.props[statusOf(remote)] = 'Shipping';
    this.#shipments.push({ remote, from, to, into, other, base, looksLeft: looksUntilDone });
  }

  #advanceOne(shipment: Shipment): void {
    const { remote, from, to, into, other, base } = shipment;
    if (!this.link.up || !other.up || !this.up) {
      from.props[statusOf(remote)] = 'Failed';
      into.snaps.delete(to.name);
      return;
    }
    if (this.link.held) return;
    shipment.looksLeft -= 1;
    if (shipment.looksLeft > 0) return;
    to.files = new Map(from.files);
    to.props[received] = 'Success';
    from.props[statusOf(remote)] = 'Success';
    const changed = [...from.files].filter(([file, text]) => base?.files.get(file) !== text);
    this.link.bytes += 1 + changed.reduce((sum, [, text]) => sum + text.length, 0);
  }

  #receives(name: string): boolean {
    const snaps = this.definitions.get(name)?.snaps.values() ?? [];
    return [...snaps].some(({ props }) => props[received] === 'Shipping');
  }

  #moving({ props }: Snap): boolean {
    return Object.entries(props).some(
      ([key, value]) => key.endsWith('/ShippingStatus') && value === 'Shipping',
    );
  }

  #mustBeWhole(snap: Snap): void {
    if (this.#moving(snap))
      throw new Refusal(500, 'Snapshot is being shipped. Please wait until shipping is finished');
  }

  #mustBeFree({ name, nodes }: Definition): void {
    for (const [node, { inUse }] of nodes)
      if (inUse) throw new Refusal(500, `Resource '${name}' on node '${node}' is still in use.`);
  }

  #place(definition: Definition, files: Files): void {
    const [first = 'node'] = this.nodes.keys();
    definition.nodes.set(first, { diskless: false, inUse: false });
    definition.files = files;
  }

  #keep(definition: Definition, name: string, props: Props, files: Files, definitionProps: Props): Snap {
    serial += 1;
    const snap: Snap = {
      name,
      uuid: uuid(),
      madeAt: this.now() + serial / 1000,
      props: { ...props },
      definitionProps: { ...definitionProps },
      files: new Map(files),
    };
    definition.snaps.set(name, snap);
    return snap;
  }
}

function statusOf(remote: string): string {
  return `BackupShipping/Source/${remote}/ShippingStatus`;
}

function uuid(): string {
  serial += 1;
  return `00000000-0000-4000-8000-${String(serial).padStart(12, '0')}`;
}
