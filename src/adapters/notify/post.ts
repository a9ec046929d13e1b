/** One POST of JSON, and what the answer means. Redirects are not followed: a webhook that has moved is told of. */
import { readFileSync } from 'node:fs';
import { type IncomingMessage, request as plainRequest } from 'node:http';
import { request as tlsRequest } from 'node:https';
import { PortError } from '../../domain/errors.ts';
import { isDistrust, messageOf, notTaken } from './words.ts';

export interface Post {
  readonly channel: string;
  readonly url: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly caFile: string | null;
}

const answerWithinSeconds = 20;
const readBytes = 16 * 1024;
const shownCharacters = 200;

/** Resolves when the other side has taken it. `PortError` otherwise; its text never holds more than the host of the address. */
export async function post(sent: Post, signal?: AbortSignal): Promise<void> {
  const url = URL.parse(sent.url);
  if (url === null || (url.protocol !== 'https:' && !isLocal(url)))
    throw notTaken('refused', sent.channel, 'its address', ['it is no https:// address']);
  const limits = [AbortSignal.timeout(answerWithinSeconds * 1000), ...(signal === undefined ? [] : [signal])];
  let answer: Answer;
  try {
    answer = await exchange(url, sent, AbortSignal.any(limits));
  } catch (error) {
    if (error instanceof PortError) throw error;
    throw notTaken(
      isDistrust(error) ? 'trust' : 'unreachable',
      sent.channel,
      url.host,
      [reasonOf(error)],
      error,
    );
  }
  judge(answer, sent, url.host);
}

/** A relay of this machine may do without encryption. */
const isLocal = ({ protocol, hostname }: URL): boolean =>
  protocol === 'http:' && /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname);

interface Answer {
  readonly status: number;
  readonly retryAfter: string | undefined;
  readonly text: string;
}

function exchange(url: URL, { body, headers, caFile, channel }: Post, signal: AbortSignal): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const send = url.protocol === 'https:' ? tlsRequest : plainRequest;
    const sent = send(url, {
      method: 'POST',
      agent: false,
      signal,
      headers: {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
        'user-agent': 'lifeboat',
        ...headers,
      },
      ...(caFile === null ? {} : { ca: readCa(caFile, channel) }),
    });
    sent.on('error', reject);
    sent.on('response', (response) => read(response).then(resolve, reject));
    sent.end(body);
  });
}

async function read(response: IncomingMessage): Promise<Answer> {
  let text = '';
  response.setEncoding('utf8');
  for await (const piece of response) {
    text += String(piece);
    if (text.length > readBytes) break;
  }
  return { status: response.statusCode ?? 0, retryAfter: response.headers['retry-after'], text };
}

function judge({ status, retryAfter, text }: Answer, { channel, url }: Post, host: string): void {
  if (status >= 200 && status < 300) return;
  const path = URL.parse(url)?.pathname ?? '';
  // Some servers repeat the address in their answer.
  const heard = text
    .replaceAll(url, '***')
    .replaceAll(path === '/' ? url : path, '***')
    .replace(/\s+/g, ' ')
    .trim();
  const known = [
    `it answered ${status}${heard === '' ? '' : `: ${heard.slice(0, shownCharacters)}`}`,
    ...(retryAfter === undefined ? [] : [`it asks to wait ${retryAfter} s`]),
  ];
  const kind =
    status === 429 || status >= 500 ? 'busy' : status === 401 || status === 403 ? 'auth' : 'refused';
  throw notTaken(kind, channel, host, known);
}

export function readCa(file: string, channel: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw notTaken('trust', channel, `the CA file ${file}`, [messageOf(error)], error);
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof Error && (error.name === 'TimeoutError' || error.name === 'AbortError'))
    return 'there was no answer in time';
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const said = messageOf(error);
  return said === '' ? code : said;
}
