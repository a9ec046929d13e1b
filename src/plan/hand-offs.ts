/**
 * What an array cannot do by itself, or that nobody can ask it: a person does it, and the plan says what, asks whether it
 * is done, and goes on to what the hosts see.
 */

import type { Observation } from '../domain/observation.ts';
import type { Step } from '../domain/plan.ts';
import type { HostFacts } from '../domain/pool.ts';
import type { Moment } from '../domain/recovery-plan.ts';
import type { Capabilities, HandOffVerb } from '../domain/replication.ts';
import type { StepDraft, StepList } from './steps.ts';

/** Somebody may have to be woken, or to drive there. */
const answerWithinSeconds = 8 * 3600;
const marginSeconds = 60;

export interface HandOff {
  readonly target: { readonly array: string; readonly volume: string };
  readonly sentence: string;
  /** What the plan knows, for the placeholders of the sentence. */
  readonly names?: Readonly<Record<string, string>>;
  readonly at: Moment['at'];
  /** How the step and its question are called: `promote`. */
  readonly verb: string;
}

export function capabilitiesOf(observation: Pick<Observation, 'arrays'>, array: string): Capabilities | null {
  return observation.arrays?.find((view) => view.array === array)?.capabilities ?? null;
}

/** The sentence for a person; null where the array does it itself, and where it could not be asked. */
export function handedOff(
  observation: Pick<Observation, 'arrays'>,
  array: string,
  verb: HandOffVerb,
): string | null {
  return capabilitiesOf(observation, array)?.handOffs?.[verb] ?? null;
}

/** Asks a person; without an answer nothing goes on. Returns the step's id. */
export function askPerson(
  list: StepList,
  { target, sentence, names = {}, at, verb }: HandOff,
  step: Pick<StepDraft, 'after' | 'needs' | 'pointOfNoReturn' | 'onFailure'> & { readonly why: Step['why'] },
): string {
  const known = { ...target, ...names };
  return list.add({
    id: list.ids.of('by-hand', `${verb} ${target.volume}`),
    ...step,
    action: {
      do: 'ask',
      name: `${verb} ${target.volume}`,
      question: filled(sentence, known),
      occasion: { at, when: `for array ${target.array}`, tier: null, vm: null },
      answerWithinSeconds,
      byDefault: 'stop',
    },
    repeatable: true,
    uses: [`array:${target.array}`],
    timeoutSeconds: answerWithinSeconds + marginSeconds,
    forecastSeconds: 600,
  });
}

/** Hosts as an array knows them: by address, and by IQN where they have one. */
export function hostNames(hosts: readonly HostFacts[]): string {
  return hosts
    .map(({ nameLabel, address, iscsiIqn }) => [nameLabel, address, iscsiIqn ?? ''].filter(Boolean).join(' '))
    .join(', ');
}

function filled(sentence: string, names: Readonly<Record<string, string>>): string {
  return sentence.replace(/\{(\w+)\}/g, (whole, name) => names[name] ?? whole);
}
