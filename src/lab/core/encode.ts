/** Answers as text: the XML of xapi.md 1.2 and 1.3 (map keys unescaped, as xapi leaves them) and the JSON of 1.4. */
import { Row } from './database.ts';
import { DateTime, type Value } from './values.ts';

/** What a handler may answer with: values, and rows, which stand for their records. */
export type Answer = Value | Row | Counter | Answer[] | { [name: string]: Answer };

/** A 32-bit counter, the only ints that XML-RPC answers carry with a tag (xapi.md 1.3). */
export class Counter {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

/** Pieces of an answer, in order; rows contribute their kept encoding. */
export class Sink {
  readonly pieces: Buffer[] = [];
  #text: string[] = [];
  text(text: string): void {
    this.#text.push(text);
  }
  bytes(bytes: Buffer): void {
    this.#flush();
    this.pieces.push(bytes);
  }
  #flush(): void {
    if (this.#text.length === 0) return;
    this.pieces.push(Buffer.from(this.#text.join('')));
    this.#text = [];
  }
  finish(): Buffer[] {
    this.#flush();
    return this.pieces;
  }
}

interface Out {
  text(text: string): void;
  bytes(bytes: Buffer): void;
}

const special = /[&<>"]/;
const escapes: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

/** What xapi's XML writer escapes; a carriage return is none of it, so XML folds CR LF (xapi.md 1.3). */
function escapeXml(text: string): string {
  return special.test(text) ? text.replace(/[&<>"]/g, (c) => escapes[c] ?? c) : text;
}

/** OCaml's `%.16g`. */
function double(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf';
  return String(Number(value.toPrecision(16)));
}

export function writeXml(answer: Answer, out: Out): void {
  if (typeof answer === 'string') out.text(`<value>${escapeXml(answer)}</value>`);
  else if (typeof answer === 'bigint') out.text(`<value>${answer}</value>`);
  else if (typeof answer === 'boolean') out.text(`<value><boolean>${answer ? 1 : 0}</boolean></value>`);
  else if (typeof answer === 'number') out.text(`<value><double>${double(answer)}</double></value>`);
  else if (answer instanceof DateTime)
    out.text(`<value><dateTime.iso8601>${answer.text}</dateTime.iso8601></value>`);
  else if (answer instanceof Counter) out.text(`<value><i4>${answer.value}</i4></value>`);
  else if (answer instanceof Row) {
    answer.encoded.xml ??= Buffer.from(xmlText(answer.shown));
    out.bytes(answer.encoded.xml);
  } else if (Array.isArray(answer)) {
    out.text('<value><array><data>');
    for (const item of answer) writeXml(item, out);
    out.text('</data></array></value>');
  } else {
    out.text('<value><struct>');
    for (const name in answer) {
      const member = answer[name];
      if (member === undefined) continue;
      out.text(`<member><name>${name}</name>`);
      writeXml(member, out);
      out.text('</member>');
    }
    out.text('</struct></value>');
  }
}

export function writeJson(answer: Answer, out: Out): void {
  if (typeof answer === 'string') out.text(JSON.stringify(answer));
  else if (typeof answer === 'bigint' || typeof answer === 'boolean') out.text(String(answer));
  else if (typeof answer === 'number') out.text(jsonFloat(answer));
  else if (answer instanceof DateTime) out.text(JSON.stringify(answer.text));
  else if (answer instanceof Counter) out.text(String(answer.value));
  else if (answer instanceof Row) {
    answer.encoded.json ??= Buffer.from(jsonText(answer.shown));
    out.bytes(answer.encoded.json);
  } else if (Array.isArray(answer)) {
    out.text('[');
    answer.forEach((item, i) => {
      if (i > 0) out.text(',');
      writeJson(item, out);
    });
    out.text(']');
  } else {
    let separator = '{';
    for (const name in answer) {
      const member = answer[name];
      if (member === undefined) continue;
      out.text(`${separator}${JSON.stringify(name)}:`);
      separator = ',';
      writeJson(member, out);
    }
    out.text(separator === '{' ? '{}' : '}');
  }
}

function jsonFloat(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? 'Infinity' : '-Infinity';
  const text = String(value);
  return /^-?\d+$/.test(text) ? `${text}.0` : text;
}

class Text {
  readonly parts: string[] = [];
  text(text: string): void {
    this.parts.push(text);
  }
  bytes(bytes: Buffer): void {
    this.parts.push(bytes.toString());
  }
}

/** A value as one XML fragment: `<value>..</value>`, the form of a task's result. */
export function xmlText(answer: Answer): string {
  const out = new Text();
  writeXml(answer, out);
  return out.parts.join('');
}

export function jsonText(answer: Answer): string {
  const out = new Text();
  writeJson(answer, out);
  return out.parts.join('');
}
