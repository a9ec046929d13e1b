/** What a recovery plan changes about single VMs at the other site. */
import { z } from 'zod';
import type { AddressAndGateway, StaticAddress } from '../domain/recovery-plan.ts';
import { complain, name, scopeMatch, text } from './fields.ts';

const units: Readonly<Record<string, number>> = { MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4 };

/** A size in binary units; bytes after reading. */
const size = z
  .string({ error: () => 'a size needs its unit' })
  .describe('A size with its unit: 512MiB, 8GiB')
  .meta({ examples: ['512MiB', '8GiB'] })
  .transform((written, context) => {
    const [, digits, unit = ''] = /^(\d+) ?(MiB|GiB|TiB)$/.exec(written.trim()) ?? [];
    const bytes = Number(digits) * (units[unit] ?? 0);
    return digits !== undefined && bytes > 0
      ? bytes
      : complain(context, `${JSON.stringify(written)} is not a size`, 'write it as 512MiB or 8GiB');
  });

const memory = z
  .strictObject({
    max: size.describe('Static maximum: what the guest is given at its start'),
    dynamic_max: size.optional().describe('max, when not written'),
    dynamic_min: size.optional().describe('dynamic_max, when not written'),
  })
  .transform((written, context) => {
    const staticMax = written.max;
    const dynamicMax = written.dynamic_max ?? staticMax;
    const dynamicMin = written.dynamic_min ?? dynamicMax;
    return dynamicMin <= dynamicMax && dynamicMax <= staticMax
      ? { staticMax, dynamicMax, dynamicMin }
      : complain(
          context,
          'the sizes contradict each other',
          'write dynamic_min, dynamic_max and max so that none is larger than the next',
        );
  });

/** `format` tells an address with its prefix length from other texts; `plain` the same without the length. */
function addressOf(family: 'IPv4' | 'IPv6', format: z.ZodType, plain: z.ZodType, example: string) {
  return z
    .strictObject({
      address: text.describe(`${family} address with its prefix length, such as ${example}`),
      gateway: text.optional(),
    })
    .transform((written, context): AddressAndGateway => {
      if (!format.safeParse(written.address).success) {
        return complain(
          context,
          `${JSON.stringify(written.address)} is no ${family} address with a prefix length`,
          `write it as ${example}`,
        );
      }
      const gateway = written.gateway ?? '';
      return gateway === '' || plain.safeParse(gateway).success
        ? { address: written.address, gateway }
        : complain(
            context,
            `${JSON.stringify(gateway)} is no ${family} address`,
            'write the address of the router, without a prefix length',
          );
    });
}

const address = z
  .strictObject({
    vif: z.int().min(0).describe('Number of the network card, as `xe vif-list` shows it under device'),
    ipv4: addressOf('IPv4', z.cidrv4(), z.ipv4(), '10.2.0.11/24').optional(),
    ipv6: addressOf('IPv6', z.cidrv6(), z.ipv6(), 'fd00:2::11/64').optional(),
  })
  .transform((written, context): StaticAddress => {
    if (written.ipv4 === undefined && written.ipv6 === undefined)
      return complain(context, 'this network card gets no address', 'write ipv4, ipv6 or both');
    return { device: String(written.vif), ipv4: written.ipv4 ?? null, ipv6: written.ipv6 ?? null };
  });

export const override = z
  .strictObject({
    vms: scopeMatch.describe('The first override that names a VM and says something about it decides'),
    site: name
      .optional()
      .describe('Where it applies; the recovery site of the group when not written, so not after a failback'),
    networks: z
      .record(text, text)
      .default({})
      .describe('Production network: network here, instead of the mapping of the group. Never in a drill'),
    addresses: z
      .array(address)
      .default([])
      .describe('Static addresses, set through the guest agent; in practice Windows guests only'),
    addresses_in_drill: z.boolean().default(false).describe('Whether drills set the addresses too'),
    memory: memory.optional(),
    vcpus: z.int().min(1).max(288).optional(),
    host: text.optional().describe('Name of the host that is preferred'),
  })
  .transform((written) => ({
    vms: written.vms,
    site: written.site ?? null,
    networks: Object.entries(written.networks).map(([production, here]) => ({ production, here })),
    addresses: written.addresses,
    addressesInDrill: written.addresses_in_drill,
    memory: written.memory ?? null,
    vcpus: written.vcpus ?? null,
    host: written.host ?? null,
  }));
