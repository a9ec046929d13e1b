/**
 * What is signed: one manifest per point, and one chain file per group that says which manifest is the newest and which
 * were pruned. Each is a file of two lines: the canonical JSON, and `{"sha256": …, "signature": …}` over that line
 * (docs/catalog-format.md, "Points").
 */
import { createHash, type KeyObject, sign, verify } from 'node:crypto';
import { canonicalJson } from '../../domain/canonical.ts';
import { OperatorError } from '../../domain/errors.ts';
import type { RecoveryPoint } from '../../domain/recovery-point.ts';
import type { Location } from './pack.ts';

export const manifestFormat = 'lifeboat-point/1';
export const chainFormat = 'lifeboat-chain/1';
export const bodyFormat = 'lifeboat-body/1';

export interface Manifest {
  readonly format: typeof manifestFormat;
  readonly catalog: string;
  readonly group: string;
  readonly point: string;
  readonly takenAt: string;
  readonly sealedAt: string;
  /** 1 for the first point of a group in this target. */
  readonly sequence: number;
  /** SHA-256 of the first line of the manifest before; null in the first. */
  readonly previous: string | null;
  readonly vmCount: number;
  readonly failureCount: number;
  /** Clear bytes of all objects. */
  readonly bytes: number;
  readonly body: { readonly name: string } & Location;
  /** Every pack that the point needs, in the order of their names. */
  readonly packs: readonly { readonly name: string; readonly bytes: number }[];
}

/** The encrypted half of a point: the point itself, and where its objects lie. */
export interface Body {
  readonly format: typeof bodyFormat;
  readonly point: RecoveryPoint;
  readonly objects: readonly ({ readonly sha256: string } & Location)[];
}

/** Manifests `from` to `to` were pruned; the hashes tie the ends of the gap together. */
export interface PrunedRange {
  readonly from: number;
  readonly to: number;
  /** `previous` of the manifest `from`. */
  readonly before: string | null;
  /** Hash of the manifest `to`. */
  readonly last: string;
}

export interface Chain {
  readonly format: typeof chainFormat;
  readonly catalog: string;
  readonly group: string;
  readonly head: { readonly sequence: number; readonly sha256: string } | null;
  readonly pruned: readonly PrunedRange[];
}

export interface Signed<T> {
  readonly value: T;
  readonly sha256: string;
}

export class Unsigned extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'Unsigned';
  }
}

export function signedText(
  value: object,
  key: KeyObject,
): { readonly text: string; readonly sha256: string } {
  const line = canonicalJson(value);
  const sha256 = sha256Of(line);
  const signature = sign(null, Buffer.from(line), key).toString('hex');
  return { text: `${line}\n${canonicalJson({ sha256, signature })}\n`, sha256 };
}

/** `Unsigned` says which of the two is wrong: the bytes or the signature. */
export function readSigned<T extends { readonly format: string }>(
  bytes: Uint8Array,
  format: T['format'],
  key: KeyObject,
): Signed<T> {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
  const [line, seal, rest, ...more] = text.split('\n');
  if (line === undefined || seal === undefined || rest !== '' || more.length > 0)
    throw new Unsigned('it is not two lines: cut off or not of this catalog');
  const sha256 = sha256Of(line);
  const match = /^\{"sha256":"([0-9a-f]{64})","signature":"([0-9a-f]{128})"\}$/.exec(seal);
  if (match === null) throw new Unsigned('its second line is damaged');
  if (match[1] !== sha256) throw new Unsigned('its content is not what its checksum says');
  if (!verify(null, Buffer.from(line, 'latin1'), key, Buffer.from(match[2] ?? '', 'hex')))
    throw new Unsigned('its signature is wrong');
  const value = JSON.parse(line) as T;
  if (value.format !== format)
    throw new Unsigned(`its format is ${JSON.stringify(value.format)}, not ${format}`);
  return { value, sha256 };
}

function sha256Of(text: string): string {
  return createHash('sha256').update(text, 'latin1').digest('hex');
}

export function manifestPath(pointId: string): string {
  const match = /^([A-Za-z0-9][A-Za-z0-9_.-]*)\/([A-Za-z0-9][A-Za-z0-9_.-]*)$/.exec(pointId);
  if (match === null) {
    throw new OperatorError({
      code: 'DR-POINT-UNKNOWN',
      what: `${JSON.stringify(pointId)} is not the id of a recovery point`,
      next: 'Choose one that `lifeboat catalog list` shows',
    });
  }
  return `points/${match[1]}/${match[2]}.point`;
}

export function newestFirst(a: { readonly manifest: Manifest }, b: { readonly manifest: Manifest }): number {
  const [x, y] = [a.manifest, b.manifest];
  return x.takenAt < y.takenAt ? 1 : x.takenAt > y.takenAt ? -1 : y.sequence - x.sequence;
}
