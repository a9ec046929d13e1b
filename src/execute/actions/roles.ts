/** The sites change places, in the state of the group: from here on every look at the group goes the other way. */
import { OperatorError } from '../../domain/errors.ts';
import type { ActionOf, ActResult, ConditionOf, Verdict } from '../handlers.ts';
import type { World } from './world.ts';

export async function swapRoles(world: World, action: ActionOf<'swap-roles'>): Promise<ActResult> {
  const states = await world.states();
  const state = await states.get(action.group);
  if (state === null) throw new Error(`group ${action.group} has no state, although a run holds it`);
  const { roles, activeSite } = action;
  const changed = await states.change(action.group, state.generation, {
    ...state,
    roles,
    activeSite,
    // Replication runs the other way now: what is left there is the replica.
    tombstone: null,
    changedAt: world.clock.now(),
  });
  if (!changed) {
    throw new OperatorError({
      code: 'DR-PLAN-STALE',
      what: `Group ${action.group} was changed by another run`,
      next: `Look at \`lifeboat status ${action.group}\` and make a new plan`,
    });
  }
  return { output: { roles, activeSite }, warnings: [] };
}

export async function areRolesSwapped(
  world: World,
  { group, roles, activeSite }: ConditionOf<'roles-swapped'>,
): Promise<Verdict> {
  const state = await (await world.states()).get(group);
  return state?.roles === roles && state.activeSite === activeSite && state.tombstone === null
    ? { holds: true }
    : { holds: false, because: `the sites of group ${group} have not changed places` };
}
