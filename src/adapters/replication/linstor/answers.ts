/** Shapes of what a LINSTOR controller answers (its REST description 1.28), as far as they are read. */
import { z } from 'zod';

const props = z.record(z.string(), z.string()).default({});

const snapshot = z.object({
  name: z.string(),
  resource_name: z.string(),
  uuid: z.string(),
  flags: z.array(z.string()).default([]),
  snapshot_definition_props: props,
  snapshots: z
    .array(z.object({ node_name: z.string().optional(), create_timestamp: z.number().optional() }))
    .default([]),
});

const resource = z.object({
  name: z.string(),
  node_name: z.string(),
  flags: z.array(z.string()).default([]),
  state: z.object({ in_use: z.boolean().optional() }).default({}),
  volumes: z.array(z.object({ volume_number: z.number(), device_path: z.string().optional() })).default([]),
});

const definition = z.object({ name: z.string(), uuid: z.string().default(''), props });

export const answers = {
  version: z.object({ version: z.string() }),
  props,
  snapshots: z.array(snapshot),
  resources: z.array(resource),
  definitions: z.array(definition),
  nodes: z.array(
    z.object({ name: z.string(), net_interfaces: z.array(z.object({ address: z.string() })).default([]) }),
  ),
  keyValues: z.array(z.object({ name: z.string(), props })),
  results: z.array(
    z.object({
      ret_code: z.number(),
      message: z.string().default(''),
      cause: z.string().optional(),
      details: z.string().optional(),
      correction: z.string().optional(),
    }),
  ),
};

export type Snapshot = z.infer<typeof snapshot>;
export type Resource = z.infer<typeof resource>;
export type Definition = z.infer<typeof definition>;
export type Results = z.infer<typeof answers.results>;
