/** Copies in quarantine are not the VMs: a move that was given up half way, or an import that failed, leaves only them. */
import type { Finding } from '../../domain/finding.ts';
import type { VmFacts } from '../../domain/pool.ts';
import { isQuarantined } from '../../domain/quarantine.ts';
import type { GroupSettings } from '../../domain/settings.ts';
import { counted, labels, problem, warning } from '../context.ts';

/** `members`: the VMs of the group at its production site. `mayGoOn`: the others can be worked with. */
export function membersServe(
  { name, production, recovery }: GroupSettings,
  members: readonly VmFacts[],
  mayGoOn: boolean,
): Finding[] {
  const copies = members.filter(isQuarantined);
  if (copies.length === 0) return [];
  const all = copies.length === members.length;
  const say = mayGoOn && !all ? warning : problem;
  return [
    say({
      code: 'DR-VMS-PUT-AWAY',
      about: 'group',
      name,
      what: `What site ${production} holds of ${counted(copies.length, 'VM')} of group ${name} ${copies.length === 1 ? 'is a copy' : 'are copies'} in quarantine: not what serves, and not worth saving`,
      vms: labels(copies),
      next: all
        ? `Go on with the run that was to bring them over (lifeboat runs). If it was given up: lifeboat failover ${name} --declare-lost "REASON" brings them up at site ${recovery}.`
        : `Import them from an older recovery point (lifeboat catalog extract POINT), or leave them out of the group.`,
    }),
  ];
}
