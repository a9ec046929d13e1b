/**
 * A self-signed certificate, as every XenServer host has one (xapi.md 1.7). Node can make keys and signatures but no
 * certificates, so the few DER structures of RFC 5280 and 8410 are written here by hand.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
} from 'node:crypto';

export interface Certificate {
  /** PEM of the private key. */
  readonly key: string;
  /** PEM of the certificate. */
  readonly cert: string;
  /** `AA:BB:..` over the DER. */
  readonly sha256: string;
  readonly sha1: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
}

function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const length: number[] = [];
  if (body.length < 128) length.push(body.length);
  else {
    let rest = body.length;
    while (rest > 0) {
      length.unshift(rest & 0xff);
      rest >>= 8;
    }
    length.unshift(0x80 | length.length);
  }
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}

const sequence = (...parts: readonly Buffer[]): Buffer => der(0x30, ...parts);
const oid = (hex: string): Buffer => der(0x06, Buffer.from(hex, 'hex'));
const ed25519 = sequence(oid('2b6570'));
const sha256WithRsa = sequence(oid('2a864886f70d01010b'), der(0x05));
const notBefore = new Date('2026-01-01T00:00:00Z');
const notAfter = new Date('2046-01-01T00:00:00Z');

function name(commonName: string): Buffer {
  return sequence(der(0x31, sequence(oid('550403'), der(0x0c, Buffer.from(commonName)))));
}

function utc(date: Date): Buffer {
  const text = `${date.toISOString().replace(/[-:T]/g, '').slice(0, 14)}Z`;
  return date.getUTCFullYear() < 2050 ? der(0x17, Buffer.from(text.slice(2))) : der(0x18, Buffer.from(text));
}

/** Subject alternative names: addresses of IPv4 form and host names. */
function alternativeNames(names: readonly string[]): Buffer {
  const entries = names.map((n) =>
    /^\d+\.\d+\.\d+\.\d+$/.test(n)
      ? der(0x87, Buffer.from(n.split('.').map(Number)))
      : der(0x82, Buffer.from(n)),
  );
  const extension = sequence(oid('551d11'), der(0x04, sequence(...entries)));
  return der(0xa3, sequence(extension));
}

function fingerprint(algorithm: string, bytes: Buffer): string {
  const hex = createHash(algorithm).update(bytes).digest('hex').toUpperCase();
  return (hex.match(/../g) ?? []).join(':');
}

function ed25519Key(seed: string): KeyObject {
  const bytes = createHash('sha256').update(`lifeboat lab key ${seed}`).digest();
  const prefix = Buffer.from('302e020100300506032b657004220420', 'hex');
  return createPrivateKey({ key: Buffer.concat([prefix, bytes]), format: 'der', type: 'pkcs8' });
}

let oneRsaKey: KeyObject | null = null;

/** TLS 1.0 knows no Ed25519. One key serves all hosts of a process: making it is slow, and its certificates are new each time. */
function rsaKey(): KeyObject {
  oneRsaKey ??= generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  return oneRsaKey;
}

/**
 * Makes key and certificate of a host. Both follow from the seed, but for RSA, (Ed25519 signatures have no random part), so that a
 * lab that is started again still has the fingerprint that a sites.yaml pins. Whoever reads this has the key: loopback only.
 */
export function selfSigned(
  commonName: string,
  names: readonly string[],
  seed: string,
  kind: 'ed25519' | 'rsa' = 'ed25519',
): Certificate {
  const algorithm = kind === 'rsa' ? sha256WithRsa : ed25519;
  const privateKey = kind === 'rsa' ? rsaKey() : ed25519Key(seed);
  const serial = createHash('sha256').update(`lifeboat lab serial ${seed}`).digest().subarray(0, 16);
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, serial),
    algorithm,
    name(commonName),
    sequence(utc(notBefore), utc(notAfter)),
    name(commonName),
    createPublicKey(privateKey).export({ type: 'spki', format: 'der' }),
    alternativeNames(names),
  );
  const signature = sign(kind === 'rsa' ? 'sha256' : null, body, privateKey);
  const whole = sequence(body, algorithm, der(0x03, Buffer.from([0]), signature));
  const lines = whole.toString('base64').match(/.{1,64}/g) ?? [];
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    cert: `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`,
    sha256: fingerprint('sha256', whole),
    sha1: fingerprint('sha1', whole),
    notBefore,
    notAfter,
  };
}
