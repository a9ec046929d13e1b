/** catalog recover: recovery points from the metadata backup that travelled with the replicated storage. */
import type { Command } from 'commander';
import type { PlanRequest } from '../../app/app.ts';
import type { BackupFound, BackupWish } from '../../domain/actions/recover.ts';
import { isBackupDate } from '../../domain/backup-vdi.ts';
import { type ExitCode, exitCodes, OperatorError } from '../../domain/errors.ts';
import type { Run } from '../../domain/run.ts';
import { backupsText } from '../../report/recover-words.ts';
import { confirm } from './confirm.ts';
import { type Answerable, carryOut, isBlocked, planVerb, showPlan, tellBlocked } from './runs.ts';
import type { Session } from './session.ts';

interface RecoverFlags extends Answerable {
  readonly list?: boolean;
  readonly date?: readonly string[];
  readonly vms?: string;
  readonly legacy?: string;
  readonly yes?: string;
  readonly full?: boolean;
}

export interface CatalogCommands {
  readonly catalog: Command;
  readonly plan: Command;
  /** Carries a verb out in a session, with the arguments and options as typed. */
  act(
    verb: (session: Session, values: readonly unknown[], flags: Record<string, unknown>) => Promise<ExitCode>,
  ): (...given: readonly unknown[]) => Promise<void>;
}

export function addRecover({ catalog, plan, act }: CatalogCommands): void {
  withOptions(
    plan
      .command('recover-metadata')
      .argument('<group>')
      .description('how the metadata on the replicated storage would be read'),
  ).action(
    act((session, values, flags) =>
      planVerb(session, recoverRequest(String(values[0]), flags as RecoverFlags), flags['full'] === true),
    ),
  );
  withOptions(
    catalog
      .command('recover')
      .argument('<group>')
      .option('--by <name>', 'who answers for the run, instead of the login')
      .option('--yes <site>', 'the name of the recovery site, instead of typing it')
      .description('recovery points from the metadata backup that travelled with the replicated storage'),
  ).action(act((session, values, flags) => recoverVerb(session, String(values[0]), flags as RecoverFlags)));
}

function withOptions(command: Command): Command {
  const collect = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];
  return command
    .option('--list', 'only say which dates the storage holds')
    .option('--date <date>', 'this date, as --list shows it; may be repeated', collect)
    .option('--vms <which>', 'group, sr (with a disk on the SR of the backup), or all', 'group')
    .option('--legacy <uuid>', 'a disk of an older host, which a guest may have written; asked for by name')
    .option('--full', 'show every step by itself');
}

function recoverRequest(group: string, flags: RecoverFlags): PlanRequest {
  return { operation: 'recover-metadata', group, wish: wishOf(flags), decisions: [] };
}

async function recoverVerb(session: Session, group: string, flags: RecoverFlags): Promise<ExitCode> {
  const app = await session.app();
  const planned = await app.plan(recoverRequest(group, flags), session.context());
  if (isBlocked(planned)) return tellBlocked(session, app, planned);
  showPlan(session, app, planned, flags.full === true ? 'full' : 'runbook');
  await confirm(session, planned, flags.yes);
  session.say('\n');
  let ended: Run | null = null;
  const code = await carryOut(session, app, planned, flags, (run) => {
    ended = run;
  });
  if (ended !== null) showFound(session, ended);
  return code;
}

function wishOf({ list, date, vms = 'group', legacy }: RecoverFlags): BackupWish {
  const wrong = (what: string, next: string): OperatorError =>
    new OperatorError({ code: 'DR-USAGE', what, next }, { exitCode: exitCodes.usage });
  if (list === true && date !== undefined)
    throw wrong('--list shows all dates, and --date takes one', 'leave one of them out');
  for (const each of date ?? [])
    if (!isBackupDate(each))
      throw wrong(`${each} is no date of a backup`, 'write it as --list shows it: 2026-01-31-02-30-05');
  if (vms !== 'group' && vms !== 'sr' && vms !== 'all')
    throw wrong(`--vms does not know ${vms}`, 'say group, sr or all');
  if (legacy !== undefined && !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(legacy))
    throw wrong(
      `${legacy} is no uuid of a disk`,
      'see which disks there are: lifeboat catalog recover GROUP --list',
    );
  return { dates: list === true ? 'list' : (date ?? 'newest'), vms, legacy: legacy?.toLowerCase() ?? null };
}

/** What each SR held, after the run has told what it did. */
function showFound(session: Session, run: Run): void {
  // Written by the reading steps of this run.
  const found = run.plan.steps.flatMap(({ id, action }) =>
    action.do === 'read-backup'
      ? ((run.steps.get(id)?.output ?? []) as unknown as BackupFound | never[])
      : [],
  );
  if (found.length > 0) session.show(() => `\n${backupsText(found, session.paper)}`, { backups: found });
}
