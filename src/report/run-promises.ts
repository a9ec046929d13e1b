/** Promise and fact beside each other: what a run lost against the RPO, what it took against the RTO, VM by VM and step by step. */
import { drillPrefix } from '../domain/drill.ts';
import type { Step } from '../domain/plan.ts';
import type { ReplicaPoint } from '../domain/replication.ts';
import type { Run, StepState } from '../domain/run.ts';
import { forecastEnds } from '../domain/schedule.ts';
import { type Instant, secondsBetween } from '../domain/time.ts';
import { chapterIn, describeAction } from './words.ts';

export interface StepReport {
  readonly id: string;
  readonly what: string;
  readonly chapter: string;
  readonly status: StepState['status'];
  readonly attempts: number;
  readonly forecastSeconds: number;
  /** Null while it has not ended. */
  readonly seconds: number | null;
}

export function stepReports(run: Run): StepReport[] {
  return run.plan.steps.map((step) => {
    const state = run.steps.get(step.id);
    const { startedAt = null, endedAt = null } = state ?? {};
    return {
      id: step.id,
      what: describeAction(step.action),
      chapter: chapterIn(run.plan, step.action),
      status: state?.status ?? 'waiting',
      attempts: state?.attempts ?? 0,
      forecastSeconds: step.forecastSeconds,
      seconds: startedAt === null || endedAt === null ? null : secondsBetween(startedAt, endedAt),
    };
  });
}

/** What was promised for each VM. */
export interface VmPromise {
  /** From the start of the run until it is ready. */
  readonly forecastSeconds: number | null;
  /** Age of the oldest replica that one of its disks is on; null where none is known. */
  readonly lossSeconds: number | null;
}

/** By the uuid that the VM has in the steps. */
export function vmPromises(run: Run): ReadonlyMap<string, VmPromise> {
  const { steps, limits, expects } = run.plan;
  const ends = forecastEnds(steps, limits);
  const moves = steps.some(({ action }) => action.do === 'promote-synced');
  const ages = new Map(expects.replicas.map(({ sr, ageSeconds }) => [sr, ageSeconds]));
  const srsOf = storageByVm(steps);
  const promises = new Map<string, VmPromise>();
  for (const { id, action } of steps) {
    if (action.do !== 'start-vm' && action.do !== 'await-ready') continue;
    const known = srsOf.get(originalName(action.vm.nameLabel)) ?? [];
    const lost = known.flatMap((names) => names.flatMap((name) => ages.get(name) ?? []));
    promises.set(action.vm.uuid, {
      forecastSeconds: Math.max(ends.get(id) ?? 0, promises.get(action.vm.uuid)?.forecastSeconds ?? 0),
      lossSeconds: moves ? 0 : lost.length === 0 ? expects.lossSeconds : Math.max(0, ...lost),
    });
  }
  return promises;
}

/** Disks name the VMs of the point; the copy of a drill is called otherwise. */
const originalName = (nameLabel: string): string =>
  nameLabel.startsWith(drillPrefix) ? nameLabel.slice(drillPrefix.length) : nameLabel;

/** Uuid and name of each SR that holds a disk of the VM, by the name of the VM. */
function storageByVm(steps: readonly Step[]): ReadonlyMap<string, readonly (readonly string[])[]> {
  const names = new Map<string, string>();
  for (const { action } of steps)
    if (action.do === 'attach-sr') names.set(action.sr.uuid, action.sr.nameLabel);
  const srs = new Map<string, (readonly string[])[]>();
  for (const { action } of steps) {
    if (action.do !== 'compare-disks') continue;
    for (const vm of new Set(action.disks.flatMap((disk) => disk.usedBy)))
      srs.set(vm, [...(srs.get(vm) ?? []), [action.srUuid, names.get(action.srUuid) ?? '']]);
  }
  return srs;
}

/** What a disaster right after this export would cost: the age of the oldest replica that it recorded, at its end. */
export function exposureSeconds(run: Run, now: Instant): number | null {
  const ages = run.plan.steps.flatMap(({ id, action }) => {
    const state = run.steps.get(id);
    if (action.do !== 'record-replication' || state?.status !== 'succeeded' || state.output === null)
      return [];
    // Written by recordReplication of the executor.
    const output = state.output as unknown as readonly { readonly newestPoint: ReplicaPoint | null }[];
    return output.map(({ newestPoint }) =>
      newestPoint === null ? null : secondsBetween(newestPoint.takenAt, run.endedAt ?? now),
    );
  });
  const known = ages.filter((age) => age !== null);
  return ages.length === 0 || known.length < ages.length ? null : Math.max(0, ...known);
}
