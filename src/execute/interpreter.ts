/** Every action of a plan, carried out through the ports. `handlersOver(world)` is all that the executor needs of them. */
import { attachSr } from './actions/attach.ts';
import { lookAtBackupJobs } from './actions/backup-jobs.ts';
import { runBackupScript } from './actions/backup-script.ts';
import { writeBackup } from './actions/backup-write.ts';
import { noteLetGo, seeFinalSync, seeReversed } from './actions/by-hand.ts';
import { awaitCanary, cloneCanary, findCanary, removeCanary, writeCanary } from './actions/canary.ts';
import { capturePool, recordReplication } from './actions/capture.ts';
import { pruneCatalog, sealPoint, verifyPoint } from './actions/catalog.ts';
import { compareDisks } from './actions/compare-disks.ts';
import { detachSr, plugSr, releaseStorage } from './actions/detach.ts';
import { restoreNames } from './actions/disks.ts';
import { saveDocuments } from './actions/documents.ts';
import { drillActions } from './actions/drill-handlers.ts';
import { forgetSr } from './actions/forget.ts';
import { awaitReady, GuestWatch } from './actions/guests.ts';
import {
  demoteSource,
  fenceStorage,
  finalSync,
  promoteSynced,
  reverseReplication,
  unprepare,
} from './actions/handover.ts';
import { importVms } from './actions/import.ts';
import { ImportLooks } from './actions/import-looks.ts';
import { quarantineVms, releaseVms } from './actions/quarantine.ts';
import { recoverActions } from './actions/recover-metadata.ts';
import { recoveryPlanActions } from './actions/recovery-plan-handlers.ts';
import { rehearseImport } from './actions/rehearse.ts';
import { expose, promote, recordReplica } from './actions/replica.ts';
import { swapRoles } from './actions/roles.ts';
import { bringBackVm, shutDownVm } from './actions/shutdown.ts';
import { liftTombstone, tombstone } from './actions/tombstone.ts';
import { recordEvidence, TwinWatch } from './actions/twins.ts';
import {
  compareSites,
  syncReplication,
  verifyCatalog,
  verifyReadiness,
  verifyReplication,
} from './actions/verify.ts';
import { fenceVms, rebuildAppliance, restoreHa, startVm } from './actions/vms.ts';
import type { World } from './actions/world.ts';
import { conditionsOver } from './conditions.ts';
import type { ActionHandlers, ConditionHandlers } from './handlers.ts';

export type { World } from './actions/world.ts';

/** Handlers for one run: what they remember (a silent site, guests that are waited for) belongs to that run. */
export function handlersOver(world: World): {
  readonly actions: ActionHandlers;
  readonly conditions: ConditionHandlers;
} {
  const twins = new TwinWatch(world);
  const looks = new ImportLooks(world.clock);
  const watches = new Map<string, GuestWatch>();
  const watchOf = async (site: string): Promise<GuestWatch> => {
    const hypervisor = await world.hypervisor(site);
    const watch = watches.get(site) ?? new GuestWatch(hypervisor, world.clock);
    watches.set(site, watch);
    return watch;
  };
  const actions: ActionHandlers = {
    ...drillActions(world),
    ...recoveryPlanActions(world, watchOf),
    ...recoverActions(world),
    'record-evidence': (action, context) => recordEvidence(twins, action, context),
    'write-backup': (action, context) => writeBackup(world, action, context),
    'run-backup-script': (action, context) => runBackupScript(world, action, context),
    'look-at-backup-jobs': (action, context) => lookAtBackupJobs(world, action, context),
    'capture-pool': (action, context) => capturePool(world, action, context),
    'save-documents': (action, context) => saveDocuments(world, action, context),
    'record-replication': (action, context) => recordReplication(world, action, context),
    'seal-point': (action, context) => sealPoint(world, action, context),
    'verify-point': (action, context) => verifyPoint(world, action, context),
    'rehearse-import': (action, context) => rehearseImport(world, action, context),
    'prune-catalog': (action, context) => pruneCatalog(world, action, context),
    'record-replica': (action, context) => recordReplica(world, action, context),
    'fence-vms': (action, context) => fenceVms(world, action, context),
    promote: (action, context) => promote(world, action, context),
    expose: (action, context) => expose(world, action, context),
    'attach-sr': (action, context) => attachSr(world, action, context),
    'compare-disks': (action, context) => compareDisks(world, action, context),
    'restore-names': (action, context) => restoreNames(world, action, context),
    'import-vms': (action, context) => importVms(world, looks, action, context),
    'rebuild-appliance': (action, context) => rebuildAppliance(world, action, context),
    'start-vm': (action, context) => startVm(world, twins, action, context),
    'await-ready': async (action, context) => awaitReady(world, await watchOf(action.site), action, context),
    'restore-ha': (action, context) => restoreHa(world, action, context),
    tombstone: (action, context) => tombstone(world, action, context),
    'lift-tombstone': (action) => liftTombstone(world, action),
    'note-standing': async ({ site, seen }) => ({ output: { site, seen: [...seen] }, warnings: [] }),
    'shut-down-vm': (action, context) => shutDownVm(world, action, context),
    'bring-back-vm': (action, context) => bringBackVm(world, twins, action, context),
    'quarantine-vms': (action, context) => quarantineVms(world, action, context),
    'release-vms': (action, context) => releaseVms(world, action, context),
    'detach-sr': (action, context) => detachSr(world, action, context),
    'forget-sr': (action, context) => forgetSr(world, action, context),
    'plug-sr': (action, context) => plugSr(world, action, context),
    'release-storage': (action, context) => releaseStorage(world, action, context),
    'final-sync': (action, context) => finalSync(world, action, context),
    'note-let-go': (action, context) => noteLetGo(world, action, context),
    'see-final-sync': (action, context) => seeFinalSync(world, action, context),
    'see-reversed': (action, context) => seeReversed(world, action, context),
    unprepare: (action, context) => unprepare(world, action, context),
    'promote-synced': (action, context) => promoteSynced(world, action, context),
    'fence-storage': (action, context) => fenceStorage(world, action, context),
    'demote-source': (action, context) => demoteSource(world, action, context),
    'reverse-replication': (action, context) => reverseReplication(world, action, context),
    'swap-roles': (action) => swapRoles(world, action),
    'sync-replication': (action, context) => syncReplication(world, action, context),
    'verify-replication': (action, context) => verifyReplication(world, action, context),
    'verify-catalog': (action, context) => verifyCatalog(world, action, context),
    'compare-sites': (action, context) => compareSites(world, action, context),
    'verify-readiness': (action, context) => verifyReadiness(world, action, context),
    'write-canary': (action, context) => writeCanary(world, action, context),
    'await-canary': (action, context) => awaitCanary(world, action, context),
    'clone-canary': (action, context) => cloneCanary(world, action, context),
    'find-canary': (action, context) => findCanary(world, action, context),
    'remove-canary': (action, context) => removeCanary(world, action, context),
  };
  return { actions, conditions: conditionsOver(world, looks) };
}
