/** Kinds of values that occur in several places of the configuration, each with its own words when it is wrong. */
import { z } from 'zod';
import type { ErrorCode } from '../domain/errors.ts';
import { globProblem, patternProblem } from '../domain/glob.ts';
import type { ScopeMatch, SecretRef } from '../domain/settings.ts';
import { parseDuration } from '../domain/time.ts';

/** What a refinement hands to issues.ts beside the message. */
export interface Advice {
  readonly code: ErrorCode;
  readonly next: string;
}

type Refinement = z.core.$RefinementCtx<unknown>;

/** Tells one problem in our own words; the value itself is never repeated here unless it is harmless. */
export function complain(
  context: Refinement,
  what: string,
  next: string,
  code: ErrorCode = 'DR-CONFIG-VALUE',
): typeof z.NEVER {
  const advice: Advice = { code, next };
  context.addIssue({ code: 'custom', message: what, params: advice });
  return z.NEVER;
}

export const clearSecret = {
  code: 'DR-CONFIG-CLEAR-SECRET',
  what: 'a secret is written here in clear text',
  next: 'write where it comes from: { env: NAME }, { file: PATH }, { command: [PROGRAM, ARGUMENT] } or { store: NAME } (see `lifeboat secret set`)',
} as const;

/** Names of sites, groups, arrays and targets: they become parts of file names and are typed by people. */
export const name = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/)
  .describe('A short name: letters, digits, - _ . and at most 63 characters');

export const text = z.string().min(1);

/** A duration in words, such as `15min`; seconds after reading. */
export const duration = z
  .string({ error: () => 'a duration needs its unit' })
  .describe('A duration with its unit: 30s, 15min, 1h30m, 2d, 1w')
  .meta({ examples: ['15min', '1h30m', '2d'] })
  .transform((written, context) => {
    const seconds = parseDuration(written);
    if (seconds === null) {
      return complain(
        context,
        `${JSON.stringify(written)} is not a duration`,
        'write it as 30s, 15min, 1h30m or 2d',
      );
    }
    if (seconds <= 0) return complain(context, 'this duration is zero', 'write a duration above zero');
    return seconds;
  });

const secretShape = z.strictObject(
  {
    env: text.optional().describe('Name of an environment variable'),
    file: text.optional().describe('Path of a file that holds the secret alone; relative to this file'),
    command: z
      .array(text)
      .min(1)
      .optional()
      .describe('A program and its arguments; its output is the secret'),
    store: text.optional().describe('Name in the encrypted store (`lifeboat secret set NAME`)'),
  },
  {
    error: (issue) =>
      issue.code === 'invalid_type' && issue.input !== undefined ? clearSecret.what : undefined,
  },
);

export const secret = secretShape
  .describe('Where the secret comes from: exactly one of env, file, command, store')
  .transform((written, context): SecretRef => {
    const sources = Object.values(written).filter((value) => value !== undefined).length;
    if (sources !== 1) {
      return complain(
        context,
        sources === 0 ? 'this secret has no source' : `this secret has ${sources} sources`,
        'name exactly one of env, file, command and store',
      );
    }
    if (written.env !== undefined) return { from: 'env', name: written.env };
    if (written.file !== undefined) return { from: 'file', path: written.file };
    if (written.command !== undefined) return { from: 'command', argv: written.command };
    return { from: 'store', name: written.store ?? '' };
  });

const fingerprintAdvice =
  'copy the line that `openssl s_client -connect HOST:443 </dev/null | openssl x509 -noout -fingerprint -sha256` prints';

/** A fingerprint as openssl or XenCenter prints it → 64 digits in lower case, or what is wrong with it. */
export function readFingerprint(
  written: string,
): { readonly digits: string } | { readonly what: string; readonly next: string } {
  const digits = written
    .trim()
    .replace(/^(sha-?256 )?fingerprint ?= ?|^sha-?256[:=] ?/i, '')
    .replaceAll(':', '')
    .toLowerCase();
  if (/^[0-9a-f]{64}$/.test(digits)) return { digits };
  const what = /^[0-9a-f]{40}$/.test(digits)
    ? 'this is a SHA-1 fingerprint'
    : `a SHA-256 fingerprint has 64 hexadecimal digits, and this has ${digits.length} characters`;
  return { what, next: fingerprintAdvice };
}

/** SHA-256 of a certificate, with or without colons. */
export const fingerprint = z
  .string()
  .describe('SHA-256 of the host certificate: 64 hexadecimal digits, with or without colons')
  .transform((written, context) => {
    const read = readFingerprint(written);
    return 'digits' in read ? read.digits : complain(context, read.what, read.next);
  });

/** `https://name[:port]`, without user, path or query. */
export const hostUrl = z
  .string()
  .describe('https://NAME or https://NAME:PORT')
  .transform((written, context) => {
    let url: URL;
    try {
      url = new URL(written);
    } catch {
      return complain(context, 'this is not an address', 'write it as https://NAME or https://NAME:PORT');
    }
    if (url.username !== '' || url.password !== '') {
      return complain(
        context,
        'this address carries a user name or password',
        'write username and password of the pool beside hosts, and only https://NAME here',
        'DR-CONFIG-CLEAR-SECRET',
      );
    }
    if (url.protocol !== 'https:') {
      return complain(context, `${url.protocol.slice(0, -1)} is not encrypted`, `write https://${url.host}`);
    }
    if (url.pathname !== '/' || url.search !== '' || url.hash !== '') {
      return complain(context, 'this address has a path', `write https://${url.host}`);
    }
    return `https://${url.host}`;
  });

export const uuid = z
  .string()
  .regex(/^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/)
  .describe('A uuid as `xe` prints it')
  .transform((written) => written.toLowerCase());

/** A glob over names: *, ?, [a-z], {a,b}. */
export const globText = text.transform((written, context) => {
  const problem = globProblem(written);
  return problem === null
    ? written
    : complain(
        context,
        `this is not a glob: ${problem}`,
        'use *, ?, [a-z], {a,b}, and \\ before a sign that is meant itself',
      );
});

const pattern = text.transform((written, context) => {
  const problem = patternProblem(written);
  return problem === null
    ? written
    : complain(
        context,
        `this is not a regular expression: ${problem}`,
        'correct it; it is matched against the whole name',
      );
});

/** Which VMs: every line that matches counts. */
export const scopeMatch = z
  .strictObject({
    names: z.array(globText).default([]).describe('Globs over the VM name: *, ?, [a-z], {a,b}'),
    patterns: z.array(pattern).default([]).describe('Regular expressions over the whole VM name'),
    tags: z.array(text).default([]).describe('Tags of the VM'),
    folders: z.array(text).default([]).describe("XenCenter's folders, each with what lies below it"),
    srs: z.array(text).default([]).describe('SRs by name or uuid: every VM with a disk there'),
    uuids: z.array(uuid).default([]).describe('VMs by uuid'),
  })
  .transform((match): ScopeMatch => match);
