/** The shape of a recovery plan, runbooks/NAME.yaml. */
import { z } from 'zod';
import type { ReadinessGate, TierSettings } from '../domain/settings.ts';
import { duration, name, scopeMatch } from './fields.ts';

const gate = z.union([
  z.enum(['running', 'guest-agent']).transform((word): ReadinessGate => ({ gate: word })),
  z
    .strictObject({
      address: z.union([z.cidrv4(), z.cidrv6()]).describe('The guest has an address in this subnet'),
    })
    .transform(({ address }): ReadinessGate => ({ gate: 'address', subnet: address })),
  z
    .strictObject({ tcp: z.int().min(1).max(65535).describe('This port of the guest answers') })
    .transform(({ tcp }): ReadinessGate => ({ gate: 'tcp', port: tcp })),
]);

const tier = z
  .strictObject({
    name: name.describe('Shown in plans and reports'),
    vms: scopeMatch.describe('A VM belongs to the first tier that names it'),
    ready: z
      .array(gate)
      .min(1)
      .default([{ gate: 'running' }])
      .describe('All of these must hold for each VM before the next tier starts'),
    timeout: duration.prefault('10min').describe('How long a VM may take to become ready'),
    on_timeout: z
      .enum(['stop', 'continue'])
      .default('continue')
      .describe('What happens when a VM is not ready in time'),
  })
  .transform(
    (written): TierSettings => ({
      name: written.name,
      vms: written.vms,
      ready: written.ready,
      timeoutSeconds: written.timeout,
      onTimeout: written.on_timeout,
    }),
  );

export const planSchema = z
  .strictObject({
    tiers: z.array(tier).default([]).describe('In the order in which they start; as many as are needed'),
    others: z
      .enum(['by-order', 'last', 'leave-halted'])
      .default('by-order')
      .describe('VMs that no tier names: by their XenServer order, all in one last tier, or left halted'),
    honour_start_delay: z
      .boolean()
      .default(false)
      .describe("Whether the VM's own start delay is slept; tiers that wait for readiness rarely need it"),
  })
  .meta({ title: 'Recovery plan of Lifeboat' });

export type PlanFile = z.output<typeof planSchema>;
