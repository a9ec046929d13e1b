/**
 * A drill as evidence, for somebody who was not there: what was proven, for which VM, with which point, by which checks,
 * and that the site is afterwards as it was before. Taken from the journal alone.
 */
import type { ProvenVm } from '../domain/actions/drill.ts';
import { describeGate } from '../domain/gate-words.ts';
import type { Step } from '../domain/plan.ts';
import type { Run, StepState } from '../domain/run.ts';
import { formatBytes, formatDuration, type Instant, secondsBetween } from '../domain/time.ts';
import { clean, count, facts, heading, type Paper, paint, wrap } from './paper.ts';
import { formatInstant } from './words.ts';

export interface Evidence {
  readonly drill: string;
  readonly site: string;
  readonly pointId: string;
  readonly replicas: readonly { readonly sr: string; readonly ref: string; readonly takenAt: Instant }[];
  /** What was checked beside the VMs, one sentence each. */
  readonly checks: readonly string[];
  readonly vms: readonly VmEvidence[];
  readonly inventory: 'equal' | 'different' | 'unknown' | 'not compared';
  readonly differences: readonly string[];
  readonly cleanedUp: 'yes' | 'no' | 'kept on purpose';
  readonly by: string;
  readonly startedAt: Instant;
  readonly endedAt: Instant | null;
  readonly planDigest: string;
  /** SHA-256 of the journal's last line, which vouches for all lines before it; null when nobody read the file. */
  readonly journalHash: string | null;
}

export interface VmEvidence {
  readonly nameLabel: string;
  readonly original: string;
  readonly copy: string;
  readonly tier: string;
  readonly proven: boolean;
  /** Why it is not proven. */
  readonly reason: string | null;
  /** The checks that were passed, in words. */
  readonly checks: readonly string[];
  /** From the start to the last check. */
  readonly bootSeconds: number | null;
  readonly host: string | null;
  readonly addresses: readonly string[];
  readonly disks: readonly { readonly uuid: string; readonly nameLabel: string; readonly bytes: number }[];
  readonly networks: readonly string[];
}

/** Null for every run that is no drill. */
export function evidenceOf(run: Run, journalHash: string | null = null): Evidence | null {
  if (run.plan.operation !== 'drill') return null;
  const proof = stepWith(run, 'record-proof');
  if (proof === null || proof.step.action.do !== 'record-proof') return null;
  const { action } = proof.step;
  const looked = lookedAt(proof.state);
  return {
    drill: action.drill,
    site: action.site,
    pointId: action.pointId,
    replicas: run.plan.steps.flatMap((step) =>
      step.action.do === 'clone-replica' && stateOf(run, step)?.status === 'succeeded'
        ? [{ sr: step.action.sr, ref: step.action.point.ref, takenAt: step.action.point.takenAt }]
        : [],
    ),
    checks: checksOf(run),
    vms: action.vms.map((vm) => vmEvidence(run, vm, looked.get(vm.uuid))),
    ...comparison(run),
    cleanedUp: cleanedUp(run),
    by: run.by,
    startedAt: run.startedAt,
    endedAt: run.endedAt,
    planDigest: run.planDigest,
    journalHash,
  };
}

function checksOf(run: Run): string[] {
  return run.plan.steps.flatMap((step) => {
    if (stateOf(run, step)?.status !== 'succeeded') return [];
    if (step.action.do === 'verify-point') return ['the recovery point was read back whole from the catalog'];
    if (step.action.do !== 'compare-disks') return [];
    const partial = stateOf(run, step)?.partial === true ? 'not all of ' : '';
    return [
      `${partial}${count(step.action.disks.length, 'disk')} of the point found on the clone of SR ${step.action.srUuid}`,
    ];
  });
}

type Looked = Pick<VmEvidence, 'proven' | 'reason' | 'host' | 'addresses' | 'disks' | 'networks'>;

/** What the step that recorded the proof saw of each copy, by its uuid. */
function lookedAt(state: StepState | null): ReadonlyMap<string, Looked> {
  if (state?.status !== 'succeeded' || state.output === null) return new Map();
  // Written by recordProof of the executor.
  const output = state.output as unknown as { readonly vms: readonly (Looked & { readonly uuid: string })[] };
  return new Map(output.vms.map((vm) => [vm.uuid, vm]));
}

function vmEvidence(run: Run, vm: ProvenVm, looked: Looked | undefined): VmEvidence {
  const start = run.steps.get(vm.startedBy);
  const ready = vm.readyBy === null ? undefined : run.steps.get(vm.readyBy);
  const last = vm.readyBy === null ? start : ready;
  const isReady = start?.status === 'succeeded' && last?.status === 'succeeded';
  return {
    nameLabel: vm.nameLabel,
    original: vm.original,
    copy: vm.uuid,
    tier: vm.tier,
    proven: looked?.proven ?? false,
    reason:
      looked === undefined ? (whyNot(start, ready) ?? 'nobody looked at it while it ran') : looked.reason,
    checks: [
      ...(start?.status === 'succeeded' ? ['imported and started'] : []),
      ...(isReady ? vm.gates.map(describeGate) : []),
    ],
    bootSeconds:
      isReady && start.startedAt !== null && last.endedAt !== null
        ? secondsBetween(start.startedAt, last.endedAt)
        : null,
    host: looked?.host ?? null,
    addresses: looked?.addresses ?? [],
    disks: looked?.disks ?? [],
    networks: looked?.networks ?? [],
  };
}

function whyNot(...states: readonly (StepState | undefined)[]): string | null {
  for (const state of states) {
    const why = state?.problem?.what ?? state?.reason;
    if (why != null) return why;
  }
  return null;
}

function comparison(run: Run): Pick<Evidence, 'inventory' | 'differences'> {
  const compared = stepWith(run, 'compare-inventory');
  if (compared?.state?.status !== 'succeeded' || compared.state.output === null)
    return { inventory: 'not compared', differences: compared?.state?.problem?.known ?? [] };
  // Written by compareInventory of the executor.
  const { equal, differences } = compared.state.output as unknown as {
    readonly equal: boolean | null;
    readonly differences: readonly string[];
  };
  return { inventory: equal === null ? 'unknown' : equal ? 'equal' : 'different', differences };
}

function cleanedUp(run: Run): Evidence['cleanedUp'] {
  const kinds = ['remove-copies', 'forget-clone', 'stop-clone', 'compare-inventory'];
  const steps = run.plan.steps.filter((step) => kinds.includes(step.action.do));
  if (steps.length === 0) return 'kept on purpose';
  return steps.every((step) => stateOf(run, step)?.status === 'succeeded') ? 'yes' : 'no';
}

function stateOf(run: Run, step: Step): StepState | null {
  return run.steps.get(step.id) ?? null;
}

function stepWith(
  run: Run,
  kind: Step['action']['do'],
): { readonly step: Step; readonly state: StepState | null } | null {
  const step = run.plan.steps.find(({ action }) => action.do === kind);
  return step === undefined ? null : { step, state: stateOf(run, step) };
}

const inventoryWords: Readonly<Record<Evidence['inventory'], string>> = {
  equal: 'the same before and after',
  different: 'nothing of the drill is left; others have changed something meanwhile',
  unknown: 'nothing of the drill is left; what was there before is not known',
  'not compared': 'NOT compared',
};

/** Label and text of what the evidence rests on; shared by text and HTML. */
export function evidenceFacts(evidence: Evidence): [string, string][] {
  const proven = evidence.vms.filter((vm) => vm.proven).length;
  return [
    ['Proven', `${proven} of ${count(evidence.vms.length, 'VM')} at site ${evidence.site}`],
    ['With', `recovery point ${evidence.pointId}`],
    ...evidence.replicas.map(({ sr, ref, takenAt }): [string, string] => [
      '',
      `${clean(sr)}: point ${clean(ref)} of ${formatInstant(takenAt)}`,
    ]),
    ...evidence.checks.map((check, index): [string, string] => [index === 0 ? 'Checked' : '', clean(check)]),
    ['Inventory', inventoryWords[evidence.inventory]],
    ...evidence.differences.map((difference): [string, string] => ['', clean(difference)]),
    ['Cleaned up', evidence.cleanedUp],
    ['Done by', `${clean(evidence.by)}, ${formatInstant(evidence.startedAt)}`],
    ['Plan digest', evidence.planDigest],
    ...(evidence.journalHash === null ? [] : [['Journal', evidence.journalHash] as [string, string]]),
  ];
}

/** One VM in a sentence. */
export function vmEvidenceText(vm: VmEvidence): string {
  if (!vm.proven) return `NOT proven: ${clean(vm.reason ?? 'unknown')}`;
  const parts = [
    vm.checks.join(', '),
    ...(vm.bootSeconds === null ? [] : [`up after ${formatDuration(vm.bootSeconds)}`]),
    ...(vm.host === null ? [] : [`on ${clean(vm.host)}`]),
    ...(vm.addresses.length === 0 ? [] : [`address ${vm.addresses.map(clean).join(', ')}`]),
    vm.disks.length === 0
      ? 'no disks'
      : `${count(vm.disks.length, 'disk')} of the clone, ${formatBytes(vm.disks.reduce((sum, disk) => sum + disk.bytes, 0))}`,
    ...(vm.networks.length === 0 ? [] : [`on network ${vm.networks.map(clean).join(', ')}`]),
  ];
  return parts.join('; ');
}

export function evidenceLines(run: Run, paper: Paper, journalHash: string | null = null): string[] {
  const evidence = evidenceOf(run, journalHash);
  if (evidence === null) return [];
  return [
    heading(paper, 'Evidence'),
    ...facts(paper, evidenceFacts(evidence)),
    ...evidence.vms.flatMap((vm) =>
      wrap(
        `${clean(vm.nameLabel)} (copy of ${vm.original}): ${vmEvidenceText(vm)}`,
        paper.width,
        `  ${vm.proven ? paint(paper, 'good', '✓') : paint(paper, 'bad', '✗')} `,
        '    ',
      ),
    ),
  ];
}

/** What a person does after a drill or its clean-up has ended; null while it has not, or when a question is open. */
export function afterDrill(run: Run): string[] | null {
  const { operation, group } = run.plan;
  if (operation !== 'drill' && operation !== 'drill-cleanup') return null;
  if (run.outcome === null || run.outcome === 'stuck') return null;
  if (operation === 'drill-cleanup') {
    return run.outcome === 'done' || run.outcome === 'done-with-warnings'
      ? [`Nothing. See how the group stands: lifeboat status ${group}`]
      : ['Put right what failed (above).', `Then once more: lifeboat drill cleanup ${group}`];
  }
  const keep = `For the files: lifeboat run report ${run.id} drill.html`;
  switch (cleanedUp(run)) {
    case 'yes':
      return run.outcome === 'done'
        ? [keep]
        : [
            'Put right what failed or warned (above); everything was removed again.',
            `Then drill anew: lifeboat drill ${group}`,
            keep,
          ];
    case 'kept on purpose':
      return [`When you are done with the copies: lifeboat drill cleanup ${group}`, keep];
    case 'no':
      return run.outcome === 'stopped'
        ? [`Go on: lifeboat run resume ${run.id}. Or remove what stands: lifeboat drill cleanup ${group}`]
        : [`Remove what the drill left: lifeboat drill cleanup ${group}`, keep];
  }
}
