/** A plan as a runbook: what it means, who comes up, what is lost, and every step with its reason. */
import type { Finding } from '../domain/finding.ts';
import { describeGate } from '../domain/gate-words.ts';
import type { Plan, Step } from '../domain/plan.ts';
import { formatDuration } from '../domain/time.ts';
import { findingLines } from './findings.ts';
import {
  asSentence,
  clean,
  count,
  facts,
  hardSpace,
  heading,
  names,
  type Paper,
  padLeft,
  page,
  paint,
  upperFirst,
  wrap,
} from './paper.ts';
import {
  chapterIn,
  describeAction,
  describeSkew,
  formatAge,
  formatInstant,
  sitesOf,
  speaksOfRecovery,
  titleOf,
} from './words.ts';

export interface PlanOnPaper {
  readonly plan: Plan;
  readonly digest: string;
  readonly findings: readonly Finding[];
}

/** Steps as a runbook; each by itself, with its id, its predecessors and its limits; or none. */
export type StepDetail = 'runbook' | 'full' | 'none';

export function planText(planned: PlanOnPaper, paper: Paper, detail: StepDetail = 'runbook'): string {
  const { plan } = planned;
  const lines = [
    ...title(plan, paper),
    ...facts(paper, [
      ['Plan', `${plan.id}, digest ${planned.digest.slice(0, 16)}`],
      ['Seen at', formatInstant(plan.basedOn.takenAt)],
    ]),
  ];
  // An export that cannot run promises nothing; of a failover one still wants to know what there is.
  if (plan.operation !== 'export' || plan.waitingOn.length === 0)
    lines.push('', ...meaningLines(plan, paper));
  if (plan.expects.tiers.length > 0) lines.push('', ...tierLines(plan, paper));
  if (plan.expects.leftOut.length > 0) lines.push('', ...leftOutLines(plan, paper));
  if (planned.findings.length > 0) lines.push('', ...findingLines(planned.findings, paper));
  if (plan.waitingOn.length > 0) {
    lines.push('', paint(paper, 'bad', heading(paper, 'This plan cannot run: it waits for')));
    for (const reason of plan.waitingOn) lines.push(...wrap(reason, paper.width, '  - ', '    '));
  }
  if (plan.steps.length > 0 && detail !== 'none') {
    lines.push('', ...(detail === 'full' ? fullSteps(plan, paper) : runbookSteps(plan, paper)));
  }
  return page(lines);
}

function title(plan: Plan, paper: Paper): string[] {
  const { from, to } = sitesOf(plan);
  const way = from === null ? '' : to === null ? `, site ${from}` : `, from ${from} to ${to}`;
  return [heading(paper, `${titleOf(plan)}${way}`)];
}

/** What a person says yes to, once more, where they are asked: the plan itself may have scrolled away. */
export function recapText(planned: PlanOnPaper, paper: Paper): string {
  const { plan, findings } = planned;
  const { expects } = plan;
  const vms = expects.tiers.reduce((sum, tier) => sum + tier.vms.length, 0);
  const warnings = findings.filter((finding) => finding.severity === 'warning').length;
  const rows: [string, string][] = [
    [
      'Starts',
      `${count(vms, 'VM')}${expects.leftOut.length > 0 ? `; ${expects.leftOut.length} left out` : ''}`,
    ],
    ['Loss', lossText(plan, paper)],
    ['Time', timeText(expects.forecastSeconds, expects.rtoSeconds, paper, plan.steps.length > 0)],
  ];
  if (plan.operation === 'drill-cleanup') rows.splice(0, 2);
  if (warnings > 0) rows.push(['Warnings', `${count(warnings, 'warning')}, told above`]);
  return page([heading(paper, 'In short'), ...facts(paper, rows)]);
}

function sourceText({ metadataFrom }: Plan['expects']): string {
  return metadataFrom === undefined
    ? 'the catalog'
    : `replicated storage: metadata backup of ${metadataFrom.date} on SR ${clean(metadataFrom.sr)}`;
}

/** The promise in a few lines: recovery point, replica, loss, time. */
export function meaningLines(plan: Plan, paper: Paper): string[] {
  const { expects } = plan;
  const rows: [string, string][] = [];
  if (turnsRound(plan)) {
    if (expects.pointId !== null) rows.push(['New point', expects.pointId]);
  } else if (speaksOfRecovery(plan.operation)) {
    rows.push([
      'Recovery point',
      expects.pointId === null || expects.metadataTakenAt === null
        ? paint(paper, 'bad', 'none')
        : `${expects.pointId}, metadata of ${formatInstant(expects.metadataTakenAt)}`,
    ]);
    if (expects.pointId !== null && plan.operation !== 'verify') rows.push(['Source', sourceText(expects)]);
  } else if (expects.pointId !== null) {
    rows.push(['New point', expects.pointId]);
  }
  for (const [index, replica] of expects.replicas.entries()) {
    rows.push([
      index === 0 ? 'Replica' : '',
      `${clean(replica.sr)}: ${
        replica.point === null
          ? paint(paper, 'bad', 'no complete point is known')
          : `${formatInstant(replica.point.takenAt)}, ${formatAge(replica.ageSeconds)} old`
      }`,
    ]);
  }
  if (turnsRound(plan)) {
    if (plan.operation !== 'reprotect') rows.push(['Loss', lossText(plan, paper)]);
    rows.push(['Time', `about ${formatDuration(expects.forecastSeconds)}`]);
  } else if (speaksOfRecovery(plan.operation)) {
    rows.push(['Skew', describeSkew(expects.skewSeconds)]);
    rows.push(['Loss', lossText(plan, paper)]);
    // The RTO is a promise about VMs that come up, and a verification starts none.
    rows.push([
      'Time',
      plan.operation === 'verify'
        ? `about ${formatDuration(expects.forecastSeconds)}`
        : timeText(expects.forecastSeconds, expects.rtoSeconds, paper, plan.steps.length > 0),
    ]);
  } else if (plan.steps.length > 0) {
    rows.push(['Time', `about ${formatDuration(expects.forecastSeconds)}`]);
  }
  const lines = [heading(paper, 'What it means'), ...facts(paper, rows)];
  for (const note of expects.notes) lines.push(...wrap(asSentence(clean(note)), paper.width, '  ! ', '    '));
  return lines;
}

/** A move of a group, or what follows one: the point is still to be taken, and the time is not one of recovery. */
function turnsRound({ operation }: Plan): boolean {
  return operation === 'migrate' || operation === 'failback' || operation === 'reprotect';
}

function lossText({ operation, expects }: Plan, paper: Paper): string {
  const { lossSeconds, rpoSeconds } = expects;
  if (operation === 'reprotect') return 'nothing of what serves';
  if (lossSeconds === 0 && (operation === 'migrate' || operation === 'failback')) return 'none';
  const rpo = formatDuration(rpoSeconds);
  if (lossSeconds === null) return paint(paper, 'bad', `unknown; the RPO is ${rpo}`);
  // A drill loses nothing: its data are as old as what a disaster at that moment would leave.
  const text = `${operation === 'drill' ? 'none; in a disaster ' : ''}${formatDuration(Math.max(0, lossSeconds))} of data`;
  return lossSeconds > rpoSeconds
    ? paint(paper, 'bad', `${text}: MORE than the RPO of ${rpo}`)
    : `${text}, within the RPO of ${rpo}`;
}

function timeText(forecastSeconds: number, rtoSeconds: number, paper: Paper, known: boolean): string {
  const rto = formatDuration(rtoSeconds);
  if (!known) return `unknown; the RTO is ${rto}`;
  const text = `about ${formatDuration(forecastSeconds)}`;
  return forecastSeconds > rtoSeconds
    ? paint(paper, 'bad', `${text}: MORE than the RTO of ${rto}`)
    : `${text}, within the RTO of ${rto}`;
}

function tierLines(plan: Plan, paper: Paper): string[] {
  const total = plan.expects.tiers.reduce((sum, tier) => sum + tier.vms.length, 0);
  const verb = plan.operation === 'export' ? 'Saved' : 'Started, tier by tier';
  return [
    heading(paper, `${verb}: ${count(total, 'VM')}`),
    ...facts(
      paper,
      plan.expects.tiers.map((tier, index) => [
        `${index + 1}. ${clean(tier.name)}`,
        `${names(
          tier.vms.map((vm) => vm.nameLabel),
          40,
        )} (${tier.vms.length})`,
      ]),
    ),
  ];
}

function leftOutLines(plan: Plan, paper: Paper): string[] {
  const byReason = new Map<string, string[]>();
  for (const { nameLabel, reason } of plan.expects.leftOut) {
    byReason.set(reason, [...(byReason.get(reason) ?? []), nameLabel]);
  }
  return [
    paint(paper, 'warn', heading(paper, `Left out: ${count(plan.expects.leftOut.length, 'VM')}`)),
    ...[...byReason].flatMap(([reason, vms]) =>
      wrap(`${names(vms, 40)}: ${clean(reason)}`, paper.width, '  - ', '    '),
    ),
  ];
}

/** Steps that a person would do in one go are one line of the runbook: all starts of a tier, all waits of a tier. */
interface Line {
  readonly chapter: string;
  readonly steps: readonly Step[];
}

function runbookLines(plan: Plan): Line[] {
  const tierOf = new Map(
    plan.expects.tiers.flatMap((tier) => tier.vms.map((vm) => [vm.uuid, tier.name] as const)),
  );
  const lines = new Map<string, { chapter: string; steps: Step[] }>();
  for (const step of plan.steps) {
    const { action } = step;
    const chapter = chapterIn(plan, action);
    const together = action.do === 'start-vm' || action.do === 'await-ready' || action.do === 'shut-down-vm';
    const key = together ? `${action.do} ${tierOf.get(action.vm.uuid) ?? ''}` : step.id;
    const line = lines.get(key);
    if (line === undefined) lines.set(key, { chapter, steps: [step] });
    else line.steps.push(step);
  }
  const chapters = [...new Set([...lines.values()].map((line) => line.chapter))];
  return chapters.flatMap((chapter) => [...lines.values()].filter((line) => line.chapter === chapter));
}

function runbookSteps(plan: Plan, paper: Paper): string[] {
  const runbook = runbookLines(plan);
  const out = [
    heading(
      paper,
      `Steps: ${plan.steps.length}, about ${formatDuration(plan.expects.forecastSeconds)} in all`,
    ),
  ];
  const tierOf = new Map(
    plan.expects.tiers.flatMap((tier) => tier.vms.map((vm) => [vm.uuid, tier.name] as const)),
  );
  const digits = String(runbook.length).length;
  let chapter = '';
  for (const [index, line] of runbook.entries()) {
    if (line.chapter !== chapter) {
      chapter = line.chapter;
      out.push('', `  ${paint(paper, 'accent', chapter)}`);
    }
    const number = `${padLeft(String(index + 1), digits + 2)}. `;
    const indent = ' '.repeat(number.length);
    const [first] = line.steps;
    if (first === undefined) continue;
    out.push(...wrap(`${lineText(line.steps, tierOf)}${timeOf(line.steps)}`, paper.width, number, indent));
    if (line.steps.some((step) => step.pointOfNoReturn)) {
      out.push(indent + paint(paper, 'bad', '>>> Point of no return: no way back by itself.'));
    }
    if (first.action.do === 'import-vms') {
      const networks = first.action.networks.map((network) =>
        `${clean(network.production)} → ${clean(network.recovery.nameLabel)}`.replaceAll(' ', hardSpace),
      );
      if (networks.length > 0) out.push(...wrap(`Networks: ${networks.join(', ')}`, paper.width, indent));
    }
    const reason = whyOf(line.steps);
    if (reason !== null) {
      for (const text of wrap(asSentence(clean(reason)), paper.width, indent))
        out.push(paint(paper, 'dim', text));
    }
  }
  return out;
}

function lineText(steps: readonly Step[], tierOf: ReadonlyMap<string, string>): string {
  const [first] = steps;
  if (first === undefined) return '';
  const { action } = first;
  if (action.do === 'start-vm' || action.do === 'await-ready' || action.do === 'shut-down-vm') {
    const tier = tierOf.get(action.vm.uuid);
    const where = tier === undefined ? '' : ` of tier ${clean(tier)}`;
    const vms = names(
      steps.flatMap((step) => ('vm' in step.action ? [step.action.vm.nameLabel] : [])),
      40,
    );
    if (action.do === 'shut-down-vm') {
      const hard = action.force ? '; switch off those that do not stop by themselves' : '';
      return `Shut ${count(steps.length, 'VM')}${where} down at site ${action.site}: ${vms}${hard}`;
    }
    return action.do === 'start-vm'
      ? `Start ${count(steps.length, 'VM')}${where}: ${vms}`
      : `Wait until each VM${where} is ready: ${action.gates.map(describeGate).join(', ')}`;
  }
  if (action.do === 'import-vms') {
    const vms = names(
      action.vms.map((vm) => vm.nameLabel),
      40,
    );
    return `${describeAction(action)}: ${vms}`;
  }
  return describeAction(action);
}

/** Time is worth a word from a second on. */
function timeOf(steps: readonly Step[]): string {
  const seconds = Math.max(...steps.map((step) => step.forecastSeconds));
  if (seconds < 1) return '';
  const time = `(about ${formatDuration(seconds)}${steps.length > 1 ? ' each' : ''})`;
  return ` ${time.replaceAll(' ', hardSpace)}`;
}

/** The tier's name stands in the line already; what else a start says is told once, with the VMs that it is about. */
function whyOfStarts(steps: readonly Step[]): string | null {
  const told = new Map<string, string[]>();
  for (const { action, why } of steps) {
    if (action.do !== 'start-vm') continue;
    for (const reason of why.split('; ').slice(1))
      told.set(reason, [...(told.get(reason) ?? []), action.vm.nameLabel]);
  }
  if (told.size === 0) return null;
  return [...told]
    .map(([reason, vms]) => (vms.length === steps.length ? reason : `${names(vms, 10)}: ${reason}`))
    .join('; ');
}

/** The reason of a line; of several steps, the one that they share. */
function whyOf(steps: readonly Step[]): string | null {
  const reasons = new Set(steps.map((step) => step.why));
  const [only] = reasons;
  const [first] = steps;
  if (first?.action.do === 'start-vm') return whyOfStarts(steps);
  return only === undefined || reasons.size > 1 ? null : only;
}

function fullSteps(plan: Plan, paper: Paper): string[] {
  const out = [
    heading(
      paper,
      `Steps: ${plan.steps.length}, about ${formatDuration(plan.expects.forecastSeconds)} in all`,
    ),
  ];
  for (const step of plan.steps) {
    out.push('', `  ${paint(paper, 'bold', step.id)}  ${describeAction(step.action)}`);
    if (step.pointOfNoReturn) out.push(`    ${paint(paper, 'bad', '>>> Point of no return')}`);
    const details: [string, string][] = [
      ['why', asSentence(clean(step.why))],
      ['after', step.after.length === 0 ? 'nothing' : step.after.join(', ')],
      [
        'time',
        `about ${formatDuration(step.forecastSeconds)}, at most ${formatDuration(step.timeoutSeconds)}`,
      ],
      [
        'fails',
        `${failureWords[step.onFailure]}; ${
          step.repeatable ? 'may be repeated' : 'is never repeated blindly'
        }`,
      ],
    ];
    if (step.uses.length > 0) details.push(['uses', step.uses.join(', ')]);
    if (step.holdsWhen !== null)
      details.push(['done when', upperFirst(step.holdsWhen.is.replaceAll('-', ' '))]);
    out.push(...facts(paper, details, 4));
  }
  return out;
}

const failureWords: Readonly<Record<Step['onFailure'], string>> = {
  stop: 'the run stops',
  continue: 'the run goes on and reports it',
  finish: 'the run goes on with the rest and ends as failed',
};

/** What it means to carry out several plans one after the other. */
export function severalText(plans: readonly Plan[]): string {
  const names = plans.map((plan) => clean(plan.group)).join(', then ');
  const seconds = plans.reduce((sum, plan) => sum + plan.expects.forecastSeconds, 0);
  return [
    `${count(plans.length, 'group')}, one after the other: ${names}. The last one is up after about ${formatDuration(seconds)}.`,
    'Memory was checked for each group by itself: what the first one takes is not there for the next.',
    'A group that fails does not hold up the next one.',
    '',
  ].join('\n');
}
