/** Errors of channels, for the person who must mend them. Addresses of chats are secrets: only the host is named. */
import { type ErrorCode, type FailureKind, PortError } from '../../domain/errors.ts';

interface Said {
  readonly code: ErrorCode;
  readonly what: string;
  readonly next: string;
}

const words = {
  unreachable: {
    code: 'DR-NOTICE-UNREACHABLE',
    what: 'cannot be reached',
    next: 'Check its address in sites.yaml and the network; the notice waits and is sent again',
  },
  auth: {
    code: 'DR-NOTICE-PASSWORD',
    what: 'does not accept our login',
    next: 'Correct user, password or address of the channel, then try it: lifeboat notify test',
  },
  trust: {
    code: 'DR-NOTICE-CERTIFICATE',
    what: 'shows a certificate that is not trusted: nothing was sent',
    next: 'Name the CA of the server as ca_file of the channel, and the server by the name in its certificate',
  },
  refused: {
    code: 'DR-NOTICE-REFUSED',
    what: 'refuses the notice',
    next: 'See what it says, correct the channel in sites.yaml, then try it: lifeboat notify test',
  },
  busy: {
    code: 'DR-NOTICE-BUSY',
    what: 'takes no more notices for the moment',
    next: 'Nothing: the notice waits and is sent again',
  },
} as const satisfies Partial<Record<FailureKind, Said>>;

export function notTaken(
  kind: keyof typeof words,
  channel: string,
  server: string,
  known: readonly string[],
  cause?: unknown,
): PortError {
  const { code, what, next } = words[kind];
  return new PortError(
    kind,
    { code, what: `Channel ${channel}: ${server} ${what}`, known, next },
    cause === undefined ? {} : { cause },
  );
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Codes of Node for a certificate that does not stand up. */
const distrust =
  /^(?:CERT_|ERR_TLS_CERT_|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_|HOSTNAME_MISMATCH)/;

export function isDistrust(error: unknown): boolean {
  for (let each = error; each instanceof Error; each = each.cause)
    if ('code' in each && distrust.test(String(each.code))) return true;
  return /self-signed certificate|unable to verify the first certificate|unable to get (?:local )?issuer|altnames|certificate has expired/i.test(
    messageOf(error),
  );
}
