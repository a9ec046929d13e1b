/** Datasets, snapshots and jobs as the API lists them, in the shape in which the zfs adapter reads them. */
import { z } from 'zod';
import { notUnderstood } from '../rest/errors.ts';
import type { RestEndpoint } from '../rest/tls.ts';
import type { Dataset } from '../zfs/datasets.ts';

const property = z.looseObject({
  rawvalue: z.string().nullish(),
  value: z.string().nullish(),
  source: z.string().nullish(),
});

export const datasetEntries = z.array(
  z.looseObject({
    id: z.string(),
    type: z.enum(['FILESYSTEM', 'VOLUME']),
    readonly: property.optional(),
    origin: property.optional(),
    mountpoint: z.string().nullish(),
    user_properties: z.record(z.string(), property).default({}),
  }),
);
export type DatasetEntry = z.infer<typeof datasetEntries>[number];

export const snapshotEntries = z.array(
  z.looseObject({
    id: z.string(),
    dataset: z.string(),
    createtxg: z.string(),
    properties: z.record(z.string(), property).default({}),
  }),
);
export type SnapshotEntry = z.infer<typeof snapshotEntries>[number];

export const jobEntries = z.array(
  z.looseObject({
    id: z.int(),
    method: z.string(),
    arguments: z.array(z.unknown()).nullish(),
    state: z.enum(['WAITING', 'RUNNING', 'SUCCESS', 'FAILED', 'ABORTED']),
    error: z.string().nullish(),
    progress: z.looseObject({ percent: z.number().nullish() }).nullish(),
  }),
);
export type JobEntry = z.infer<typeof jobEntries>[number];

export const systemInfo = z.looseObject({
  version: z.string(),
  system_product: z.string().nullish(),
  datetime: z.looseObject({ $date: z.number() }),
});

/** The answer after its schema; `protocol` when it has another shape. */
export function understood<T>(
  endpoint: RestEndpoint,
  method: string,
  schema: z.ZodType<T>,
  answer: unknown,
): T {
  const result = schema.safeParse(answer);
  if (result.success) return result.data;
  throw notUnderstood(
    endpoint,
    `answers ${method} in an unknown form`,
    result.error.issues.slice(0, 3).map(({ path, message }) => `${path.join('.')}: ${message}`),
  );
}

/** As `zfs get` shows it: values in lower case, user properties that were set on the dataset itself as local. */
export function asDataset(entry: DatasetEntry): Dataset {
  const own = Object.entries(entry.user_properties);
  return {
    name: entry.id,
    values: {
      type: entry.type.toLowerCase(),
      readonly: (entry.readonly?.rawvalue ?? '').toLowerCase(),
      origin: entry.origin?.rawvalue ?? '',
    },
    local: Object.fromEntries(
      own
        .filter(([, { source }]) => source === undefined || source === null || source === 'LOCAL')
        .map(([key, { rawvalue, value }]) => [key, rawvalue ?? value ?? '']),
    ),
  };
}

export function asSnapshot({ id, createtxg, properties }: SnapshotEntry): Dataset {
  const raw = (name: string): string => properties[name]?.rawvalue ?? '';
  return {
    name: id,
    values: { guid: raw('guid'), creation: raw('creation'), createtxg, written: raw('written') },
    local: {},
  };
}
