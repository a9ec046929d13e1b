/**
 * Where a lab array is and how to log in there. Options: `url` and `fingerprint` (and `username`, `admin` when absent)
 * with the array's secret as password; or `directory`, where the lab leaves `<array>.json` with all of it.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { exitCodes, OperatorError, PortError } from '../../../domain/errors.ts';
import type { ArraySettings } from '../../../domain/settings.ts';
import type { Secrets } from '../../../ports/system.ts';
import type { ArrayEndpoint } from './client.ts';

const fingerprint = z
  .string()
  .transform((text) => text.replaceAll(':', '').toLowerCase())
  .pipe(z.string().regex(/^[0-9a-f]{64}$/, 'must be a SHA-256 fingerprint: 64 hexadecimal digits'));

const direct = z.strictObject({
  url: z.url({ protocol: /^https$/ }),
  fingerprint,
  username: z.string().min(1).default('admin'),
});
const byDirectory = z.strictObject({ directory: z.string().min(1) });
const accessFile = z.object({
  url: z.url(),
  fingerprint,
  username: z.string(),
  password: z.string(),
});

/** Read at each call: a lab that was started anew has another port. */
export async function endpointOf(settings: ArraySettings, secrets: Secrets): Promise<ArrayEndpoint> {
  const { name: array, options, secret } = settings;
  if ('directory' in options) {
    const file = join(parsedOptions(settings, byDirectory).directory, `${array}.json`);
    return { array, ...(await readAccessFile(array, file)) };
  }
  const given = parsedOptions(settings, direct);
  if (secret === null) throw misconfigured(settings, ['secret: missing, it is the password of the array']);
  return { array, ...given, password: await secrets.resolve(secret) };
}

async function readAccessFile(array: string, file: string): Promise<z.infer<typeof accessFile>> {
  try {
    return accessFile.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch (error) {
    throw new PortError(
      'unreachable',
      {
        code: 'DR-ARRAY-UNREACHABLE',
        what: `How to reach array ${array} cannot be read from ${file}`,
        where: { file },
        known: [
          error instanceof SyntaxError || error instanceof z.ZodError
            ? 'the file is damaged'
            : 'the file is not there or cannot be read',
        ],
        next: 'Start the lab: `lifeboat lab up`',
      },
      { cause: error },
    );
  }
}

function parsedOptions<T>(settings: ArraySettings, schema: z.ZodType<T>): T {
  const result = schema.safeParse(settings.options);
  if (result.success) return result.data;
  throw misconfigured(
    settings,
    result.error.issues.map((issue) => `${issue.path.join('.') || 'options'}: ${issue.message}`),
  );
}

function misconfigured(settings: ArraySettings, known: readonly string[]): OperatorError {
  return new OperatorError(
    {
      code: 'DR-ARRAY-OPTIONS',
      what: `The settings of array ${settings.name} are not those of a lab array`,
      where: { object: `array ${settings.name}` },
      known,
      next: 'Give `url`, `fingerprint`, `username` and a secret, or the `directory` of a running lab',
    },
    { exitCode: exitCodes.usage },
  );
}
