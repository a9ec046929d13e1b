/** What the verbs of a send-and-receive filer refuse, in words for the person who has to act. */
import { PortError, type Problem } from '../../../domain/errors.ts';

function refusal(array: string, problem: Omit<Problem, 'where'>): PortError {
  return new PortError('refused', { ...problem, where: { object: `array ${array}` } });
}

export function noVolume(array: string, volume: string): PortError {
  return refusal(array, {
    code: 'DR-ARRAY-VOLUME',
    what: `There is no volume ${volume}`,
    known: [
      'its name is wrong, it is not in the consistency group that sites.yaml names for it, or nothing has arrived there yet',
    ],
    next: 'Compare the name in sites.yaml with what the filer lists; a replica that is not there yet is made by the first point: `lifeboat verify --sync`',
  });
}

export function noPair(array: string, volume: string): PortError {
  return refusal(array, {
    code: 'DR-ARRAY-PEER',
    what: `No storage of a group names volume ${volume} together with another side of the same type`,
    next: 'Name source and target of the volume under `storage` of a group in sites.yaml',
  });
}

/** The volume is not in the state that the verb needs. */
export function wrongState(
  array: string,
  what: string,
  known: readonly string[],
  next = 'Look at both sides with `lifeboat status`, then make a new plan',
): PortError {
  return refusal(array, { code: 'DR-ARRAY-REFUSED', what, known, next });
}

export function wrongConfirmation(array: string, what: string): PortError {
  return refusal(array, {
    code: 'DR-ARRAY-CONFIRM',
    what,
    next: 'Make a new plan; this one was made for something else',
  });
}

export function noPoint(array: string, volume: string, ref: string): PortError {
  return refusal(array, {
    code: 'DR-ARRAY-POINT',
    what: `Volume ${volume} holds no complete point ${ref}`,
    next: 'Make a new plan: it chooses among the points that are there now',
  });
}

export function diverged(array: string, volume: string, known: readonly string[]): PortError {
  return refusal(array, {
    code: 'DR-ARRAY-DIVERGED',
    what: `Volume ${volume} holds what the other side does not`,
    known,
    next: 'Decide which side is to be kept; the plan for it names what is lost, and asks',
  });
}

export function badName(array: string, what: string, text: string): PortError {
  return refusal(array, {
    code: 'DR-ARRAY-NAME',
    what: `"${text}" cannot be ${what}`,
    known: ['letters, digits, and . _ - are allowed, and it begins with a letter or a digit'],
    next: 'Use another name',
  });
}

export function cancelled(array: string): PortError {
  return new PortError('cancelled', {
    code: 'DR-ARRAY-CANCELLED',
    what: 'The request was stopped',
    where: { object: `array ${array}` },
    next: 'Nothing is needed; start again when you want it',
  });
}
