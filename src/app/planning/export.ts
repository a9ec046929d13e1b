/** Observed, planned and checked: the export of a recovery point. */
import { checkExport } from '../../check/export.ts';
import { planDigest } from '../../execute/executor.ts';
import { planExport } from '../../plan/export.ts';
import type { PlannedRun } from '../app.ts';
import { type Planning, planIdOf, pointIdOf, poolOf, scopeOf } from './common.ts';

export function exportRun({ ports, group, observation, state, request }: Planning<'export'>): PlannedRun {
  const vms = scopeOf(group, poolOf(observation, group.production));
  const plan = planExport({
    planId: planIdOf(ports, 'export', group.name),
    pointId: pointIdOf(ports, group.name, observation.takenAt),
    group,
    configDigest: ports.settings.digest,
    generation: state?.generation ?? 0,
    observation,
    vms,
    everything: request.everything === true,
    sshSites: ports.settings.sites.filter(({ pool }) => pool.ssh !== undefined).map(({ name }) => name),
  });
  return {
    plan,
    digest: planDigest(plan),
    findings: checkExport({ group, observation, vms, state }),
    observation,
    decisions: [],
    confirm: null,
  };
}
