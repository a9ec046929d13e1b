/** The options of an array of type `btrfs`. */
import { z } from 'zod';
import type { ArraySettings } from '../../../domain/settings.ts';
import { arrayOptions, badOptions } from '../../ssh/options.ts';
import { filerOptions } from '../send-receive/filer.ts';
import { checkLunOptions, lunOptions } from '../send-receive/luns/options.ts';

const schema = z.strictObject({
  ...filerOptions,
  ...lunOptions,
  /** Where the top level of the file system is mounted on the filer; volumes are subvolumes in it. */
  directory: z.string().regex(/^\/.*[^/]$/, 'must be an absolute path without a slash at its end'),
  /** `exportfs`: hosts are let in at the filer's NFS server. `none`: the filer exports the directory by other means. */
  exports: z.enum(['exportfs', 'none']).default('exportfs'),
  /** `nfs`: volumes are shown to hosts over NFS. `iscsi`: a file in each of them as a LUN. */
  expose: z.enum(['nfs', 'iscsi']).default('nfs'),
});

export type BtrfsOptions = z.infer<typeof schema>;

export function btrfsOptions(settings: ArraySettings): BtrfsOptions {
  const options = arrayOptions(
    settings,
    schema,
    'host, username, host_key, directory, and private_key_file or a secret; the rest has defaults (README of the btrfs adapter)',
  );
  checkLunOptions(settings, options.expose, options);
  if (options.expose === 'iscsi' && options.lun_image === undefined)
    throw badOptions(settings, ['lun_image is not given'], 'the file in each volume that is its LUN');
  return options;
}
