/** Execute exactly the plan that was shown; resume, answer and abandon what was begun. */
import { blocks } from '../check/failover.ts';
import { networksAreThere } from '../check/rules/networks.ts';
import { exitCodes, OperatorError } from '../domain/errors.ts';
import type { Finding } from '../domain/finding.ts';
import type { Run } from '../domain/run.ts';
import type { BackupDesk } from '../execute/actions/world.ts';
import { declareLost } from '../execute/decisions.ts';
import { abandon, type ExecutorPorts, execute, resume, undo } from '../execute/executor.ts';
import { handlersOver } from '../execute/interpreter.ts';
import type { App, Decision, FiledPlan, PlannedRun, RunOptions } from './app.ts';
import { assertMayRunByItself } from './freeze.ts';
import { silentSitesOf } from './plan-file.ts';
import { verifierOver } from './planning/verify.ts';
import type { AppPorts } from './ports.ts';
import { backupDeskOver } from './recover-metadata.ts';
import { rehearse } from './rehearse.ts';
import { runIdOf } from './runs.ts';

export async function runPlan(
  ports: AppPorts,
  planned: PlannedRun | FiledPlan,
  options: RunOptions,
): Promise<Run> {
  assertRunnable(planned);
  if (options.automatic === true)
    assertMayRunByItself(await (await ports.states()).get(planned.plan.group), planned.plan);
  if (planned.plan.configDigest !== ports.settings.digest) {
    throw new OperatorError(
      {
        code: 'DR-PLAN-CONFIG',
        what: `The plan was made with other settings than those of ${ports.settings.file} now`,
        next: `Make the plan again: lifeboat plan ${planned.plan.operation} ${planned.plan.group}`,
      },
      { exitCode: exitCodes.blocked },
    );
  }
  const { run } = await execute(await executorPorts(ports), {
    plan: planned.plan,
    planDigest: planned.digest,
    decisions: decisionsOf(planned, options.by),
    ...commonOptions(ports, options),
  });
  return run;
}

export async function resumeRun(
  ports: AppPorts,
  name: string,
  options: Parameters<App['runs']['resume']>[1],
): Promise<Run> {
  const runId = await runIdOf(ports, name);
  const { run } = await resume(await executorPorts(ports), {
    runId,
    answers: options.answers,
    ...(options.decisions === undefined ? {} : { decisions: options.decisions }),
    ...commonOptions(ports, options),
  });
  return run;
}

export async function abandonRun(
  ports: AppPorts,
  name: string,
  options: { readonly by: string; readonly reason: string },
): Promise<Run> {
  const runId = await runIdOf(ports, name);
  const { run } = await abandon(await executorPorts(ports), { runId, version: ports.version, ...options });
  return run;
}

export async function undoRun(
  ports: AppPorts,
  name: string,
  options: RunOptions & { readonly reason: string },
): Promise<Run> {
  const runId = await runIdOf(ports, name);
  const { reason } = options;
  const { run } = await undo(await executorPorts(ports), { runId, reason, ...commonOptions(ports, options) });
  return run;
}

/**
 * What the journal shall hold of the person's will. Who confirms a failover while the production site is silent takes
 * it upon them that the site is lost: nothing else can tell that its copies do not run (invariant 1).
 */
function decisionsOf(planned: PlannedRun | FiledPlan, by: string): readonly Decision[] {
  const { plan, decisions } = planned;
  if (plan.operation !== 'failover' || decisions.some(({ decision }) => decision === declareLost))
    return decisions;
  const [silent] = 'seal' in planned ? planned.silentSites : silentSitesOf(planned.observation);
  if (silent === undefined) return decisions;
  const reason = `confirmed the failover while site ${silent} did not answer`;
  return [...decisions, { decision: declareLost, by, reason }];
}

/** Problems block; a plan that waits for something has no steps and is never run. */
function assertRunnable(planned: PlannedRun | FiledPlan): void {
  const { plan, findings } = planned;
  const against = findings.filter((finding) => finding.severity === 'problem');
  if (blocks(findings)) throw new OperatorError(against.map(asProblem), { exitCode: exitCodes.blocked });
  if (plan.waitingOn.length > 0 || plan.steps.length === 0) {
    throw new OperatorError(
      {
        code: 'DR-PLAN-WAITS',
        what:
          plan.waitingOn.length > 0
            ? `The ${plan.operation} of group ${plan.group} cannot be run`
            : `Nothing is left to do for the ${plan.operation} of group ${plan.group}`,
        known:
          plan.waitingOn.length > 0
            ? plan.waitingOn.map((what) => `it needs ${what}`)
            : ['everything that it would do was observed as done'],
        next:
          plan.waitingOn.length > 0
            ? 'Mend that, and run the command again.'
            : `See how the group stands: lifeboat status ${plan.group}`,
      },
      { exitCode: exitCodes.blocked },
    );
  }
}

function asProblem(finding: Finding) {
  return {
    code: finding.code,
    what: finding.what,
    known: [...finding.evidence, ...(finding.vms.length > 0 ? [`VMs: ${finding.vms.join(', ')}`] : [])],
    next: finding.next,
  };
}

async function executorPorts(ports: AppPorts): Promise<ExecutorPorts> {
  const handlers = handlersOver({
    clock: ports.clock,
    groups: ports.settings.groups,
    states: () => ports.states(),
    hypervisor: (site) => ports.hypervisor(site),
    array: (name) => ports.array(name),
    catalog: () => ports.catalog(),
    probeTcp: (address, port, signal) => ports.probeTcp(address, port, signal),
    probeHttp: ports.probeHttp,
    runInGuest: ports.runInGuest,
    runProgram: ports.runProgram,
    verifier: verifierOver(ports),
    ...withDesk(ports),
    ...(ports.backupImages === undefined ? {} : { backupImages: ports.backupImages }),
    ...(ports.dom0 === undefined ? {} : { dom0: ports.dom0 }),
    // The checks of a failover tell of networks in their own words; an export has no such checks before it.
    rehearse: async (group, point, pool, signal) => [
      ...networksAreThere({ group, point, recovery: pool }),
      ...(await rehearse(ports, group, point, pool, signal)),
    ],
  });
  return {
    journals: ports.journals,
    states: await ports.states(),
    inbox: await ports.inbox(),
    clock: ports.clock,
    entropy: ports.entropy,
    ...handlers,
  };
}

function withDesk(ports: AppPorts): { readonly backups?: BackupDesk } {
  const backups = backupDeskOver(ports);
  return backups === undefined ? {} : { backups };
}

function commonOptions(ports: AppPorts, options: RunOptions) {
  return {
    by: options.by,
    version: ports.version,
    onEvent: options.onEvent,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  };
}
