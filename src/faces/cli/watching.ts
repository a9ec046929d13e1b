/** drift, alarms, notify: what the watch knows, and what people say to it. */

import { counts } from '../../domain/drift.ts';
import { type ExitCode, exitCodes, OperatorError } from '../../domain/errors.ts';
import { problemLines } from '../../report/findings.ts';
import { clean, paint } from '../../report/paper.ts';
import { alarmsText, driftText } from '../../report/watch.ts';
import { formatInstant } from '../../report/words.ts';
import { examples } from './help.ts';
import type { VerbPlace } from './runbook.ts';
import type { Session } from './session.ts';

export function addWatching({ program, helpGroup, act }: VerbPlace): void {
  const drift = program
    .command('drift')
    .helpGroup(helpGroup)
    .argument('[group...]', 'only these groups')
    .description('in what the sites do not fit together now, since when, and which VMs that touches')
    .addHelpText('after', `\n${examples('drift')}`)
    .action(
      act((session, values) => driftVerb(session, Array.isArray(values[0]) ? values[0].map(String) : [])),
    );
  drift
    .command('accept')
    .argument('<difference>', 'its id, as `lifeboat drift` shows it')
    .requiredOption('--until <date>', 'the day on which it counts again, as 2027-01-31')
    .requiredOption('--by <role>', 'the role that answers for it')
    .requiredOption('--reason <text>', 'why; it is kept with the role')
    .description('accept a difference until a day: until then it does not count against the group')
    .action(act((session, values, flags) => acceptVerb(session, String(values[0]), flags)));
  drift
    .command('revoke')
    .argument('<difference>', 'its id')
    .requiredOption('--reason <text>', 'why; it is kept with your name')
    .option('--by <role>', 'who decides, instead of the login')
    .description('take an acceptance back: the difference counts again')
    .action(act((session, values, flags) => revokeVerb(session, String(values[0]), flags)));
  program
    .command('alarms')
    .helpGroup(helpGroup)
    .description('what is wrong now, as the daemon last saw it, and what was over within the last week')
    .action(act((session) => alarmsVerb(session)));
  program
    .command('notify')
    .helpGroup(helpGroup)
    .description('the channels through which people hear of alarms')
    .addHelpText('after', `\n${examples('notify')}`)
    .command('test')
    .argument('[channel]', 'its name in sites.yaml; every channel without it')
    .description('send a notice now')
    .action(
      act((session, values) => notifyTestVerb(session, values[0] === undefined ? null : String(values[0]))),
    );
}

/** 10 when something breaks a group and nobody has accepted it, 3 for anything else that is worth knowing. */
async function driftVerb(session: Session, groups: readonly string[]): Promise<ExitCode> {
  const report = await (await session.app()).watching.drift({ groups }, session.context());
  session.show(() => driftText(report, session.paper), report);
  const here = report.entries.filter(({ goneAt }) => goneAt === null);
  if (here.some((entry) => counts(entry, report.takenAt))) return exitCodes.blocked;
  return here.length > 0 || report.unseen.length > 0 ? exitCodes.warnings : exitCodes.done;
}

async function acceptVerb(session: Session, id: string, flags: Record<string, unknown>): Promise<ExitCode> {
  const said = { by: given(flags, 'by'), reason: given(flags, 'reason'), until: given(flags, 'until') };
  const entry = await (await session.app()).watching.accept({ id, ...said });
  session.show(
    () =>
      `Difference ${id} is accepted until ${formatInstant(entry.accepted?.until ?? '')} by ${clean(said.by)}. It counts again from then on.\n`,
    entry,
  );
  return exitCodes.done;
}

async function revokeVerb(session: Session, id: string, flags: Record<string, unknown>): Promise<ExitCode> {
  const by = flags['by'] === undefined ? session.terminal.user : given(flags, 'by');
  const entry = await (await session.app()).watching.revoke(id, { by, reason: given(flags, 'reason') });
  session.show(() => `Difference ${id} counts again.\n`, entry);
  return exitCodes.done;
}

/** 10 when something critical is open, 3 for warnings. */
async function alarmsVerb(session: Session): Promise<ExitCode> {
  const report = await (await session.app()).watching.alarms();
  session.show(() => alarmsText(report, session.paper), report);
  if (report.open.some(({ severity }) => severity === 'critical')) return exitCodes.blocked;
  return report.open.length > 0 ? exitCodes.warnings : exitCodes.done;
}

async function notifyTestVerb(session: Session, channel: string | null): Promise<ExitCode> {
  const tests = await (await session.app()).watching.testChannels(channel, session.context());
  session.show(
    () =>
      tests
        .map(({ channel: name, type, problem }) =>
          problem === null
            ? `${paint(session.paper, 'good', '✓')} ${clean(name)} (${type}) has taken the notice.\n`
            : `${problemLines([problem], session.paper).join('\n')}\n`,
        )
        .join(''),
    { channels: tests },
  );
  return tests.every(({ problem }) => problem === null) ? exitCodes.done : exitCodes.failed;
}

function given(flags: Record<string, unknown>, flag: string): string {
  const text = String(flags[flag] ?? '').trim();
  if (text !== '') return text;
  throw new OperatorError(
    {
      code: 'DR-DECISION-REASON',
      what: `--${flag} is empty`,
      next: 'say it in a few words; it is kept',
    },
    { exitCode: exitCodes.usage },
  );
}
