/**
 * What an array cannot do by itself, or that nobody can ask it: a person does it, and the plan says what, asks whether it
 * is done, and goes on to what the hosts see.
 */

import { capabilitiesOf, type Observation } from '../domain/observation.ts';
import type { PairAction, Step } from '../domain/plan.ts';
import type { HostFacts } from '../domain/pool.ts';
import type { Moment } from '../domain/recovery-plan.ts';
import type { HandOffVerb } from '../domain/replication.ts';
import type { StepDraft, StepList } from './steps.ts';

/** Somebody may have to be woken, or to drive there. */
const answerWithinSeconds = 8 * 3600;
const marginSeconds = 60;

type Seen = Pick<Observation, 'arrays' | 'sources'>;

export interface HandOff {
  readonly target: { readonly array: string; readonly volume: string };
  readonly sentence: string;
  /** What the plan knows, for the placeholders of the sentence. */
  readonly names?: Readonly<Record<string, string>>;
  readonly at: Moment['at'];
  /** How the step and its question are called: `promote`. */
  readonly verb: string;
}

/** The sentence for a person; null where the array does it itself, and where it could not be asked. */
export function handedOff(observation: Seen, array: string, verb: HandOffVerb): string | null {
  return capabilitiesOf(observation, array)?.handOffs?.[verb] ?? null;
}

/** What the sentences of an array say of one volume beside what the plan knows. */
export function namesFor(observation: Seen, array: string, volume: string): Readonly<Record<string, string>> {
  return capabilitiesOf(observation, array)?.handOffNames?.[volume] ?? {};
}

/** What a person is told where the site has no sentence of its own. */
const usual = {
  prepare:
    'On array {array} make volume {volume} refuse writes, then bring everything it holds over to the other side as a point called {tag}; leave the replication in place',
  reverse:
    'Make volume {volume} of array {array} replicate to volume {otherVolume} of array {otherArray}, which becomes its replica; what only that one holds is overwritten',
} as const;

/** The sentence for a person who closes the source and brings its last point over; null where the array does. */
export function preparedByHand(observation: Seen, array: string): string | null {
  const can = capabilitiesOf(observation, array);
  return can === null || can.prepare ? null : (can.handOffs?.prepare ?? usual.prepare);
}

/** The sentence for a person who turns a pair round; null where both arrays do their part. */
export function reversedByHand(
  observation: Seen,
  { source, target }: Pick<PairAction, 'source' | 'target'>,
): string | null {
  for (const { array } of [target, source]) {
    const can = capabilitiesOf(observation, array);
    if (can !== null && can.reverse === 'none') return can.handOffs?.reverse ?? usual.reverse;
  }
  return null;
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
