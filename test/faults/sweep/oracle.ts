/** What must be true when a run has ended, whatever happened on the way. Each sentence that comes back is a violation. */
import { drillOfSr, drillOfVm } from '../../../src/domain/drill.ts';
import type { GroupState } from '../../../src/domain/group.ts';
import type { Run } from '../../../src/domain/run.ts';
import { targetSiteOf } from '../../../src/execute/phases.ts';
import type { House } from './house.ts';
import type { ModelState } from './state.ts';

const moves = new Set(['failover', 'migrate', 'failback']);

export async function violationsAfter(house: House, run: Run): Promise<string[]> {
  const { state } = house.world;
  house.world.judge();
  const group = await house.states.get(run.plan.group);
  return [
    ...state.violations,
    ...liesOf(run, state),
    ...lossesOf(run, state),
    ...leftovers(state, group, run),
    ...phaseLies(run, group),
  ];
}

const isDone = ({ outcome }: Run): boolean => outcome === 'done' || outcome === 'done-with-warnings';

/** No lie in a report: what is said to run does run, and what did not succeed is not called done. */
function liesOf(run: Run, state: ModelState): string[] {
  const lies: string[] = [];
  if (run.outcome === null) lies.push(`lie: run ${run.id} has no end`);
  for (const [id, step] of run.steps) {
    if (step.status === 'running') lies.push(`lie: step ${id} is called running after the end`);
    if (run.outcome === 'done' && step.status !== 'succeeded')
      lies.push(`lie: done, but ${id} is ${step.status}`);
    if ((step.status === 'failed' || step.status === 'unknown') && step.problem === null)
      lies.push(`lie: ${id} is ${step.status} without a reason`);
  }
  if (
    run.outcome === 'stuck' &&
    ![...run.steps.values()].some(({ problem }) => problem?.code === 'DR-RUN-STUCK')
  )
    lies.push('lie: stuck without a question');
  if (!moves.has(run.plan.operation) || !isDone(run)) return lies;
  const target = targetSiteOf(run.plan);
  for (const step of run.plan.steps) {
    if (step.action.do !== 'start-vm' || run.steps.get(step.id)?.status !== 'succeeded') continue;
    const { vm } = step.action;
    const found = state.sites[target ?? '']?.pool.vms.find(({ uuid }) => uuid === vm.uuid);
    if (found?.powerState !== 'Running' && state.sites[target ?? '']?.up === true)
      lies.push(
        `lie: ${vm.nameLabel} is said to run at ${target}, and is ${found?.powerState ?? 'not there'}`,
      );
  }
  return lies;
}

/** A planned move loses nothing; after a failover every VM has the content of the point that was promoted. */
function lossesOf(run: Run, state: ModelState): string[] {
  if (!moves.has(run.plan.operation) || !isDone(run)) return [];
  const target = targetSiteOf(run.plan);
  const lost: string[] = [];
  for (const volume of Object.values(state.volumes)) {
    if (volume.site !== target) continue;
    if (volume.role !== 'promoted' && volume.role !== 'source')
      lost.push(`lie: ${run.plan.operation} is done, and ${volume.array} is ${volume.role} for ${volume.sr}`);
    if (run.plan.operation === 'failover') continue;
    for (const [vm, written] of Object.entries(volume.content))
      if (written < (state.latest[vm] ?? 0))
        lost.push(`data lost: ${vm} has ${written} of ${state.latest[vm]} writes after a planned move`);
  }
  return lost;
}

/** What a drill made is gone when it says so; and what is left, the group remembers. */
function leftovers(state: ModelState, group: GroupState | null, run: Run): string[] {
  const left = drillObjects(state);
  if (left.length === 0) return [];
  const kept =
    run.plan.operation === 'drill' && !run.plan.steps.some(({ action }) => action.do === 'remove-copies');
  if ((run.plan.operation === 'drill' || run.plan.operation === 'drill-cleanup') && isDone(run) && !kept)
    return left.map((what) => `drill object left behind: ${what}`);
  return group?.drill === null || group === null
    ? left.map((what) => `drill object left behind, and nobody knows: ${what}`)
    : [];
}

export function drillObjects(state: ModelState): string[] {
  const clones = Object.entries(state.volumes).flatMap(([key, { drills }]) =>
    Object.keys(drills).map((drill) => `clone of ${key} (${drill})`),
  );
  const records = Object.entries(state.sites).flatMap(([site, { pool }]) => [
    ...pool.vms.filter((vm) => drillOfVm(vm) !== null).map((vm) => `VM ${vm.nameLabel} at ${site}`),
    ...pool.srs.filter((sr) => drillOfSr(sr) !== null).map((sr) => `SR ${sr.nameLabel} at ${site}`),
  ]);
  return [...clones, ...records];
}

function phaseLies(run: Run, group: GroupState | null): string[] {
  if (!moves.has(run.plan.operation) || !isDone(run)) return [];
  const target = targetSiteOf(run.plan);
  return group?.activeSite === target
    ? []
    : [`lie: the group is said to run at ${group?.activeSite}, not ${target}`];
}

/** What two worlds must have in common to count as the same: everything but counters, times and names of points. */
export function worldOf(state: ModelState): unknown {
  const sorted = <T>(items: readonly T[]): T[] =>
    [...items].sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  return {
    sites: Object.entries(state.sites).map(([site, { up, pool }]) => ({
      site,
      up,
      vms: sorted(
        pool.vms.map((vm) => ({
          name: vm.nameLabel,
          power: vm.powerState,
          ha: vm.haRestartPriority,
          vapp: vm.applianceUuid !== null,
          blocked: Object.keys(vm.blockedOperations).sort(),
          marks: Object.keys(vm.otherConfig).sort(),
          disks: vm.vbds.map((vbd) => vbd.vdiUuid),
          networks: vm.vifs.map((vif) => vif.networkUuid),
        })),
      ),
      srs: sorted(
        pool.srs.map((sr) => ({
          name: sr.nameLabel,
          pbds: sorted(sr.pbds.map((pbd) => [pbd.hostUuid, pbd.attached, pbd.deviceConfig])),
        })),
      ),
      disks: sorted(pool.vdis.map((vdi) => [vdi.uuid, vdi.nameLabel])),
      vapps: pool.appliances.map((vapp) => [vapp.nameLabel, sorted(vapp.vmUuids)]),
    })),
    volumes: Object.entries(state.volumes).map(([key, { role, drills }]) => [
      key,
      role,
      Object.keys(drills).length,
    ]),
  };
}
