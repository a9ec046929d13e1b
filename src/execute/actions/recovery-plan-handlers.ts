/** The handlers of what a recovery plan adds to a run (domain/actions/guests.ts). */
import type { GuestAction, GuestCondition } from '../../domain/actions/guests.ts';
import type { ActionHandlers, ConditionHandlers } from '../handlers.ts';
import { callOut } from './callouts.ts';
import { adjustVm, areAddressesSet, isAdjusted, setAddresses } from './differences.ts';
import type { GuestWatch } from './guests.ts';
import { ask, pause } from './prompts.ts';
import type { World } from './world.ts';

export function recoveryPlanActions(
  world: World,
  watchOf: (site: string) => Promise<GuestWatch>,
): Pick<ActionHandlers, GuestAction['do']> {
  return {
    pause: (action, context) => pause(world, action, context),
    ask: (action, context) => ask(world, action, context),
    'call-out': (action, context) => callOut(world, action, context),
    'adjust-vm': (action, context) => adjustVm(world, action, context),
    'set-addresses': async (action, context) =>
      setAddresses(world, await watchOf(action.site), action, context),
  };
}

export function recoveryPlanConditions(world: World): Pick<ConditionHandlers, GuestCondition['is']> {
  return {
    'vm-adjusted': (condition, context) => isAdjusted(world, condition, context.signal),
    'addresses-set': (condition, context) => areAddressesSet(world, condition, context.signal),
  };
}
