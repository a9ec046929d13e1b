/** Options of an array of type linstor: one LINSTOR cluster behind its controller. */
import { z } from 'zod';
import type { ArraySettings } from '../../../domain/settings.ts';
import { arrayOptions, badOptions } from '../../ssh/options.ts';
import { restOptions } from '../rest/options.ts';

const schema = z.strictObject({
  ...restOptions,
  /** With it the secret is a password (HTTP Basic); without it, an API token of the controller. */
  username: z.string().min(1).optional(),
  /** Name, in this cluster, of the LINSTOR remote that stands for the other cluster. */
  remote: z.string().min(1),
  /** Storage pool of this cluster that receives what the other one ships; LINSTOR chooses when absent. */
  storage_pool: z.string().min(1).optional(),
  /** Points of ours that stay on each side. */
  keep_points: z.int().min(2).max(100).default(6),
});

export type LinstorOptions = z.infer<typeof schema>;

export function linstorOptions(settings: ArraySettings): LinstorOptions {
  const needs = 'url, fingerprint or ca_file, remote, a secret, and what the README of the adapter lists';
  const options = arrayOptions(settings, schema, needs);
  if (settings.secret === null)
    throw badOptions(settings, ['secret: missing'], 'the token or password of the controller as its secret');
  return options;
}
