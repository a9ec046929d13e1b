/** The options of an array of type `truenas`. */
import { z } from 'zod';
import type { ArraySettings } from '../../../domain/settings.ts';
import { arrayOptions } from '../../ssh/options.ts';
import { restLoginOptions } from '../rest/options.ts';

const schema = z.strictObject({
  ...restLoginOptions,
  /** The pool: all volumes of the array are datasets or zvols below it. */
  pool: z.string().regex(/^[A-Za-z][A-Za-z0-9_.:-]*$/, 'must be the name of a pool'),
  /** Name of the SSH connection (keychain) on this filer that reaches the other one. */
  ssh_connection: z.string().min(1),
  /** Address under which hosts mount and log in; the name in `url` when absent. */
  data_address: z.string().min(1).optional(),
  /** The iSCSI portal group for zvols that are shown. */
  iscsi_portal: z.int().min(1).default(1),
  /** How many points of ours stay on each side. */
  keep_points: z.int().min(1).max(1000).default(6),
});

export type TrueNasOptions = z.infer<typeof schema>;

export function trueNasOptions(settings: ArraySettings): TrueNasOptions {
  return arrayOptions(
    settings,
    schema,
    'url, fingerprint or ca_file, username, pool and ssh_connection, and the API key as the secret (README of the truenas adapter)',
  );
}
