/** A toy world for the executor: VMs that run or do not, on two sites, and every way in which a call can go wrong. */
import { createHash } from 'node:crypto';
import { exitCodes, OperatorError, PortError } from '../../src/domain/errors.ts';
import type { GroupState } from '../../src/domain/group.ts';
import type { Action, Plan, Step } from '../../src/domain/plan.ts';
import type { RunEvent } from '../../src/domain/run.ts';
import type {
  ActionHandlers,
  ActResult,
  ConditionHandlers,
  StepContext,
  Verdict,
} from '../../src/execute/handlers.ts';
import type {
  AuditEntry,
  AuditedBy,
  Entropy,
  GroupLock,
  GroupStates,
  Journal,
  Journals,
} from '../../src/ports/system.ts';

/** All actions answered by one function, also those that are still to be invented. */
export function everyAction(
  act: (action: Action, context: StepContext) => Promise<ActResult>,
): ActionHandlers {
  return new Proxy({} as ActionHandlers, { get: () => act });
}

const never = async (): Promise<Verdict> => ({ holds: false, because: 'nobody has done it' });

/** Conditions of which only `vm-running` can hold. */
export function onlyRunning(isRunning: (uuid: string) => boolean | Promise<boolean>): ConditionHandlers {
  const running: ConditionHandlers['vm-running'] = async (condition) =>
    (await isRunning(condition.vm.uuid))
      ? { holds: true }
      : { holds: false, because: `${condition.vm.nameLabel} is halted` };
  return new Proxy({} as ConditionHandlers, {
    get: (_none, kind) => (kind === 'vm-running' ? running : never),
  });
}

export function startStep(name: string, values: Partial<Step> = {}): Step {
  const vm = { uuid: name, nameLabel: name };
  return {
    id: `start-${name}`,
    after: [],
    action: { do: 'start-vm', site: 'osaka', vm, twinSite: 'tokyo' },
    holdsWhen: { is: 'vm-running', site: 'osaka', vm },
    pointOfNoReturn: false,
    repeatable: true,
    timeoutSeconds: 600,
    forecastSeconds: 1,
    uses: ['start:osaka'],
    onFailure: 'stop',
    why: `${name} shall run`,
    ...values,
  };
}

export function readStep(id: string, values: Partial<Step> = {}): Step {
  return {
    ...startStep(id),
    id,
    action: { do: 'record-evidence', site: 'tokyo', evidence: [] },
    holdsWhen: null,
    uses: [],
    ...values,
  };
}

export function planOf(steps: readonly Step[], values: Partial<Plan> = {}): Plan {
  return {
    id: 'plan-1',
    operation: 'failover',
    group: 'payroll',
    generation: 0,
    basedOn: { observation: 'o1', takenAt: '2026-01-01T00:00:00.000Z' },
    configDigest: 'c1',
    steps,
    expects: {
      pointId: null,
      metadataTakenAt: null,
      replicas: [],
      skewSeconds: null,
      lossSeconds: null,
      rpoSeconds: 900,
      rtoSeconds: 3600,
      forecastSeconds: 1,
      tiers: [],
      leftOut: [],
      notes: [],
    },
    waitingOn: [],
    ...values,
  };
}

export class MemoryJournals implements Journals {
  readonly runs = new Map<string, RunEvent[]>();
  /** Called before an event is kept; throws where the disk is full or the machine dies. */
  beforeAppend: (event: RunEvent, events: readonly RunEvent[]) => void = () => undefined;

  async create(runId: string): Promise<Journal> {
    this.runs.set(runId, []);
    return this.#journal(runId);
  }
  async open(runId: string) {
    return { journal: this.#journal(runId), events: [...(this.runs.get(runId) ?? [])], torn: false };
  }
  async read(runId: string): Promise<readonly RunEvent[]> {
    return [...(this.runs.get(runId) ?? [])];
  }
  async remove(runId: string): Promise<void> {
    this.runs.delete(runId);
  }
  async list(): Promise<readonly string[]> {
    return [...this.runs.keys()].reverse();
  }
  pathOf(runId: string): string {
    return `memory:${runId}`;
  }
  async hashOf(runId: string): Promise<string> {
    return createHash('sha256')
      .update(JSON.stringify(this.runs.get(runId) ?? []))
      .digest('hex');
  }
  #journal(runId: string): Journal {
    const events = this.runs.get(runId) ?? [];
    this.runs.set(runId, events);
    return {
      append: async (event) => {
        this.beforeAppend(event, events);
        events.push(event);
      },
      close: async () => undefined,
    };
  }
}

export class MemoryStates implements GroupStates {
  readonly states = new Map<string, GroupState>();
  readonly #holders = new Map<string, string>();
  readonly #audit: AuditEntry[] = [];
  lockLost = false;

  async get(group: string): Promise<GroupState | null> {
    return this.states.get(group) ?? null;
  }
  async all(): Promise<readonly GroupState[]> {
    return [...this.states.values()];
  }
  async change(group: string, expectedGeneration: number, next: GroupState): Promise<boolean> {
    if ((this.states.get(group)?.generation ?? 0) !== expectedGeneration) return false;
    this.states.set(group, { ...next, frozen: this.states.get(group)?.frozen ?? next.frozen });
    return true;
  }
  async isCarriedOut(run: string): Promise<boolean> {
    return [...this.#holders.values()].includes(run);
  }
  async setFrozen(
    group: string,
    frozen: GroupState['frozen'],
    by: AuditedBy,
    initial: GroupState,
  ): Promise<void> {
    this.states.set(group, { ...(this.states.get(group) ?? initial), frozen });
    const did = frozen === null ? 'unfreeze' : 'freeze';
    this.#audit.unshift({ at: initial.changedAt, group, did, detail: '', ...by });
  }
  /** The process that held them is gone. */
  breakAllLocks(): void {
    this.#holders.clear();
  }
  async breakLock(group: string, _by: AuditedBy): Promise<readonly string[]> {
    const run = this.#holders.get(group);
    this.#holders.delete(group);
    return run === undefined ? [] : [run];
  }
  async audit(group: string | null): Promise<readonly AuditEntry[]> {
    return this.#audit.filter((entry) => group === null || entry.group === group);
  }
  async lock(group: string, run: string): Promise<GroupLock> {
    const holder = this.#holders.get(group);
    if (holder !== undefined) {
      const held = { code: 'DR-LOCK-HELD', what: `${group} is held by ${holder}`, next: 'Wait' } as const;
      throw new OperatorError(held, { exitCode: exitCodes.locked });
    }
    this.#holders.set(group, run);
    return {
      assertHeld: async () => {
        if (this.lockLost || this.#holders.get(group) !== run)
          throw new OperatorError({ code: 'DR-LOCK-LOST', what: 'the lock is lost', next: 'Look' });
      },
      release: async () => {
        if (this.#holders.get(group) === run) this.#holders.delete(group);
      },
    };
  }
}

/** Counts instead of rolling dice. */
export function countingEntropy(): Entropy {
  let next = 0;
  const hex = (bytes: number): string => {
    next += 1;
    return next.toString(16).padStart(bytes * 2, '0');
  };
  return { hex, uuid: () => `00000000-0000-4000-8000-${hex(6)}` };
}

export function portError(kind: PortError['kind'], what = kind): PortError {
  return new PortError(kind, { code: 'DR-TEST', what, next: 'Look' });
}

/** `StepStarted start-a` and so on: what a journal tells, without times. */
export function told(events: readonly RunEvent[]): string[] {
  return events.map((event) => {
    switch (event.event) {
      case 'StepStarted':
      case 'StepSucceeded':
      case 'StepSkipped':
      case 'UndoStarted':
      case 'UndoSucceeded':
        return `${event.event} ${event.step}`;
      case 'StepFailed':
      case 'UndoFailed':
        return `${event.event} ${event.step} ${event.outcome}`;
      case 'Decision':
        return `${event.event} ${event.decision}`;
      case 'RunEnded':
        return `${event.event} ${event.outcome}`;
      default:
        return event.event;
    }
  });
}
