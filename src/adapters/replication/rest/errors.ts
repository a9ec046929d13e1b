/** How requests to an array end when they do not succeed, in words for the person who has to act. */
import { type FailureKind, PortError, type Problem } from '../../../domain/errors.ts';

interface Named {
  readonly array: string;
  readonly url: string;
}

export function unreachable(endpoint: Named, cause: unknown): PortError {
  return made(endpoint, 'unreachable', cause, {
    code: 'DR-ARRAY-UNREACHABLE',
    what: `Array ${endpoint.array} does not answer`,
    next: 'Check power and network of the array',
  });
}

/** A request that may change something was sent, and its answer never came. */
export function outcomeUnknown(endpoint: Named, request: string, cause: unknown): PortError {
  return made(endpoint, 'outcome-unknown', cause, {
    code: 'DR-ARRAY-OUTCOME-UNKNOWN',
    what: `Array ${endpoint.array} was sent ${request}, and its answer never came`,
    next: 'Look at the state of the volume before anything else; a run does so when it is resumed',
  });
}

export function stopped(endpoint: Named, cause: unknown): PortError {
  return made(endpoint, 'cancelled', cause, {
    code: 'DR-ARRAY-CANCELLED',
    what: 'The request was stopped',
    next: 'Nothing is needed; start again when you want it',
  });
}

export function notUnderstood(endpoint: Named, what: string, known: readonly string[] = []): PortError {
  return new PortError('protocol', {
    code: 'DR-ARRAY-PROTOCOL',
    what: `Array ${endpoint.array} ${what}`,
    where: { object: endpoint.url },
    known,
    next: 'Check that the address in the settings is the control address of the array, and that its release is supported',
  });
}

export function wrongPassword(endpoint: Named, user: string, words: string): PortError {
  return refusal(endpoint, 'auth', words, '401', {
    code: 'DR-ARRAY-PASSWORD',
    what: `Array ${endpoint.array} refuses ${user}`,
    next: 'Correct the user name or the secret of the array in the settings',
  });
}

export function missingRight(endpoint: Named, request: string, words: string): PortError {
  return refusal(endpoint, 'auth', words, '403', {
    code: 'DR-ARRAY-RIGHT',
    what: `Array ${endpoint.array} does not allow our user ${request}`,
    next: 'Give the user the right; the README of the adapter lists those it needs',
  });
}

export function busy(endpoint: Named, words: string, peerCode: string): PortError {
  return refusal(endpoint, 'busy', words, peerCode, {
    code: 'DR-ARRAY-BUSY',
    what: `Array ${endpoint.array} is busy`,
    next: 'Wait until what it does has ended, and try again',
  });
}

/** The array says no, in its own words. */
export function refusedByArray(endpoint: Named, words: string, peerCode: string): PortError {
  return refusal(endpoint, 'refused', words, peerCode, {
    code: 'DR-ARRAY-REFUSED',
    what: `Array ${endpoint.array} refuses`,
    next: 'Compare the pair in sites.yaml with what the array shows, then make a new plan',
  });
}

/** A verb that the array does not have, or not like this. */
export function unsupported(endpoint: Named, what: string, next: string): PortError {
  return new PortError(
    'refused',
    { code: 'DR-ARRAY-CANNOT', what, where: { object: `array ${endpoint.array}` }, next },
    { peerCode: 'unsupported' },
  );
}

/**
 * What an HTTP status means where the vendor's own code says nothing better: 401 password, 403 right, 404 not there
 * (`peerCode` `not-found`), 408, 423, 425, 429 and 503 busy, any other refused. 404 and 4xx did nothing.
 */
export function failureOfStatus(
  endpoint: Named,
  request: string,
  status: number,
  words: string,
  user: string,
): PortError {
  if (status === 401) return wrongPassword(endpoint, user, words);
  if (status === 403) return missingRight(endpoint, request, words);
  if (status === 404) return refusedByArray(endpoint, words || `${request}: not found`, 'not-found');
  if ([408, 423, 425, 429, 503].includes(status)) return busy(endpoint, words, String(status));
  return refusedByArray(endpoint, words || `${request}: status ${status}`, String(status));
}

function refusal(
  endpoint: Named,
  kind: FailureKind,
  words: string,
  peerCode: string,
  problem: Omit<Problem, 'where' | 'known'>,
): PortError {
  const said = words === '' ? {} : { known: [words] };
  return new PortError(
    kind,
    { ...problem, where: { object: endpoint.url }, ...said },
    { peerCode, peerParams: words === '' ? [] : [words] },
  );
}

function made(
  endpoint: Named,
  kind: FailureKind,
  cause: unknown,
  problem: Omit<Problem, 'where' | 'known'>,
): PortError {
  const known = kind !== 'cancelled' && cause instanceof Error ? { known: [cause.message] } : {};
  return new PortError(kind, { ...problem, where: { object: endpoint.url }, ...known }, { cause });
}
