/** One request to the control API of a lab array: JSON over TLS with a pinned certificate, HTTP Basic inside. */
import { request } from 'node:https';
import { connect, type TLSSocket } from 'node:tls';
import { type FailureKind, PortError } from '../../../domain/errors.ts';

export interface ArrayEndpoint {
  /** Name in sites.yaml, for messages. */
  readonly array: string;
  readonly url: string;
  /** SHA-256 of the certificate: hexadecimal, lower case, without colons. */
  readonly fingerprint: string;
  readonly username: string;
  readonly password: string;
}

const readSeconds = 15;
/** Verbs answer when the array has done its part; materialising a large point takes its time. */
const verbSeconds = 600;
const largestAnswer = 16 * 1024 * 1024;

export async function call(
  endpoint: ArrayEndpoint,
  method: 'GET' | 'POST',
  path: string,
  body: unknown,
  signal: AbortSignal | undefined,
): Promise<unknown> {
  const seconds = method === 'GET' ? readSeconds : verbSeconds;
  const deadline = AbortSignal.timeout(seconds * 1000);
  const over = signal === undefined ? deadline : AbortSignal.any([deadline, signal]);
  const socket = await trusted(endpoint, over, signal);
  let sent = false;
  try {
    const answer = await exchange(endpoint, socket, method, path, body, over, () => {
      sent = true;
    });
    return parsed(endpoint, path, answer);
  } catch (error) {
    if (error instanceof PortError) throw error;
    if (signal?.aborted === true)
      throw failed(endpoint, 'cancelled', 'The request was stopped', signal.reason);
    const kind = sent && method === 'POST' ? 'outcome-unknown' : 'unreachable';
    throw failed(endpoint, kind, `Array ${endpoint.array} did not answer to ${method} ${path}`, error);
  } finally {
    socket.destroy();
  }
}

/** A connection whose certificate is the pinned one; nothing is sent before that is known. */
function trusted(
  endpoint: ArrayEndpoint,
  over: AbortSignal,
  signal: AbortSignal | undefined,
): Promise<TLSSocket> {
  const { hostname, port } = new URL(endpoint.url);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port || '443'), rejectUnauthorized: false });
    const stop = (): void => {
      socket.destroy();
      reject(
        signal?.aborted === true
          ? failed(endpoint, 'cancelled', 'The request was stopped', signal.reason)
          : failed(endpoint, 'unreachable', `Array ${endpoint.array} does not answer`, over.reason),
      );
    };
    if (over.aborted) {
      stop();
      return;
    }
    over.addEventListener('abort', stop, { once: true });
    socket.once('error', (error) => {
      over.removeEventListener('abort', stop);
      reject(failed(endpoint, 'unreachable', `Array ${endpoint.array} does not answer`, error));
    });
    socket.once('secureConnect', () => {
      over.removeEventListener('abort', stop);
      const seen = socket.getPeerCertificate().fingerprint256.replaceAll(':', '').toLowerCase();
      if (seen === endpoint.fingerprint) {
        resolve(socket);
        return;
      }
      socket.destroy();
      reject(
        new PortError('trust', {
          code: 'DR-ARRAY-CERTIFICATE',
          what: `Array ${endpoint.array} shows a certificate that is not the pinned one`,
          where: { object: endpoint.url },
          known: [`pinned ${endpoint.fingerprint}`, `shown ${seen}`],
          next: 'Find out why it changed; if it was renewed on purpose, write the new fingerprint into the settings',
        }),
      );
    });
  });
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

function exchange(
  endpoint: ArrayEndpoint,
  socket: TLSSocket,
  method: 'GET' | 'POST',
  path: string,
  body: unknown,
  over: AbortSignal,
  onSent: () => void,
): Promise<Answer> {
  const text = body === undefined ? '' : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const sending = request(
      `${endpoint.url}${path}`,
      {
        method,
        createConnection: () => socket,
        auth: `${endpoint.username}:${endpoint.password}`,
        headers: { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) },
        signal: over,
      },
      (response) => {
        const pieces: Buffer[] = [];
        let bytes = 0;
        response.on('data', (piece: Buffer) => {
          bytes += piece.length;
          if (bytes > largestAnswer) response.destroy(new Error('the answer is too long'));
          else pieces.push(piece);
        });
        response.on('error', reject);
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(pieces).toString('utf8') }),
        );
      },
    );
    sending.once('error', reject);
    onSent();
    sending.end(text);
  });
}

const kinds: Readonly<Record<string, FailureKind>> = {
  busy: 'busy',
  'wrong-state': 'refused',
  'not-found': 'refused',
  refused: 'refused',
  'link-down': 'refused',
  auth: 'auth',
};

function parsed(endpoint: ArrayEndpoint, path: string, answer: Answer): unknown {
  let value: unknown;
  try {
    value = JSON.parse(answer.text);
  } catch (error) {
    throw failed(endpoint, 'protocol', `Array ${endpoint.array} answers something that is not JSON`, error);
  }
  if (answer.status === 200) return value;
  const { code, message } = refusalOf(value);
  if (code === 'auth')
    throw new PortError('auth', {
      code: 'DR-ARRAY-PASSWORD',
      what: `Array ${endpoint.array} refuses user ${endpoint.username} or its password`,
      where: { object: endpoint.url },
      next: 'Correct the user name or the secret of the array in the settings',
    });
  const kind = kinds[code];
  if (kind === undefined)
    throw failed(
      endpoint,
      'protocol',
      `Array ${endpoint.array} answers ${path} with status ${answer.status}`,
      null,
    );
  throw new PortError(
    kind,
    {
      code: code === 'busy' ? 'DR-ARRAY-BUSY' : 'DR-ARRAY-REFUSED',
      what: `Array ${endpoint.array} refuses: ${message}`,
      where: { object: endpoint.url },
      next:
        code === 'busy'
          ? 'Wait until the transfer has ended, and try again'
          : 'Compare the pair in sites.yaml with what the array shows, then make a new plan',
    },
    { peerCode: code, peerParams: [message] },
  );
}

function refusalOf(value: unknown): { readonly code: string; readonly message: string } {
  if (typeof value !== 'object' || value === null) return { code: '', message: '' };
  const code = 'code' in value && typeof value.code === 'string' ? value.code : '';
  const message = 'message' in value && typeof value.message === 'string' ? value.message : '';
  return { code, message };
}

export function failed(endpoint: ArrayEndpoint, kind: FailureKind, what: string, cause: unknown): PortError {
  const known = cause instanceof Error ? [cause.message] : [];
  const next: Readonly<Partial<Record<FailureKind, string>>> = {
    unreachable: 'Check power and network of the array',
    'outcome-unknown':
      'Look at the state of the volume before anything else; a run does so when it is resumed',
    protocol: 'Check that the address in the settings is the control address of the array',
    cancelled: 'Nothing is needed; start again when you want it',
  };
  return new PortError(
    kind,
    {
      code: kind === 'cancelled' ? 'DR-CANCELLED' : `DR-ARRAY-${kind.toUpperCase()}`,
      what,
      where: { object: endpoint.url },
      known,
      next: next[kind] ?? 'Read the log of the array',
    },
    cause === null || cause === undefined ? {} : { cause },
  );
}
