/** rehearse and doctor: Lifeboat tries itself. Neither changes anything. */
import type { ArrayCheck } from '../../domain/array-test.ts';
import { type ExitCode, exitCodes } from '../../domain/errors.ts';
import { doctorText, selfRehearsalText } from '../../report/trials.ts';
import { examples } from './help.ts';
import type { VerbPlace } from './runbook.ts';
import type { Session } from './session.ts';

export function addSelf({ program, helpGroup, act }: VerbPlace): void {
  program
    .command('rehearse')
    .helpGroup(helpGroup)
    .description('whether Lifeboat itself could carry out every failover now, with production closed to it')
    .addHelpText('after', `\n${examples('rehearse')}`)
    .action(act((session) => rehearseVerb(session)));
  program
    .command('doctor')
    .helpGroup(helpGroup)
    .description('try everything that only looks on the real pools, arrays and catalog')
    .addHelpText('after', `\n${examples('doctor')}`)
    .action(act((session) => doctorVerb(session)));
}

/** 10 when a failover would not work, 3 when it would with warnings. */
async function rehearseVerb(session: Session): Promise<ExitCode> {
  const rehearsal = await (await session.app()).rehearseSelf(session.context());
  session.show(() => selfRehearsalText(rehearsal, session.paper), rehearsal);
  if (rehearsal.outcome === 'unable') return exitCodes.blocked;
  return rehearsal.outcome === 'able' ? exitCodes.done : exitCodes.warnings;
}

/** 1 when a trial failed, 3 when one raises a doubt. */
async function doctorVerb(session: Session): Promise<ExitCode> {
  const found = await (await session.app()).doctor(session.context());
  session.show(() => doctorText(found, session.paper), found);
  const outcomes = new Set<ArrayCheck['outcome']>(
    found.sections.flatMap(({ checks }) => checks.map(({ outcome }) => outcome)),
  );
  if (outcomes.has('failed')) return exitCodes.failed;
  return outcomes.has('warning') ? exitCodes.warnings : exitCodes.done;
}
