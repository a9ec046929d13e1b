/** JSON-RPC 1.0 and 2.0 on the wire (xapi.md 1.4). Integers beyond 2^53 stay exact. */
import { type Answer, Sink, writeJson } from '../core/encode.ts';
import { quoted, type XenFailure } from '../core/failure.ts';
import type { Wire } from '../core/wire.ts';
import { Unparsable } from './xmlrpc.ts';

export interface JsonCall {
  readonly method: string;
  readonly params: Wire[];
  /** The id as JSON text, to be sent back. */
  readonly id: string;
  readonly version: '1.0' | '2.0';
}

class Numeral {
  readonly source: string;
  constructor(source: string) {
    this.source = source;
  }
}

type Json = string | boolean | null | Numeral | Json[] | { [name: string]: Json };

/** The reviver's third argument (Node 21 and newer) carries the source text of a number. */
function keepNumbers(_name: string, value: unknown, context?: { source?: string }): unknown {
  return typeof value === 'number' ? new Numeral(context?.source ?? String(value)) : value;
}

function malformed(text: string): never {
  throw new Unparsable(`Jsonrpc.Malformed_method_request(${quoted(text)})`);
}

export function parseJsonCall(text: string): JsonCall {
  const request = parse(text);
  if (request === null || typeof request !== 'object' || Array.isArray(request) || request instanceof Numeral)
    malformed('Invalid request body');
  const method = request['method'];
  const params = request['params'];
  const id = request['id'];
  const versionGiven = request['jsonrpc'];
  if (versionGiven !== undefined && versionGiven !== '2.0')
    malformed("Invalid field 'jsonrpc' in request body");
  if (typeof method !== 'string') malformed("Invalid field 'method' in request body");
  if (id === undefined || id === null || (typeof id !== 'string' && !(id instanceof Numeral)))
    malformed("Invalid field 'id' in request body");
  if (params !== undefined && !Array.isArray(params) && (params === null || typeof params !== 'object'))
    malformed("Invalid field 'params' in request body");
  return {
    method,
    params: Array.isArray(params) ? params.map(wireOf) : params === undefined ? [] : [wireOf(params)],
    id: id instanceof Numeral ? id.source : JSON.stringify(id),
    version: versionGiven === undefined ? '1.0' : '2.0',
  };
}

function parse(text: string): Json {
  try {
    return JSON.parse(text, keepNumbers) as Json;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new Unparsable(`Yojson__Common.Json_error(${quoted(jsonComplaint(text))})`);
  }
}

/** Yojson counts the bytes of the line that it had read; the two ends differ by one at the end of input. */
function jsonComplaint(text: string): string {
  const lines = text.split('\n');
  const last = Buffer.byteLength(lines.at(-1) ?? '');
  return `Line ${lines.length}, bytes ${Math.max(0, last - 1)}-${last}:\nUnexpected end of input`;
}

function wireOf(json: Json): Wire {
  if (typeof json === 'string') return { kind: 'string', value: json };
  if (typeof json === 'boolean') return { kind: 'bool', value: json };
  if (json === null) return { kind: 'null' };
  if (json instanceof Numeral)
    return /^-?\d+$/.test(json.source)
      ? { kind: 'int', value: BigInt(json.source) }
      : { kind: 'float', value: Number(json.source) };
  if (Array.isArray(json)) return { kind: 'list', value: json.map(wireOf) };
  return { kind: 'dict', value: Object.entries(json).map(([name, value]) => [name, wireOf(value)] as const) };
}

export function successJson(answer: Answer, call: JsonCall): Buffer[] {
  const sink = new Sink();
  sink.text(call.version === '2.0' ? '{"jsonrpc":"2.0","result":' : '{"result":');
  writeJson(answer, sink);
  sink.text(call.version === '2.0' ? `,"id":${call.id}}` : `,"error":null,"id":${call.id}}`);
  return sink.finish();
}

export function failureJson(failure: XenFailure, call: JsonCall): Buffer[] {
  const sink = new Sink();
  if (call.version === '2.0') {
    sink.text('{"jsonrpc":"2.0","error":{"code":1,"message":');
    sink.text(`${JSON.stringify(failure.code)},"data":`);
    writeJson([...failure.params], sink);
    sink.text(`},"id":${call.id}}`);
  } else {
    sink.text('{"result":null,"error":');
    writeJson(failure.description, sink);
    sink.text(`,"id":${call.id}}`);
  }
  return sink.finish();
}
