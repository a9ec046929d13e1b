/**
 * Volumes as LUNs, behind a target of the array or on its Fibre Channel ports. A LUN is the directory of the volume: a
 * copy of it carries the same volume group, and another SCSIid, as on a real array (xapi.md 7.6).
 */
import { createHash } from 'node:crypto';
import type { Exposed } from '../../domain/replication.ts';
import type { Fabric, IscsiTarget, Lun, Share } from '../storage/fabric.ts';
import type { LabArray } from './array.ts';

export interface LunSpec {
  readonly kind: 'iscsi' | 'fc';
  readonly sizeBytes: number;
  /** Addresses of the hosts that see it from the start. */
  readonly admitted: readonly string[];
  /** Addresses of the target's portals; absent: that of the array. */
  readonly portals?: readonly string[];
  readonly chap?: { readonly user: string; readonly password: string };
}

export class ArrayLuns {
  readonly #array: LabArray;
  readonly #volume: string;
  readonly #spec: LunSpec;
  readonly #luns: Lun[] = [];

  constructor(array: LabArray, volume: string, fabrics: ReadonlySet<Fabric>, spec: LunSpec) {
    this.#array = array;
    this.#volume = volume;
    this.#spec = spec;
    for (const fabric of fabrics)
      if (spec.kind === 'fc') fabric.fibreChannel.push({ hosts: null, luns: this.#luns });
      else fabric.targets.push(...this.#targets());
  }

  readonly present = (share: Share): (() => void) => {
    const lun: Lun = {
      scsiId: this.#scsiId(share.path),
      serial: `${this.#array.serial}-${this.#volume}`,
      vendor: 'LIFEBOAT',
      lunId: this.#luns.length,
      sizeBytes: this.#spec.sizeBytes,
      directory: share.directory,
      access: () => share.access(),
      admits: (address) => share.admits?.(address) !== false,
      isolated: share.isolated === true,
    };
    this.#luns.push(lun);
    return () => {
      this.#luns.splice(this.#luns.indexOf(lun), 1);
    };
  };

  readonly offer = (path: string): Exposed => {
    const scsiId = this.#scsiId(path);
    if (this.#spec.kind === 'fc') return { kind: 'fc', scsiId };
    return {
      kind: 'iscsi',
      portals: this.#portals.map((portal) => `${portal}:3260`),
      iqn: this.#iqn,
      scsiId,
    };
  };

  get #portals(): readonly string[] {
    return this.#spec.portals ?? [this.#array.address];
  }

  get #iqn(): string {
    return `iqn.2020-01.example.lab:${this.#array.name}.${this.#volume}`;
  }

  #targets(): IscsiTarget[] {
    return this.#portals.map((address) => ({
      address,
      port: 3260,
      iqn: this.#iqn,
      ...(this.#spec.chap === undefined ? {} : { chap: this.#spec.chap }),
      luns: this.#luns,
      up: () => this.#array.up,
    }));
  }

  /** As many digits as an NAA identifier has, with the prefix of one (storage.md C.0). */
  #scsiId(path: string): string {
    const digits = createHash('sha256').update(`${this.#array.name} ${path}`).digest('hex');
    return `3600${digits.slice(0, 29)}`;
  }
}
