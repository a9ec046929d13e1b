/** Every condition of a plan, observed through the ports. Looking changes nothing. */

import { isAttached } from './actions/attach.ts';
import { isReversedByHand } from './actions/by-hand.ts';
import { isDetached } from './actions/detach.ts';
import { areNamesRestored } from './actions/disks.ts';
import { drillConditions } from './actions/drill-handlers.ts';
import { isForgotten } from './actions/forget.ts';
import { isReady } from './actions/guests.ts';
import { isDemoted, isFinallySynced, isReversed } from './actions/handover.ts';
import { areImported } from './actions/import.ts';
import type { ImportLooks } from './actions/import-looks.ts';
import { areQuarantined } from './actions/quarantine.ts';
import { areFoundClonesForgotten } from './actions/recover-metadata.ts';
import { recoveryPlanConditions } from './actions/recovery-plan-handlers.ts';
import { isPromoted } from './actions/replica.ts';
import { areRolesSwapped } from './actions/roles.ts';
import { isBroughtBack, isShutDown } from './actions/shutdown.ts';
import { isTombstoned, isTombstoneLifted } from './actions/tombstone.ts';
import { isSynced } from './actions/verify.ts';
import { applianceHas, areFenced, isHaRestored, isRunning } from './actions/vms.ts';
import type { World } from './actions/world.ts';
import type { ConditionHandlers } from './handlers.ts';

export function conditionsOver(world: World, looks: ImportLooks): ConditionHandlers {
  return {
    ...drillConditions(world),
    ...recoveryPlanConditions(world),
    promoted: ({ pair }, context) => isPromoted(world, pair, context.signal),
    'sr-attached': (condition, context) => isAttached(world, condition, context),
    'names-restored': ({ site, srUuid, disks }, context) =>
      areNamesRestored(world, site, srUuid, disks, context),
    'vms-imported': (condition, context) => areImported(world, looks, condition, context),
    'appliance-has': ({ site, nameLabel, vms }, context) =>
      applianceHas(world, site, nameLabel, vms, context.signal),
    'vm-running': (condition, context) => isRunning(world, condition, context.signal),
    'vm-ready': async (condition, context) =>
      isReady(world, await world.hypervisor(condition.site), condition, context.signal),
    'vms-fenced': ({ site, vms }, context) => areFenced(world, site, vms, context),
    'ha-restored': ({ site, vms }, context) => isHaRestored(world, site, vms, context.signal),
    'point-sealed': async ({ pointId }, context) => {
      const listing = await (await world.catalog()).list(context.plan.group, context.signal);
      const point = listing.points.find((candidate) => candidate.id === pointId);
      return point === undefined
        ? { holds: false, because: `no target of the catalog holds point ${pointId}` }
        : {
            holds: true,
            output: {
              pointId,
              targets: [...point.targets],
              vmCount: point.vmCount,
              failureCount: point.failureCount,
            },
          };
    },
    tombstoned: ({ group, lostSite }) => isTombstoned(world, group, lostSite),
    'tombstone-lifted': ({ group, lostSite }) => isTombstoneLifted(world, group, lostSite),
    'vm-brought-back': (condition, context) => isBroughtBack(world, condition, context.signal),
    'vm-shut-down': ({ site, vm }, context) => isShutDown(world, site, vm, context.signal),
    'vms-quarantined': ({ site, vms }, context) => areQuarantined(world, site, vms, context.signal),
    'found-clones-forgotten': (condition, context) =>
      areFoundClonesForgotten(world, condition, context.signal),
    'sr-detached': ({ site, sr }, context) => isDetached(world, site, sr, context.signal),
    'sr-forgotten': ({ site, sr }, context) => isForgotten(world, site, sr, context.signal),
    'finally-synced': ({ pair, tag }, context) => isFinallySynced(world, pair, tag, context.signal),
    'source-demoted': ({ pair }, context) => isDemoted(world, pair, context.signal),
    'reversed-by-hand': ({ pair }, context) => isReversedByHand(world, pair, context.signal),
    'replication-reversed': ({ pair, tag }, context) => isReversed(world, pair, tag, context.signal),
    synced: ({ pair, tag }, context) => isSynced(world, pair, tag, context.signal),
    'roles-swapped': (condition) => areRolesSwapped(world, condition),
  };
}
