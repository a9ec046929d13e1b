/**
 * A quick reader for `<value>` documents in the form that xapi itself writes: no white space between tags, no
 * attributes, no comments. It answers `undefined` at the first thing that it does not know, right or wrong, and
 * leaves the verdict to the strict reader of xmlvalue.ts. So both accept the same documents and report the same errors,
 * and the ordinary document is read several times faster.
 */
import type { XmlScalar, XmlStruct, XmlValue } from './xmlvalue.ts';

/** Characters that XML forbids or changes (CR). With them, and with `]]>` in text, the strict reader decides. */
const oddRanges: readonly (readonly [number, number])[] = [
  [0x00, 0x08],
  [0x0b, 0x1f],
  [0xfffe, 0xffff],
];
const odd = new RegExp(
  `[${oddRanges.map((range) => String.fromCharCode(range[0], 0x2d, range[1])).join('')}]`,
);

type MakeScalar = (tag: string, text: string) => XmlScalar;

class Unknown extends Error {}
const unknown = new Unknown('not in the plain form');

const scalarTags = ['int', 'i4', 'i8', 'double', 'dateTime.iso8601', 'base64', 'nil', 'string'];
const named: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

/** The one value of the document, or `undefined` when the strict reader has to look at it. */
export function scanXmlValue(text: string, makeScalar: MakeScalar): XmlValue | undefined {
  if (text.includes(']]>') || odd.test(text) || !text.isWellFormed()) return undefined;
  const scanner = new Scanner(text, makeScalar);
  try {
    const value = scanner.value();
    return scanner.atEnd() ? value : undefined;
  } catch (error) {
    if (error === unknown) return undefined;
    throw error;
  }
}

class Scanner {
  readonly #text: string;
  readonly #makeScalar: MakeScalar;
  #at = 0;

  constructor(text: string, makeScalar: MakeScalar) {
    this.#text = text;
    this.#makeScalar = makeScalar;
  }

  atEnd(): boolean {
    return this.#at === this.#text.length;
  }

  value(): XmlValue {
    const text = this.#text;
    if (!text.startsWith('<value>', this.#at)) throw unknown;
    const start = this.#at + 7;
    const open = text.indexOf('<', start);
    if (open < 0) throw unknown;
    if (open > start) {
      this.#expect('</value>', open);
      return this.#decoded(start, open);
    }
    this.#at = start;
    switch (text.charCodeAt(start + 1)) {
      case 47: // '/'
        this.#expect('</value>', start);
        return '';
      case 115: // 's'
        return text.startsWith('<struct>', start) ? this.#struct() : this.#scalar();
      case 97: // 'a'
        return this.#array();
      case 98: // 'b'
        return text.startsWith('<boolean>', start) ? this.#boolean() : this.#scalar();
      default:
        return this.#scalar();
    }
  }

  #expect(literal: string, at: number): void {
    if (!this.#text.startsWith(literal, at)) throw unknown;
    this.#at = at + literal.length;
  }

  #struct(): XmlStruct {
    const text = this.#text;
    const struct = Object.create(null) as XmlStruct;
    let at = this.#at + 8;
    while (text.startsWith('<member><name>', at)) {
      const start = at + 14;
      const end = text.indexOf('<', start);
      this.#expect('</name>', end);
      const name = end === start ? '' : this.#decoded(start, end);
      struct[name] = this.value();
      at = this.#at;
      if (!text.startsWith('</member>', at)) throw unknown;
      at += 9;
    }
    this.#expect('</struct></value>', at);
    return struct;
  }

  #array(): XmlValue[] {
    this.#expect('<array><data>', this.#at);
    const items: XmlValue[] = [];
    while (this.#text.startsWith('<value>', this.#at)) items.push(this.value());
    this.#expect('</data></array></value>', this.#at);
    return items;
  }

  #boolean(): boolean {
    const digit = this.#text.charCodeAt(this.#at + 9);
    if (digit !== 48 && digit !== 49) throw unknown;
    this.#expect('</boolean></value>', this.#at + 10);
    return digit === 49;
  }

  #scalar(): XmlValue {
    const text = this.#text;
    const close = text.indexOf('>', this.#at);
    const tag = text.slice(this.#at + 1, close);
    if (!scalarTags.includes(tag)) throw unknown;
    const end = text.indexOf('<', close);
    this.#expect(`</${tag}></value>`, end);
    const content = end === close + 1 ? '' : this.#decoded(close + 1, end);
    return tag === 'string' ? content : this.#makeScalar(tag, content);
  }

  #decoded(start: number, end: number): string {
    const raw = this.#text.slice(start, end);
    return raw.includes('&') ? decodeEntities(raw) : raw;
  }
}

function decodeEntities(raw: string): string {
  let out = '';
  let at = 0;
  for (let amp = raw.indexOf('&'); amp >= 0; amp = raw.indexOf('&', at)) {
    const end = raw.indexOf(';', amp);
    if (end < 0) throw unknown;
    const character = named[raw.slice(amp + 1, end)];
    if (character === undefined) throw unknown;
    out += raw.slice(at, amp) + character;
    at = end + 1;
  }
  return out + raw.slice(at);
}
