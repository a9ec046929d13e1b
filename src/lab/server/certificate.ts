/**
 * A self-signed certificate, as every XenServer host has one (xapi.md 1.7). Node can make keys and signatures but no
 * certificates, so the few DER structures of RFC 5280 are written here by hand: P-256 key, SHA-256 signature.
 */
import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto';

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
const ecdsaWithSha256 = sequence(oid('2a8648ce3d040302'));

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

/** Makes key and certificate for a host; valid ten years from `from`. */
export function selfSigned(commonName: string, names: readonly string[], from: Date): Certificate {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const notBefore = new Date(Math.floor(from.getTime() / 1000) * 1000 - 3600_000);
  const notAfter = new Date(notBefore.getTime() + 3650 * 24 * 3600_000);
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, serial),
    ecdsaWithSha256,
    name(commonName),
    sequence(utc(notBefore), utc(notAfter)),
    name(commonName),
    publicKey.export({ type: 'spki', format: 'der' }),
    alternativeNames(names),
  );
  const signature = sign('sha256', body, privateKey);
  const whole = sequence(body, ecdsaWithSha256, der(0x03, Buffer.from([0]), signature));
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
