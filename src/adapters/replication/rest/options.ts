/** The options that every array behind REST over TLS shares. To be spread into an adapter's schema; read by `arrayOptions` of ../../ssh/options.ts. */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { PortError } from '../../../domain/errors.ts';
import type { ArraySettings } from '../../../domain/settings.ts';
import type { Secrets } from '../../../ports/system.ts';
import { badOptions } from '../../ssh/options.ts';
import type { RestEndpoint, Trust } from './tls.ts';

const fingerprint = z
  .string()
  .transform((text) => text.replaceAll(':', '').toLowerCase())
  .pipe(z.string().regex(/^[0-9a-f]{64}$/, 'must be a SHA-256 fingerprint: 64 hexadecimal digits'));

/** `z.strictObject({ ...restOptions, svm: z.string() })`; `requireTrust` checks what a schema of fields cannot. */
export const restOptions = {
  /** `https://NAME[:PORT]`, without path. */
  url: z
    .url({ protocol: /^https$/ })
    .refine(
      (text) => URL.canParse(text) && /^https:\/\/[^/?#@]+\/?$/.test(text),
      'must be https://NAME or https://NAME:PORT',
    )
    .transform((text) => text.replace(/\/$/, '')),
  /** SHA-256 of the certificate; either this or `ca_file`. */
  fingerprint: fingerprint.optional(),
  /** PEM file with the authority that signs the array's certificate. */
  ca_file: z.string().startsWith('/').optional(),
};

/** The same with the user whose password is the array's secret. */
export const restLoginOptions = { ...restOptions, username: z.string().min(1) };

export interface RestOptions {
  readonly url: string;
  readonly fingerprint?: string | undefined;
  readonly ca_file?: string | undefined;
}

/** Where the array is and by what its certificate is known. Nothing is read or contacted before the first request. */
export function restEndpointOf(settings: ArraySettings, options: RestOptions): RestEndpoint {
  const { url, fingerprint: pin, ca_file: file } = options;
  if ((pin === undefined) === (file === undefined))
    throw badOptions(
      settings,
      [
        pin === undefined
          ? 'neither fingerprint nor ca_file is given'
          : 'both fingerprint and ca_file are given',
      ],
      'either the fingerprint of the certificate or the file of the authority that signs it',
    );
  const trust = async (): Promise<Trust> =>
    pin === undefined ? { ca: await readAuthority(settings.name, file ?? '') } : { fingerprint: pin };
  return { array: settings.name, url, trust };
}

async function readAuthority(array: string, file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new PortError(
      'trust',
      {
        code: 'DR-ARRAY-CERTIFICATE',
        what: `The authority by which the certificate of array ${array} is known cannot be read`,
        where: { file },
        known: [error instanceof Error && 'code' in error ? String(error.code) : 'the file cannot be read'],
        next: 'Put the PEM file of the authority there, or give the fingerprint of the certificate instead',
      },
      { cause: error },
    );
  }
}

/** The array's secret, asked for at the first request; DR-ARRAY-OPTIONS when the settings name none. */
export function restSecretOf(settings: ArraySettings, secrets: Secrets): () => Promise<string> {
  const { secret } = settings;
  if (secret === null)
    throw badOptions(settings, ['secret: missing'], 'the password or token of the array as its secret');
  return () => secrets.resolve(secret);
}
