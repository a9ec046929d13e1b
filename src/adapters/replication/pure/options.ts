/** The options of arrays of type `pure` and `pure-activedr`. */
import { z } from 'zod';
import type { ArraySettings } from '../../../domain/settings.ts';
import { arrayOptions } from '../../ssh/options.ts';
import { restOptions } from '../rest/options.ts';

const common = {
  ...restOptions,
  api_version: z
    .string()
    .regex(/^2\.\d+$/, 'must be 2.x')
    .default('2.26'),
  /** How many points of ours stay on each side. */
  keep_points: z.int().min(1).max(1000).default(6),
};
const schema = z.strictObject({
  ...common,
  /** The array's own name, by which the other one lists what comes from it. */
  array_name: z.string().regex(/^[A-Za-z0-9-]+$/, 'must be the name of the array'),
});
const activeDr = z.strictObject(common);

export type PureOptions = z.infer<typeof schema>;

export function pureOptions(settings: ArraySettings): PureOptions {
  return arrayOptions(
    settings,
    schema,
    'url, fingerprint or ca_file, array_name, and an API token as the secret (README of the pure adapter)',
  );
}

export function activeDrOptions(settings: ArraySettings): z.infer<typeof activeDr> {
  return arrayOptions(
    settings,
    activeDr,
    'url, fingerprint or ca_file, and an API token as the secret (README of the pure adapter)',
  );
}
