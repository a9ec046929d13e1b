/** The rehearsal: what an import of the point into the recovery pool would do, as that pool is now (design, export 6). */
import type { Json } from '../../domain/canonical.ts';
import { sortFindings } from '../../domain/finding.ts';
import type { ActionOf, ActResult, StepContext } from '../handlers.ts';
import { groupOf, type World } from './world.ts';

export async function rehearseImport(
  world: World,
  action: ActionOf<'rehearse-import'>,
  context: StepContext,
): Promise<ActResult> {
  const catalog = await world.catalog();
  const point = await catalog.read(action.pointId, context.signal);
  const hypervisor = await world.hypervisor(action.site);
  const pool = await hypervisor.observe(context.signal);
  const group = groupOf(world, context.plan.group);
  const findings = sortFindings(await world.rehearse(group, point, pool, context.signal));
  const problems = findings.filter((finding) => finding.severity === 'problem');
  return {
    output: JSON.parse(
      JSON.stringify({ problems: problems.length, warnings: findings.length - problems.length, findings }),
    ) as Json,
    warnings: problems.map((finding) => `an import at site ${action.site} would fail: ${finding.what}`),
  };
}
