/** The shape of sites.yaml. Defaults and units are settled here; references between its parts in references.ts. */
import { z } from 'zod';
import { daemon, groupSchedules, schedules } from './daemon-schema.ts';
import {
  clearSecret,
  complain,
  duration,
  fingerprint,
  hostUrl,
  name,
  scopeMatch,
  secret,
  text,
  uuid,
} from './fields.ts';
import { alarms, notices } from './notices.ts';

const host = z.strictObject({
  url: hostUrl,
  fingerprint: z
    .union([
      fingerprint,
      z.strictObject({ file: text.describe('A file that holds the fingerprint; relative to this file') }),
    ])
    .optional()
    .describe('What proves that the host is the right one'),
});

const hostKey = z
  .string()
  .describe('SHA-256 of the host key as `ssh-keyscan HOST | ssh-keygen -lf -` prints it')
  .transform((written, context) => {
    const digest = written.replace(/^SHA256:/, '').replace(/=+$/, '');
    return /^[A-Za-z0-9+/]{43}$/.test(digest)
      ? digest
      : complain(
          context,
          'this is not the SHA-256 of a host key',
          'copy the part after SHA256: that `ssh-keyscan HOST | ssh-keygen -lf -` prints',
        );
  });

const poolSsh = z.strictObject({
  username: text.default('root').describe('Must be root: the scripts of a host ask for it'),
  private_key_file: text.optional().describe('An OpenSSH private key; relative to this file'),
  password: secret.optional().describe('The passphrase of the key where there is one, else the password'),
  hosts: z
    .array(
      z.strictObject({
        host: text.describe('Name, uuid or address of the host as the pool knows it'),
        address: text.optional().describe('Where SSH answers, if that is not the address of the host'),
        port: z.int().min(1).max(65535).default(22),
        host_key: hostKey,
      }),
    )
    .min(1)
    .describe('Every host of the pool: any of them may become its master'),
});

const metadataBackup = z.strictObject({
  method: z
    .enum(['xenapi', 'host-script', 'none'])
    .describe('How: through XenAPI alone, by xe-backup-metadata on the master over SSH, or not at all'),
  every: duration.prefault('1d').describe('With the first export after so long'),
  history: z.int().min(1).max(1000).default(25).describe('Dates that stay on the disk'),
  dumps: z
    .int()
    .min(0)
    .max(1000)
    .optional()
    .describe(
      'Dumps of the pool database that stay beside them; as many as dates unless given (xenapi only)',
    ),
  size_mib: z
    .int()
    .min(16)
    .max(16384)
    .default(1024)
    .describe('Of the disk where it has to be made; hosts make it of 1024 (xenapi only)'),
});

const pool = z.strictObject({
  hosts: z.array(host).min(1).describe('Every host of the pool, in the order in which they are tried'),
  username: text.default('root').describe('A pool-admin'),
  password: secret,
  pool_uuid: uuid.optional().describe('Expected uuid of the pool: a second proof that it is the right one'),
  ca_file: text.optional().describe('CA certificates in PEM, for pools with signed certificates'),
  transport: z.enum(['auto', 'xmlrpc', 'jsonrpc']).default('auto').describe('auto asks the server'),
  max_requests: z
    .int()
    .min(1)
    .max(4)
    .default(2)
    .describe('Requests at once; xapi works on one core, so more than 4 never pay'),
  old_tls: z
    .boolean()
    .default(false)
    .describe('Accept TLS 1.0 of this pool, for XenServer 6.5 and older; checks warn of it'),
  ssh: poolSsh
    .optional()
    .describe('Login to the control domains, for metadata_backup by host-script and the look at its jobs'),
});

const site = z.strictObject({
  title: text.optional().describe('Shown to people beside the name'),
  pool,
});

const looksSecret = /(pass(word|phrase|wd)?|secret|token|private_?key|api_?key)$/i;

const array = z.strictObject({
  site: text.describe('The site where the array stands'),
  type: text.describe('Which adapter drives it (docs/arrays.md)'),
  options: z
    .record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.array(z.string())]))
    .default({})
    .describe('What the adapter needs to know (docs/arrays.md)')
    .superRefine((options, context) => {
      for (const key of Object.keys(options)) {
        if (!looksSecret.test(key)) continue;
        context.addIssue({
          code: 'custom',
          message: clearSecret.what,
          path: [key],
          params: { code: clearSecret.code, next: `move it to \`secret\` of the array: ${clearSecret.next}` },
        });
      }
    }),
  secret: secret.optional().describe('Password, key or token of the array'),
});

const volume = z.strictObject({
  array: text.describe('Name of an array of this file'),
  volume: text.describe("The array's own name of the volume"),
  consistency_group: text
    .optional()
    .describe(
      "The array's own name of the group that keeps this volume and others at one moment (docs/arrays.md)",
    ),
});

const storage = z.strictObject({
  sr: text.describe('The SR at the production site, by name or uuid'),
  source: volume.describe('The volume at the production site that carries it'),
  target: volume.describe('Its replica at the recovery site'),
});

const network = z.union([
  text.describe('The network of the recovery pool that takes its place'),
  z.strictObject({
    recovery: text.describe('The network of the recovery pool that takes its place'),
    drill: text.optional().describe('An isolated network of the recovery pool for drills'),
    drill_at_production: text
      .optional()
      .describe(
        'An isolated network of the production pool: for drills there, once the sites have changed places',
      ),
  }),
]);

const count = z.int().min(0);

const retention = z.strictObject({
  last: z.int().min(1).default(24).describe('The newest points, whatever their age'),
  hourly: count.default(48),
  daily: count.default(14),
  weekly: count.default(8),
  monthly: count.default(12),
  yearly: count.default(3),
  max_age: duration
    .optional()
    .describe('Older points go even when a count would keep them; never the last good one'),
});

const group = z.strictObject({
  production: text.describe('The site where the VMs run'),
  recovery: text.describe('The site that takes over'),
  rpo: duration.describe('Worst acceptable loss of data'),
  rto: duration.describe('Worst acceptable time until the VMs serve again'),
  vms: z
    .strictObject({
      include: scopeMatch.describe('A VM is in when any line names it'),
      exclude: scopeMatch.prefault({}).describe('… and no line here does'),
    })
    .describe('Which VMs belong to the group; `lifeboat export GROUP --preview` shows who does'),
  storage: z.array(storage).min(1).describe('The replicated SRs that hold the disks'),
  networks: z.record(text, network).describe('Production network name → recovery network name'),
  recovery_plan: text
    .optional()
    .describe('Path of the recovery plan, relative to this file: runbooks/NAME.yaml'),
  retention: retention.prefault({}).describe('How many recovery points are kept'),
  metadata_backup: metadataBackup
    .optional()
    .describe('Metadata on the replicated SRs themselves (docs/metadata-backup.md); none unless written'),
  schedules: groupSchedules.optional().describe('What is done for this group otherwise than for all'),
});

const standsAt = text
  .optional()
  .describe(
    'The site where the target stands: a rehearsal of Lifeboat itself leaves those of a lost site out',
  );

const target = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('directory'),
    name,
    site: standsAt,
    path: text.describe('A directory; relative to this file'),
  }),
  z.strictObject({
    type: z.literal('sftp'),
    name,
    site: standsAt,
    host: text,
    port: z.int().min(1).max(65535).default(22),
    username: text,
    path: text.describe('A directory on the server'),
    host_key: hostKey,
    private_key_file: text.optional().describe('An OpenSSH private key'),
    password: secret.optional(),
  }),
]);

const encryption = z
  .strictObject({
    key_file: text.optional().describe('A file with 32 random bytes; relative to this file'),
    passphrase: secret.optional(),
  })
  .transform((written, context) => {
    const { key_file: keyFile, passphrase } = written;
    if (keyFile !== undefined && passphrase === undefined) return { keyFile };
    if (passphrase !== undefined && keyFile === undefined) return { passphrase };
    return complain(
      context,
      keyFile === undefined ? 'the catalog has no key' : 'the catalog has two keys',
      'name either key_file or passphrase',
    );
  });

const catalog = z.strictObject({
  targets: z
    .array(target)
    .min(1)
    .describe('Where recovery points are kept; at least one away from production'),
  encryption: encryption.describe('Recovery points hold secrets of the pool: they are always encrypted'),
});

/** What `init --arrays FILE` takes: the same as in sites.yaml. */
export const arraysSchema = z.strictObject({ arrays: z.record(name, array) });

export const sitesSchema = z
  .strictObject({
    state: text
      .default('.lifeboat')
      .describe(
        'Directory for journals, locks and secrets, relative to this file; never at the production site',
      ),
    secrets_file: text
      .optional()
      .describe('The encrypted secret store; `secrets` in the state directory unless named'),
    sites: z.record(name, site).describe('Each site with its pool'),
    arrays: z.record(name, array).default({}).describe('Each array with its site'),
    groups: z.record(name, group).default({}).describe('VMs that move together, with their storage'),
    catalog,
    schedules: schedules.prefault({}).describe('When the daemon does what, for every group'),
    daemon: daemon.prefault({}).describe('How `lifeboat daemon` works'),
    alarms: alarms.prefault({}).describe('When something is wrong'),
    notices: notices.prefault({}).describe('Who hears of it, and how'),
  })
  .meta({ title: 'sites.yaml of Lifeboat' });

export type SitesFile = z.output<typeof sitesSchema>;
