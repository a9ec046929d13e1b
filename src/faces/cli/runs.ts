/** Verbs that start, follow and explain runs: export, verify, plan, failover, run. */
import type { App, Decision, FiledPlan, PlannedRun, PlanRequest } from '../../app/app.ts';
import { usualWish } from '../../app/recover-metadata.ts';
import { type ErrorCode, type ExitCode, exitCodes, OperatorError } from '../../domain/errors.ts';
import { nearest } from '../../domain/nearest.ts';
import type { Run } from '../../domain/run.ts';
import { foldFindings } from '../../report/findings.ts';
import { runHtml } from '../../report/html.ts';
import { jsonLine, runJson } from '../../report/json.ts';
import { clean, count, paint, plainPaper } from '../../report/paper.ts';
import { planText, type StepDetail } from '../../report/plan.ts';
import { runText } from '../../report/run.ts';
import { previewText, runListText } from '../../report/status.ts';
import { confirm } from './confirm.ts';
import { readIn, writeOut } from './files.ts';
import { Questions } from './questions.ts';
import { type Session, worst } from './session.ts';
import { Watch } from './watch.ts';

export interface FailoverFlags {
  readonly point?: string;
  readonly vm?: readonly string[];
  readonly declareLost?: string;
  readonly acceptLoss?: string;
  readonly stopDrill?: string;
  readonly override?: readonly string[];
  readonly by?: string;
  readonly full?: boolean;
  readonly yes?: string;
}

export async function exportVerb(
  session: Session,
  groups: readonly string[],
  flags: {
    readonly preview?: boolean;
    readonly everything?: boolean;
    readonly by?: string;
    readonly unattended?: boolean;
  },
): Promise<ExitCode> {
  return forEachGroup(session, groups, (app, group) =>
    flags.preview === true
      ? preview(session, app, group)
      : planAndRun(session, app, exportRequest(group, flags), flags),
  );
}

export interface VerifyFlags {
  readonly sync?: boolean;
  readonly deep?: boolean;
  readonly canary?: boolean;
  readonly by?: string;
  readonly unattended?: boolean;
  readonly yes?: string;
}

/** 0 when every promise holds, 3 when something is worth a word, 1 when a promise is broken. */
export async function verifyVerb(
  session: Session,
  groups: readonly string[],
  flags: VerifyFlags,
): Promise<ExitCode> {
  if (flags.canary === true) return canaryVerb(session, groups, flags);
  return forEachGroup(session, groups, (app, group) =>
    planAndRun(session, app, verifyRequest(group, flags), flags),
  );
}

/** It makes disks and attaches clones: one group at a time, and after the same question as a drill. */
function canaryVerb(session: Session, groups: readonly string[], flags: VerifyFlags): Promise<ExitCode> {
  const [group, ...more] = groups;
  if (group === undefined || more.length > 0)
    throw new OperatorError(
      {
        code: 'DR-CANARY-GROUP',
        what: 'A canary is for one group at a time',
        next: 'Name the group: `lifeboat verify GROUP --canary`',
      },
      { exitCode: exitCodes.usage },
    );
  return actVerb(session, { operation: 'canary', group, decisions: [] }, flags);
}

export function verifyRequest(group: string, flags: VerifyFlags): PlanRequest {
  return {
    operation: 'verify',
    group,
    ...(flags.sync === true ? { sync: true } : {}),
    ...(flags.deep === true ? { deep: true } : {}),
  };
}

async function planAndRun(
  session: Session,
  app: App,
  request: PlanRequest,
  flags: Answerable,
): Promise<ExitCode> {
  const planned = await app.plan(request, session.context());
  return isBlocked(planned) ? tellBlocked(session, app, planned) : carryOut(session, app, planned, flags);
}

/** Who answers for a run, and whether a clock asked for it: a frozen group refuses that. */
export interface Answerable {
  readonly by?: string;
  readonly unattended?: boolean;
}

/** The groups that were named, or all of them, one after the other. */
async function forEachGroup(
  session: Session,
  groups: readonly string[],
  work: (app: App, group: string) => Promise<ExitCode>,
): Promise<ExitCode> {
  const app = await session.app();
  const wanted = groups.length > 0 ? groups : app.settings.groups.map((group) => group.name);
  if (wanted.length === 0) {
    throw new OperatorError(
      {
        code: 'DR-GROUP-NONE',
        what: 'no group is configured',
        next: 'describe one under groups in sites.yaml',
      },
      { exitCode: exitCodes.usage },
    );
  }
  const codes: ExitCode[] = [];
  for (const [index, group] of wanted.entries()) {
    if (index > 0) session.say('\n');
    codes.push(await work(app, group));
    if (session.signal.aborted) break;
  }
  return worst(codes);
}

export function exportRequest(group: string, flags: { readonly everything?: boolean }): PlanRequest {
  return { operation: 'export', group, ...(flags.everything === true ? { everything: true } : {}) };
}

async function preview(session: Session, app: App, group: string): Promise<ExitCode> {
  const result = await app.preview({ group }, session.context());
  session.show(() => previewText(result, session.paper), result);
  // An exclude that names nobody waits for its day; an include that does is most often misspelt.
  const idle = result.idleRules.filter((each) => each.side === 'include');
  const clear = result.unprotected.length + result.shared.length + idle.length === 0;
  return clear ? exitCodes.done : exitCodes.warnings;
}

export async function planVerb(session: Session, request: PlanRequest, full: boolean): Promise<ExitCode> {
  const app = await session.app();
  const planned = await app.plan(request, session.context());
  showPlan(session, app, planned, full ? 'full' : 'runbook');
  if (isBlocked(planned)) return exitCodes.blocked;
  return planned.findings.length > 0 ? exitCodes.warnings : exitCodes.done;
}

export function failoverRequest(session: Session, group: string, flags: FailoverFlags): PlanRequest {
  const by = flags.by ?? session.terminal.user;
  return {
    operation: 'failover',
    group,
    pointId: flags.point ?? null,
    ...(flags.vm === undefined ? {} : { vms: flags.vm }),
    decisions: [
      ...decision('declare-lost', flags.declareLost, by),
      ...decision('accept-loss', flags.acceptLoss, by),
      ...overridesIn(session, flags),
    ],
  };
}

/** What a person decides by a flag of that name; its value is the reason. */
export function decision(name: Decision['decision'], reason: string | undefined, by: string): Decision[] {
  return reason === undefined ? [] : [{ decision: name, by, reason: reasonOf(name, reason) }];
}

/** The sentence that a flag of this name takes; an empty one is an error of usage. */
export function reasonOf(flag: string, given: string): string {
  const reason = given.trim();
  if (reason !== '') return reason;
  throw new OperatorError(
    {
      code: 'DR-DECISION-REASON',
      what: `--${flag} has no reason`,
      next: `say why in a sentence: --${flag} "…"; it lands in the journal with your name`,
    },
    { exitCode: exitCodes.usage },
  );
}

export function overridesIn(session: Session, flags: Pick<FailoverFlags, 'by' | 'override'>): Decision[] {
  return (flags.override ?? []).map((text) => override(text, flags.by ?? session.terminal.user));
}

/** `CODE=REASON`, as --override takes it. */
function override(text: string, by: string): Decision {
  const match = /^(DR-[A-Z0-9-]+)=(.*\S.*)$/s.exec(text);
  if (match !== null)
    return { decision: `override ${match[1] as ErrorCode}`, by, reason: (match[2] ?? '').trim() };
  throw new OperatorError(
    {
      code: 'DR-DECISION-OVERRIDE',
      what: `--override takes a code and a reason, not ${JSON.stringify(text)}`,
      next: 'write --override DR-CODE="…", with the code that stands behind the problem; it lands in the journal with your name',
    },
    { exitCode: exitCodes.usage },
  );
}

/** Shows the plan, asks once, does it. */
export async function actVerb(
  session: Session,
  request: PlanRequest,
  flags: Pick<FailoverFlags, 'by' | 'full' | 'yes'> & Answerable,
): Promise<ExitCode> {
  const app = await session.app();
  const planned = await planWithMetadata(session, app, request, flags);
  if (isBlocked(planned)) return tellBlocked(session, app, planned);
  showPlan(session, app, planned, flags.full === true ? 'full' : 'runbook');
  if (planned.plan.steps.length === 0) {
    session.say('\nThere is nothing to do: the world already is as this plan wants it.\n');
    return exitCodes.done;
  }
  await confirm(session, planned, flags.yes);
  session.say('\n');
  return carryOut(session, app, planned, flags);
}

/**
 * The plan of a failover or a drill. When the catalog holds nothing of the group, its metadata is first recovered from the
 * replicated storage, after a question of its own; and then planned again.
 */
export async function planWithMetadata(
  session: Session,
  app: App,
  request: PlanRequest,
  flags: Answerable & { readonly yes?: string },
): Promise<PlannedRun> {
  const planned = await app.plan(request, session.context());
  if (planned.lacksMetadata !== true) return planned;
  const recovery = await app.plan(
    { operation: 'recover-metadata', group: request.group, wish: usualWish, decisions: [] },
    session.context(),
  );
  session.say(
    `The catalog holds no recovery point of group ${clean(request.group)}. What travelled with its replicated storage is looked for first.\n\n`,
  );
  showPlan(session, app, recovery, isBlocked(recovery) ? 'none' : 'runbook');
  session.say('\n');
  if (isBlocked(recovery)) return planned;
  await confirm(session, recovery, flags.yes);
  session.say('\n');
  await carryOut(session, app, recovery, flags);
  session.say('\n');
  return app.plan(request, session.context());
}

/** Executes exactly the plan of a file. `verbs` are those of `run`: what looks like a file may be a slip of the fingers. */
export async function runFile(
  session: Session,
  file: string,
  flags: {
    readonly by?: string;
    readonly yes?: string;
    readonly full?: boolean;
    readonly acceptAge?: string;
  },
  verbs: readonly string[],
): Promise<ExitCode> {
  const close = nearest(file, verbs);
  const text = await readIn(
    session,
    file,
    close === null
      ? 'name a file that `lifeboat plan … --json` wrote, or a verb of `lifeboat run --help`'
      : `did you mean lifeboat run ${close}?`,
  );
  const app = await session.app();
  const by = flags.by ?? session.terminal.user;
  const acceptAge = flags.acceptAge === undefined ? null : { by, reason: flags.acceptAge };
  const filed = await app.openPlanFile(text, file, { acceptAge });
  session.show(() => planText(filed, session.paper, flags.full === true ? 'full' : 'runbook'), filed);
  await confirm(session, filed, flags.yes);
  session.say('\n');
  return carryOut(session, app, filed, flags);
}

export function isBlocked(planned: PlannedRun): boolean {
  return (
    planned.plan.waitingOn.length > 0 || planned.findings.some((finding) => finding.severity === 'problem')
  );
}

export function tellBlocked(session: Session, app: App, planned: PlannedRun): ExitCode {
  // What blocks is worth more here than steps that cannot be taken; `plan` shows both.
  showPlan(session, app, planned, 'none');
  const problems = foldFindings(planned.findings).filter((finding) => finding.severity === 'problem').length;
  const why = problems > 0 ? `by ${count(problems, 'problem')}` : 'until it has what it waits for';
  session.say(
    `\n${paint(session.paper, 'bad', `The ${planned.plan.operation} of group ${planned.plan.group} is blocked ${why}.`)} Nothing was changed.\n`,
  );
  return exitCodes.blocked;
}

export function showPlan(session: Session, app: App, planned: PlannedRun, detail: StepDetail): void {
  session.show(() => planText(planned, session.paper, detail), app.filed(planned));
}

export async function carryOut(
  session: Session,
  app: App,
  planned: PlannedRun | FiledPlan,
  flags: Answerable,
  onEnd: (run: Run) => void = () => undefined,
): Promise<ExitCode> {
  const person = flags.by ?? session.terminal.user;
  return watched(
    session,
    null,
    async (watch) => {
      const run = await app.run(planned, {
        by: person,
        onEvent: watch.onEvent,
        signal: session.signal,
        ...(flags.unattended === true ? { automatic: true } : {}),
      });
      onEnd(run);
      return run;
    },
    { app, by: person },
  );
}

/** `answering`: who answers the questions of the run at this terminal; nobody when absent. */
export async function watched(
  session: Session,
  base: Run | null,
  act: (watch: Pick<Watch, 'onEvent'>) => Promise<Run>,
  answering?: { readonly app: App; readonly by: string },
): Promise<ExitCode> {
  const watch = new Watch(session, base);
  const questions =
    answering === undefined ? null : new Questions(session, answering.app, watch, answering.by, base);
  watch.start();
  let run: Run;
  try {
    run = await act(questions ?? watch);
  } finally {
    await questions?.end();
    watch.end();
  }
  const now = session.terminal.now();
  if (session.json) session.terminal.out.write(jsonLine({ run: runJson(run, now) }));
  else session.terminal.out.write(`\n${runText(run, now, session.paper)}`);
  return run.exitCode ?? (session.signal.aborted ? exitCodes.stopped : exitCodes.done);
}

export async function runList(session: Session, group: string | undefined): Promise<ExitCode> {
  const runs = await (await session.app()).runs.list({ group: group ?? null });
  session.show(() => runListText(runs, session.paper), { runs });
  return exitCodes.done;
}

export async function runShow(session: Session, runId: string): Promise<ExitCode> {
  const app = await session.app();
  const run = await app.runs.read(runId);
  const now = session.terminal.now();
  session.show(() => `${runText(run, now, session.paper)}\nJournal: ${app.runs.journalPath(run.id)}\n`, {
    run: runJson(run, now),
    journal: app.runs.journalPath(run.id),
  });
  return run.exitCode ?? exitCodes.done;
}

export async function runFollow(session: Session, runId: string): Promise<ExitCode> {
  const app = await session.app();
  return watched(session, null, (watch) =>
    app.runs.follow(runId, { onEvent: watch.onEvent, signal: session.signal }),
  );
}

export async function runResume(
  session: Session,
  runId: string,
  flags: {
    readonly by?: string;
    readonly retry?: readonly string[];
    readonly skip?: readonly string[];
    readonly reason?: string;
    readonly declareLost?: string;
    readonly forceShutdown?: string;
  },
): Promise<ExitCode> {
  const app = await session.app();
  const base = await app.runs.read(runId);
  const { retry = [], skip = [] } = flags;
  const answered = [...retry, ...skip];
  const reason = flags.reason?.trim() ?? '';
  if (answered.length > 0 && reason === '') {
    throw new OperatorError(
      {
        code: 'DR-DECISION-REASON',
        what: 'an answer about a step needs its reason',
        next: 'say in a sentence what you saw: --reason "…"; it lands in the journal with your name',
      },
      { exitCode: exitCodes.usage },
    );
  }
  for (const step of answered) {
    if (base.steps.has(step)) continue;
    throw new OperatorError(
      {
        code: 'DR-RUN-STEP',
        what: `run ${base.id} has no step ${step}`,
        next: `see its steps with lifeboat run show ${base.id}`,
      },
      { exitCode: exitCodes.usage },
    );
  }
  const answers = [
    ...retry.map((step) => ({ step, answer: 'retry' as const, reason })),
    ...skip.map((step) => ({ step, answer: 'skip' as const, reason })),
  ];
  const person = flags.by ?? session.terminal.user;
  const decisions = [
    ...decision('declare-lost', flags.declareLost, person),
    ...decision('force-shutdown', flags.forceShutdown, person),
  ];
  return watched(
    session,
    base,
    (watch) =>
      app.runs.resume(base.id, {
        by: person,
        answers,
        decisions,
        onEvent: watch.onEvent,
        signal: session.signal,
      }),
    { app, by: person },
  );
}

export async function runAbandon(
  session: Session,
  runId: string,
  flags: { readonly by?: string; readonly reason: string },
): Promise<ExitCode> {
  const app = await session.app();
  const run = await app.runs.abandon(runId, { by: flags.by ?? session.terminal.user, reason: flags.reason });
  const now = session.terminal.now();
  session.show(() => runText(run, now, session.paper), { run: runJson(run, now) });
  return exitCodes.done;
}

/** By the name of the file: .html for a page, .json for programs, anything else for text. */
export async function runReport(
  session: Session,
  runId: string,
  file: string | undefined,
): Promise<ExitCode> {
  const { runs } = await session.app();
  const run = await runs.read(runId);
  const hash = await runs.journalHash(run.id);
  const now = session.terminal.now();
  if (file === undefined) {
    session.show(() => runText(run, now, session.paper, hash, 'full'), { run: runJson(run, now, hash) });
    return exitCodes.done;
  }
  const content = file.endsWith('.html')
    ? runHtml(run, now, hash)
    : file.endsWith('.json')
      ? `${JSON.stringify(runJson(run, now, hash), null, 2)}\n`
      : runText(run, now, plainPaper, hash, 'full');
  await writeOut(session, file, content, { replace: true });
  session.show(() => `Report of run ${run.id} written to ${file}\n`, { run: run.id, file });
  return exitCodes.done;
}
