/** Readiness gates of a recovery plan: what must hold of a VM before others may rely on it. */
import { z } from 'zod';
import type { HostKeySource, ReadinessGate } from '../domain/recovery-plan.ts';
import { complain, text } from './fields.ts';

const port = z.int().min(1).max(65535);
const subnet = z.union([z.cidrv4(), z.cidrv6()]);

const address = z
  .strictObject({
    address: z
      .union([z.cidrv4(), z.cidrv6(), z.array(subnet).min(1)])
      .describe('The guest has an address in this subnet, or in one of these: sites differ'),
  })
  .transform(
    (written): ReadinessGate => ({
      gate: 'address',
      subnets: typeof written.address === 'string' ? [written.address] : written.address,
    }),
  );

const tcp = z
  .strictObject({ tcp: port.describe('This port of the guest answers') })
  .transform((written): ReadinessGate => ({ gate: 'tcp', port: written.tcp }));

const hostKeyAdvice =
  'copy the part after SHA256: that `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints in the guest';

const status = z.int().min(100).max(599);

const http = z
  .strictObject({
    http: z
      .strictObject({
        port: port.optional().describe('80, or 443 with tls, when not written'),
        path: z
          .string()
          .transform((written, context) =>
            /^\/[\x21-\x7e]*$/.test(written)
              ? written
              : complain(context, 'a path begins with / and holds no blanks', 'write it as /health'),
          )
          .default('/'),
        tls: z.boolean().default(false),
        host: text
          .optional()
          .describe('Name for the Host header and the certificate; without it the address of the guest'),
        verify: z
          .boolean()
          .default(true)
          .describe('false: the certificate is not looked at, so anybody may answer in place of the guest'),
        ca_file: text.optional().describe('CA certificates in PEM; those of the system when not written'),
        status: z
          .union([status, z.array(status).min(1)])
          .default(200)
          .describe('Expected status, or several of which one is enough'),
        contains: text.optional().describe('Text that the answer must hold, within its first 64 KiB'),
      })
      .describe('A page of the guest answers as expected'),
  })
  .transform(({ http: written }, context): ReadinessGate => {
    if (!written.tls && (written.ca_file !== undefined || !written.verify)) {
      return complain(
        context,
        'verify and ca_file are about a certificate, and without tls there is none',
        'write tls: true, or remove them',
      );
    }
    return {
      gate: 'http',
      port: written.port ?? (written.tls ? 443 : 80),
      path: written.path,
      tls: written.tls,
      host: written.host ?? null,
      verify: written.verify,
      caFile: written.ca_file ?? null,
      status: typeof written.status === 'number' ? [written.status] : written.status,
      contains: written.contains ?? null,
    };
  });

const ssh = z
  .strictObject({
    ssh: z
      .strictObject({
        user: text,
        port: port.default(22),
        key_file: text.describe('Private key in the OpenSSH form, without passphrase; relative to this file'),
        host_key: z
          .string()
          .transform((written, context) =>
            /^(SHA256:)?[A-Za-z0-9+/]{43}=?$/.test(written)
              ? written
              : complain(context, 'this is not the SHA-256 of a host key', hostKeyAdvice),
          )
          .optional()
          .describe('SHA-256 of the host key of the guest, as `ssh-keygen -lf` prints it'),
        known_hosts: text
          .optional()
          .describe(
            'A file in the form of known_hosts, for several guests; looked up by VM name and address',
          ),
        run: z.array(text).min(1).describe('A program inside the guest and its arguments'),
        exit_code: z.int().min(0).max(255).default(0).describe('The exit code that means ready'),
      })
      .describe('A program inside the guest says that it is ready'),
  })
  .transform(({ ssh: written }, context): ReadinessGate => {
    const hostKey = hostKeyOf(written.host_key, written.known_hosts);
    if (hostKey === null) {
      return complain(
        context,
        written.host_key === undefined
          ? 'nothing proves that the right guest answers'
          : 'the host key is told twice',
        'write exactly one of host_key and known_hosts',
        'DR-CONFIG-NO-TRUST',
      );
    }
    return {
      gate: 'command',
      user: written.user,
      port: written.port,
      keyFile: written.key_file,
      hostKey,
      argv: written.run,
      exitCode: written.exit_code,
    };
  });

function hostKeyOf(pinned: string | undefined, knownHostsFile: string | undefined): HostKeySource | null {
  if (pinned !== undefined && knownHostsFile === undefined)
    return { pinned: pinned.replace(/^SHA256:/, '').replace(/=$/, '') };
  if (knownHostsFile !== undefined && pinned === undefined) return { knownHostsFile };
  return null;
}

export const gate = z.union([
  z.enum(['running', 'guest-agent']).transform((word): ReadinessGate => ({ gate: word })),
  address,
  tcp,
  http,
  ssh,
]);
