/**
 * What an array can be told to do wrong (storage.md C.14). The JSON form is the one of `lifeboat lab fault`, there with
 * the name of the array beside it:
 *
 *     {"verb": "promote", "effect": {"kind": "lose-answer"}}
 *     {"verb": "syncNow", "volume": "gold", "times": 3, "effect": {"kind": "error", "code": "busy"}}
 *     {"effect": {"kind": "skew-clock", "seconds": 600}}
 *
 * Verbs have the names of the replication port. A rule without a verb lasts until `clear`.
 */
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { fits } from '../faults/rule.ts';
import { ArrayDied } from './volume.ts';

const text = z.string().min(1);

const effect = z.discriminatedUnion('kind', [
  /** Refuses instead of doing the work. */
  z.strictObject({
    kind: z.literal('error'),
    code: z.enum(['not-found', 'busy', 'wrong-state', 'refused', 'link-down']),
    message: text.default('the array was told to refuse'),
  }),
  /** Does the work and closes the connection without an answer. */
  z.strictObject({ kind: z.literal('lose-answer') }),
  /** Closes the connection without having done anything. */
  z.strictObject({ kind: z.literal('drop') }),
  /** Waits before the work, or between the work and the answer. */
  z.strictObject({
    kind: z.literal('delay'),
    seconds: z.number().nonnegative(),
    when: z.enum(['before', 'after']).default('before'),
  }),
  /** Dies between two steps of `prepare`, `promote`, `reverse` or `drillStart`: what was done until there stays. */
  z.strictObject({ kind: z.literal('die-halfway') }),
  /** Claims health, link and no lag, whatever is true. */
  z.strictObject({ kind: z.literal('lie') }),
  /** The clock is off. */
  z.strictObject({ kind: z.literal('skew-clock'), seconds: z.number() }),
  /** Transfers that start stay under way. */
  z.strictObject({ kind: z.literal('hold-transfers') }),
]);

const lasting = new Set<ArrayEffect['kind']>(['lie', 'skew-clock', 'hold-transfers']);

const ruleSchema = z
  .strictObject({
    id: text.optional(),
    /** Name of the port's verb; may hold `*`. */
    verb: text.optional(),
    volume: text.optional(),
    /** The n-th matching call from now, counted from 1. */
    nth: z.number().int().positive().default(1),
    times: z.union([z.number().int().positive(), z.literal('always')]).default(1),
    effect,
  })
  .refine((rule) => (rule.verb === undefined) === lasting.has(rule.effect.kind), {
    message: 'lie, skew-clock and hold-transfers last and have no verb; every other effect needs one',
  });

export type ArrayFaultInput = z.input<typeof ruleSchema>;
export type ArrayEffect = z.output<typeof effect>;

export interface ActiveArrayFault {
  readonly id: string;
  readonly rule: z.output<typeof ruleSchema>;
  matched: number;
  fired: number;
}

export class ArrayFaults {
  readonly #faults = new Map<string, ActiveArrayFault>();
  #held: { readonly over: Promise<void>; readonly release: () => void } | null = null;

  /**
   * Puts a fault in force and returns its id.
   *
   * @throws Error that lists every problem of the rule, one line each
   */
  add(input: unknown): string {
    const parsed = ruleSchema.safeParse(input);
    if (!parsed.success)
      throw new Error(
        parsed.error.issues.map((i) => `${i.path.join('.') || 'fault'}: ${i.message}`).join('\n'),
      );
    const rule = parsed.data;
    const id = rule.id ?? randomUUID().slice(0, 8);
    if (this.#faults.has(id)) throw new Error(`a fault is already called ${id}`);
    this.#faults.set(id, { id, rule, matched: 0, fired: 0 });
    if (rule.effect.kind === 'hold-transfers' && this.#held === null) this.#held = gate();
    return id;
  }

  get active(): readonly ActiveArrayFault[] {
    return [...this.#faults.values()];
  }

  remove(id: string): boolean {
    const removed = this.#faults.delete(id);
    this.#releaseUnlessHeld();
    return removed;
  }

  clear(): void {
    this.#faults.clear();
    this.#releaseUnlessHeld();
  }

  #releaseUnlessHeld(): void {
    if (this.#last('hold-transfers') !== null) return;
    this.#held?.release();
    this.#held = null;
  }

  /** Counts a call and returns what happens to it, in the order of the rules. */
  meet(verb: string, volume: string | null): ArrayEffect[] {
    return this.#fire(verb, volume, (kind) => kind !== 'die-halfway');
  }

  /** @throws ArrayDied when a rule says that this verb dies here */
  halfway(verb: string, volume: string): void {
    if (this.#fire(verb, volume, (kind) => kind === 'die-halfway').length > 0) throw new ArrayDied();
  }

  #fire(verb: string, volume: string | null, of: (kind: ArrayEffect['kind']) => boolean): ArrayEffect[] {
    const effects: ArrayEffect[] = [];
    for (const fault of this.#faults.values()) {
      const { rule } = fault;
      if (rule.verb === undefined || !of(rule.effect.kind) || !fits(rule.verb, verb)) continue;
      if (rule.volume !== undefined && (volume === null || !fits(rule.volume, volume))) continue;
      fault.matched += 1;
      const past = rule.times === 'always' ? Number.POSITIVE_INFINITY : rule.nth + rule.times;
      if (fault.matched < rule.nth || fault.matched >= past) continue;
      fault.fired += 1;
      effects.push(rule.effect);
    }
    return effects;
  }

  get lies(): boolean {
    return this.#last('lie') !== null;
  }

  get clockSkewSeconds(): number {
    const skew = this.#last('skew-clock');
    return skew?.kind === 'skew-clock' ? skew.seconds : 0;
  }

  get holdsTransfers(): boolean {
    return this.#held !== null;
  }

  /** Returns once no rule holds transfers. */
  async untilReleased(signal: AbortSignal): Promise<void> {
    if (this.#held === null) return;
    const { over } = this.#held;
    const { promise: stopped, reject } = Promise.withResolvers<never>();
    const stop = (): void => reject(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    try {
      if (signal.aborted) stop();
      await Promise.race([over, stopped]);
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  #last(kind: ArrayEffect['kind']): ArrayEffect | null {
    const found = [...this.#faults.values()].findLast(({ rule }) => rule.effect.kind === kind);
    return found?.rule.effect ?? null;
  }
}

function gate(): { readonly over: Promise<void>; readonly release: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { over: promise, release: resolve };
}
