/** The options of an array of type `btrfs`. */
import { z } from 'zod';
import type { ArraySettings } from '../../../domain/settings.ts';
import { arrayOptions } from '../../ssh/options.ts';
import { filerOptions } from '../send-receive/filer.ts';

const schema = z.strictObject({
  ...filerOptions,
  /** Where the top level of the file system is mounted on the filer; volumes are subvolumes in it. */
  directory: z.string().regex(/^\/.*[^/]$/, 'must be an absolute path without a slash at its end'),
  /** `exportfs`: hosts are let in at the filer's NFS server. `none`: the filer exports the directory by other means. */
  exports: z.enum(['exportfs', 'none']).default('exportfs'),
});

export type BtrfsOptions = z.infer<typeof schema>;

export function btrfsOptions(settings: ArraySettings): BtrfsOptions {
  return arrayOptions(
    settings,
    schema,
    'host, username, host_key, directory, and private_key_file or a secret; the rest has defaults (README of the btrfs adapter)',
  );
}
