/**
 * Keys of a catalog target. A random master key is wrapped by the operator's key (key file or passphrase) and kept in
 * `catalog.json`; everything else is derived from it (docs/catalog-format.md, "Keys"). The Ed25519 public key stands
 * there in clear, so that signatures can be checked by somebody who may not read the content.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  hkdfSync,
  type KeyObject,
  randomBytes,
  scrypt,
} from 'node:crypto';
import { canonicalJson } from '../../domain/canonical.ts';

export const catalogFormat = 'lifeboat-catalog/1';

/** The operator's key, as it was given to this process. */
export type OperatorKey =
  | { readonly from: 'key-file'; readonly key: Uint8Array }
  | { readonly from: 'passphrase'; readonly passphrase: string };

/** 64 MiB and about a fifth of a second: dear for a guesser, bearable at every start. */
const scryptCost = { N: 65_536, r: 8, p: 1 } as const;

type KeyOrigin =
  | { readonly from: 'key-file'; readonly salt: string }
  | {
      readonly from: 'passphrase';
      readonly salt: string;
      readonly N: number;
      readonly r: number;
      readonly p: number;
    };

/** `catalog.json`: binary values in lower-case hexadecimal. */
export interface CatalogHeader {
  readonly format: typeof catalogFormat;
  readonly id: string;
  readonly createdAt: string;
  readonly publicKey: string;
  readonly key: KeyOrigin;
  /** Nonce (12 bytes), encrypted master key (32), tag (16). */
  readonly wrapped: string;
}

export interface CatalogKeys {
  readonly catalogId: string;
  /** Names of objects: HMAC-SHA-256 over the SHA-256 of the clear bytes. */
  readonly names: Uint8Array;
  /** Root of the keys of the packs. */
  readonly packs: Uint8Array;
  readonly signing: KeyObject;
  readonly publicKey: KeyObject;
}

export class WrongKey extends Error {
  constructor(from: OperatorKey['from']) {
    super(
      from === 'passphrase'
        ? 'the passphrase does not open this catalog'
        : 'the key file does not open this catalog',
    );
    this.name = 'WrongKey';
  }
}

export class DamagedHeader extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'DamagedHeader';
  }
}

export async function makeHeader(
  operatorKey: OperatorKey,
  createdAt: string,
): Promise<{ readonly header: CatalogHeader; readonly keys: CatalogKeys }> {
  const master = randomBytes(32);
  const id = randomBytes(16).toString('hex');
  const keys = deriveKeys(master, id);
  const salt = randomBytes(32).toString('hex');
  const key: KeyOrigin =
    operatorKey.from === 'key-file'
      ? { from: 'key-file', salt }
      : { from: 'passphrase', salt, ...scryptCost };
  const clear = {
    format: catalogFormat,
    id,
    createdAt,
    publicKey: rawPublicKey(keys.publicKey),
    key,
  } as const;
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', await wrappingKey(operatorKey, key), nonce);
  cipher.setAAD(Buffer.from(canonicalJson(clear)));
  const sealed = Buffer.concat([nonce, cipher.update(master), cipher.final(), cipher.getAuthTag()]);
  return { header: { ...clear, wrapped: sealed.toString('hex') }, keys };
}

export function headerText(header: CatalogHeader): string {
  const sha256 = createHash('sha256').update(canonicalJson(header)).digest('hex');
  return `${canonicalJson({ ...header, sha256 })}\n`;
}

/** `DamagedHeader` when a byte is not what was written: told apart from a wrong key by the checksum. */
export function readHeader(text: string): CatalogHeader {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new DamagedHeader('it is not JSON');
  }
  if (parsed === null || typeof parsed !== 'object' || Array.isArray(parsed))
    throw new DamagedHeader('it is not a JSON object');
  const { sha256: _, ...rest } = parsed as Record<string, unknown>;
  const header = rest as unknown as CatalogHeader;
  if (headerText(header) !== text) throw new DamagedHeader('its checksum is wrong');
  if (header.format !== catalogFormat)
    throw new DamagedHeader(
      `its format is ${JSON.stringify(header.format)}, and this program reads ${catalogFormat}`,
    );
  return header;
}

export async function unlock(header: CatalogHeader, operatorKey: OperatorKey): Promise<CatalogKeys> {
  if (header.key.from !== operatorKey.from) throw new WrongKey(operatorKey.from);
  const { wrapped, ...clear } = header;
  const sealed = Buffer.from(wrapped, 'hex');
  const decipher = createDecipheriv(
    'aes-256-gcm',
    await wrappingKey(operatorKey, header.key),
    sealed.subarray(0, 12),
    { authTagLength: 16 },
  );
  decipher.setAAD(Buffer.from(canonicalJson(clear)));
  decipher.setAuthTag(sealed.subarray(-16));
  let master: Buffer;
  try {
    master = Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()]);
  } catch {
    throw new WrongKey(operatorKey.from);
  }
  return deriveKeys(master, header.id);
}

/** Names that were worked out lately: each is asked for several times while an object is written and read back. */
const knownNames = new WeakMap<CatalogKeys, Map<string, string>>();
const knownNamesMax = 10_000;

export function objectName(keys: CatalogKeys, sha256: string): string {
  let known = knownNames.get(keys);
  if (known === undefined) {
    known = new Map();
    knownNames.set(keys, known);
  }
  let name = known.get(sha256);
  if (name === undefined) {
    name = createHmac('sha256', keys.names).update(Buffer.from(sha256, 'hex')).digest('hex');
    if (known.size >= knownNamesMax) known.clear();
    known.set(sha256, name);
  }
  return name;
}

export function packKey(keys: CatalogKeys, salt: Uint8Array): Buffer {
  return derive(keys.packs, salt, 'lifeboat/1 pack');
}

/** SPKI of a raw Ed25519 public key: a fixed prefix and 32 bytes (RFC 8410). */
export function publicKeyFrom(raw: string): KeyObject {
  return createPublicKey({
    key: Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), Buffer.from(raw, 'hex')]),
    format: 'der',
    type: 'spki',
  });
}

export function derive(key: Uint8Array, salt: Uint8Array, purpose: string): Buffer {
  return Buffer.from(hkdfSync('sha256', key, salt, purpose, 32));
}

export function stretch(
  passphrase: string,
  salt: Uint8Array,
  cost: { readonly N: number; readonly r: number; readonly p: number },
): Promise<Buffer> {
  // A header is read before it is trusted: it must not be able to ask for all memory of the machine.
  if (!(cost.N * cost.r <= 1024 * 1024 * 8 && cost.p <= 16))
    return Promise.reject(new DamagedHeader('its scrypt parameters are beyond all measure'));
  return new Promise((resolve, reject) =>
    scrypt(
      passphrase.normalize('NFC'),
      salt,
      32,
      { N: cost.N, r: cost.r, p: cost.p, maxmem: 256 * cost.N * cost.r },
      (error, key) => (error === null ? resolve(key) : reject(error)),
    ),
  );
}

export { scryptCost };

function wrappingKey(operatorKey: OperatorKey, origin: KeyOrigin): Promise<Buffer> {
  const salt = Buffer.from(origin.salt, 'hex');
  if (operatorKey.from === 'passphrase' && origin.from === 'passphrase')
    return stretch(operatorKey.passphrase, salt, origin);
  if (operatorKey.from === 'key-file' && origin.from === 'key-file')
    return Promise.resolve(derive(operatorKey.key, salt, 'lifeboat/1 wrap'));
  return Promise.reject(new WrongKey(operatorKey.from));
}

function deriveKeys(master: Uint8Array, catalogId: string): CatalogKeys {
  const salt = Buffer.from(catalogId, 'hex');
  // PKCS#8 of an Ed25519 private key: a fixed prefix and the seed of 32 bytes (RFC 8410).
  const signing = createPrivateKey({
    key: Buffer.concat([
      Buffer.from('302e020100300506032b657004220420', 'hex'),
      derive(master, salt, 'lifeboat/1 signature'),
    ]),
    format: 'der',
    type: 'pkcs8',
  });
  return {
    catalogId,
    names: derive(master, salt, 'lifeboat/1 names'),
    packs: derive(master, salt, 'lifeboat/1 packs'),
    signing,
    publicKey: createPublicKey(signing),
  };
}

function rawPublicKey(key: KeyObject): string {
  return key.export({ format: 'der', type: 'spki' }).subarray(-32).toString('hex');
}
