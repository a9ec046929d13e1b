/**
 * The rehearsal: every document of a recovery point, rewritten as a failover would rewrite it, held against the import
 * rules and the recovery pool as observed. Nothing is sent to the pool.
 */
import { type Finding, sortFindings } from '../domain/finding.ts';
import type { ImportedVm } from '../domain/plan.ts';
import type { PoolFacts } from '../domain/pool.ts';
import { putAwayVersions, withSeedsFreed } from '../domain/quarantine.ts';
import type { RecoveryPoint } from '../domain/recovery-point.ts';
import type { GroupSettings } from '../domain/settings.ts';
import { copyOptions } from '../execute/actions/drill-copies.ts';
import { parseArchive } from '../metadata/document.ts';
import { ImportRehearsal } from '../metadata/import-rules.ts';
import { rewriteForRecovery } from '../metadata/recovery.ts';
import { gapOf } from '../observe/observe.ts';
import { drillName, mappedName, networksNamed } from '../plan/networks.ts';
import type { Catalog } from '../ports/catalog.ts';

export interface RehearsalPorts {
  catalog(): Promise<Catalog>;
}

/** Findings of rules that the checks have already told in their own words, with the mapping beside them. */
const toldByTheChecks = new Set([
  'DR-IMPORT-NETWORK-CREATED',
  'DR-IMPORT-NETWORK-BRIDGE',
  'DR-IMPORT-NETWORK-AMBIGUOUS',
]);

export async function rehearse(
  ports: RehearsalPorts,
  group: GroupSettings,
  point: RecoveryPoint,
  pool: PoolFacts,
  signal?: AbortSignal,
  /** The copies of a drill by the uuid of their originals: isolated networks and new identities. */
  copies?: ReadonlyMap<string, ImportedVm>,
): Promise<Finding[]> {
  const catalog = await ports.catalog();
  const networks = [...new Set(point.vms.flatMap((vm) => vm.networkNames))].flatMap((production) => {
    const name = copies === undefined ? mappedName(group, production) : drillName(group, production);
    const found = name === null ? [] : networksNamed(pool, name);
    const [network] = found;
    return network === undefined || found.length > 1
      ? []
      : [
          {
            production,
            recovery: { uuid: network.uuid, nameLabel: network.nameLabel, bridge: network.bridge },
          },
        ];
  });
  const rehearsal = new ImportRehearsal(withSeedsFreed(pool), {
    restore: true,
    attaching: expectedDisks(group, point),
  });
  const replaces = putAwayVersions(pool);
  const damaged: Finding[] = [];
  for (const vm of point.vms) {
    signal?.throwIfAborted();
    try {
      const document = parseArchive(await catalog.get(vm.document, signal));
      const copy = copies?.get(vm.uuid);
      const identity =
        copy === undefined ? {} : copyOptions('rehearsal', copy, { run: 'rehearsal', attempt: 1 });
      rehearsal.add(
        rewriteForRecovery(document, { networks, pool, haltSuspended: true, replaces, ...identity }).document,
      );
    } catch (error) {
      if (signal?.aborted) throw error;
      const { what, known, next } = gapOf(error, `The metadata of VM ${vm.nameLabel} cannot be read`);
      damaged.push({
        severity: 'problem',
        code: 'DR-DOCUMENT-UNREADABLE',
        about: 'vm',
        name: vm.nameLabel,
        uuid: vm.uuid,
        what: `The metadata of VM ${vm.nameLabel} cannot be read from the catalog`,
        evidence: [what, ...(known ?? [])],
        vms: [vm.nameLabel],
        next,
      });
    }
  }
  const findings = rehearsal.result().findings.filter((finding) => !toldByTheChecks.has(finding.code));
  return sortFindings([...damaged, ...findings]);
}

/** The replicated SRs of the group, with the disks that the point knows there: they are attached before the import. */
function expectedDisks(group: GroupSettings, point: RecoveryPoint): Map<string, ReadonlySet<string>> {
  const attaching = new Map<string, ReadonlySet<string>>();
  for (const sr of point.srs) {
    if (!group.storage.some((storage) => storage.sr === sr.uuid || storage.sr === sr.nameLabel)) continue;
    attaching.set(
      sr.uuid,
      new Set(point.vdis.filter((vdi) => vdi.srUuid === sr.uuid).map((vdi) => vdi.location)),
    );
  }
  return attaching;
}
