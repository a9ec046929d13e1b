/** What a run says about each VM and about time: computed once, shown by text, HTML and JSON alike. */
import { unreachable } from '../domain/errors.ts';
import type { Plan, Step } from '../domain/plan.ts';
import type { Run, StepState } from '../domain/run.ts';
import { type Instant, secondsBetween } from '../domain/time.ts';
import { type StepReport, stepReports, vmPromises } from './run-promises.ts';
import { chapterIn } from './words.ts';

export type VmVerdict =
  /** Started, and every readiness gate of its tier held. */
  | 'ready'
  /** Started; its gates did not hold in time, or are still being waited for. */
  | 'running'
  | 'imported'
  | 'failed'
  | 'waiting';

export interface VmReport {
  readonly uuid: string;
  readonly nameLabel: string;
  readonly tier: string;
  readonly verdict: VmVerdict;
  /** When it was ready (or running, in a tier without gates); null until then. */
  readonly at: Instant | null;
  readonly detail: string | null;
  /** From the start of the run until it was ready; null until then. */
  readonly readySeconds: number | null;
  /** When it was to be ready by the forecast, and what of its data is lost; null where the plan says nothing. */
  readonly forecastSeconds: number | null;
  readonly lossSeconds: number | null;
}

export interface ChapterReport {
  readonly name: string;
  readonly steps: number;
  readonly ended: number;
  readonly failed: number;
  /** From the first start to the last end; null before it began. */
  readonly seconds: number | null;
}

export interface RunFacts {
  readonly vms: readonly VmReport[];
  readonly steps: readonly StepReport[];
  readonly chapters: readonly ChapterReport[];
  /** From the start of the run until the last VM was ready; null while one is not. */
  readonly recoverySeconds: number | null;
  /** Whole length of the run so far. */
  readonly elapsedSeconds: number;
  readonly counts: Readonly<Record<StepState['status'], number>>;
}

export function runFacts(run: Run, now: Instant): RunFacts {
  const promises = vmPromises(run);
  const vms = [...vmReports(run), ...savedVms(run)].map(
    (vm): VmReport => ({
      ...vm,
      readySeconds: vm.at === null ? null : secondsBetween(run.startedAt, vm.at),
      forecastSeconds: promises.get(vm.uuid)?.forecastSeconds ?? null,
      lossSeconds: promises.get(vm.uuid)?.lossSeconds ?? null,
    }),
  );
  const starts = run.plan.steps.some((step) => step.action.do === 'start-vm');
  const ready = vms.every((vm) => vm.verdict === 'ready');
  const moments = vms.flatMap((vm) => (vm.at === null ? [] : [vm.at])).sort();
  const last = moments.at(-1);
  const counts = { waiting: 0, running: 0, succeeded: 0, failed: 0, unknown: 0, skipped: 0 };
  for (const state of run.steps.values()) counts[state.status] += 1;
  return {
    vms,
    steps: stepReports(run),
    chapters: chapterReports(run),
    recoverySeconds: starts && ready && last !== undefined ? secondsBetween(run.startedAt, last) : null,
    elapsedSeconds: secondsBetween(run.startedAt, run.endedAt ?? now),
    counts,
  };
}

export function isOver(state: StepState): boolean {
  switch (state.status) {
    case 'succeeded':
    case 'failed':
    case 'unknown':
    case 'skipped':
      return true;
    case 'waiting':
    case 'running':
      return false;
    default:
      return unreachable(state.status);
  }
}

function stateOf(run: Run, step: Step): StepState {
  const state = run.steps.get(step.id);
  if (state === undefined) throw new Error(`run ${run.id} has no state for step ${step.id}`);
  return state;
}

type Verdict = Omit<VmReport, 'readySeconds' | 'forecastSeconds' | 'lossSeconds'>;

/** The VMs of an export, which has no tiers: saved, or named with the reason why not. */
function savedVms(run: Run): Verdict[] {
  if (run.plan.operation !== 'export') return [];
  return run.plan.steps.flatMap((step) => {
    const { action } = step;
    if (action.do !== 'save-documents') return [];
    const state = stateOf(run, step);
    // Written by saveDocuments of the executor.
    const output = state.output as unknown as {
      readonly failures: readonly { readonly uuid: string; readonly reason: string }[];
    } | null;
    const failures = new Map((output?.failures ?? []).map(({ uuid, reason }) => [uuid, reason]));
    const kept = new Set((action.kept ?? []).map(({ uuid }) => uuid));
    return [...action.vms, ...(action.kept ?? [])].map(({ uuid, nameLabel }): Verdict => {
      const base = { uuid, nameLabel, tier: kept.has(uuid) ? 'unchanged' : 'fetched' };
      const reason = failures.get(uuid) ?? null;
      if (!isOver(state)) return { ...base, verdict: 'waiting', at: null, detail: null };
      return state.status === 'succeeded' && reason === null
        ? { ...base, verdict: 'ready', at: state.endedAt, detail: null }
        : { ...base, verdict: 'failed', at: null, detail: reason ?? state.problem?.what ?? state.reason };
    });
  });
}

function vmReports(run: Run): Verdict[] {
  const { plan } = run;
  const of = stepsByVm(plan);
  return plan.expects.tiers.flatMap((tier) =>
    tier.vms.map((vm): Verdict => {
      const base = { uuid: vm.uuid, nameLabel: vm.nameLabel, tier: tier.name };
      const steps = of.get(vm.uuid) ?? [];
      const find = (...kinds: readonly Step['action']['do'][]): StepState | null => {
        const step = steps.find((each) => kinds.includes(each.action.do));
        return step === undefined ? null : stateOf(run, step);
      };
      const saved = find('import-vms', 'save-documents');
      const started = find('start-vm');
      const awaited = find('await-ready');
      const because = (state: StepState | null): string | null =>
        state?.problem?.what ?? state?.reason ?? null;
      if (started === null) {
        if (saved === null || !isOver(saved)) return { ...base, verdict: 'waiting', at: null, detail: null };
        return saved.status === 'succeeded'
          ? { ...base, verdict: 'ready', at: saved.endedAt, detail: null }
          : { ...base, verdict: 'failed', at: null, detail: because(saved) };
      }
      if (started.status === 'succeeded') {
        if (awaited === null) return { ...base, verdict: 'ready', at: started.endedAt, detail: null };
        if (awaited.status === 'succeeded')
          return { ...base, verdict: 'ready', at: awaited.endedAt, detail: null };
        return { ...base, verdict: 'running', at: null, detail: because(awaited) };
      }
      if (isOver(started)) return { ...base, verdict: 'failed', at: null, detail: because(started) };
      if (saved !== null && (saved.status === 'failed' || saved.status === 'unknown')) {
        return { ...base, verdict: 'failed', at: null, detail: because(saved) };
      }
      return {
        ...base,
        verdict: saved?.status === 'succeeded' ? 'imported' : 'waiting',
        at: null,
        detail: null,
      };
    }),
  );
}

function stepsByVm(plan: Plan): ReadonlyMap<string, readonly Step[]> {
  const of = new Map<string, Step[]>();
  for (const step of plan.steps) {
    const { action } = step;
    const vms =
      action.do === 'start-vm' || action.do === 'await-ready'
        ? [action.vm]
        : action.do === 'import-vms'
          ? action.vms
          : action.do === 'save-documents'
            ? [...action.vms, ...(action.kept ?? [])]
            : [];
    for (const vm of vms) {
      const list = of.get(vm.uuid);
      if (list === undefined) of.set(vm.uuid, [step]);
      else list.push(step);
    }
  }
  return of;
}

function chapterReports(run: Run): ChapterReport[] {
  const byName = new Map<string, StepState[]>();
  for (const step of run.plan.steps) {
    const name = chapterIn(run.plan, step.action);
    byName.set(name, [...(byName.get(name) ?? []), stateOf(run, step)]);
  }
  return [...byName].map(([name, states]) => {
    const started = states.flatMap((state) => state.startedAt ?? []).sort()[0];
    const ended = states
      .flatMap((state) => state.endedAt ?? [])
      .sort()
      .at(-1);
    return {
      name,
      steps: states.length,
      ended: states.filter(isOver).length,
      failed: states.filter((state) => state.status === 'failed' || state.status === 'unknown').length,
      seconds: started === undefined || ended === undefined ? null : secondsBetween(started, ended),
    };
  });
}
