/** XenAPI calls for replaying: parameters of a scenario go out, answers come back in neutral form. */
import { isStruct, XmlScalar, type XmlValue, XmlValueReader } from '../../src/metadata/xmlvalue.ts';
import { Float, isObject, type Json, type Seen } from './match.ts';
import { exchange } from './wire.ts';

export type Transport = 'xmlrpc' | 'jsonrpc' | 'jsonrpc1';

export class Refused extends Error {
  readonly description: string[];
  constructor(description: string[]) {
    super(description.join(' '));
    this.description = description;
  }
}

function special(value: Json): { float?: number; date?: string; int?: string } | null {
  if (!isObject(value)) return null;
  const object = value as { [name: string]: Json };
  const [name, more] = Object.keys(object);
  if (more !== undefined) return null;
  if (name === '$float') return { float: Number(object['$float']) };
  if (name === '$datetime') return { date: String(object['$datetime']) };
  if (name === '$int') return { int: String(object['$int']) };
  return null;
}

const escapeText = (text: string): string =>
  text.replace(/[&<>]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[c] ?? c);

function xmlOf(value: Json): string {
  const typed = special(value);
  if (typed?.float !== undefined) return `<value><double>${typed.float}</double></value>`;
  if (typed?.date !== undefined) return `<value><dateTime.iso8601>${typed.date}</dateTime.iso8601></value>`;
  if (typed?.int !== undefined) return `<value><string>${typed.int}</string></value>`;
  if (typeof value === 'boolean') return `<value><boolean>${value ? 1 : 0}</boolean></value>`;
  if (Array.isArray(value)) return `<value><array><data>${value.map(xmlOf).join('')}</data></array></value>`;
  if (isObject(value)) {
    const members = Object.entries(value as { [name: string]: Json }).map(
      ([name, item]) => `<member><name>${escapeText(name)}</name>${xmlOf(item)}</member>`,
    );
    return `<value><struct>${members.join('')}</struct></value>`;
  }
  return `<value><string>${escapeText(String(value))}</string></value>`;
}

function jsonOf(value: Json): string {
  const typed = special(value);
  if (typed?.float !== undefined)
    return Number.isInteger(typed.float) ? `${typed.float}.0` : `${typed.float}`;
  if (typed?.date !== undefined) return JSON.stringify(typed.date);
  if (typed?.int !== undefined) return typed.int;
  if (Array.isArray(value)) return `[${value.map(jsonOf).join(',')}]`;
  if (isObject(value)) {
    const members = Object.entries(value as { [name: string]: Json }).map(
      ([name, item]) => `${JSON.stringify(name)}:${jsonOf(item)}`,
    );
    return `{${members.join(',')}}`;
  }
  return JSON.stringify(value);
}

export function neutralXml(value: XmlValue): Seen {
  if (value instanceof XmlScalar) return value.tag === 'double' ? new Float(Number(value.text)) : value.text;
  if (Array.isArray(value)) return value.map(neutralXml);
  if (isStruct(value))
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, neutralXml(item)]));
  return value;
}

function neutralJson(text: string): { [name: string]: Seen } {
  const revive = (_name: string, value: unknown, context?: { source?: string }): unknown => {
    if (typeof value !== 'number') return value;
    const source = context?.source ?? String(value);
    return /^-?\d+$/.test(source) ? source : new Float(value);
  };
  return JSON.parse(text, revive) as { [name: string]: Seen };
}

/** One call; throws Refused with the error's code and parameters, or `HTTP <status>`. */
export async function rpc(
  url: URL,
  transport: Transport,
  method: string,
  params: readonly Json[],
  timeoutSeconds = 150,
): Promise<Seen> {
  const xml = transport === 'xmlrpc';
  const body = xml
    ? `<?xml version="1.0"?><methodCall><methodName>${escapeText(method)}</methodName><params>${params
        .map((p) => `<param>${xmlOf(p)}</param>`)
        .join('')}</params></methodCall>`
    : `{${transport === 'jsonrpc' ? '"jsonrpc":"2.0",' : ''}"method":${JSON.stringify(method)},"params":[${params
        .map(jsonOf)
        .join(',')}],"id":1}`;
  const answer = await exchange({
    url,
    method: 'POST',
    target: xml ? '/' : '/jsonrpc',
    headers: { 'Content-Type': xml ? 'text/xml' : 'application/json' },
    body: Buffer.from(body),
    timeoutSeconds,
    halfClose: false,
  });
  if (answer.status !== 200) throw new Refused([`HTTP ${answer.status}`]);
  if (xml) {
    const reader = new XmlValueReader();
    reader.write(answer.body.toString());
    const envelope = neutralXml(reader.end()[0] ?? '') as { [name: string]: Seen };
    if (envelope['Status'] === 'Success') return envelope['Value'] ?? '';
    throw new Refused(envelope['ErrorDescription'] as string[]);
  }
  const envelope = neutralJson(answer.body.toString());
  const error = envelope['error'];
  if (error === undefined || error === null) return envelope['result'] ?? null;
  if (Array.isArray(error)) throw new Refused(error as string[]);
  const { message, data } = error as { message: string; data?: string[] };
  throw new Refused([message, ...(data ?? [])]);
}
