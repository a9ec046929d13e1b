/** Whether the world already is as a plan would make it: then there is nothing to plan (invariant 6). */
import { adjustmentFaults } from '../../domain/adjustment.ts';
import type { Condition, Step } from '../../domain/plan.ts';
import type { PoolFacts } from '../../domain/pool.ts';
import type { RecoverRequest } from './draft.ts';

/** Every effect that a step would have shows in the observation. Steps without an effect only serve the others. */
export function isFinished(request: RecoverRequest, pool: PoolFacts, steps: readonly Step[]): boolean {
  return steps.every((step) => step.holdsWhen === null || showsIn(request, pool, step.holdsWhen));
}

function showsIn(request: RecoverRequest, pool: PoolFacts, condition: Condition): boolean {
  const isRunning = (uuid: string): boolean =>
    pool.vms.some((vm) => vm.uuid === uuid && vm.powerState === 'Running');
  switch (condition.is) {
    case 'promoted':
      return request.observation.pairs.some(
        ({ sr, target }) => sr === condition.pair.sr && target?.role === 'promoted',
      );
    case 'sr-attached': {
      const sr = pool.srs.find((candidate) => candidate.uuid === condition.srUuid);
      const hasIt = (host: string): boolean =>
        sr?.pbds.some((pbd) => pbd.hostUuid === host && pbd.attached) ?? false;
      // An SR that is not shared is on one host at a time.
      return sr?.shared === false ? condition.hosts.some(hasIt) : condition.hosts.every(hasIt);
    }
    case 'names-restored': {
      const names = new Map(
        pool.vdis.filter((vdi) => vdi.srUuid === condition.srUuid).map((vdi) => [vdi.location, vdi]),
      );
      return condition.disks.every((disk) => {
        const vdi = names.get(disk.location);
        return vdi === undefined || vdi.nameLabel === disk.nameLabel;
      });
    }
    case 'vms-imported': {
      const mapped = new Set(condition.networks.map(({ recovery }) => recovery.uuid));
      return condition.vms.every(({ uuid }) =>
        pool.vms.some((vm) => vm.uuid === uuid && vm.vifs.every((vif) => mapped.has(vif.networkUuid))),
      );
    }
    case 'appliance-has':
      return condition.vms.every(({ uuid }) =>
        pool.appliances.some((vapp) => vapp.nameLabel === condition.nameLabel && vapp.vmUuids.includes(uuid)),
      );
    // Whether a port answers is no fact of a pool; a VM that runs has been started.
    // Nor are the addresses that a guest agent was told to set.
    case 'vm-running':
    case 'vm-ready':
    case 'addresses-set':
      return isRunning(condition.vm.uuid);
    case 'vm-adjusted': {
      const found = pool.vms.find((vm) => vm.uuid === condition.vm.uuid);
      return found !== undefined && adjustmentFaults(found, condition.adjustment).length === 0;
    }
    case 'ha-restored':
      return condition.vms.every(({ uuid, priority }) =>
        pool.vms.some((vm) => vm.uuid === uuid && vm.haRestartPriority === priority),
      );
    case 'tombstoned':
      return request.tombstoned === true;
    // What an observation does not show is looked at when the plan is carried out: a fence, a sealed point.
    default:
      return false;
  }
}
