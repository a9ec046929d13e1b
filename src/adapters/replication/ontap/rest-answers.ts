/** Records of the ONTAP REST API (storage.md C.1) and what becomes of them. Fields that a release does not have are optional. */
import { z } from 'zod';
import type { ExportRule, Igroup, Lun, Outgoing, Relationship, Snapshot, Volume } from './control.ts';

const named = z.object({ name: z.string() });

export const volumeRecord = z
  .object({
    uuid: z.string(),
    name: z.string(),
    svm: named,
    type: z.string().default('rw'),
    state: z.string().optional(),
    comment: z.string().default(''),
    create_time: z.string().optional(),
    nas: z.object({ path: z.string().default(''), export_policy: named.optional() }).optional(),
    clone: z.object({ is_flexclone: z.boolean().optional(), parent_volume: named.optional() }).optional(),
  })
  .transform((one): Volume => {
    const type = one.type === 'rw' || one.type === 'dp' ? one.type : 'other';
    return {
      path: `${one.svm.name}:${one.name}`,
      uuid: one.uuid,
      svm: one.svm.name,
      name: one.name,
      type,
      online: one.state === 'online',
      comment: one.comment,
      junction: one.nas?.path ?? '',
      exportPolicy: one.nas?.export_policy?.name ?? '',
      cloneParent: one.clone?.is_flexclone === true ? (one.clone.parent_volume?.name ?? null) : null,
      madeAt: one.create_time === undefined ? null : new Date(one.create_time).toISOString(),
    };
  });
export const volumeFields =
  'uuid,name,svm.name,type,state,comment,create_time,nas.path,nas.export_policy.name,clone.is_flexclone,clone.parent_volume.name';

export const snapshotRecord = z
  .object({
    uuid: z.string(),
    name: z.string(),
    version_uuid: z.string().optional(),
    create_time: z.string(),
    snapmirror_label: z.string().optional(),
    volume: named,
    svm: named,
  })
  .transform(
    (one): Snapshot => ({
      volume: `${one.svm.name}:${one.volume.name}`,
      name: one.name,
      uuid: one.uuid,
      versionUuid: one.version_uuid ?? null,
      createTime: new Date(one.create_time).toISOString(),
      label: one.snapmirror_label ?? null,
    }),
  );
export const snapshotFields = 'uuid,name,version_uuid,create_time,snapmirror_label,volume.name,svm.name';

const end = z.object({ path: z.string(), cluster: named.optional() });

export const relationshipRecord = z
  .object({
    uuid: z.string(),
    source: end,
    destination: end,
    state: z.string().default('unknown'),
    healthy: z.boolean().default(false),
    unhealthy_reason: z.array(z.object({ code: z.string().optional(), message: z.string() })).default([]),
    lag_time: z.string().optional(),
    exported_snapshot: z.string().optional(),
    policy: named.optional(),
    transfer: z
      .object({
        state: z.string().optional(),
        uuid: z.string().optional(),
        end_time: z.string().optional(),
        bytes_transferred: z.number().optional(),
      })
      .optional(),
  })
  .transform(
    (one): Relationship => ({
      uuid: one.uuid,
      source: one.source.path,
      sourceCluster: one.source.cluster?.name ?? null,
      destination: one.destination.path,
      state: one.state,
      transfer: {
        state: one.transfer?.state ?? null,
        uuid: one.transfer?.uuid ?? null,
        endTime: one.transfer?.end_time ?? null,
        bytes: one.transfer?.bytes_transferred ?? null,
      },
      healthy: one.healthy,
      unhealthyReasons: one.unhealthy_reason.map(({ message }) => message),
      lagSeconds: one.lag_time === undefined ? null : durationSeconds(one.lag_time),
      exportedSnapshot: one.exported_snapshot ?? null,
      policy: one.policy?.name ?? null,
    }),
  );
export const relationshipFields =
  'uuid,state,healthy,unhealthy_reason,lag_time,exported_snapshot,transfer,policy.name,source.path,source.cluster.name,destination.path';

export const outgoingRecord = z.object({ uuid: z.string(), source: end, destination: end }).transform(
  (one): Outgoing => ({
    uuid: one.uuid,
    source: one.source.path,
    destination: one.destination.path,
    destinationCluster: one.destination.cluster?.name ?? null,
  }),
);

export const lunRecord = z
  .object({
    name: z.string(),
    serial_number_hex: z.string().optional(),
    lun_maps: z.array(z.object({ igroup: named, logical_unit_number: z.number() })).default([]),
  })
  .transform(
    (one): Lun => ({
      path: one.name,
      serialHex: one.serial_number_hex ?? null,
      maps: one.lun_maps.map(({ igroup, logical_unit_number: id }) => ({ igroup: igroup.name, id })),
    }),
  );

export const ruleRecord = z
  .object({
    index: z.number(),
    clients: z.array(z.object({ match: z.string() })).default([]),
    rw_rule: z.array(z.string()).default([]),
  })
  .transform(
    (one): ExportRule => ({
      index: one.index,
      clients: one.clients.map(({ match }) => match),
      rw: one.rw_rule.some((rule) => rule !== 'never' && rule !== 'none'),
    }),
  );

export const igroupRecord = z
  .object({ uuid: z.string(), name: z.string(), initiators: z.array(named).default([]) })
  .transform((one): Igroup & { readonly uuid: string } => ({
    uuid: one.uuid,
    name: one.name,
    initiators: one.initiators.map(({ name }) => name),
  }));

/** `P2DT3H4M5S` → seconds; null for what is none. */
export function durationSeconds(text: string): number | null {
  const parts = /^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$/.exec(text);
  if (parts === null) return null;
  const [days, hours, minutes, seconds] = parts.slice(1).map((part) => Number(part ?? 0));
  return (days ?? 0) * 86_400 + (hours ?? 0) * 3600 + (minutes ?? 0) * 60 + (seconds ?? 0);
}
