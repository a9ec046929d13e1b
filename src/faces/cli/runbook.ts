/** `runbook GROUP`: the plans of today with the procedures beside them, for the printer. */
import type { Command } from 'commander';
import type { App, PlanRequest } from '../../app/app.ts';
import { type ExitCode, exitCodes, OperatorError, PortError, type Problem } from '../../domain/errors.ts';
import type { Operation } from '../../domain/plan.ts';
import { plainPaper } from '../../report/paper.ts';
import { type Runbook, type RunbookChapter, runbookHtml, runbookText } from '../../report/runbook.ts';
import { writeOut } from './files.ts';
import { examples } from './help.ts';
import type { Session } from './session.ts';

export interface VerbPlace {
  readonly program: Command;
  readonly helpGroup: string;
  act(
    verb: (session: Session, values: readonly unknown[], flags: Record<string, unknown>) => Promise<ExitCode>,
  ): (...given: readonly unknown[]) => Promise<void>;
}

export function addRunbook({ program, helpGroup, act }: VerbPlace): void {
  program
    .command('runbook')
    .helpGroup(helpGroup)
    .argument('<group>')
    .argument('[file]', '.html for a page, anything else for text; the screen without it')
    .description('the printable runbook of today: the plans, and the procedures that go with them')
    .addHelpText('after', `\n${examples('runbook')}`)
    .action(
      act((session, values) =>
        runbookVerb(session, String(values[0]), values[1] === undefined ? undefined : String(values[1])),
      ),
    );
}

async function runbookVerb(session: Session, group: string, file: string | undefined): Promise<ExitCode> {
  const runbook = await runbookOf(session, await session.app(), group);
  const refused = runbook.chapters.filter(({ planned }) => planned === null);
  if (file === undefined) session.show(() => runbookText(runbook, session.paper), asJson(runbook));
  else {
    const content = file.endsWith('.html') ? runbookHtml(runbook) : runbookText(runbook, plainPaper);
    await writeOut(session, file, content, { replace: true });
    session.show(() => `Runbook of group ${group} written to ${file}\n`, { group, file });
  }
  return refused.length === 0 ? exitCodes.done : exitCodes.warnings;
}

/** Plans and findings, without the texts of the procedures. */
function asJson({ chapters, procedures, ...head }: Runbook): unknown {
  return {
    ...head,
    chapters: chapters.map(({ operation, planned, problems }) => ({
      operation,
      plan: planned?.plan ?? null,
      digest: planned?.digest ?? null,
      findings: planned?.findings ?? [],
      problems,
    })),
    procedures: procedures.map(({ file }) => `runbooks/${file}`),
  };
}

/** What is worth a chapter, in the order in which it is looked for at night. */
const chaptersInOrder = ['failover', 'reprotect', 'migrate', 'failback', 'drill'] as const;
type Chapter = (typeof chaptersInOrder)[number];

/** The plans of everything that is possible in the phase of the group, seen now. Unknown names throw. */
export async function runbookOf(session: Session, app: App, name: string): Promise<Runbook> {
  const report = await app.check({ groups: [name] }, session.context());
  const possible = new Set<Operation>(
    report.groups.flatMap(({ operations }) => operations.map(({ operation }) => operation)),
  );
  const chapters: RunbookChapter[] = [];
  for (const operation of chaptersInOrder)
    if (possible.has(operation)) chapters.push(await chapterOf(session, app, operation, name));
  const group = app.settings.groups.find((each) => each.name === name);
  const status = await app.status({ groups: [name] }, session.context());
  const standing = status.groups.find((each) => each.group === name);
  return {
    group: name,
    at: session.terminal.now(),
    version: session.programme.version,
    production: standing?.production ?? group?.production ?? '',
    recovery: standing?.recovery ?? group?.recovery ?? '',
    chapters,
    procedures: (await session.programme.procedures?.()) ?? [],
  };
}

async function chapterOf(
  session: Session,
  app: App,
  operation: Chapter,
  group: string,
): Promise<RunbookChapter> {
  try {
    const { plan, digest, findings } = await app.plan(requestOf(operation, group), session.context());
    return { operation, planned: { plan, digest, findings }, problems: [] };
  } catch (error) {
    session.signal.throwIfAborted();
    return { operation, planned: null, problems: problemsOf(error) };
  }
}

function problemsOf(error: unknown): readonly Problem[] {
  if (error instanceof OperatorError) return error.problems;
  if (error instanceof PortError) return [error.problem];
  throw error;
}

function requestOf(operation: Chapter, group: string): PlanRequest {
  switch (operation) {
    case 'failover':
      return { operation, group, pointId: null, decisions: [] };
    case 'drill':
      return { operation, group, pointId: null, vms: [], keep: false, decisions: [] };
    case 'reprotect':
      return { operation, group, decisions: [], quarantineOnly: false };
    case 'migrate':
    case 'failback':
      return { operation, group, decisions: [] };
  }
}
