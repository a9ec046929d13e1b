/** One call to one host: which transport it speaks, the request, the decoded answer. */
import { PortError } from '../../domain/errors.ts';
import { XmlValueError } from '../../metadata/xmlvalue.ts';
import { type FailureContext, failureError, protocolError } from './failures.ts';
import { type Exchange, type HostLink, readBody, readErrorPage, readWhole } from './link.ts';
import { DecodeError, type XapiValue } from './values.ts';
import {
  type Answer,
  encodeJsonCall,
  encodeXmlCall,
  type Protocol,
  readJsonAnswer,
  type XapiParam,
  XmlAnswerReader,
} from './wire.ts';

/** A pool of 10,000 VMs answers with some 100 MB of XML (libraries.md 3). */
const maxAnswerBytes = 1024 * 1024 * 1024;
/** The server refuses larger bodies (xapi.md 1.1). */
const maxRequestBytes = 300 * 1024;

export interface RpcOptions {
  readonly context: FailureContext;
  readonly timeoutSeconds: number;
  readonly signal?: AbortSignal | undefined;
  /** A connection of its own: an idle one of before proves nothing about now. */
  readonly fresh?: boolean;
  /** Of the records of a `get_all_records`, only these fields. */
  readonly fields?: ReadonlySet<string> | undefined;
}

let lastId = 0;

/** Sends one call; `params` stand as on the wire, the session first. Throws `PortError`. */
export async function rpc(
  link: HostLink,
  protocol: Protocol,
  method: string,
  params: readonly XapiParam[],
  options: RpcOptions,
): Promise<XapiValue> {
  const { site } = options.context;
  const { url } = link.endpoint;
  const body = encode(protocol, method, params, options.context);
  const exchange = await link.exchange({
    method: 'POST',
    path: protocol === 'jsonrpc' ? '/jsonrpc' : '/',
    headers: [['Content-Type', protocol === 'jsonrpc' ? 'application/json' : 'text/xml']],
    body,
    keepAlive: options.fresh !== true,
    timeoutSeconds: options.timeoutSeconds,
    signal: options.signal,
  });
  await assertRpcAnswer(exchange, protocol, site, url, method);
  const answer = await read(exchange, protocol, method, site, url, options.fields);
  if (!answer.ok) throw failureError(answer.failure, options.context);
  return answer.value;
}

function encode(
  protocol: Protocol,
  method: string,
  params: readonly XapiParam[],
  context: FailureContext,
): Uint8Array {
  let text: string;
  try {
    lastId += 1;
    text = protocol === 'jsonrpc' ? encodeJsonCall(method, params, lastId) : encodeXmlCall(method, params);
  } catch (error) {
    throw new PortError(
      'refused',
      {
        code: 'DR-POOL-VALUE',
        what: `A value for ${method} cannot be sent`,
        where: { site: context.site },
        known: [(error as Error).message],
        next: 'Remove control characters from the value; if there are none, report this as a defect of Lifeboat',
      },
      { cause: error },
    );
  }
  const body = Buffer.from(text, 'utf8');
  if (body.length > maxRequestBytes)
    throw protocolError(
      context.site,
      method,
      'A request was not sent: it is larger than the pool takes',
      [`${body.length} bytes, the pool takes ${maxRequestBytes}`],
      { code: 'DR-POOL-VALUE', next: 'Report this as a defect of Lifeboat' },
    );
  return body;
}

async function assertRpcAnswer(
  exchange: Exchange,
  protocol: Protocol,
  site: string,
  url: string,
  method: string,
): Promise<void> {
  const type = exchange.headers['content-type'] ?? '';
  const fits = protocol === 'jsonrpc' ? /json/i.test(type) : /xml/i.test(type);
  if (exchange.status === 200 && fits) return;
  const page = await readErrorPage(exchange);
  throw protocolError(site, url, `The answer to ${method} is not one of XenAPI`, [
    `HTTP ${exchange.status}, ${type === '' ? 'no content type' : type}`,
    ...(page === '' ? [] : [page]),
  ]);
}

async function read(
  exchange: Exchange,
  protocol: Protocol,
  method: string,
  site: string,
  url: string,
  fields: ReadonlySet<string> | undefined,
): Promise<Answer> {
  try {
    if (protocol === 'xmlrpc') {
      const reader = new XmlAnswerReader(fields);
      await readBody(site, exchange, maxAnswerBytes, (chunk) => reader.write(chunk));
      return reader.end(method);
    }
    const body = await readWhole(site, exchange, maxAnswerBytes);
    return readJsonAnswer(body.toString('utf8'), method, fields);
  } catch (error) {
    exchange.destroy();
    if (error instanceof XmlValueError)
      throw protocolError(
        site,
        url,
        `The answer to ${method} is malformed XML`,
        [
          error.message,
          'the pool does not escape the keys of maps in XML-RPC: a key with & or < in other_config is enough',
        ],
        {
          code: 'DR-POOL-XML',
          next: 'Set the transport of the pool to jsonrpc (or auto), which is not affected, or remove the key',
          cause: error,
        },
      );
    if (error instanceof DecodeError)
      throw protocolError(site, url, `The answer to ${method} is not understood`, [error.message], {
        next: 'Keep the answer, and report it as a defect of Lifeboat, with the version of the pool',
        cause: error,
      });
    throw error;
  }
}

/** What a host says to a call without session: enough to know its transport, and that xapi answers. */
export interface HostGreeting {
  readonly protocol: Protocol;
  /** Code of the failure that an unauthenticated call gets, such as `MESSAGE_PARAMETER_COUNT_MISMATCH`. */
  readonly peerCode: string;
  readonly peerParams: readonly string[];
}

/** Asks JSON-RPC first: old hosts answer `/jsonrpc` with HTML or XML (xapi.md 1.4). No secret is sent. */
export async function greet(
  link: HostLink,
  transport: 'auto' | Protocol,
  options: RpcOptions,
): Promise<HostGreeting> {
  const ask = async (protocol: Protocol): Promise<HostGreeting> => {
    try {
      await rpc(link, protocol, 'pool.get_all', [], options);
      return { protocol, peerCode: '', peerParams: [] };
    } catch (error) {
      if (error instanceof PortError && error.peerCode !== undefined)
        return { protocol, peerCode: error.peerCode, peerParams: error.peerParams };
      throw error;
    }
  };
  if (transport !== 'auto') return ask(transport);
  try {
    return await ask('jsonrpc');
  } catch (error) {
    if (error instanceof PortError && error.kind === 'protocol') return ask('xmlrpc');
    throw error;
  }
}
