/** Snapshots that a return would be refused for: what xapi leaves of a copy that an earlier return has replaced. */

import type { PoolFacts, Uuid } from '../../domain/pool.ts';
import { macSeedKey, orphanedSnapshots } from '../../domain/quarantine.ts';
import type { Hypervisor } from '../../ports/hypervisor.ts';

/**
 * Takes the MAC seed off the orphaned snapshots of these copies, so that the restore of their VMs is not refused (xapi.md
 * 4.2). Record and disks stay: a seed only matters to a VM's MAC addresses, and a VM made from the snapshot gets a new one.
 * Returns a note for each copy that had some.
 */
export async function freeSeeds(
  hypervisor: Hypervisor,
  pool: PoolFacts,
  copies: ReadonlySet<Uuid>,
  signal: AbortSignal,
): Promise<ReadonlyMap<Uuid, string>> {
  const notes = new Map<Uuid, string>();
  for (const [copy, snapshots] of orphanedSnapshots(pool)) {
    if (!copies.has(copy)) continue;
    for (const { uuid } of snapshots) await hypervisor.setVmOtherConfig(uuid, macSeedKey, null, signal);
    const names = snapshots.map((snapshot) => snapshot.nameLabel).join(', ');
    notes.set(copy, `Snapshots of an earlier copy stay without its MAC seed: ${names}.`);
  }
  return notes;
}
