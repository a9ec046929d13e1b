/**
 * From the server's `[code, ...params]`, or from what went wrong on the way, to an error that an operator can act
 * upon. Secrets are struck out of everything that is kept.
 */
import { type ErrorCode, type FailureKind, PortError, type Problem } from '../../domain/errors.ts';
import { clientMissing, storageFailures } from './failures-storage.ts';
import { type FailureEntry, failureTable } from './failures-table.ts';

/** Where a failure happened, and which texts must never be shown. */
export interface FailureContext {
  readonly site: string;
  /** The method or the path that was asked, such as `PBD.plug`. */
  readonly operation: string;
  readonly secrets?: readonly string[];
}

/** Entry for a code of the server; backend numbers and families included; null for a code that nobody knows. */
export function entryOf(peerCode: string): FailureEntry | null {
  const known = failureTable.get(peerCode);
  if (known !== undefined) return known;
  const backend = /^SR_BACKEND_FAILURE_(\d+)$/.exec(peerCode);
  if (backend !== null) {
    const failure = storageFailures.get(Number(backend[1]));
    const params = ['', 'reason', 'details'];
    if (failure !== undefined) return { kind: 'refused', params, ...failure };
    return {
      kind: 'refused',
      code: 'DR-SR-DRIVER',
      what: 'The storage driver failed',
      next: 'Look at /var/log/SMlog of the host that ran the operation',
      params,
    };
  }
  if (peerCode.startsWith('HA_CONSTRAINT_VIOLATION_'))
    return {
      kind: 'refused',
      code: 'DR-HA',
      what: 'HA forbids the operation',
      next: 'Change the HA settings of the pool, or disable HA for the time of the operation',
      params: ['object'],
    };
  if (peerCode.startsWith('IMPORT_ERROR'))
    return {
      kind: 'refused',
      code: 'DR-IMPORT',
      what: 'The import of VM metadata failed',
      next: 'Read the text; rehearse the import with `lifeboat verify`, which names each VM',
      params: ['text'],
    };
  return null;
}

const unknownCode: FailureEntry = {
  kind: 'refused',
  code: 'DR-POOL-ERROR',
  what: 'The pool refused the call',
  next: 'Look the code up in the documentation of XenServer, and at /var/log/xensource.log of the coordinator',
  params: [],
};

/** Longest text of the server that is shown; probe answers are longer and are read elsewhere. */
const shownLength = 400;

/**
 * The failure inside a failure: a storage error that the pool wraps as an internal one, and a lookup that an HTTP handler
 * reports as a matter of rights (xapi.md 3.5, 7.2). Unchanged when there is none that the table knows.
 */
function unwrapped(failure: readonly string[]): readonly string[] {
  const [code, first = '', second = ''] = failure;
  const inner =
    code === 'INTERNAL_ERROR'
      ? /Server_error\(([A-Z_0-9]+), \[([^\]]*)\]\)/.exec(first)
      : code === 'RBAC_PERMISSION_DENIED' && first.startsWith('http/')
        ? /^([A-Z_0-9]+): \[([^\]]*)\]$/.exec(second)
        : null;
  if (inner === null || entryOf(inner[1] ?? '') === null) return failure;
  const params = (inner[2] ?? '').split(';').map((param) => param.trim());
  return [inner[1] ?? '', ...params.filter((param) => param !== '')];
}

export function failureError(failure: readonly string[], context: FailureContext): PortError {
  const [peerCode = 'UNKNOWN', ...rawParams] = unwrapped(failure);
  const entry = namedByText(peerCode, rawParams) ?? entryOf(peerCode) ?? unknownCode;
  // A session reference is a key to the pool.
  const params =
    peerCode === 'SESSION_INVALID' ? [] : rawParams.map((param) => strike(param, context.secrets));
  const known = [`${context.operation} answered ${peerCode}`];
  params.forEach((param, index) => {
    const text = param.trim().replace(/\s+/g, ' ');
    if (text === '') return;
    const name = entry.params[index] ?? `parameter ${index + 1}`;
    known.push(
      `${name === '' ? '' : `${name}: `}${text.length > shownLength ? `${text.slice(0, shownLength)}…` : text}`,
    );
  });
  return new PortError(
    entry.kind,
    { code: entry.code, what: entry.what, where: { site: context.site }, known, next: entry.next },
    { peerCode, peerParams: params },
  );
}

/** Drivers have one number for storage that is not there and for a host that could not use it if it were. */
function namedByText(peerCode: string, params: readonly string[]): FailureEntry | null {
  if (!peerCode.startsWith('SR_BACKEND_FAILURE')) return null;
  if (!params.some((param) => clientMissing.says.test(param))) return null;
  const { code, what, next } = clientMissing;
  return { kind: 'refused', params: ['', 'reason', 'details'], code, what, next };
}

export function strike(text: string, secrets: readonly string[] | undefined): string {
  let clean = text;
  for (const secret of secrets ?? []) if (secret.length > 0) clean = clean.replaceAll(secret, '***');
  return clean;
}

/** The answer is not one of XenAPI. */
export function protocolError(
  site: string,
  object: string,
  what: string,
  known: readonly string[],
  options: { readonly code?: ErrorCode; readonly next?: string; readonly cause?: unknown } = {},
): PortError {
  return new PortError(
    'protocol',
    {
      code: options.code ?? 'DR-POOL-ANSWER',
      what,
      where: { site, object },
      known,
      next:
        options.next ??
        'Check that the address in sites.yaml is a XenServer or XCP-ng host, and that no proxy stands between',
    },
    options.cause === undefined ? {} : { cause: options.cause },
  );
}

/** The request went out, and nobody knows what came of it. */
export function outcomeUnknown(
  context: FailureContext,
  known: readonly string[],
  cause?: unknown,
): PortError {
  return new PortError(
    'outcome-unknown',
    {
      code: 'DR-OUTCOME-UNKNOWN',
      what: `The outcome of ${context.operation} is unknown`,
      where: { site: context.site },
      known: known.map((text) => strike(text, context.secrets)),
      next: 'Look at the pool before anything is repeated: the work may have been done',
    },
    cause === undefined ? {} : { cause },
  );
}

export function portError(
  kind: FailureKind,
  site: string,
  problem: Omit<Problem, 'where'> & { readonly object?: string },
  cause?: unknown,
): PortError {
  const { object, ...rest } = problem;
  return new PortError(
    kind,
    { ...rest, where: object === undefined ? { site } : { site, object } },
    cause === undefined ? {} : { cause },
  );
}
