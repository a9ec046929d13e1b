/** A recovery plan as read → as the planners see it: paths settled, overrides tied to a site. */
import path from 'node:path';
import type { ReadinessGate, RecoveryPlanSettings, TierSettings } from '../domain/recovery-plan.ts';
import type { PlanFile } from './plan-schema.ts';

export interface PlanHome {
  /** As the group names it; null for a group without a plan. */
  readonly file: string | null;
  /** Directory of the file: paths in a plan are relative to the plan. */
  readonly directory: string;
  /** Recovery site of the group: where an override applies that names no site. */
  readonly recovery: string;
}

export function planSettings(
  written: PlanFile,
  { file, directory, recovery }: PlanHome,
): RecoveryPlanSettings {
  return {
    file,
    tiers: written.tiers.map((tier) => tierSettings(tier, directory)),
    others: written.others,
    honourStartDelay: written.honour_start_delay,
    dependencies: written.dependencies,
    ...(written.leave_off === undefined ? {} : { leaveOff: written.leave_off }),
    overrides: written.overrides.map((override) => ({ ...override, site: override.site ?? recovery })),
    callouts: written.callouts,
    prompts: written.prompts,
  };
}

function tierSettings(tier: TierSettings, directory: string): TierSettings {
  const settled = (gate: ReadinessGate): ReadinessGate => gateSettings(gate, directory);
  return {
    ...tier,
    ready: tier.ready.map(settled),
    ...(tier.readyInDrill === undefined ? {} : { readyInDrill: tier.readyInDrill.map(settled) }),
  };
}

function gateSettings(gate: ReadinessGate, directory: string): ReadinessGate {
  const at = (written: string): string =>
    path.isAbsolute(written) ? written : path.join(directory, written);
  if (gate.gate === 'http') return gate.caFile === null ? gate : { ...gate, caFile: at(gate.caFile) };
  if (gate.gate !== 'command') return gate;
  const { hostKey } = gate;
  return {
    ...gate,
    keyFile: at(gate.keyFile),
    hostKey: 'pinned' in hostKey ? hostKey : { knownHostsFile: at(hostKey.knownHostsFile) },
  };
}
