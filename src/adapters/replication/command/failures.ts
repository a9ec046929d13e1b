/** How calls of a program end when they do not succeed: exit codes after docs/command-adapter.md, words for a person. */
import { type FailureKind, PortError, type Problem } from '../../../domain/errors.ts';
import type { CallEnd } from './program.ts';

export interface Asked {
  readonly array: string;
  readonly program: string;
  readonly verb: string;
  /** Whether the verb may have changed something. */
  readonly writes: boolean;
  readonly timeoutSeconds: number;
}

/** Exit codes that are a success: done, and already so. */
export const successes: readonly (number | null)[] = [0, 10];
const shownLines = 5;
const shownCharacters = 400;

const byExitCode: Readonly<
  Record<number, { readonly kind: FailureKind; readonly peerCode: string } & Pick<Problem, 'code' | 'next'>>
> = {
  20: {
    kind: 'busy',
    peerCode: 'busy',
    code: 'DR-ARRAY-BUSY',
    next: 'Wait until what it does has ended, and try again',
  },
  30: {
    kind: 'refused',
    peerCode: 'wrong-state',
    code: 'DR-ARRAY-ROLE',
    next: 'Compare the pair in sites.yaml with what the array shows, then make a new plan',
  },
  40: {
    kind: 'refused',
    peerCode: 'refused',
    code: 'DR-ARRAY-REFUSED',
    next: 'Do what the words of the array ask for, then make a new plan',
  },
  44: {
    kind: 'refused',
    peerCode: 'not-found',
    code: 'DR-ARRAY-VOLUME',
    next: 'Compare the name in sites.yaml with what the array lists',
  },
  45: {
    kind: 'auth',
    peerCode: 'auth',
    code: 'DR-ARRAY-PASSWORD',
    next: 'Correct the secret of the array in the settings, or the rights of its user',
  },
  46: {
    kind: 'trust',
    peerCode: 'trust',
    code: 'DR-ARRAY-CERTIFICATE',
    next: 'Find out why the array shows another identity; nothing was sent to it',
  },
  50: {
    kind: 'refused',
    peerCode: 'unsupported',
    code: 'DR-ARRAY-CANNOT',
    next: 'Do it on the array by hand, then make a new plan',
  },
  60: {
    kind: 'unreachable',
    peerCode: 'unreachable',
    code: 'DR-ARRAY-UNREACHABLE',
    next: 'Check power and network of the array',
  },
};

/** Null when the program says that it is done. */
export function failureOf(asked: Asked, end: CallEnd, redact: (text: string) => string): PortError | null {
  if (end.ended === 'not-started')
    return failed(asked, 'refused', [end.because], undefined, {
      code: 'DR-ARRAY-PROGRAM',
      what: `Program ${asked.program} of array ${asked.array} cannot be started`,
      next: 'Correct program_file of the array in the settings, or the permissions of the file',
    });
  const words = wordsOf(redact(end.stderr));
  if (end.ended === 'by-itself') {
    if (successes.includes(end.code)) return null;
    const known = end.code === null ? undefined : byExitCode[end.code];
    if (known !== undefined)
      return failed(asked, known.kind, words, known.peerCode, {
        code: known.code,
        what: `Array ${asked.array} did not do ${asked.verb}: ${meaning(known.peerCode)}`,
        next: known.next,
      });
    return broken(asked, end.code === null ? 'it was killed' : `it ended with ${end.code}`, words);
  }
  if (end.ended === 'stopped' && !asked.writes) return stopped(asked);
  if (end.ended === 'talked-too-much') return broken(asked, 'its answer is too long', words);
  return broken(
    asked,
    end.ended === 'stopped'
      ? 'it was stopped half-way'
      : `it was killed after ${asked.timeoutSeconds} s without an answer`,
    words,
    end.ended === 'timed-out' ? 'unreachable' : 'protocol',
  );
}

function meaning(peerCode: string): string {
  const meanings: Readonly<Record<string, string>> = {
    busy: 'it is busy',
    'wrong-state': 'the volume is not in the state that this needs',
    refused: 'it refuses',
    'not-found': 'what was named is not there',
    auth: 'it refuses our login',
    trust: 'it is not the array that is expected',
    unsupported: 'it cannot',
    unreachable: 'it does not answer',
  };
  return meanings[peerCode] ?? peerCode;
}

export function stopped({ array }: Pick<Asked, 'array'>): PortError {
  return new PortError('cancelled', {
    code: 'DR-ARRAY-CANCELLED',
    what: 'The request was stopped',
    where: { object: `array ${array}` },
    next: 'Nothing is needed; start again when you want it',
  });
}

/** A program that breaks off in a verb that writes may have done it: nobody knows before looking (storage.md B.5). */
function broken(
  asked: Asked,
  how: string,
  words: readonly string[],
  reading: 'unreachable' | 'protocol' = 'protocol',
): PortError {
  if (asked.writes)
    return failed(asked, 'outcome-unknown', [how, ...words], undefined, {
      code: 'DR-ARRAY-OUTCOME-UNKNOWN',
      what: `Program ${asked.program} broke off in ${asked.verb} of array ${asked.array}`,
      next: 'Look at the state of the volume before anything else; a run does so when it is resumed',
    });
  return failed(asked, reading, [how, ...words], undefined, {
    code: reading === 'unreachable' ? 'DR-ARRAY-UNREACHABLE' : 'DR-ARRAY-PROTOCOL',
    what: `Program ${asked.program} of array ${asked.array} gave no answer to ${asked.verb}`,
    next: `Try it by hand: \`lifeboat array test ${asked.array}\``,
  });
}

/** The program ended well, and what it wrote is no answer. */
export function notUnderstood(asked: Asked, known: readonly string[]): PortError {
  return failed(asked, asked.writes ? 'outcome-unknown' : 'protocol', known, undefined, {
    code: 'DR-ARRAY-PROTOCOL',
    what: `The answer of array ${asked.array} to ${asked.verb} is not understood`,
    next: `Correct the program after docs/command-adapter.md, and try it: \`lifeboat array test ${asked.array}\``,
  });
}

export function unsupported(array: string, verb: string): PortError {
  return new PortError(
    'refused',
    {
      code: 'DR-ARRAY-CANNOT',
      what: `Array ${array} cannot do ${verb}`,
      where: { object: `array ${array}` },
      known: ['its program does not name it among its capabilities'],
      next: 'Do it on the array by hand, then make a new plan',
    },
    { peerCode: 'unsupported' },
  );
}

export function refused(array: string, problem: Omit<Problem, 'where'>): PortError {
  return new PortError('refused', { ...problem, where: { object: `array ${array}` } });
}

function failed(
  asked: Asked,
  kind: FailureKind,
  words: readonly string[],
  peerCode: string | undefined,
  problem: Omit<Problem, 'where' | 'known'>,
): PortError {
  return new PortError(
    kind,
    { ...problem, where: { object: `array ${asked.array}` }, known: words },
    { ...(peerCode === undefined ? {} : { peerCode }), peerParams: words },
  );
}

function wordsOf(stderr: string): string[] {
  return stderr
    .split('\n')
    .map((line) => line.trim().slice(0, shownCharacters))
    .filter((line) => line !== '')
    .slice(-shownLines);
}
