/** The application: the verbs, over the ports that src/main.ts opens. */

import { OperatorError } from '../domain/errors.ts';
import { previewScope } from '../domain/scope.ts';
import { observe } from '../observe/observe.ts';
import type { App } from './app.ts';
import { takeUp } from './broken-off.ts';
import { check } from './check.ts';
import { doctor } from './doctor.ts';
import { acceptDifference, drift, revokeAcceptance } from './drift.ts';
import { importForeign } from './foreign.ts';
import { filesForXe } from './foreign-xe.ts';
import { audit, breakLock, freeze, unfreeze } from './freeze.ts';
import { asTheyStand, groupNamed } from './groups.ts';
import { look } from './look.ts';
import { deliver, testChannels } from './notices.ts';
import { stopDrill } from './open-drill.ts';
import { filedPlanOf, openPlanFile } from './plan-file.ts';
import { planRun } from './plan-run.ts';
import { poolOf } from './planning/common.ts';
import type { AppPorts } from './ports.ts';
import { briefs } from './recent-runs.ts';
import { tellRun } from './run-messages.ts';
import { runNewsReader } from './run-news.ts';
import { abandonRun, resumeRun, runPlan, undoRun } from './run-plan.ts';
import { followRun, readRun } from './runs.ts';
import { beginDue, claimDaemon, standings, tidy } from './schedules.ts';
import { rehearseSelf } from './self-rehearsal.ts';
import { status } from './status.ts';
import { testArray } from './test-array.ts';
import { carryOutTurn } from './turns.ts';
import { alarms, watch } from './watch-tick.ts';

export function createApp(ports: AppPorts): App {
  return {
    settings: ports.settings,
    status: (request, context) => status(ports, request, context),
    check: (request, context) => check(ports, request, context),
    preview: (request, context) => preview(ports, request.group, context?.signal),
    plan: (request, context) => planRun(ports, request, context),
    run: (planned, options) => runPlan(ports, planned, options),
    filed: filedPlanOf,
    openPlanFile: (text, file, { acceptAge }) => openPlanFile(ports, text, file, acceptAge),
    testArray: (array, context) => testArray(ports, array, context),
    doctor: (context) => doctor(ports, context),
    rehearseSelf: (context) => rehearseSelf(ports, context),
    watch: (tick, context) => watch(ports, tick, context),
    watching: {
      drift: (request, context) => drift(ports, request, context),
      accept: (request) => acceptDifference(ports, request),
      revoke: (id, by) => revokeAcceptance(ports, id, by),
      alarms: () => alarms(ports),
      deliver: (context) => deliver(ports, context),
      testChannels: (channel, context) => testChannels(ports, channel, context),
    },
    freeze: (group, by) => freeze(ports, group, by),
    unfreeze: (group, by) => unfreeze(ports, group, by),
    stopDrill: (group, by, signal) => stopDrill(ports, group, by, signal),
    breakLock: (group, by) => breakLock(ports, group, by),
    audit: ({ group }) => audit(ports, group),
    runs: {
      list: async ({ group }) => (await briefs(ports)).filter((run) => group === null || run.group === group),
      read: (runId) => readRun(ports, runId),
      follow: (runId, options) => followRun(ports, runId, options),
      resume: (runId, options) => resumeRun(ports, runId, options),
      abandon: (runId, options) => abandonRun(ports, runId, options),
      undo: (runId, options) => undoRun(ports, runId, options),
      tell: (runId, message, signal) => tellRun(ports, runId, message, signal),
      news: () => runNewsReader(ports),
      journalPath: (runId) => ports.journals.pathOf(runId),
      journalHash: (runId) => ports.journals.hashOf(runId),
    },
    catalog: {
      list: async (group, signal) => (await ports.catalog()).list(group, signal),
      read: async (pointId, signal) => (await ports.catalog()).read(pointId, signal),
      get: async (object, signal) => (await ports.catalog()).get(object, signal),
      verify: async (options, signal) => (await ports.catalog()).verify(options, signal),
      prune: async (group, rules, options, signal) =>
        (await ports.catalog()).prune(group, rules, options, signal),
    },
    foreign: {
      import: (request, context) => importForeign(ports, request, context),
      forXe: (request, signal) => filesForXe(ports, request, signal),
    },
    schedules: {
      standings: (request) => standings(ports, request),
      turns: async (request) => (await ports.clockwork.ledger()).turns(request),
      claim: (takeFrom) => claimDaemon(ports, takeFrom),
      begin: (underWay) => beginDue(ports, underWay),
      takeUp: () => takeUp(ports),
      carryOut: (turn, options) => carryOutTurn(ports, turn, options),
      tidy: () => tidy(ports),
    },
    look: (request, context) => look(ports, request, context),
    secrets: ports.secretStore,
    close: () => ports.close(),
  };
}

async function preview(ports: AppPorts, name: string, signal?: AbortSignal) {
  groupNamed(ports.settings, name);
  const standing = await asTheyStand(await ports.states(), ports.settings.groups);
  const groups = standing.map(({ group }) => group);
  const group = groups.find((candidate) => candidate.name === name);
  if (group === undefined) throw new Error('a group that was found is among all groups');
  const observation = await observe(
    ports,
    { sites: [group.production], pairs: [], groups: [], pointsPerGroup: 0, pointId: null },
    signal,
  );
  const pool = poolOf(observation, group.production);
  if (pool === null) {
    const view = observation.sites[group.production];
    throw new OperatorError(
      view?.reachable === false
        ? view.problem
        : {
            code: 'DR-SOURCE-UNSEEN',
            what: `Site ${group.production} was not looked at`,
            next: 'Run the command again.',
          },
    );
  }
  return previewScope(pool, groups, name);
}
