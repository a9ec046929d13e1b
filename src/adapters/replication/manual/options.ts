/** The options of an array of type `manual`: where its volumes are reached, and what a person is told to do. */
import { z } from 'zod';
import type { ArraySettings } from '../../../domain/settings.ts';
import { arrayOptions, badOptions } from '../../ssh/options.ts';

const sentence = z.string().trim().min(1);
const place = z.string().min(1);

const schema = z.strictObject({
  /** JSON that people keep: what they know of each volume (README of the adapter). */
  statements_file: z.string().startsWith('/'),
  kind: z.enum(['nfs', 'iscsi', 'fc', 'smb', 'cephfs', 'gluster', 'file']),
  /** Where hosts reach a volume once it is writable; `{volume}` stands for its name. */
  server: place.optional(),
  path: place.optional(),
  portals: z.array(place).min(1).optional(),
  iqn: place.optional(),
  scsi_id: place.optional(),
  /** The same of the copy that a person makes for a drill; `{drill}` stands for its name. Without one there are no drills. */
  drill_server: place.optional(),
  drill_path: place.optional(),
  drill_portals: z.array(place).min(1).optional(),
  drill_iqn: place.optional(),
  drill_scsi_id: place.optional(),
  /** The site's own sentences. */
  say_promote: sentence.default(
    'Stop the replication of volume {volume} on array {array}, make it writable, and give these hosts access: {hosts}',
  ),
  /** Absent: the plan's own words. `{tag}` is the name that the last point must bear; `{otherVolume}` the other side. */
  say_prepare: sentence.optional(),
  say_reverse: sentence.optional(),
  say_drill_start: sentence.default(
    'On array {array} make a writable copy of volume {volume} for drill {drill}, leave the replication as it is, and give these hosts access to the copy alone: {hosts}',
  ),
  say_drill_stop: sentence.default(
    'On array {array} remove the copy of volume {volume} that was made for drill {drill}, and nothing else',
  ),
});

export type ManualOptions = z.infer<typeof schema>;

export function manualOptions(settings: ArraySettings): ManualOptions {
  const options = arrayOptions(
    settings,
    schema,
    'statements_file, kind, and server and path, or portals, iqn and scsi_id, of the volumes',
  );
  const { kind, server, path, portals, iqn, scsi_id: scsiId } = options;
  const block = kind === 'iscsi' || kind === 'fc';
  const lacks = block
    ? [
        ...(scsiId === undefined ? ['scsi_id'] : []),
        ...(kind === 'iscsi' && (portals === undefined || iqn === undefined) ? ['portals and iqn'] : []),
      ]
    : [
        ...(path === undefined ? ['path'] : []),
        ...(kind !== 'file' && server === undefined ? ['server'] : []),
      ];
  if (lacks.length === 0) return options;
  throw badOptions(
    settings,
    lacks.map((name) => `${name} is not given`),
    `${lacks.join(' and ')}, by which hosts reach a volume of kind ${kind}`,
  );
}
