/** A destructive verb shows what it will change and asks for the name of the site; `--yes NAME` says it for scripts. */
import type { FiledPlan, PlannedRun } from '../../app/app.ts';
import { type ExitCode, exitCodes, OperatorError } from '../../domain/errors.ts';
import { clean } from '../../report/paper.ts';
import { recapText } from '../../report/plan.ts';
import type { Session } from './session.ts';

/** Resolves when the person meant it; throws `OperatorError` otherwise, and nothing was changed. */
export async function confirm(
  session: Session,
  planned: PlannedRun | FiledPlan,
  yes: string | undefined,
): Promise<void> {
  const { confirm: wanted } = planned;
  if (wanted === null) return;
  if (yes !== undefined) {
    if (yes === wanted.site) return;
    throw refuse(
      `--yes says ${clean(yes)}, and this ${planned.plan.operation} changes site ${wanted.site}`,
      `look at the plan again; if it is right, say --yes ${wanted.site}`,
      'DR-CONFIRM-WRONG',
    );
  }
  if (!session.terminal.interactive || session.json) {
    throw refuse(
      `this ${planned.plan.operation} changes site ${wanted.site}, and nobody is here to confirm it`,
      `look at the plan first (lifeboat plan ${planned.plan.operation} ${planned.plan.group}), then add --yes ${wanted.site}`,
      'DR-CONFIRM-NEEDED',
    );
  }
  session.say(`\n${recapText(planned, session.paper)}`);
  const typed = await session.terminal.ask(
    `\nThis changes site ${wanted.site} (${clean(wanted.title)}), pool ${clean(wanted.pool)}${also(wanted)}.\nType the name of ${wanted.alsoChanges === undefined ? 'the site' : `site ${wanted.site}`} to go on: `,
  );
  if (typed?.trim() === wanted.site) return;
  if (typed === null)
    throw refuse(
      'it was not confirmed',
      'start again when you are sure',
      'DR-CONFIRM-NEEDED',
      exitCodes.stopped,
    );
  throw refuse(
    `${clean(typed.trim()) || 'nothing'} was typed, and the site is ${wanted.site}`,
    'start again when you are sure',
    'DR-CONFIRM-WRONG',
  );
}

function also({ alsoChanges }: NonNullable<PlannedRun['confirm']>): string {
  return alsoChanges === undefined ? '' : `, and site ${alsoChanges}, where the VMs are shut down`;
}

function refuse(
  what: string,
  next: string,
  code: 'DR-CONFIRM-WRONG' | 'DR-CONFIRM-NEEDED',
  exitCode: ExitCode = exitCodes.usage,
): OperatorError {
  return new OperatorError({ code, what, known: ['nothing was changed'], next }, { exitCode });
}
