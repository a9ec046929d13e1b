/**
 * Shapes of what the REST server answers. Virtual disks, hosts, ports and logical units are as public programs read
 * them. The fields of VirtualDiskReplicationData and the words of its states, and those of `operations`, could be read
 * nowhere: they stand here alone, so that a site that has the vendor's help pages corrects one file.
 */
import { z } from 'zod';

/** ASSUMED: `POST replications/{id}` with `{"Operation": word}`. A wrong word is refused and changes nothing. */
export const operations = {
  activate: 'Activate',
  deactivate: 'Deactivate',
  resume: 'Resume',
  testModeOn: 'EnableTestMode',
  testModeOff: 'DisableTestMode',
} as const;

/** ASSUMED, after the names of states in the vendor's help: `Active - 40 % initialized`, `Standby`, `Standby - Test mode`. */
export const statusWords = {
  active: /^active\b/i,
  standby: /^standby\b/i,
  testMode: /test mode/i,
  unfinished: /\d+\s*%/,
  linkBroken: /fail|disconnect|offline|error/i,
  stopped: /stopped|paused|idle - not transferring/i,
};

const replication = z.object({
  Id: z.string(),
  Status: z.string(),
  StatusLevel: z.number().default(0),
  TransferStatus: z.string().default(''),
  PartnerVirtualDiskAlias: z.string().nullish(),
});

const performance = z.object({
  CollectionTime: z.string(),
  ReplicationBytesToSend: z.number(),
  ReplicationTimeLag: z.number().nullish(),
});

const virtualDisk = z.object({
  Id: z.string(),
  Alias: z.string(),
  Description: z.string().nullish(),
  ScsiDeviceIdString: z.string().nullish(),
  Status: z.string().default(''),
  PerformanceData: performance.nullish(),
  VirtualDiskReplicationData: replication.nullish(),
});

export const answers = {
  session: z.union([
    z.object({ Token: z.string().min(1) }),
    z.array(z.object({ Token: z.string().min(1) })).length(1),
  ]),
  failure: z.object({ ErrorCode: z.number().default(0), ErrorMessage: z.string().default('') }),
  disks: z.array(virtualDisk),
  ports: z.array(z.object({ PortName: z.string().nullish(), HostId: z.string().nullish() })),
  /** Type 1 is a unit that a host sees. */
  units: z.array(
    z.object({
      Type: z.coerce.number(),
      VirtualDiskId: z.string().nullish(),
      HostId: z.string().nullish(),
      Lun: z.object({ Quad: z.number() }),
    }),
  ),
  groups: z.array(z.object({ Id: z.string(), Alias: z.string().default('') })).min(1),
};

export type VirtualDisk = z.infer<typeof virtualDisk>;

/** `/Date(1716200000000+0200)/` in milliseconds: the offset is for showing only. Null when it is none. */
export function millisecondsOf(date: string): number | null {
  const [, milliseconds] = /^\/Date\((-?\d+)(?:[+-]\d{4})?\)\/$/.exec(date) ?? [];
  return milliseconds === undefined ? null : Number(milliseconds);
}
