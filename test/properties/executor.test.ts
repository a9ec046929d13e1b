import fc from 'fast-check';
import t from 'tap';
import { VirtualClock } from '../../src/adapters/system/virtual-clock.ts';
import { limitOf } from '../../src/domain/limits.ts';
import type { Plan, Step } from '../../src/domain/plan.ts';
import type { RunEvent } from '../../src/domain/run.ts';
import { type ExecutorPorts, execute, planDigest, resume } from '../../src/execute/executor.ts';
import {
  countingEntropy,
  everyAction,
  MemoryJournals,
  MemoryStates,
  onlyRunning,
  planOf,
  portError,
  readStep,
  startStep,
} from '../execute/support.ts';

/** What a call does: how long it takes, and how it ends. */
interface Fate {
  readonly seconds: number;
  readonly end: 'well' | 'lost answer' | 'not sent' | 'refused';
}

const fate: fc.Arbitrary<Fate> = fc.record({
  seconds: fc.integer({ min: 0, max: 30 }),
  end: fc.oneof(
    { weight: 6, arbitrary: fc.constant<Fate['end']>('well') },
    fc.constantFrom<Fate['end'][]>('lost answer', 'not sent', 'refused'),
  ),
});

const resources = ['start:osaka', 'import:osaka', 'array:b', 'pool:osaka'];

/** Plans whose steps come after some of those before them. */
const plans: fc.Arbitrary<Plan> = fc
  .array(
    fc.record({
      after: fc.array(fc.nat(), { maxLength: 3 }),
      uses: fc.subarray(resources, { maxLength: 2 }),
      repeatable: fc.boolean(),
      onFailure: fc.constantFrom('stop' as const, 'continue' as const),
      reads: fc.boolean(),
      needsAll: fc.boolean(),
    }),
    { minLength: 1, maxLength: 12 },
  )
  .map((drafts) =>
    planOf(
      drafts.map((draft, index): Step => {
        const after = [...new Set(index === 0 ? [] : draft.after.map((n) => `s${n % index}`))];
        const values: Partial<Step> = {
          id: `s${index}`,
          after,
          uses: draft.uses,
          repeatable: draft.repeatable,
          onFailure: draft.onFailure,
          ...(draft.needsAll ? {} : { needs: [] }),
        };
        return draft.reads
          ? readStep(`s${index}`, { ...values, repeatable: true })
          : startStep(`vm${index}`, values);
      }),
    ),
  );

class Scene {
  readonly running = new Set<string>();
  readonly acts: string[] = [];
  readonly violations: string[] = [];
  dead = false;
  readonly journals = new MemoryJournals();
  readonly states = new MemoryStates();
  readonly clock = new VirtualClock({ auto: true });
  readonly ports: ExecutorPorts;
  readonly #inUse = new Map<string, number>();

  constructor(plan: Plan, fates: readonly Fate[]) {
    let calls = 0;
    const known = new Set(plan.steps.map((step) => step.id));
    this.ports = {
      journals: this.journals,
      states: this.states,
      clock: this.clock,
      entropy: countingEntropy(),
      actions: everyAction(async (action, context) => {
        const { step } = context;
        const mine = fates[calls++ % fates.length] ?? { seconds: 0, end: 'well' };
        this.acts.push(step.id);
        if (!known.has(step.id)) this.violations.push(`${step.id} is not in the plan`);
        const told = this.journals.runs.get('r1')?.at(-1);
        if (!this.#intentIsTold(step.id))
          this.violations.push(`${step.id} acted before its intent: ${told?.event}`);
        for (const id of step.after)
          if (!this.#isOver(id)) this.violations.push(`${step.id} began before ${id} was over`);
        for (const resource of step.uses) {
          const used = (this.#inUse.get(resource) ?? 0) + 1;
          this.#inUse.set(resource, used);
          if (used > limitOf(resource)) this.violations.push(`${used} at once on ${resource}`);
        }
        try {
          if (mine.seconds > 0) await this.clock.sleep(mine.seconds, context.signal);
          // The machine died while this was under way: nothing of it reaches the world any more.
          if (this.dead) throw portError('outcome-unknown');
          if (mine.end === 'not sent') throw portError('unreachable');
          if (mine.end === 'refused') throw portError('refused');
          if (action.do === 'start-vm') {
            if (this.running.has(action.vm.uuid))
              this.violations.push(`${step.id} acted on what held already`);
            this.running.add(action.vm.uuid);
          }
          if (mine.end === 'lost answer') throw portError('outcome-unknown');
          return { output: step.id, warnings: [] };
        } finally {
          for (const resource of step.uses) this.#inUse.set(resource, (this.#inUse.get(resource) ?? 0) - 1);
        }
      }),
      conditions: onlyRunning((uuid) => this.running.has(uuid)),
    };
  }
  #events(): readonly RunEvent[] {
    return this.journals.runs.get('r1') ?? [];
  }
  #intentIsTold(id: string): boolean {
    const last = this.#events().findLast((event) => 'step' in event && event.step === id);
    return last?.event === 'StepStarted';
  }
  #isOver(id: string): boolean {
    const last = this.#events().findLast((event) => 'step' in event && event.step === id);
    return last !== undefined && last.event !== 'StepStarted';
  }
  execute(plan: Plan) {
    return execute(this.ports, { plan, planDigest: planDigest(plan), by: 'Ada', version: '1', runId: 'r1' });
  }
  resume() {
    return resume(this.ports, { runId: 'r1', by: 'Bob', version: '1' });
  }
}

t.test(
  'the executor does only what the plan says, in its order, within the limits, intent first',
  async (t) => {
    await fc.assert(
      fc.asyncProperty(plans, fc.array(fate, { minLength: 1, maxLength: 20 }), async (plan, fates) => {
        const scene = new Scene(plan, fates);
        const result = await scene.execute(plan);
        if (scene.violations.length > 0) throw new Error(scene.violations.join('; '));
        // No lie in a report: what is called succeeded holds, and an end without trouble means that every step succeeded.
        for (const step of plan.steps) {
          const state = result.run.steps.get(step.id);
          if (
            state?.status === 'succeeded' &&
            step.action.do === 'start-vm' &&
            !scene.running.has(step.action.vm.uuid)
          )
            throw new Error(`${step.id} is said to have succeeded`);
          if (result.outcome === 'done' && state?.status !== 'succeeded')
            throw new Error(`done, but ${step.id} is ${state?.status}`);
          if (state?.status === 'running') throw new Error(`${step.id} is left running`);
        }
      }),
      { numRuns: 300 },
    );
    t.pass('300 plans');
  },
);

t.test(
  'any prefix of the journal and a resume end in the same world, or stuck with a question',
  async (t) => {
    const well: readonly Fate[] = [{ seconds: 1, end: 'well' }];
    let stuck = 0;
    await fc.assert(
      fc.asyncProperty(plans, fc.nat(), async (plan, n) => {
        const whole = new Scene(plan, well);
        const straight = await whole.execute(plan);
        const lines = whole.journals.runs.get('r1')?.length ?? 1;
        const crashAt = n % lines;

        const scene = new Scene(plan, well);
        let written = 0;
        scene.journals.beforeAppend = () => {
          written += 1;
          if (written <= crashAt) return;
          scene.dead = true;
          throw new Error('power cut');
        };
        const crashed = await scene.execute(plan).then(
          () => null,
          (error: unknown) => error,
        );
        if (!(crashed instanceof Error) || crashed.message !== 'power cut')
          throw new Error('it should have crashed');
        scene.journals.beforeAppend = () => undefined;
        scene.dead = false;
        if (crashAt === 0) return;
        const result = await scene.resume();
        if (scene.violations.length > 0) throw new Error(scene.violations.join('; '));
        if (result.outcome === 'stuck') {
          stuck += 1;
          const question = [...result.run.steps.values()].some(
            (state) => state.problem?.code === 'DR-RUN-STUCK',
          );
          if (!question) throw new Error('stuck without a question');
          return;
        }
        if (result.outcome !== straight.outcome)
          throw new Error(`${straight.outcome} became ${result.outcome}`);
        const same = [...whole.running].sort().join() === [...scene.running].sort().join();
        if (!same) throw new Error('another world');
        for (const step of plan.steps) {
          const times = scene.acts.filter((id) => id === step.id).length;
          if (!step.repeatable && times > 1) throw new Error(`${step.id} was done ${times} times`);
        }
      }),
      { numRuns: 300 },
    );
    t.ok(stuck > 0, `stuck with a question: ${stuck} of 300`);
  },
);
