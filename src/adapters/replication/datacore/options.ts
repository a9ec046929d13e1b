/** Options of an array of type datacore: one SANsymphony server group behind its REST server. */
import { z } from 'zod';
import type { ArraySettings } from '../../../domain/settings.ts';
import { arrayOptions, badOptions } from '../../ssh/options.ts';
import { restLoginOptions } from '../rest/options.ts';

const schema = z
  .strictObject({
    ...restLoginOptions,
    /** IP address of the DataCore server that the REST server is to ask; names are refused by it. */
    server_host: z.union([z.ipv4(), z.ipv6()], 'must be an IP address'),
    protocol: z.enum(['iscsi', 'fc']).default('iscsi'),
    /** `ADDRESS[:PORT]`, separated by commas: the front-end ports that hosts of this site log in to. */
    portals: z.string().min(1).optional(),
    target_iqn: z.string().startsWith('iqn.').optional(),
  })
  .refine(
    ({ protocol, portals, target_iqn: iqn }) =>
      protocol === 'fc' || (portals !== undefined && iqn !== undefined),
    { message: 'portals and target_iqn are needed with protocol iscsi' },
  );

export type DatacoreOptions = z.infer<typeof schema>;

export function datacoreOptions(settings: ArraySettings): DatacoreOptions {
  const needs = 'url, fingerprint or ca_file, username, server_host, portals, target_iqn, and a secret';
  const options = arrayOptions(settings, schema, needs);
  if (settings.secret === null)
    throw badOptions(settings, ['secret: missing'], 'the password of the user as its secret');
  return options;
}
