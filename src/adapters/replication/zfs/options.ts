/** The options of an array of type `zfs`. */
import { z } from 'zod';
import type { ArraySettings } from '../../../domain/settings.ts';
import { arrayOptions } from '../../ssh/options.ts';
import { filerOptions } from '../send-receive/filer.ts';
import { checkLunOptions, lunOptions } from '../send-receive/luns/options.ts';

const schema = z.strictObject({
  ...filerOptions,
  ...lunOptions,
  /** The pool: all volumes of the array are datasets below it. */
  pool: z.string().regex(/^[A-Za-z][A-Za-z0-9_.:-]*$/, 'must be the name of a pool'),
  /** `sharenfs`: exports are set on the datasets. `none`: the filer exports what lies below the pool by other means. */
  exports: z.enum(['sharenfs', 'none']).default('sharenfs'),
  /**
   * `nfs`: datasets are shown to hosts over NFS. `iscsi`: zvols, or a file in each dataset, as LUNs. `none`: a person gives
   * hosts their way to the volumes.
   */
  expose: z.enum(['nfs', 'iscsi', 'none']).default('nfs'),
  /** Names of snapshots of other replicators that count as points, beside our own. */
  points: z
    .string()
    .default('^(zrepl_|syncoid_|autosnap_|auto-)')
    .refine(isPattern, 'must be a regular expression'),
});

export type ZfsOptions = z.infer<typeof schema>;

function isPattern(text: string): boolean {
  try {
    new RegExp(text);
    return true;
  } catch {
    return false;
  }
}

export function zfsOptions(settings: ArraySettings): ZfsOptions {
  const options = arrayOptions(
    settings,
    schema,
    'host, username, host_key, pool, and private_key_file or a secret; the rest has defaults (README of the zfs adapter)',
  );
  checkLunOptions(settings, options.expose, options);
  return options;
}
