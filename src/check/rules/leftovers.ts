/** What earlier runs left at the recovery site: copies and clones of drills, VMs of the group that are there already. */
import { drillRemains } from '../../domain/drill.ts';
import type { Finding } from '../../domain/finding.ts';
import { type CheckContext, counted, labels, warning } from '../context.ts';

/** They hold memory, MAC addresses and space on the array, and the copies look like the real thing. */
export function drillsAreCleanedUp({ group, observation, recovery, state }: CheckContext): Finding[] {
  const remains = drillRemains(group, observation, recovery);
  const kept = state?.drill ?? null;
  const unseen = kept !== null && !remains.some(({ drill }) => drill === kept.id) ? [kept.id] : [];
  const drills = [...remains.map(({ drill }) => drill), ...unseen];
  if (drills.length === 0) return [];
  const vms = remains.flatMap((each) => each.vms);
  return [
    warning({
      code: 'DR-DRILL-LEFTOVER',
      about: 'group',
      name: group.name,
      what: `${counted(drills.length, 'drill')} of group ${group.name} ${drills.length === 1 ? 'was' : 'were'} not cleaned up at site ${group.recovery}`,
      evidence: [
        ...remains.map(
          ({ drill, vms, srs, clones }) =>
            `drill ${drill}: ${counted(vms.length, 'VM')}, ${counted(srs.length, 'SR')}, ${counted(clones.length, 'clone')} on arrays`,
        ),
        ...unseen.map(
          (drill) =>
            `drill ${drill}, run ${kept?.run}: nothing of it is seen, but no clean-up has ended well`,
        ),
      ],
      vms: labels(vms),
      next: `Clean up: lifeboat drill cleanup ${group.name}`,
    }),
  ];
}

/** VMs of the group that are at the recovery site already, and would be replaced or stand in the way. */
export function twinsAreNotThere(context: CheckContext): Finding[] {
  const { group, recovery, point } = context;
  if (recovery === null || point === null || context.state?.phase === 'failed-over') return [];
  const here = new Map(recovery.vms.filter((vm) => !vm.isSnapshot).map((vm) => [vm.uuid, vm]));
  const running = point.vms
    .filter((vm) => here.get(vm.uuid)?.powerState === 'Running')
    .map((vm) => vm.nameLabel);
  if (running.length === 0) return [];
  return [
    warning({
      code: 'DR-TWIN-RUNNING',
      about: 'group',
      name: group.name,
      what: `${running.length} VMs of the group run at site ${group.recovery} already`,
      vms: running.sort(),
      next: 'They are left as they are. If they come from a drill, shut them down and remove them first.',
    }),
  ];
}
