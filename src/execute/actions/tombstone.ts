/** The mark on the old site: its copies are not taken for the real ones when it comes back. */
import { OperatorError } from '../../domain/errors.ts';
import type { GroupState } from '../../domain/group.ts';
import type { ActionOf, ActResult, StepContext, Verdict } from '../handlers.ts';
import type { World } from './world.ts';

/** Remembers that the site which comes back must not start its copies; `status` is red until reprotect. */
export async function tombstone(
  world: World,
  action: ActionOf<'tombstone'>,
  context: StepContext,
): Promise<ActResult> {
  return mark(world, action.group, { site: action.lostSite, at: world.clock.now(), run: context.run });
}

/** Takes the mark away again, as long as nothing was promoted: the undo of `tombstone`. */
export async function liftTombstone(world: World, action: ActionOf<'lift-tombstone'>): Promise<ActResult> {
  return mark(world, action.group, null);
}

async function mark(world: World, group: string, value: GroupState['tombstone']): Promise<ActResult> {
  const states = await world.states();
  const state = await states.get(group);
  if (state === null) throw new Error(`group ${group} has no state, although a run holds it`);
  if (await states.change(group, state.generation, { ...state, tombstone: value }))
    return { output: null, warnings: [] };
  throw new OperatorError({
    code: 'DR-PLAN-STALE',
    what: `Group ${group} was changed by another run`,
    next: `Look at \`lifeboat status ${group}\` and make a new plan`,
  });
}

export async function isTombstoned(world: World, group: string, lostSite: string): Promise<Verdict> {
  const state = await (await world.states()).get(group);
  return state?.tombstone?.site === lostSite
    ? { holds: true }
    : { holds: false, because: `group ${group} has no tombstone for site ${lostSite}` };
}

export async function isTombstoneLifted(world: World, group: string, lostSite: string): Promise<Verdict> {
  const marked = await isTombstoned(world, group, lostSite);
  return marked.holds
    ? { holds: false, because: `group ${group} still has its tombstone for site ${lostSite}` }
    : { holds: true };
}
