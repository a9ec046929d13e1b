/**
 * A plan in a file: written by `lifeboat plan … --json`, reviewed by whoever must, and executed exactly. The file holds
 * what was found and decided beside the plan, under one seal, so that a slip of the editor is not taken for a decision.
 */
import { createHash } from 'node:crypto';
import { canonicalJson } from '../domain/canonical.ts';
import { exitCodes, OperatorError, type Problem } from '../domain/errors.ts';
import type { Observation } from '../domain/observation.ts';
import { formatDuration, secondsBetween } from '../domain/time.ts';
import { planDigest } from '../execute/executor.ts';
import type { AuditedBy } from '../ports/system.ts';
import type { FiledPlan, PlannedRun } from './app.ts';
import type { AppPorts } from './ports.ts';

/** An older plan tells of a world that has gone on: another replica point, other VMs, another loss. */
const planMaxAgeSeconds = 3600;

/** The plan with everything that running it later needs; the seal is over all of it. */
export function filedPlanOf(planned: PlannedRun): FiledPlan {
  const { plan, digest, findings, decisions, confirm, observation } = planned;
  const silentSites = silentSitesOf(observation);
  const filed = { planFile: 1 as const, plan, digest, findings, decisions, confirm, silentSites };
  return { ...filed, seal: sealOf(filed) };
}

/** Sites that did not answer when the world was looked at. */
export function silentSitesOf({ sites }: Observation): string[] {
  return Object.values(sites)
    .filter((view) => !view.reachable)
    .map((view) => view.site);
}

/**
 * Reads a plan that was put aside, and checks that it is whole, made with these settings, and still current. `file` is
 * its name for the errors. With `acceptAge` an old one is taken as well: a decision, which lands in the journal.
 */
export async function openPlanFile(
  ports: AppPorts,
  text: string,
  file: string,
  acceptAge: AuditedBy | null,
): Promise<FiledPlan> {
  const filed = parsed(text, file);
  const { plan } = filed;
  const again = `Make the plan again: lifeboat plan ${plan.operation} ${plan.group} --json > ${file}`;
  const problems: Problem[] = [];
  if (plan.configDigest !== ports.settings.digest) {
    problems.push({
      code: 'DR-PLAN-CONFIG',
      what: `The plan was made with other settings than those of ${ports.settings.file} now`,
      where: { file },
      next: again,
    });
  }
  const state = await (await ports.states()).get(plan.group);
  const generation = state?.generation ?? 0;
  if (generation !== plan.generation) {
    problems.push({
      code: 'DR-PLAN-STALE',
      what: `The plan for group ${plan.group} is older than what has been done since`,
      where: { file },
      known: [`it was made for generation ${plan.generation}, and the group has generation ${generation}`],
      next: again,
    });
  }
  const ageSeconds = secondsBetween(plan.basedOn.takenAt, ports.clock.now());
  if (ageSeconds > planMaxAgeSeconds && acceptAge === null) {
    problems.push({
      code: 'DR-PLAN-OLD',
      what: `The plan rests on a look at the world that is ${formatDuration(ageSeconds)} old`,
      where: { file },
      known: [`a plan may be ${formatDuration(planMaxAgeSeconds)} old`],
      next: `${again}; or take it as it is with --accept-age "REASON"`,
    });
  }
  if (problems.length > 0) throw new OperatorError(problems, { exitCode: exitCodes.blocked });
  return acceptAge === null
    ? filed
    : { ...filed, decisions: [...filed.decisions, { decision: 'accept-age', ...acceptAge }] };
}

function parsed(text: string, file: string): FiledPlan {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw notAPlan(file, [error instanceof Error ? error.message : 'unreadable'], error);
  }
  if (!isFiled(value)) throw notAPlan(file, ['it does not say planFile: 1']);
  const { seal, ...content } = value;
  if (sealOf(content) !== seal || planDigest(value.plan) !== value.digest)
    throw notAPlan(file, ['it was changed after it was written: its seal does not fit']);
  return value;
}

/** The seal vouches for the content; this tells a plan of ours from any other JSON. */
function isFiled(value: unknown): value is FiledPlan {
  return (
    typeof value === 'object' &&
    value !== null &&
    'planFile' in value &&
    value.planFile === 1 &&
    'seal' in value &&
    'plan' in value &&
    'digest' in value
  );
}

function sealOf(filed: Omit<FiledPlan, 'seal'>): string {
  return createHash('sha256').update(canonicalJson(filed)).digest('hex');
}

function notAPlan(file: string, known: readonly string[], cause?: unknown): OperatorError {
  return new OperatorError(
    {
      code: 'DR-PLAN-FILE',
      what: `${file} does not hold a plan that can be run`,
      known,
      next: 'Write it with `lifeboat plan OPERATION GROUP --json > FILE`, and leave it as it is.',
    },
    { exitCode: exitCodes.usage, cause },
  );
}
