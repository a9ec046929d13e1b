/** Observe, plan, check: everything up to the question. Nothing is changed here. */
import { oriented } from '../domain/orientation.ts';
import { observe } from '../observe/observe.ts';
import type { Context, PlannedRun, PlanRequest } from './app.ts';
import { groupNamed, observeRequest } from './groups.ts';
import { canaryRun } from './planning/canary.ts';
import type { Planning } from './planning/common.ts';
import { drillCleanupRun, drillRun } from './planning/drill.ts';
import { exportRun } from './planning/export.ts';
import { failoverRun } from './planning/failover.ts';
import { migrateRun } from './planning/migrate.ts';
import { reprotectRun } from './planning/reprotect.ts';
import { verifyRun } from './planning/verify.ts';
import type { AppPorts } from './ports.ts';
import { recoverMetadataRun } from './recover-metadata.ts';

const handsOver = new Set<PlanRequest['operation']>(['migrate', 'failback', 'reprotect']);

export async function planRun(
  ports: AppPorts,
  request: PlanRequest,
  context: Context = {},
): Promise<PlannedRun> {
  const configured = groupNamed(ports.settings, request.group);
  const state = await (await ports.states()).get(configured.name);
  const group = oriented(configured, state);
  const pointId = 'pointId' in request ? request.pointId : null;
  context.onProgress?.(
    `Looking at sites ${group.production} and ${group.recovery}, their arrays and the catalog`,
  );
  const handOver = handsOver.has(request.operation);
  const asked = { ...observeRequest([group], pointId), ...(handOver ? { handOver } : {}) };
  const observation = await observe(ports, asked, context.signal);
  return planSeen(ports, { group, state, observation, context }, request);
}

/** The same over a world that was looked at already. */
export async function planSeen(
  ports: AppPorts,
  seen: Pick<Planning<'export'>, 'group' | 'state' | 'observation' | 'context'>,
  request: PlanRequest,
): Promise<PlannedRun> {
  return planOf({ ports, ...seen, request } as AnyPlanning);
}

/** One of the operations, with the request that belongs to it. */
type AnyPlanning = { [O in PlanRequest['operation']]: Planning<O> }[PlanRequest['operation']];

function planOf(planning: AnyPlanning): PlannedRun | Promise<PlannedRun> {
  const { request } = planning;
  switch (request.operation) {
    case 'export':
      return exportRun({ ...planning, request });
    case 'verify':
      return verifyRun({ ...planning, request });
    case 'failover':
      return failoverRun({ ...planning, request });
    case 'drill':
      return drillRun({ ...planning, request });
    case 'recover-metadata':
      return recoverMetadataRun({ ...planning, request });
    case 'canary':
      return canaryRun({ ...planning, request });
    case 'drill-cleanup':
      return drillCleanupRun({ ...planning, request });
    case 'migrate':
      return migrateRun({ ...planning, request });
    case 'failback':
      return migrateRun({ ...planning, request });
    case 'reprotect':
      return reprotectRun({ ...planning, request });
  }
}
