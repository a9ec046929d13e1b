/** The clone of a replica: made, and taken away again. Nothing else is ever asked of an array by a drill (invariant 3). */
import type { Json } from '../../domain/canonical.ts';
import { OperatorError } from '../../domain/errors.ts';
import type { ActionOf, ActResult, ConditionOf, StepContext, Verdict } from '../handlers.ts';
import { accessOf } from './replica.ts';
import { outputsOf, type World } from './world.ts';

/**
 * A resumed run whose clean-up had begun makes nothing any more: what it would make now, nobody would take away. The
 * clean-up steps that are still open go on.
 */
export function assertNotOver(context: StepContext): void {
  if (!['drill', 'canary', 'recover-metadata'].includes(context.plan.operation)) return;
  const begun = (['remove-copies', 'forget-clone', 'forget-found-clones', 'stop-clone'] as const).some(
    (kind) => outputsOf(kind, context).some(({ output }) => output !== null),
  );
  if (!begun) return;
  throw new OperatorError({
    code: 'DR-DRILL-OVER',
    what: 'The clean-up of this drill has begun: nothing is made for it any more',
    next: `When it has ended, begin a new drill: \`lifeboat drill ${context.plan.group}\``,
  });
}

export async function cloneReplica(
  world: World,
  action: ActionOf<'clone-replica'>,
  context: StepContext,
): Promise<ActResult> {
  assertNotOver(context);
  const { target, drill, point } = action;
  const access = await accessOf(await world.hypervisor(action.site), context.signal);
  const array = await world.array(target.array);
  const before = await array.observe(target.volume, context.signal);
  const exposed = await array.drillStart(target.volume, { drill, point: point.ref, access }, context.signal);
  const after = await array.observe(target.volume, context.signal);
  return {
    output: JSON.parse(
      JSON.stringify({
        exposed,
        roleBefore: before.role,
        roleAfter: after.role,
        activity: after.activity ?? null,
      }),
    ) as Json,
    warnings: [],
  };
}

export async function stopClone(
  world: World,
  { target, drill }: ActionOf<'stop-clone'>,
  context: StepContext,
): Promise<ActResult> {
  const array = await world.array(target.array);
  await array.drillStop(target.volume, drill, context.signal);
  return { output: { array: target.array, volume: target.volume }, warnings: [] };
}

export async function isCloneStopped(
  world: World,
  { target, drill }: ConditionOf<'clone-stopped'>,
  context: StepContext,
): Promise<Verdict> {
  const array = await world.array(target.array);
  const left = await array.drillList(context.signal);
  const found = left.find((clone) => clone.volume === target.volume && clone.drill === drill);
  return found === undefined
    ? { holds: true, output: { array: target.array, volume: target.volume } }
    : {
        holds: false,
        because: `array ${target.array} still holds ${found.name}, a clone of volume ${target.volume}`,
      };
}
