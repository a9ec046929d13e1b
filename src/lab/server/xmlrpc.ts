/** XML-RPC on the wire (xapi.md 1.2, 1.3). */
import { XmlScalar, type XmlValue, XmlValueError, XmlValueReader } from '../../metadata/xmlvalue.ts';
import { type Answer, Sink, writeXml } from '../core/encode.ts';
import { quoted, type XenFailure } from '../core/failure.ts';
import type { Wire } from '../core/wire.ts';

/** A body that is no request: HTTP 500, with this text in the page. */
export class Unparsable extends Error {}

export function parseCall(text: string): { method: string; params: Wire[] } {
  const reader = new XmlValueReader();
  try {
    reader.write(text);
    const values = reader.end();
    if (reader.methodName === null) throw new Unparsable('Xmlrpc.Parse_error("methodCall", "?", _)');
    return { method: reader.methodName, params: values.map(wireOf) };
  } catch (error) {
    if (error instanceof XmlValueError) throw new Unparsable(xmlmError(text, error));
    throw error;
  }
}

/** The complaint of xapi's XML parser: line, column and a phrase. */
export function xmlmError(text: string, error: Error): string {
  if (!/^\s*</.test(text)) return `Xmlm.Error(1:1, ${quoted('expected root element')})`;
  if (/unclosed tag|document must contain a root|end/i.test(error.message)) {
    const lines = text.split('\n');
    return `Xmlm.Error(${lines.length}:${[...(lines.at(-1) ?? '')].length + 1}, ${quoted('unexpected end of input')})`;
  }
  const at = error instanceof XmlValueError ? `${error.line}:${error.column}` : '1:1';
  return `Xmlm.Error(${at}, ${quoted(error.message)})`;
}

function wireOf(value: XmlValue): Wire {
  if (typeof value === 'string') return { kind: 'string', value };
  if (typeof value === 'boolean') return { kind: 'bool', value };
  if (Array.isArray(value)) return { kind: 'list', value: value.map(wireOf) };
  if (value instanceof XmlScalar) return scalar(value);
  const members = Object.keys(value).map((name) => {
    if (name === '') throw new Unparsable(`Xmlrpc.Parse_error("close_tag", "empty", _)`);
    return [name, wireOf(value[name] ?? '')] as const;
  });
  return { kind: 'dict', value: members };
}

function scalar(value: XmlScalar): Wire {
  switch (value.tag) {
    case 'int':
    case 'i8':
    case 'i4':
      if (!/^-?\d+$/.test(value.text)) throw new Unparsable('Failure("Int64.of_string")');
      return { kind: value.tag === 'i4' ? 'int32' : 'int', value: BigInt(value.text) };
    case 'double': {
      const number = Number(value.text);
      if (value.text.trim() === '' || Number.isNaN(number))
        throw new Unparsable('Failure("float_of_string")');
      return { kind: 'float', value: number };
    }
    case 'dateTime.iso8601':
      return { kind: 'datetime', value: value.text };
    case 'base64':
      return { kind: 'base64', value: value.text };
    default:
      return { kind: 'null' };
  }
}

const head = '<?xml version="1.0"?><methodResponse><params><param>';
const tail = '</param></params></methodResponse>';

export function successXml(answer: Answer, bare: boolean): Buffer[] {
  const sink = new Sink();
  sink.text(head);
  if (bare) writeXml(answer, sink);
  else {
    sink.text('<value><struct><member><name>Status</name><value>Success</value></member>');
    sink.text('<member><name>Value</name>');
    writeXml(answer, sink);
    sink.text('</member></struct></value>');
  }
  sink.text(tail);
  return sink.finish();
}

export function failureXml(failure: XenFailure): Buffer[] {
  const sink = new Sink();
  sink.text(head);
  writeXml({ Status: 'Failure', ErrorDescription: failure.description }, sink);
  sink.text(tail);
  return sink.finish();
}
