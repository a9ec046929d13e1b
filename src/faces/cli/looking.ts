/** Verbs that only look: validate, status, check. */
import { type ExitCode, exitCodes } from '../../domain/errors.ts';
import type { Settings } from '../../domain/settings.ts';
import { arrayTestText } from '../../report/array-test.ts';
import { count, names, page } from '../../report/paper.ts';
import { checkText, statusText } from '../../report/status.ts';
import type { Session } from './session.ts';

export async function validateVerb(session: Session): Promise<ExitCode> {
  const settings = await session.programme.validate(session.options.config);
  session.show(() => validText(settings), {
    file: settings.file,
    valid: true,
    digest: settings.digest,
    sites: settings.sites.map((site) => site.name),
    arrays: settings.arrays.map((array) => array.name),
    groups: settings.groups.map((group) => group.name),
  });
  return exitCodes.done;
}

function validText(settings: Settings): string {
  const list = (kind: string, items: readonly { readonly name: string }[]): string =>
    `  ${count(items.length, kind)}${items.length === 0 ? '' : `: ${names(items.map((item) => item.name))}`}`;
  return page([
    `${settings.file} is right.`,
    list('site', settings.sites),
    list('array', settings.arrays),
    list('group', settings.groups),
    list('catalog target', settings.catalog.targets),
    `  digest ${settings.digest.slice(0, 16)}`,
    '',
    'Nobody was asked. Next: lifeboat check looks at the real sites.',
  ]);
}

/** 12 when a group is stuck, 3 when a promise does not hold or something could not be seen. */
export async function statusVerb(session: Session, groups: readonly string[]): Promise<ExitCode> {
  const report = await (await session.app()).status({ groups }, session.context());
  session.show(() => statusText(report, session.paper), report);
  if (report.groups.some((group) => group.phase === 'stuck')) return exitCodes.stuck;
  const well = report.groups.every(
    (group) =>
      group.readiness === 'ready' &&
      group.phase === 'protected' &&
      group.lossSeconds !== null &&
      group.lossSeconds <= group.rpoSeconds,
  );
  return well && report.gaps.length === 0 ? exitCodes.done : exitCodes.warnings;
}

export async function checkVerb(session: Session, groups: readonly string[]): Promise<ExitCode> {
  const report = await (await session.app()).check({ groups }, session.context());
  session.show(() => checkText(report, session.paper), report);
  const findings = report.groups.flatMap((group) => group.operations.flatMap((each) => each.findings));
  if (findings.some((finding) => finding.severity === 'problem')) return exitCodes.blocked;
  return findings.length > 0 || report.gaps.length > 0 ? exitCodes.warnings : exitCodes.done;
}

/** 1 when a verb failed, 3 when something is not as sites.yaml has it. */
export async function arrayTestVerb(session: Session, name: string): Promise<ExitCode> {
  const report = await (await session.app()).testArray(name, session.context());
  session.show(() => arrayTestText(report, session.paper), report);
  const outcomes = new Set(report.checks.map(({ outcome }) => outcome));
  if (outcomes.has('failed')) return exitCodes.failed;
  return outcomes.has('warning') ? exitCodes.warnings : exitCodes.done;
}
