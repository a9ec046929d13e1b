/** The acts and conditions that only drills have, put together for the interpreter. */
import type { DrillAction, DrillCondition } from '../../domain/actions/drill.ts';
import type { ActionHandlers, ConditionHandlers } from '../handlers.ts';
import { cloneReplica, isCloneStopped, stopClone } from './drill-clone.ts';
import { areCopiesGone, removeCopies } from './drill-copies.ts';
import { compareInventory, recordInventory, recordProof } from './drill-evidence.ts';
import { forgetClone, isForgotten } from './drill-storage.ts';
import type { World } from './world.ts';

export function drillActions(world: World): Pick<ActionHandlers, DrillAction['do']> {
  return {
    'record-inventory': (action, context) => recordInventory(world, action, context),
    'clone-replica': (action, context) => cloneReplica(world, action, context),
    'record-proof': (action, context) => recordProof(world, action, context),
    'remove-copies': (action, context) => removeCopies(world, action, context),
    'forget-clone': (action, context) => forgetClone(world, action, context),
    'stop-clone': (action, context) => stopClone(world, action, context),
    'compare-inventory': (action, context) => compareInventory(world, action, context),
  };
}

export function drillConditions(world: World): Pick<ConditionHandlers, DrillCondition['is']> {
  return {
    'copies-gone': (condition, context) => areCopiesGone(world, condition, context),
    'clone-forgotten': (condition, context) => isForgotten(world, condition, context),
    'clone-stopped': (condition, context) => isCloneStopped(world, condition, context),
  };
}
