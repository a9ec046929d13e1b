/** The options of an array of type `powerstore`. */
import { z } from 'zod';
import type { ArraySettings } from '../../../domain/settings.ts';
import { arrayOptions } from '../../ssh/options.ts';
import { restLoginOptions } from '../rest/options.ts';

const schema = z.strictObject({
  ...restLoginOptions,
  /** How many points of ours stay on each side. */
  keep_points: z.int().min(1).max(200).default(6),
});

export type PowerStoreOptions = z.infer<typeof schema>;

export function powerStoreOptions(settings: ArraySettings): PowerStoreOptions {
  return arrayOptions(
    settings,
    schema,
    'url, fingerprint or ca_file, username, and its password as the secret (README of the powerstore adapter)',
  );
}
