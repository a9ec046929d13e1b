/** The options that every array behind SSH shares, and how all that is wrong with them is said at once. */
import { z } from 'zod';
import { exitCodes, OperatorError } from '../../domain/errors.ts';
import type { ArraySettings } from '../../domain/settings.ts';
import type { Secrets } from '../../ports/system.ts';
import { readPrivateFile } from '../secrets/key-file.ts';
import type { SshTimes } from './connection.ts';
import { SshRemote, type SshServer } from './pool.ts';

const fingerprint = z
  .string()
  .transform((text) => text.replace(/^SHA256:/, '').replace(/=+$/, ''))
  .pipe(
    z
      .string()
      .regex(/^[A-Za-z0-9+/]{43}$/, 'must be the 43 characters that ssh-keygen -lf prints behind SHA256:'),
  );

/** To be spread into the schema of an adapter: `z.strictObject({ ...sshOptions, pool: z.string() })`. */
export const sshOptions = {
  host: z.string().min(1),
  port: z.int().min(1).max(65_535).default(22),
  username: z.string().min(1),
  host_key: fingerprint,
  /** An OpenSSH or PEM key; the secret of the array is then its passphrase, when it has one. */
  private_key_file: z.string().min(1).optional(),
};

export interface SshOptions {
  readonly host: string;
  readonly port: number;
  readonly username: string;
  readonly host_key: string;
  readonly private_key_file?: string | undefined;
}

/**
 * The options of an array after its schema; `OperatorError` DR-ARRAY-OPTIONS (exit code 2) names everything that is
 * wrong. `needs` ends the sentence "Give …".
 */
export function arrayOptions<T>(settings: ArraySettings, schema: z.ZodType<T>, needs: string): T {
  const result = schema.safeParse(settings.options);
  if (result.success) return result.data;
  throw badOptions(
    settings,
    result.error.issues.map((issue) => `${issue.path.join('.') || 'options'}: ${issue.message}`),
    needs,
  );
}

/** DR-ARRAY-OPTIONS for what a schema cannot see. */
export function badOptions(settings: ArraySettings, known: readonly string[], needs: string): OperatorError {
  return new OperatorError(
    {
      code: 'DR-ARRAY-OPTIONS',
      what: `The options of array ${settings.name} do not fit its type ${settings.type}`,
      where: { object: `array ${settings.name}` },
      known,
      next: `Give ${needs}`,
    },
    { exitCode: exitCodes.usage },
  );
}

/**
 * The server of an array: login by `private_key_file` (the secret is its passphrase) or by the secret as password.
 * Nobody is contacted and no secret is resolved before the first command.
 */
export function sshServerOf(
  settings: ArraySettings,
  options: SshOptions,
  secrets: Secrets,
  times?: SshTimes,
): SshServer {
  const { host, port, username, host_key, private_key_file } = options;
  if (private_key_file === undefined && settings.secret === null)
    throw badOptions(settings, ['neither private_key_file nor secret is given'], 'one of the two');
  return {
    address: {
      host,
      port,
      username,
      hostKey: host_key,
      writtenIn: { place: `array ${settings.name} in sites.yaml`, keyField: 'private_key_file' },
    },
    credentials: async () => ({
      privateKey:
        private_key_file === undefined ? null : await readPrivateFile(private_key_file, 'the private key'),
      password: settings.secret === null ? null : await secrets.resolve(settings.secret),
    }),
    ...(times === undefined ? {} : { times }),
  };
}

export function openSshRemote(...server: Parameters<typeof sshServerOf>): SshRemote {
  return new SshRemote(sshServerOf(...server));
}
