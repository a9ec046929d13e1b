/**
 * The recovery point that a planned migration is going to take, as far as it is known before: the pool as it is, with the
 * VMs as they run now. Its documents exist only when the run has saved them; no step is planned from them.
 */
import type { PoolFacts } from '../../domain/pool.ts';
import { pointVmsOf, type RecoveryPoint } from '../../domain/recovery-point.ts';
import type { Matchable } from '../../domain/scope.ts';
import type { GroupSettings } from '../../domain/settings.ts';

const notSavedYet = { sha256: '', bytes: 0 };

export function expectedPoint(
  id: string,
  group: GroupSettings,
  configDigest: string,
  pool: PoolFacts,
  members: readonly Matchable[],
): RecoveryPoint {
  const wanted = new Set(members.map((vm) => vm.uuid));
  const vms = pool.vms.filter((vm) => wanted.has(vm.uuid));
  const points = pointVmsOf(vms, pool).map((vm) => ({ ...vm, document: notSavedYet }));
  // Storage of the group that no VM uses now moves with it: a pair that stayed behind would stand the wrong way round.
  const ofGroup = pool.srs.filter((sr) =>
    group.storage.some((storage) => storage.sr === sr.uuid || storage.sr === sr.nameLabel),
  );
  const srs = new Set([...points.flatMap((vm) => vm.srUuids), ...ofGroup.map((sr) => sr.uuid)]);
  return {
    id,
    group: group.name,
    takenAt: pool.observedAt,
    site: group.production,
    poolUuid: pool.uuid,
    poolName: pool.nameLabel,
    productBrand: pool.productBrand,
    productVersion: pool.productVersion,
    xapiBuild: pool.xapiBuild,
    configDigest,
    vms: points,
    failures: [],
    srs: pool.srs.filter((sr) => srs.has(sr.uuid)).map((sr) => ({ ...sr, secretDeviceConfig: {} })),
    vdis: pool.vdis.filter((vdi) => srs.has(vdi.srUuid)),
    networks: pool.networks,
    hosts: pool.hosts,
    appliances: pool.appliances.filter((appliance) => appliance.vmUuids.some((vm) => wanted.has(vm))),
    poolOtherConfig: pool.otherConfig,
    haEnabled: pool.haEnabled,
    database: null,
    replication: [],
  };
}
