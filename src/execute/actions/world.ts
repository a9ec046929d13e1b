/** What actions and conditions are given of the world, and small helpers that several of them share. */
import type { BackupKept } from '../../domain/actions/recover.ts';
import type { Json } from '../../domain/canonical.ts';
import { OperatorError, PortError, problemOf } from '../../domain/errors.ts';
import type { Finding } from '../../domain/finding.ts';
import type { Action } from '../../domain/plan.ts';
import type { PoolFacts, Uuid } from '../../domain/pool.ts';
import type { RecoveryPoint } from '../../domain/recovery-point.ts';
import type { GroupSettings } from '../../domain/settings.ts';
import type { SitesLook } from '../../domain/site-look.ts';
import type { BackupImageReader, BackupImages, ReadBackupFacts } from '../../ports/backup-vdi.ts';
import type { Catalog } from '../../ports/catalog.ts';
import type { Dom0 } from '../../ports/dom0.ts';
import type { ForeignBackup } from '../../ports/foreign.ts';
import type { ProbeHttp, RunInGuest, RunProgram } from '../../ports/guests.ts';
import type { DeviceConfigFor, Hypervisor } from '../../ports/hypervisor.ts';
import type { Replication } from '../../ports/replication.ts';
import type { Clock, GroupStates } from '../../ports/system.ts';
import type { ActionOf, StepContext } from '../handlers.ts';

export interface World {
  readonly clock: Clock;
  /** Groups of the settings: network maps and rules of retention. */
  readonly groups: readonly GroupSettings[];
  states(): Promise<GroupStates>;
  hypervisor(site: string): Promise<Hypervisor>;
  array(name: string): Promise<Replication>;
  catalog(): Promise<Catalog>;
  /** Whether something answers at this address and port: the TCP readiness gate. */
  probeTcp(address: string, port: number, signal?: AbortSignal): Promise<boolean>;
  readonly probeHttp: ProbeHttp;
  readonly runInGuest: RunInGuest;
  /** Callouts of recovery plans. */
  readonly runProgram: RunProgram;
  /** Images of metadata backups, for those who write them; absent in programs that do not. */
  readonly backupImages?: BackupImages;
  /** Control domains of the hosts; absent in programs that reach none. */
  readonly dom0?: Dom0;
  /** All findings of the import rules for every VM of a point against a pool as observed. */
  rehearse(
    group: GroupSettings,
    point: RecoveryPoint,
    pool: PoolFacts,
    signal?: AbortSignal,
  ): Promise<readonly Finding[]>;
  /** Metadata backups on storage, read and kept; absent in programs that carry none out. */
  readonly backups?: BackupDesk;
  /** What a verification asks of the checks; absent in programs that carry none out. */
  readonly verifier?: Verifier;
  /** `deviceConfigAt` of device-config.ts when absent. */
  readonly deviceConfigFor?: DeviceConfigFor;
}

/** Reading metadata backups, and making recovery points of them: src/app is not imported here. */
export interface BackupDesk {
  readonly images: BackupImageReader;
  readonly factsOf: ReadBackupFacts;
  /** Keeps a recovery point of the group in the catalog. The same date again is the same point. */
  keep(
    wanted: BackupToKeep,
    signal: AbortSignal,
  ): Promise<BackupKept & { readonly warnings: readonly string[] }>;
}

export interface BackupToKeep {
  readonly group: string;
  readonly backup: ForeignBackup;
  readonly storage: { readonly sr: string; readonly vdi: Uuid; readonly date: string };
  /** These VMs alone; null: those of the group by its rules. */
  readonly only: ReadonlySet<Uuid> | null;
  /** The recovery point whose documents the date holds, as it claims; null where a host's script wrote it. */
  readonly pointId: string | null;
  /** The date before, where this one has fewer documents: members that it lacks keep the point from being good. */
  readonly before: ForeignBackup | null;
}

/** The pure checks, as a run reaches them: src/check is not imported here. */
export interface Verifier {
  /** Everything that speaks against a failover of the group, with the sites and arrays looked at anew. */
  readiness(group: string, signal: AbortSignal): Promise<readonly Finding[]>;
  /** What changed between two looks; the VMs that it touches are those of the point. */
  drift(
    group: GroupSettings,
    before: SitesLook,
    now: SitesLook,
    point: RecoveryPoint | null,
  ): readonly Finding[];
}

export function groupOf(world: World, name: string): GroupSettings {
  const group = world.groups.find((candidate) => candidate.name === name);
  if (group !== undefined) return group;
  throw new OperatorError({
    code: 'DR-GROUP-UNKNOWN',
    what: `Group ${name} of the plan is not in sites.yaml any more`,
    next: 'Put it back, or make a new plan',
  });
}

/** Steps of the plan with this kind of action, each with the output it had; null where it has none. */
export function outputsOf<K extends Action['do']>(
  kind: K,
  context: StepContext,
): readonly { readonly action: ActionOf<K>; readonly stepId: string; readonly output: Json }[] {
  return context.plan.steps.flatMap((step) =>
    isOf(kind, step.action)
      ? [{ action: step.action, stepId: step.id, output: context.output(step.id) }]
      : [],
  );
}

/**
 * The nearest step of this kind that the current one comes after: a plan may save two recovery points, and each is
 * sealed from its own capture.
 */
export function nearestBefore<K extends Action['do']>(
  kind: K,
  context: StepContext,
): { readonly action: ActionOf<K>; readonly output: Json } | null {
  const before = new Set<string>();
  const steps = new Map(context.plan.steps.map((step) => [step.id, step]));
  const walk = [...context.step.after];
  for (let id = walk.pop(); id !== undefined; id = walk.pop()) {
    if (before.has(id)) continue;
    before.add(id);
    walk.push(...(steps.get(id)?.after ?? []));
  }
  return outputsOf(kind, context).findLast(({ stepId }) => before.has(stepId)) ?? null;
}

function isOf<K extends Action['do']>(kind: K, action: Action): action is ActionOf<K> {
  return action.do === kind;
}

/** Runs `work` over the items, at most `limit` at a time, in order; the first error ends it after those under way. */
export async function inParallel<T>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const queue = items.values();
  let failed = false;
  const lane = async (): Promise<void> => {
    for (const item of queue) {
      if (failed) return;
      try {
        await work(item);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const lanes = await Promise.allSettled(Array.from({ length: Math.max(1, limit) }, lane));
  for (const result of lanes) if (result.status === 'rejected') throw result.reason;
}

/** An error that concerns one object of many; others (no contact, wrong password, a stop) concern the whole step. */
export function concernsOneObject(error: unknown): error is PortError | OperatorError {
  if (error instanceof OperatorError) return true;
  return error instanceof PortError && (error.kind === 'refused' || error.kind === 'protocol');
}

/** One sentence of an error, for outputs and warnings. */
export function sentenceOf(error: unknown): string {
  const problem = problemOf(error);
  if (problem === null) return error instanceof Error ? error.message : String(error);
  return [problem.what, ...(problem.known ?? [])].join(': ');
}

/** `web01, web02 and 3 more`. */
export function listed(names: readonly string[], most = 5): string {
  return names.length <= most
    ? names.join(', ')
    : `${names.slice(0, most).join(', ')} and ${names.length - most} more`;
}

export function byUuid<T extends { readonly uuid: Uuid }>(items: readonly T[]): ReadonlyMap<Uuid, T> {
  return new Map(items.map((item) => [item.uuid, item]));
}
