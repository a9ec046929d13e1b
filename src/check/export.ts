/** Checks before an export: is there something to save, and is anybody left out? */
import { type Finding, sortFindings } from '../domain/finding.ts';
import type { GroupState } from '../domain/group.ts';
import type { Observation } from '../domain/observation.ts';
import type { Matchable } from '../domain/scope.ts';
import type { GroupSettings } from '../domain/settings.ts';
import { hasMoved, openMove } from './after-failover.ts';
import { problem, toldBy, warning } from './context.ts';
import { membersServe } from './rules/put-away.ts';

export interface ExportCheck {
  readonly group: GroupSettings;
  readonly observation: Observation;
  readonly vms: readonly Matchable[];
  /** Null when nothing was ever done for the group. */
  readonly state?: GroupState | null;
}

export function checkExport({ group, observation, vms, state = null }: ExportCheck): Finding[] {
  const findings: Finding[] = [];
  if (hasMoved(state, group) || openMove(state) !== null) {
    const open = openMove(state);
    if (open !== null && open.what !== 'failover')
      // It would take the VMs for halted that are merely on their way.
      return [
        problem({
          code: 'DR-RUN-OPEN',
          about: 'group',
          name: group.name,
          what: `A ${open.what} of group ${group.name} has not come to its end, and saves points of its own: run ${open.run}`,
          next: `See how it stands: lifeboat run show ${open.run}`,
        }),
      ];
    // A point of the lost copies would be newer than the good one, and a later failover would choose it.
    return [
      problem({
        code: 'DR-EXPORT-OF-LOST-SITE',
        about: 'group',
        name: group.name,
        what: `Group ${group.name} has left site ${group.production}: what that site holds now is not worth a recovery point`,
        evidence: [
          `${state?.phase === 'failed-over' ? 'failed over' : 'failing over'} since ${state?.changedAt}`,
        ],
        next: `Stop the schedule of this export; see how the group stands: lifeboat status ${group.name}`,
      }),
    ];
  }
  const site = observation.sites[group.production];
  if (site === undefined || !site.reachable) {
    findings.push(
      problem({
        code: 'DR-SOURCE-UNREACHABLE',
        about: 'pool',
        name: group.production,
        what: `The pool of site ${group.production} cannot be read, so that nothing can be saved`,
        evidence: site?.reachable === false ? toldBy(site.problem) : [],
        next: site?.reachable === false ? site.problem.next : 'Run the command again.',
      }),
    );
    return findings;
  }
  if (vms.length === 0) {
    findings.push(
      problem({
        code: 'DR-GROUP-EMPTY',
        about: 'group',
        name: group.name,
        what: `No VM of pool ${site.pool.nameLabel} matches the rules of group ${group.name}`,
        evidence: [
          `the pool has ${site.pool.vms.filter((vm) => !vm.isTemplate && !vm.isSnapshot).length} VMs`,
        ],
        next: `Look at who is in and who is out: lifeboat export ${group.name} --preview`,
      }),
    );
  }
  const members = new Set(vms.map((vm) => vm.uuid));
  findings.push(
    ...membersServe(
      group,
      site.pool.vms.filter((vm) => members.has(vm.uuid)),
      true,
    ),
  );
  const replicated = new Set(
    site.pool.srs
      .filter((sr) => group.storage.some((s) => s.sr === sr.uuid || s.sr === sr.nameLabel))
      .map((sr) => sr.uuid),
  );
  for (const storage of group.storage) {
    const found = site.pool.srs.filter((sr) => sr.uuid === storage.sr || sr.nameLabel === storage.sr);
    if (found.length === 1) continue;
    findings.push(
      problem({
        code: found.length === 0 ? 'DR-SR-UNKNOWN' : 'DR-SR-AMBIGUOUS',
        about: 'sr',
        name: storage.sr,
        what:
          found.length === 0
            ? `Pool ${site.pool.nameLabel} has no SR ${storage.sr}`
            : `Pool ${site.pool.nameLabel} has ${found.length} SRs named ${storage.sr}`,
        evidence: [
          `its SRs are ${site.pool.srs
            .map((sr) => sr.nameLabel)
            .sort()
            .join(', ')}`,
        ],
        next: `Write the SR's uuid into the storage of group ${group.name}.`,
      }),
    );
  }
  const contents = new Map(site.pool.srs.map((sr) => [sr.uuid, sr]));
  const outside = new Map<string, string[]>();
  for (const vm of vms) {
    for (const sr of vm.srUuids) {
      if (replicated.has(sr) || contents.get(sr)?.contentType === 'iso') continue;
      outside.set(sr, [...(outside.get(sr) ?? []), vm.nameLabel]);
    }
  }
  for (const [uuid, names] of outside) {
    const nameLabel = contents.get(uuid)?.nameLabel ?? uuid;
    findings.push(
      warning({
        code: 'DR-SR-NOT-REPLICATED',
        about: 'sr',
        name: nameLabel,
        uuid,
        what: `SR ${nameLabel} holds disks of ${new Set(names).size} VMs and is not replicated`,
        vms: [...new Set(names)].sort(),
        next: `Move the disks, add the SR to the storage of group ${group.name}, or leave these VMs out of it.`,
      }),
    );
  }
  return sortFindings(findings);
}
