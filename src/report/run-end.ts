/** What a run comes to: the head of its report with loss against RPO and time against RTO, and what a person does next. */
import type { BackupFound } from '../domain/actions/recover.ts';
import type { Run } from '../domain/run.ts';
import { formatDuration, type Instant } from '../domain/time.ts';
import { afterDrill } from './evidence.ts';
import { lossOfMove } from './moving-words.ts';
import { clean, count } from './paper.ts';
import type { RunFacts } from './run-facts.ts';
import { exposureSeconds } from './run-promises.ts';
import { formatInstant, sitesOf } from './words.ts';

/** Label and text of the head of the report; shared with the HTML page. */
export function headFacts(run: Run, known: RunFacts, now: Instant): [string, string][] {
  const { expects } = run.plan;
  const rows: [string, string][] = [
    ['Run', `${run.id}, started by ${clean(run.by)}`],
    ['Started', formatInstant(run.startedAt)],
  ];
  if (run.endedAt !== null) rows.push(['Ended', formatInstant(run.endedAt)]);
  if (expects.pointId !== null) {
    const taken =
      expects.metadataTakenAt === null ? '' : `, metadata of ${formatInstant(expects.metadataTakenAt)}`;
    rows.push(['Recovery point', `${expects.pointId}${taken}`]);
  }
  rows.push(['Loss', lossFact(run, now)], ['Recovery time', recoveryFact(run, known)]);
  rows.push([
    'Duration',
    `${formatDuration(known.elapsedSeconds)}${run.endedAt === null ? ' so far' : ''}; the forecast was ${formatDuration(expects.forecastSeconds)}`,
  ]);
  return rows;
}

/**
 * Seconds of data that the run lost; of a run that loses nothing by itself, what a disaster would cost. Null where it is
 * not known or does not apply.
 */
export function lossSecondsOf(run: Run, now: Instant): number | null {
  if (lossOfMove(run) !== null) return 0;
  return run.plan.operation === 'export' ? exposureSeconds(run, now) : run.plan.expects.lossSeconds;
}

function lossFact(run: Run, now: Instant): string {
  const { operation, expects } = run.plan;
  const rpo = formatDuration(expects.rpoSeconds);
  const ofMove = lossOfMove(run);
  if (ofMove !== null) return `${ofMove}; the RPO is ${rpo}`;
  const seconds = lossSecondsOf(run, now);
  const measured =
    seconds === null
      ? `unknown; the RPO is ${rpo}`
      : seconds > expects.rpoSeconds
        ? `${formatDuration(seconds)} of data: MORE than the RPO of ${rpo}`
        : `${formatDuration(Math.max(0, seconds))} of data, within the RPO of ${rpo}`;
  switch (operation) {
    case 'failover':
      return measured;
    case 'export':
      return seconds === null
        ? `none; what a disaster would cost is ${measured}`
        : `none; a disaster at the end of it would have cost ${measured}`;
    case 'drill':
    case 'verify':
      return seconds === null
        ? `none; what a disaster would have cost is ${measured}`
        : `none; a disaster would have cost ${measured}`;
    case 'canary':
    case 'recover-metadata':
    case 'drill-cleanup':
    case 'reprotect':
    case 'migrate':
    case 'failback':
      return `none; the RPO is ${rpo}`;
  }
}

function recoveryFact(run: Run, known: RunFacts): string {
  const rto = formatDuration(run.plan.expects.rtoSeconds);
  if (!run.plan.steps.some(({ action }) => action.do === 'start-vm'))
    return `no VM is brought up; the RTO is ${rto}`;
  if (known.recoverySeconds === null) {
    const ready = known.vms.filter((vm) => vm.verdict === 'ready').length;
    return `not reached: ${ready} of ${count(known.vms.length, 'VM')} ready; the RTO is ${rto}`;
  }
  const time = formatDuration(known.recoverySeconds);
  return known.recoverySeconds > run.plan.expects.rtoSeconds
    ? `all VMs ready after ${time}: MORE than the RTO of ${rto}`
    : `all VMs ready after ${time}, within the RTO of ${rto}`;
}

/** What a person does now, in order of weight. */
export function nextSteps(run: Run, known: RunFacts): string[] {
  const { plan } = run;
  const { from, to } = sitesOf(plan);
  const drilled = afterDrill(run);
  if (drilled !== null) return drilled;
  switch (run.outcome) {
    case null:
      return [
        `Watch it: lifeboat run follow ${run.id}. If nobody carries it out any more: lifeboat run resume ${run.id}`,
      ];
    case 'stopped':
      return [`Go on: lifeboat run resume ${run.id}. Everything done so far is kept.`];
    case 'stuck': {
      const asked = [...run.steps].find(
        ([, state]) => state.status === 'unknown' || state.problem?.code === 'DR-RUN-STUCK',
      );
      const step = asked === undefined ? 'STEP' : asked[0];
      return [
        `Look at the world, then answer: lifeboat run resume ${run.id} --retry ${step} --reason "…" does the step again; --skip ${step} takes it as settled by hand.`,
        `Or give the run up: lifeboat run abandon ${run.id} --reason "…"`,
      ];
    }
    case 'failed':
      if (plan.operation === 'export')
        return [`Put right what failed (above), then export anew: lifeboat export ${plan.group}`];
      if (plan.operation === 'verify')
        return [
          'A promise does not hold now. Put right what failed (above).',
          `Then verify anew: lifeboat verify ${plan.group}`,
        ];
      return [
        'Put right what failed (above).',
        `Then go on: lifeboat run resume ${run.id}; what is done is not done again.`,
      ];
    case 'abandoned':
      return [`See how the group stands: lifeboat status ${plan.group}. Nothing was undone.`];
    case 'undone':
      return [`See how the group stands: lifeboat status ${plan.group}. A new plan may be made.`];
    case 'done':
    case 'done-with-warnings':
      break;
  }
  if (plan.operation === 'verify' && run.outcome === 'done-with-warnings')
    return ['Every promise holds now. Read the warnings above: each may break one.'];
  if (plan.operation === 'export' || plan.operation === 'verify') {
    return run.outcome === 'done'
      ? [`Nothing. See how the group stands: lifeboat status ${plan.group}`]
      : ['Read the warnings above: what they name would be missing or different after a failover.'];
  }
  if (plan.operation === 'reprotect') return afterReprotect(run);
  if (plan.operation === 'recover-metadata') return afterRecovery(run);
  const steps: string[] = [];
  if (known.vms.some((vm) => vm.verdict !== 'ready'))
    steps.push(
      `Look after the VMs that are not ready. What was left undone is tried again by: lifeboat run resume ${run.id}`,
    );
  if (plan.operation === 'migrate' || plan.operation === 'failback')
    return [...steps, ...afterMove(run, { from, to })];
  steps.push('Check the applications themselves, and tell their users how much was lost.');
  if (from !== null) {
    steps.push(
      `Keep site ${from} off the network until it has been looked at: its copies of these VMs must not start beside those at ${to ?? 'the recovery site'}.`,
    );
  }
  steps.push(
    `Nothing protects the group at its new site yet. When site ${from ?? 'the old one'} answers again: lifeboat reprotect ${plan.group}`,
  );
  return steps;
}

function isProtectedAgain(run: Run): boolean {
  return run.plan.steps.some(
    ({ id, action }) => action.do === 'swap-roles' && run.steps.get(id)?.status === 'succeeded',
  );
}

function afterMove(run: Run, { from, to }: ReturnType<typeof sitesOf>): string[] {
  const { group } = run.plan;
  return [
    'Check the applications themselves; no data was lost.',
    isProtectedAgain(run)
      ? `The group is protected from site ${to ?? 'here'} to site ${from ?? 'there'} now. Prove it when there is time: lifeboat drill ${group}`
      : `Nothing protects the group at its new site yet. Turn the protection round: lifeboat reprotect ${group}`,
  ];
}

function afterRecovery({ plan, steps }: Run): string[] {
  // Written by the reading steps of this run.
  const kept = plan.steps.flatMap(({ id, action }) =>
    action.do === 'read-backup'
      ? ((steps.get(id)?.output ?? { kept: [] }) as unknown as BackupFound).kept
      : [],
  );
  const [point] = kept;
  if (point === undefined)
    return [`Choose a date, and keep it: lifeboat catalog recover ${plan.group} --date DATE`];
  return [
    `See what it holds: lifeboat catalog show ${point.pointId}`,
    `Then plan with it: lifeboat plan failover ${plan.group}${kept.length > 1 ? ' --point ID' : ''}, or lifeboat drill ${plan.group}`,
  ];
}

function afterReprotect(run: Run): string[] {
  const { group } = run.plan;
  return isProtectedAgain(run)
    ? [
        `See that the group is green: lifeboat status ${group}. Prove it when there is time: lifeboat drill ${group}`,
        `The way home, when you want it: lifeboat plan failback ${group}`,
      ]
    : [`The old site is put away; nothing protects the group yet: lifeboat reprotect ${group}`];
}
