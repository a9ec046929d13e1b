/** The rehearsal: what an import of the point into the recovery pool would do, as that pool is now (design, export 6). */
import type { Json } from '../../domain/canonical.ts';
import { OperatorError, PortError } from '../../domain/errors.ts';
import { sortFindings } from '../../domain/finding.ts';
import { towards } from '../../domain/orientation.ts';
import type { ActionOf, ActResult, StepContext } from '../handlers.ts';
import { groupOf, type World } from './world.ts';

/** The point is safe by now, and the next export rehearses again: nobody waits here for a site that does not answer. */
async function lookOnce<T>(look: () => Promise<T>): Promise<T> {
  try {
    return await look();
  } catch (error) {
    if (error instanceof PortError && (error.kind === 'unreachable' || error.kind === 'busy'))
      throw new OperatorError(error.problem, { cause: error });
    throw error;
  }
}

export async function rehearseImport(
  world: World,
  action: ActionOf<'rehearse-import'>,
  context: StepContext,
): Promise<ActResult> {
  const catalog = await world.catalog();
  const point = await catalog.read(action.pointId, context.signal);
  const hypervisor = await world.hypervisor(action.site);
  const pool = await lookOnce(() => hypervisor.observe(context.signal));
  const group = towards(groupOf(world, context.plan.group), action.site);
  const findings = sortFindings(await world.rehearse(group, point, pool, context.signal));
  const problems = findings.filter((finding) => finding.severity === 'problem');
  return {
    output: JSON.parse(
      JSON.stringify({ problems: problems.length, warnings: findings.length - problems.length, findings }),
    ) as Json,
    warnings: problems.map((finding) => `an import at site ${action.site} would fail: ${finding.what}`),
  };
}
