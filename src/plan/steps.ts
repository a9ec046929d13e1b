/** A plan's steps while they are being written down. */
import type { Step } from '../domain/plan.ts';
import { StepIds } from './ids.ts';

export type StepDraft = Pick<Step, 'id' | 'after' | 'action' | 'why'> & Partial<Step>;

export class StepList {
  readonly ids = new StepIds();
  readonly #steps: Step[] = [];

  get steps(): readonly Step[] {
    return this.#steps;
  }

  /** Writes a step down and returns its id, for those that come after it. */
  add(draft: StepDraft): string {
    const step: Step = {
      holdsWhen: null,
      pointOfNoReturn: false,
      repeatable: draft.holdsWhen === undefined,
      timeoutSeconds: 300,
      forecastSeconds: 0,
      uses: [],
      onFailure: 'stop',
      ...draft,
    };
    this.#steps.push(step);
    return step.id;
  }
}
