/** What the errors of the TrueNAS API mean (middlewared: JSON-RPC 2.0, `data.errname` as of errno(3)). */
import type { PortError } from '../../../domain/errors.ts';
import {
  busy,
  missingRight,
  notUnderstood,
  refusedByArray,
  unsupported,
  wrongPassword,
} from '../rest/errors.ts';
import type { RestEndpoint } from '../rest/tls.ts';

/** The `error` of an answer. */
export interface RpcError {
  readonly code: number;
  readonly message: string;
  readonly data?: {
    readonly errname?: string;
    readonly reason?: string;
    /** Of invalid parameters: field, sentence, errno. */
    readonly extra?: readonly (readonly unknown[])[] | null;
  } | null;
}

const methodNotFound = -32601;
const tooManyCalls = -32000;
const methodCallError = -32001;
const invalidParams = -32602;

export function saysNotLoggedIn({ data }: RpcError): boolean {
  return data?.errname === 'ENOTAUTHENTICATED';
}

export function failureOf(endpoint: RestEndpoint, method: string, error: RpcError, user: string): PortError {
  const words = wordsOf(error);
  const name = error.data?.errname ?? String(error.code);
  if (error.code === methodNotFound)
    return unsupported(
      endpoint,
      `Array ${endpoint.array} does not know ${method}`,
      'Use TrueNAS 25.10 or later for this array, or type zfs over SSH',
    );
  if (error.code === tooManyCalls) return busy(endpoint, words, 'TOO_MANY_CALLS');
  if (![methodCallError, invalidParams].includes(error.code))
    return notUnderstood(endpoint, `answers ${method} with an error of the protocol`, [words]);
  if (saysNotLoggedIn(error)) return wrongPassword(endpoint, user, words);
  if (name === 'EACCES' || name === 'EPERM') return missingRight(endpoint, method, words);
  if (name === 'EBUSY' || name === 'EAGAIN' || /dataset is busy|already running/i.test(words))
    return busy(endpoint, words, name);
  if (name === 'ENOENT') return refusedByArray(endpoint, words, 'not-found');
  return refusedByArray(endpoint, words, name);
}

function wordsOf({ message, data }: RpcError): string {
  const fields = (data?.extra ?? []).map((one) => one.slice(0, 2).join(': '));
  return [data?.reason ?? message, ...(data?.reason === undefined ? fields : [])].join('; ');
}
