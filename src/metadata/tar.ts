/**
 * The archive of `/export_metadata`: a tar file with one member, `ova.xml`, padded to 512 bytes, and two zero
 * blocks (xapi.md 3.3). xapi writes headers
 * of the old kind, without the ustar mark, and reads both. Written without GNU tar's padding to 10 KiB, which makes older servers close a connection with
 * unread data (xapi.md 3.4).
 */
const block = 512;
const memberName = 'ova.xml';

export class TarError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'TarError';
  }
}

export function packOva(xml: string | Uint8Array): Uint8Array {
  const size = typeof xml === 'string' ? Buffer.byteLength(xml) : xml.length;
  const padded = Math.ceil(size / block) * block;
  const archive = Buffer.alloc(block + padded + 2 * block);
  archive.set(header(size), 0);
  if (typeof xml === 'string') archive.write(xml, block);
  else archive.set(xml, block);
  return archive;
}

/** The bytes of `ova.xml`. Members after the first are ignored, as xapi does. */
export function unpackOva(archive: Uint8Array): Uint8Array {
  const end = tarHeaderBytes + readOvaHeader(archive);
  if (end > archive.length) {
    throw new TarError(
      `the archive is cut: ${memberName} has ${end - block} bytes, ${archive.length - block} are there`,
    );
  }
  return archive.subarray(block, end);
}

export const tarHeaderBytes = block;

/** The size in bytes of `ova.xml`, from the first 512 bytes of the archive. */
export function readOvaHeader(archive: Uint8Array): number {
  if (archive.length < block)
    throw new TarError(`the archive is ${archive.length} bytes long, shorter than a tar header`);
  const text = new TextDecoder('latin1');
  const field = (offset: number, length: number): string => {
    const raw = text.decode(archive.subarray(offset, offset + length));
    const end = raw.indexOf('\0');
    return end < 0 ? raw : raw.slice(0, end);
  };
  const stored = Number.parseInt(field(148, 8).trim(), 8);
  if (stored !== checksum(archive.subarray(0, block)))
    throw new TarError('not a tar archive, or its header is damaged: the checksum is wrong');
  const name = field(0, 100);
  if (name !== memberName)
    throw new TarError(`the first member is ${JSON.stringify(name)}, not ${memberName}`);
  const size = sizeOf(archive);
  if (!Number.isSafeInteger(size)) throw new TarError(`the size of ${memberName} is not a number`);
  return size;
}

function sizeOf(archive: Uint8Array): number {
  const raw = archive.subarray(124, 136);
  // GNU tar and xapi write sizes of 8 GiB and more in base 256.
  if ((raw[0] ?? 0) & 0x80) {
    let value = (raw[0] ?? 0) & 0x7f;
    for (const byte of raw.subarray(1)) value = value * 256 + byte;
    return value;
  }
  return Number.parseInt(new TextDecoder('latin1').decode(raw).replace(/\0.*$/, '').trim(), 8);
}

function checksum(bytes: Uint8Array): number {
  let sum = 8 * 0x20;
  for (let index = 0; index < bytes.length; index += 1)
    if (index < 148 || index >= 156) sum += bytes[index] ?? 0;
  return sum;
}

function header(size: number): Uint8Array {
  const bytes = new Uint8Array(block);
  const put = (offset: number, text: string): void => bytes.set(new TextEncoder().encode(text), offset);
  const octal = (value: number, digits: number): string => `${value.toString(8).padStart(digits, '0')}\0`;
  put(0, memberName);
  put(100, octal(0o644, 7));
  put(108, octal(0, 7));
  put(116, octal(0, 7));
  put(124, octal(size, 11));
  put(136, octal(0, 11));
  put(156, '0');
  put(257, 'ustar\x0000');
  put(265, 'root');
  put(297, 'root');
  put(148, `${checksum(bytes).toString(8).padStart(6, '0')}\0 `);
  return bytes;
}
