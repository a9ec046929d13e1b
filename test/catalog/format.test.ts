/**
 * Reads a recovery point as docs/catalog-format.md says, with nothing of Lifeboat: only Node's crypto and zlib. When this
 * test must be changed, the document must be changed with it, and old catalogs can no longer be read.
 */
import {
  createDecipheriv,
  createHash,
  createHmac,
  createPublicKey,
  hkdfSync,
  scryptSync,
  verify,
} from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import t, { type Test } from 'tap';
import { documentOf, exportPoint, keyOf, localCatalog, noise, scratch } from './world.ts';

const sha256 = (bytes: Buffer | string): string => createHash('sha256').update(bytes).digest('hex');
const hex = (text: string): Buffer => Buffer.from(text, 'hex');
const hkdf = (key: Buffer, salt: Buffer, info: string): Buffer =>
  Buffer.from(hkdfSync('sha256', key, salt, info, 32));
const sorted = (_: string, value: unknown): unknown =>
  value !== null && typeof value === 'object' && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
    : value;
const canonical = (value: unknown): string => JSON.stringify(value, sorted);

interface Place {
  readonly pack: string;
  readonly offset: number;
  readonly length: number;
  readonly bytes: number;
}

function gcm(key: Buffer, nonce: Buffer, label: Buffer, ciphertext: Buffer, tag: Buffer): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, nonce).setAAD(label).setAuthTag(tag);
  return Buffer.concat([decipher.update(ciphertext), decipher.final()]);
}

function masterKey(
  t: Test,
  header: Record<string, unknown>,
  operator: { keyFile: Buffer } | { passphrase: string },
): Buffer {
  const { sha256: sum, wrapped, ...clear } = header as Record<string, string>;
  t.equal(sum, sha256(canonical({ ...clear, wrapped })), 'the checksum of catalog.json');
  const origin = header['key'] as unknown as { salt: string; N: number; r: number; p: number };
  const wrapping =
    'keyFile' in operator
      ? hkdf(operator.keyFile, hex(origin.salt), 'lifeboat/1 wrap')
      : scryptSync(operator.passphrase.normalize('NFC'), hex(origin.salt), 32, {
          ...origin,
          maxmem: 2 ** 28,
        });
  const box = hex(wrapped ?? '');
  return gcm(
    wrapping,
    box.subarray(0, 12),
    Buffer.from(canonical(clear)),
    box.subarray(12, 44),
    box.subarray(44),
  );
}

function readObject(
  t: Test,
  directory: string,
  packs: Buffer,
  names: Buffer,
  place: Place,
  wanted: string | null,
): Buffer {
  const pack = readFileSync(join(directory, 'packs', `${place.pack}.pack`));
  t.equal(sha256(pack), place.pack, 'a pack is named by its own hash');
  t.equal(pack.toString('latin1', 0, 8), 'LFBTPCK1');
  const key = hkdf(packs, pack.subarray(8, 40), 'lifeboat/1 pack');
  const frames: Buffer[] = [];
  let at = place.offset;
  for (let number = 0, last = false; !last; number += 1) {
    const word = pack.readUInt32BE(at);
    last = word >= 2 ** 31;
    const length = word % 2 ** 31;
    const nonce = Buffer.alloc(12);
    nonce.writeBigUInt64BE(BigInt(at), 4);
    const label = Buffer.alloc(13);
    label.writeBigUInt64BE(BigInt(place.offset), 0);
    label.writeUInt32BE(number, 8);
    label.writeUInt8(last ? 1 : 0, 12);
    const end = at + 4 + length;
    frames.push(gcm(key, nonce, label, pack.subarray(at + 4, end), pack.subarray(end, end + 16)));
    at = end + 16;
  }
  const name = pack.toString('hex', at, at + 32);
  t.equal(Number(pack.readBigUInt64BE(at + 32)), place.bytes);
  t.equal(at + 40, place.offset + place.length, 'the record ends where the place says');
  const clear = zstdDecompressSync(Buffer.concat(frames));
  t.equal(
    createHmac('sha256', names)
      .update(hex(sha256(clear)))
      .digest('hex'),
    name,
    'the name of the object',
  );
  if (wanted !== null) t.equal(sha256(clear), wanted, 'the content of the object');
  return clear;
}

async function followsTheDocument(
  t: Test,
  directory: string,
  operator: { keyFile: Buffer } | { passphrase: string },
  catalog: ReturnType<typeof localCatalog>,
): Promise<void> {
  const large = noise(9 * 1024 * 1024 + 5);
  const database = await catalog.putStream(
    (async function* () {
      yield large;
    })(),
  );
  await exportPoint(catalog, 'payroll', 1, { a: documentOf('a'), b: documentOf('b') });
  const point = await exportPoint(
    catalog,
    'payroll',
    2,
    { a: documentOf('a'), c: noise(2_500_000) },
    { database },
  );
  await catalog.close();

  const header = JSON.parse(readFileSync(join(directory, 'catalog.json'), 'utf8'));
  t.ok(
    readFileSync(join(directory, 'catalog.json')).equals(readFileSync(join(directory, 'catalog-copy.json'))),
  );
  const master = masterKey(t, header, operator);
  const derived = (info: string): Buffer => hkdf(master, hex(header.id), info);
  const [names, packs] = [derived('lifeboat/1 names'), derived('lifeboat/1 packs')];
  const publicKey = createPublicKey({
    key: Buffer.concat([hex('302a300506032b6570032100'), hex(header.publicKey)]),
    format: 'der',
    type: 'spki',
  });
  const signed = (file: string): { value: Record<string, unknown>; hash: string } => {
    const [line = '', seal = ''] = readFileSync(join(directory, 'points', file), 'utf8').split('\n');
    const { sha256: sum, signature } = JSON.parse(seal);
    t.equal(sha256(line), sum);
    t.ok(verify(null, Buffer.from(line), publicKey, hex(signature)), `${file} is signed`);
    t.equal(canonical(JSON.parse(line)), line, 'in canonical form');
    return { value: JSON.parse(line), hash: sum };
  };
  const [first = '', second = ''] = readdirSync(join(directory, 'points/payroll')).sort();
  const before = signed(`payroll/${first}`);
  const manifest = signed(`payroll/${second}`);
  t.equal(manifest.value['previous'], before.hash, 'chained');
  t.same((signed('payroll/chain').value as { head: unknown }).head, { sequence: 2, sha256: manifest.hash });

  const body = JSON.parse(
    readObject(t, directory, packs, names, manifest.value['body'] as Place, null).toString('utf8'),
  ) as { point: typeof point; objects: (Place & { sha256: string })[] };
  t.same(body.point, point, 'the point is what was sealed');
  for (const place of body.objects) {
    t.ok((manifest.value['packs'] as { name: string }[]).some(({ name }) => name === place.pack));
    readObject(t, directory, packs, names, place, place.sha256);
  }
  t.equal(body.objects.length, 3);
}

t.test('a point is read as the document says, with a key file', async (t) => {
  const directory = scratch(t);
  await followsTheDocument(t, directory, { keyFile: Buffer.from(keyOf('right')) }, localCatalog([directory]));
});

t.test('and with a passphrase', async (t) => {
  const directory = scratch(t);
  const key = async () => ({ from: 'passphrase', passphrase: 'correct horse' }) as const;
  await followsTheDocument(t, directory, { passphrase: 'correct horse' }, localCatalog([directory], { key }));
});
