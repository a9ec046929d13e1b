/** The words of a filer's programs, which end with 1 for nearly everything, as kinds of errors. */
import { type FailureKind, PortError, type Problem } from '../../../domain/errors.ts';
import type { RemoteResult } from '../../ssh/remote.ts';
import type { Explain } from './filer.ts';

export interface Meaning {
  readonly words: RegExp;
  readonly kind: FailureKind;
  readonly code: Problem['code'];
  readonly next: string;
}

/** What fits none of the meanings is a refusal with the filer's own words. */
export function explainBy(meanings: readonly Meaning[]): Explain {
  return (where, program, result: RemoteResult) => {
    const words = (result.stderr === '' ? result.stdout : result.stderr).trim();
    const end = `${result.code ?? result.signal}`;
    const meaning = meanings.find((one) => one.words.test(words));
    return new PortError(
      meaning?.kind ?? 'refused',
      {
        code: meaning?.code ?? 'DR-ARRAY-REFUSED',
        what: `${program} failed`,
        where: { object: where },
        known: words === '' ? [`it ended with ${end}`] : words.split('\n').slice(-3),
        next:
          meaning?.next ?? 'Compare the pair in sites.yaml with what the filer shows, then make a new plan',
      },
      { peerCode: `${program}: ${end}`, peerParams: [words] },
    );
  };
}
