/** The shape of a recovery plan, runbooks/NAME.yaml. */
import { z } from 'zod';
import type { DependencySettings, TierSettings } from '../domain/recovery-plan.ts';
import { duration, name, scopeMatch } from './fields.ts';
import { gate } from './gates-schema.ts';
import { callout, prompt } from './moments-schema.ts';
import { override } from './overrides-schema.ts';

const tier = z
  .strictObject({
    name: name.describe('Shown in plans and reports'),
    vms: scopeMatch.describe('A VM belongs to the first tier that names it'),
    ready: z
      .array(gate)
      .min(1)
      .default([{ gate: 'running' }])
      .describe('All of these must hold for each VM before the next tier starts'),
    ready_in_drill: z
      .array(gate)
      .min(1)
      .optional()
      .describe('Instead of ready in a drill, whose isolated network hides the guests from probes'),
    timeout: duration.prefault('10min').describe('How long a VM may take to become ready'),
    on_timeout: z
      .enum(['stop', 'continue'])
      .default('continue')
      .describe('What happens when a VM is not ready in time'),
    delay: duration.optional().describe('Waited after the tier before is ready'),
    at_once: z
      .int()
      .min(1)
      .optional()
      .describe('How many of its VMs may be on their way up at once; all when not written'),
  })
  .transform(
    (written): TierSettings => ({
      name: written.name,
      vms: written.vms,
      ready: written.ready,
      ...(written.ready_in_drill === undefined ? {} : { readyInDrill: written.ready_in_drill }),
      timeoutSeconds: written.timeout,
      onTimeout: written.on_timeout,
      ...(written.delay === undefined ? {} : { delaySeconds: written.delay }),
      ...(written.at_once === undefined ? {} : { atOnce: written.at_once }),
    }),
  );

const dependency = z
  .strictObject({
    vms: scopeMatch.describe('Each of these VMs'),
    needs: scopeMatch.describe('starts when all of these are ready, whichever tiers they are in'),
    if_not_ready: z
      .enum(['start', 'leave-halted'])
      .default('start')
      .describe('What becomes of a VM when one that it needs is not ready in time'),
  })
  .transform(
    (written): DependencySettings => ({
      vms: written.vms,
      needs: written.needs,
      ifNotReady: written.if_not_ready,
    }),
  );

export const planSchema = z
  .strictObject({
    tiers: z.array(tier).default([]).describe('In the order in which they start; as many as are needed'),
    dependencies: z.array(dependency).default([]).describe('VMs that need other VMs, beside the tiers'),
    others: z
      .enum(['by-order', 'last', 'leave-halted'])
      .default('by-order')
      .describe('VMs that no tier names: by XenServer order and vApps, all in one last tier, or left halted'),
    leave_off: scopeMatch
      .optional()
      .describe('VMs that are imported and not started, whatever else names them'),
    honour_start_delay: z
      .boolean()
      .default(false)
      .describe(
        'Whether each start sleeps the start delay that XenServer keeps for the VM; else tiers and checks alone decide',
      ),
    overrides: z.array(override).default([]).describe('What is different about some VMs at the other site'),
    callouts: z.array(callout).default([]).describe('Programs that are called on the way'),
    prompts: z.array(prompt).default([]).describe('Questions that are asked on the way, before the callouts'),
  })
  .meta({ title: 'Recovery plan of Lifeboat' });

export type PlanFile = z.output<typeof planSchema>;
