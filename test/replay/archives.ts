/** Archives for replayed uploads: saved ones, or saved ones that are edited and packed anew. */
import { gzipSync } from 'node:zlib';
import {
  emptyStruct,
  formatXmlValue,
  isStruct,
  parseXmlValue,
  type XmlStruct,
  type XmlValue,
} from '../../src/metadata/xmlvalue.ts';
import type { Json } from './match.ts';

export interface Member {
  readonly name: string;
  readonly body: Buffer;
}

export function readTar(archive: Buffer): Member[] {
  const members: Member[] = [];
  let at = 0;
  while (at + 512 <= archive.length && archive[at] !== 0) {
    const name = archive
      .subarray(at, at + 100)
      .toString('latin1')
      .replace(/\0.*$/s, '');
    const size = Number.parseInt(
      archive
        .subarray(at + 124, at + 136)
        .toString('latin1')
        .replace(/\0.*$/s, ''),
      8,
    );
    members.push({ name, body: archive.subarray(at + 512, at + 512 + size) });
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return members;
}

function tarHeader(member: Member): Buffer {
  const header = Buffer.alloc(512);
  header.write(member.name, 0);
  header.write('0000644\0', 100);
  header.write('0000000\0', 108);
  header.write('0000000\0', 116);
  header.write(`${member.body.length.toString(8).padStart(11, '0')}\0`, 124);
  header.write('00000000000\0', 136);
  header.write('        ', 148);
  header.write('0', 156);
  header.write('ustar\x0000', 257);
  header.write(
    `${header
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
    148,
  );
  return header;
}

function writeTar(members: readonly Member[], padTo: number): Buffer {
  const parts: Buffer[] = [];
  for (const member of members) {
    parts.push(tarHeader(member), member.body);
    parts.push(Buffer.alloc((512 - (member.body.length % 512)) % 512));
  }
  parts.push(Buffer.alloc(1024));
  const whole = Buffer.concat(parts);
  return Buffer.concat([whole, Buffer.alloc((padTo - (whole.length % padTo)) % padTo)]);
}

export function documentOf(archive: Buffer): { members: string[]; text: Buffer; document: XmlStruct } {
  const members = readTar(archive);
  const text = members[0]?.body ?? Buffer.alloc(0);
  const document = parseXmlValue(text.toString());
  if (!isStruct(document)) throw new Error('the archive holds no struct');
  return { members: members.map((m) => m.name), text, document };
}

export interface Edit {
  readonly class: string;
  readonly where?: Readonly<Record<string, Json>>;
  readonly set?: Readonly<Record<string, Json>>;
  readonly unset?: readonly string[];
  readonly drop?: boolean;
  readonly id?: string;
}

export interface Repack {
  readonly archive: string;
  readonly edit?: readonly Edit[];
  readonly version?: Readonly<Record<string, Json>>;
  readonly pack?: 'plain' | 'gzip' | 'padded';
  readonly member?: string;
  readonly extra?: readonly string[];
  readonly truncate?: number;
}

/** A value of a scenario as the archive holds it: numbers are text. */
function toXml(value: Json): XmlValue {
  if (typeof value === 'number') return String(value);
  if (Array.isArray(value)) return value.map(toXml);
  if (value !== null && typeof value === 'object') {
    const struct = emptyStruct();
    for (const [name, item] of Object.entries(value)) struct[name] = toXml(item);
    return struct;
  }
  return value ?? '';
}

export function repack(saved: Buffer, spec: Repack): Buffer {
  const { document, text: original } = documentOf(saved);
  let text = original;
  if ((spec.edit ?? []).length > 0 || spec.version !== undefined) {
    const version = document['version'];
    if (isStruct(version)) Object.assign(version, toXml((spec.version ?? {}) as Json));
    const renamed = new Map<string, string>();
    for (const edit of spec.edit ?? []) apply(document, edit, renamed);
    let xml = formatXmlValue(document);
    xml = xml.replace(/Ref:\d+(?=<)/g, (ref) => renamed.get(ref) ?? ref);
    text = Buffer.from(xml);
  }
  const members = [{ name: spec.member ?? 'ova.xml', body: text }];
  for (const name of spec.extra ?? []) members.push({ name, body: Buffer.alloc(100, 'x') });
  const padded = spec.pack === 'padded' || (spec.extra ?? []).length > 0;
  const archive = writeTar(members, padded ? 10240 : 512);
  const packed = spec.pack === 'gzip' ? gzipSync(archive) : archive;
  return packed.subarray(0, spec.truncate ?? packed.length);
}

function apply(document: XmlStruct, edit: Edit, renamed: Map<string, string>): void {
  const objects = document['objects'];
  if (!Array.isArray(objects)) return;
  const where = Object.entries(edit.where ?? {});
  const hits = objects.filter((object) => {
    if (!isStruct(object) || object['class'] !== edit.class) return false;
    const snapshot = object['snapshot'];
    return isStruct(snapshot) && where.every(([name, value]) => snapshot[name] === value);
  });
  if (edit.drop === true) {
    document['objects'] = objects.filter((object) => !hits.includes(object));
    return;
  }
  for (const object of hits) {
    if (!isStruct(object)) continue;
    const snapshot = object['snapshot'];
    if (isStruct(snapshot)) {
      Object.assign(snapshot, toXml((edit.set ?? {}) as Json));
      for (const name of edit.unset ?? []) delete snapshot[name];
    }
    const id = object['id'];
    if (edit.id !== undefined && typeof id === 'string') renamed.set(id, edit.id);
  }
}
