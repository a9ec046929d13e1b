/**
 * A SANsymphony server group in memory (storage.md C.3): virtual disks, hosts they are served to, and replications to a
 * second group. Buffered writes go over the link a few looks later; states change a look after the operation. What a
 * disk holds is a map of files.
 */

export type Files = Map<string, string>;

export interface Link {
  up: boolean;
  held: boolean;
  bytes: number;
}

export interface Disk {
  readonly id: string;
  readonly alias: string;
  readonly naa: string;
  description: string;
  files: Files;
  /** What hosts see in test mode instead. */
  testFiles: Files | null;
  readonly servedTo: Map<string, number>;
  replication: Replication | null;
}

/** One end of a replication. */
export interface Replication {
  readonly id: string;
  partner: { readonly group: Group; readonly disk: Disk } | null;
  stand: 'active' | 'standby' | 'testing';
  /** What an operation has asked for, and how many looks it takes. */
  next: { readonly stand: 'active' | 'standby' | 'testing'; looksLeft: number } | null;
  transfer: 'Transferring' | 'Stopped';
  buffer: Files;
  /** The whole disk is sent, and what the other side held goes. */
  whole: boolean;
  looksLeft: number;
}

export class Refusal extends Error {
  readonly code: number;
  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

const looksUntilSent = 2;
let serial = 0;

export class Group {
  readonly id: string;
  readonly link: Link;
  readonly disks = new Map<string, Disk>();
  /** Initiator port to host id. */
  readonly ports: ReadonlyMap<string, string>;
  skewSeconds = 0;
  up = true;
  lies = false;
  #lastCollected = 0;

  constructor(id: string, ports: ReadonlyMap<string, string>, link: Link) {
    this.id = id;
    this.ports = ports;
    this.link = link;
  }

  now(): number {
    return Date.now() + this.skewSeconds * 1000;
  }

  /** The time of the figures: never the same twice. */
  collect(): number {
    this.#lastCollected = Math.max(this.#lastCollected + 1, this.now());
    return this.#lastCollected;
  }

  add(alias: string): Disk {
    serial += 1;
    const disk: Disk = {
      id: String(serial).padStart(32, '0'),
      alias,
      naa: `60030D90${String(serial).padStart(24, '0')}`,
      description: `${alias} of the accountants`,
      files: new Map(),
      testFiles: null,
      servedTo: new Map(),
      replication: null,
    };
    this.disks.set(disk.id, disk);
    return disk;
  }

  disk(id: string): Disk {
    const found = this.disks.get(id);
    if (found === undefined) throw new Refusal(5, 'The virtual disk does not exist.');
    return found;
  }

  byAlias(alias: string): Disk {
    const found = [...this.disks.values()].find((disk) => disk.alias === alias);
    if (found === undefined) throw new Error(`no disk ${alias}`);
    return found;
  }

  serve(id: string, host: string): void {
    const disk = this.disk(id);
    if (![...this.ports.values()].includes(host)) throw new Refusal(5, 'The host does not exist.');
    if (disk.servedTo.has(host)) throw new Refusal(7, 'The virtual disk is already served to the host.');
    disk.servedTo.set(host, disk.servedTo.size);
  }

  unserve(id: string, host: string): void {
    if (!this.disk(id).servedTo.delete(host))
      throw new Refusal(7, 'The virtual disk is not served to the host.');
  }

  operate(id: string, operation: string, force: boolean): void {
    const disk = [...this.disks.values()].find((one) => one.replication?.id === id);
    const { replication } = disk ?? {};
    if (replication === null || replication === undefined)
      throw new Refusal(5, 'The replication does not exist.');
    const { stand, partner } = replication;
    if (replication.next !== null) throw new Refusal(7, 'Another operation is in progress.');
    const mustBe = (...stands: (typeof stand)[]): void => {
      if (!stands.includes(stand))
        throw new Refusal(7, `Operation ${operation} is not valid: the replication is ${stand}.`);
    };
    if (operation === 'Activate') {
      mustBe('standby');
      if (!force)
        throw new Refusal(7, 'The partner is active or cannot be asked: the operation must be forced.');
      replication.transfer = 'Stopped';
      if (partner?.disk.replication?.stand === 'active') partner.disk.replication.transfer = 'Stopped';
      replication.next = { stand: 'active', looksLeft: 1 };
    } else if (operation === 'Deactivate') {
      mustBe('active');
      replication.buffer = new Map();
      replication.transfer = 'Stopped';
      replication.next = { stand: 'standby', looksLeft: 1 };
    } else if (operation === 'Resume') {
      mustBe('active');
      if (partner?.disk.replication?.stand !== 'standby')
        throw new Refusal(7, 'The partner is not in standby.');
      replication.transfer = 'Transferring';
      partner.disk.replication.transfer = 'Transferring';
      replication.whole = true;
      replication.buffer = new Map(disk?.files);
      replication.looksLeft = looksUntilSent;
    } else if (operation === 'EnableTestMode') {
      mustBe('standby');
      replication.next = { stand: 'testing', looksLeft: 1 };
    } else if (operation === 'DisableTestMode') {
      mustBe('testing');
      replication.next = { stand: 'standby', looksLeft: 1 };
    } else throw new Refusal(3, `Operation ${operation} is not supported.`);
  }

  /** Somebody looks: states and transfers have come further. */
  advance(): void {
    for (const disk of this.disks.values())
      if (disk.replication !== null) {
        this.#settle(disk, disk.replication);
        this.#send(disk, disk.replication);
      }
  }

  /** A host writes. */
  write(disk: Disk, file: string, text: string): void {
    const { replication } = disk;
    if (disk.testFiles !== null) disk.testFiles.set(file, text);
    else {
      if (replication?.stand === 'standby') throw new Error('the disk is write-protected');
      disk.files.set(file, text);
      if (replication === null) return;
      if (replication.buffer.size === 0) replication.looksLeft = looksUntilSent;
      replication.buffer.set(file, text);
    }
  }

  #settle(disk: Disk, replication: Replication): void {
    if (replication.next === null) return;
    replication.next.looksLeft -= 1;
    if (replication.next.looksLeft >= 0) return;
    replication.stand = replication.next.stand;
    disk.testFiles = replication.stand === 'testing' ? new Map(disk.files) : null;
    replication.next = null;
  }

  #send(disk: Disk, replication: Replication): void {
    const { partner, buffer } = replication;
    if (replication.stand !== 'active' || partner === null || !this.flows(replication)) return;
    if (buffer.size === 0 && !replication.whole) return;
    replication.looksLeft -= 1;
    if (replication.looksLeft > 0) return;
    if (replication.whole) partner.disk.files = new Map(disk.files);
    else for (const [file, text] of buffer) partner.disk.files.set(file, text);
    this.link.bytes += [...buffer.values()].reduce((sum, text) => sum + text.length, 1);
    replication.buffer = new Map();
    replication.whole = false;
  }

  flows({ partner, transfer }: Replication): boolean {
    const receives = partner?.disk.replication?.stand === 'standby' && partner.disk.replication.next === null;
    return this.connected(partner) && !this.link.held && transfer === 'Transferring' && receives;
  }

  connected(partner: Replication['partner']): boolean {
    return this.link.up && this.up && partner?.group.up === true;
  }
}

export function pair(source: { group: Group; disk: Disk }, target: { group: Group; disk: Disk }): void {
  serial += 1;
  const end = (stand: 'active' | 'standby', partner: Replication['partner']): Replication => ({
    id: `{repl:${serial}}`,
    partner,
    stand,
    next: null,
    transfer: 'Transferring',
    buffer: new Map(),
    whole: false,
    looksLeft: 0,
  });
  source.disk.replication = end('active', target);
  target.disk.replication = end('standby', source);
}
