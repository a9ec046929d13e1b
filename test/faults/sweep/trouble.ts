/** What may become of a call on a port: nothing, or one of the ways in which real ones fail. */
import { PortError } from '../../../src/domain/errors.ts';
import type { Clock } from '../../../src/ports/system.ts';

export type Trouble =
  /** Never sent. */
  | 'unreachable'
  | 'busy'
  /** Done, and the answer is lost. */
  | 'lost answer'
  /** Not sent, and nobody knows. */
  | 'no answer'
  | 'refused'
  /** Done, an hour late. */
  | 'late'
  /** Done, after which the process dies. */
  | 'crash';

export const everyTrouble: readonly Trouble[] = [
  'unreachable',
  'busy',
  'lost answer',
  'no answer',
  'refused',
  'late',
];

/** The machine died while a call was under way: nothing that follows reaches the world any more. */
export class PowerCut extends Error {}

/** Methods that answer whatever happens, as their ports promise. */
const neverThrow = new Set(['close', 'contact']);

export class Fate {
  /** How many calls there were. */
  calls = 0;
  /** Names of the calls, in order. */
  readonly names: string[] = [];
  dead = false;
  readonly #troubleOf: (call: number, name: string) => Trouble | null;
  readonly #clock: Clock;

  constructor(clock: Clock, troubleOf: (call: number, name: string) => Trouble | null = () => null) {
    this.#clock = clock;
    this.#troubleOf = troubleOf;
  }

  /** The port with every one of its methods under this fate. */
  over<T extends object>(port: T, prefix: string): T {
    return new Proxy(port, {
      get: (target, key) => {
        const value: unknown = Reflect.get(target, key, target);
        if (typeof value !== 'function') return value;
        const method = value as (...given: unknown[]) => Promise<unknown>;
        if (neverThrow.has(String(key))) return method.bind(target);
        return (...given: unknown[]) =>
          this.#call(`${prefix}.${String(key)}`, given.at(-1), () => method.apply(target, given));
      },
    });
  }

  async #call(name: string, signal: unknown, work: () => Promise<unknown>): Promise<unknown> {
    if (this.dead) throw new PowerCut('the machine is off');
    this.calls += 1;
    this.names.push(name);
    const trouble = this.#troubleOf(this.calls, name);
    const failed = (kind: PortError['kind']): PortError =>
      new PortError(kind, { code: 'DR-MODEL', what: `call ${name} met trouble: ${trouble}`, next: 'Look' });
    switch (trouble) {
      case null:
        return work();
      case 'unreachable':
      case 'busy':
      case 'refused':
        throw failed(trouble);
      case 'no answer':
        throw failed('outcome-unknown');
      case 'lost answer':
        await work();
        throw failed('outcome-unknown');
      case 'late': {
        const answer = await work();
        await this.#clock.sleep(3600, signal instanceof AbortSignal ? signal : undefined);
        return answer;
      }
      case 'crash':
        await work();
        this.dead = true;
        throw new PowerCut('the machine is off');
    }
  }
}
