/**
 * A fault: which calls it meets and what happens to them. The JSON form is the one of `lifeboat lab fault`:
 *
 *     {"pool": "dr", "method": "VM.start", "nth": 3, "effect": {"kind": "lose-answer"}}
 *     {"path": "/import_metadata", "effect": {"kind": "vanish-task"}}
 *     {"pool": "dr", "effect": {"kind": "kill-site"}}
 *
 * A rule without method and path happens at once. Every text may hold `*`.
 */
import { z } from 'zod';

const text = z.string().min(1);

const action = z.discriminatedUnion('kind', [
  /** Answers with an error of XenAPI instead of doing the work. */
  z.strictObject({ kind: z.literal('error'), code: text, params: z.array(z.string()).default([]) }),
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
  /** The task of the call stays pending for so long before the work begins. Waits as well where there is no task. */
  z.strictObject({ kind: z.literal('slow-task'), seconds: z.number().nonnegative() }),
  /** The record of the task is gone when somebody asks for it; `done` tells whether the work was done. */
  z.strictObject({ kind: z.literal('vanish-task'), done: z.boolean().default(true) }),
  /** Resets the connection after so many bytes of the body: of the answer for GET, of the request for PUT. */
  z.strictObject({ kind: z.literal('reset'), afterBytes: z.number().int().nonnegative().default(0) }),
  /** Another host becomes master: every session and task is gone, the old master answers HOST_IS_SLAVE. */
  z.strictObject({
    kind: z.literal('change-master'),
    to: text.optional(),
    when: z.enum(['before', 'after']).default('before'),
  }),
  /** The toolstack of the master starts anew: sessions and tasks are gone, connections break. */
  z.strictObject({
    kind: z.literal('restart-toolstack'),
    when: z.enum(['before', 'after']).default('before'),
  }),
  /** The site burns: hosts stop answering, guests stop, arrays go away. */
  z.strictObject({ kind: z.literal('kill-site'), when: z.enum(['before', 'after']).default('before') }),
  /** From now on the SR (name or uuid) has no room: whatever allocates there fails. */
  z.strictObject({ kind: z.literal('fill-sr'), sr: text }),
  /** From now on the host (name or uuid) cannot plug a PBD, of this SR or of any. */
  z.strictObject({
    kind: z.literal('refuse-plug'),
    host: text,
    sr: text.optional(),
    code: text.default('SR_BACKEND_FAILURE_47'),
    params: z.array(z.string()).default(['', 'The SR is not available', '']),
  }),
  /** From now on the host (name or uuid; all hosts when absent) breaks off every TLS handshake. */
  z.strictObject({ kind: z.literal('refuse-tls'), host: text.optional() }),
]);

export const faultSchema = z.strictObject({
  /** A name to remove it by; made when absent. */
  id: text.optional(),
  pool: text.optional(),
  /** Name, address or uuid of the host that receives the call. */
  host: text.optional(),
  /** `Class.method`; `Async.Class.method` counts as the same. */
  method: text.optional(),
  /** Path of an HTTP handler, such as `/import_metadata`. */
  path: text.optional(),
  /** Only the Async form, or only the plain form. */
  async: z.boolean().optional(),
  /**
   * Only calls whose parameters are so. The name is a parameter's, with fields after dots; a reference is followed.
   * It fits when text, uuid or name are equal: `{"self.SR": "lun 7", "args.host": "tokyo2"}`. For HTTP handlers: the query.
   */
  where: z.record(z.string(), z.string()).optional(),
  /** The n-th matching call from now, counted from 1. */
  nth: z.number().int().positive().default(1),
  /** How many calls from there on, or `always`. */
  times: z.union([z.number().int().positive(), z.literal('always')]).default(1),
  effect: action,
});

/** As written by people. */
export type FaultInput = z.input<typeof faultSchema>;
export type FaultRule = z.output<typeof faultSchema>;
export type FaultAction = FaultRule['effect'];

/** Faults that change the world instead of one call; without method and path they happen at once. */
const ofTheWorld = new Set<FaultAction['kind']>([
  'change-master',
  'restart-toolstack',
  'kill-site',
  'fill-sr',
  'refuse-plug',
  'refuse-tls',
]);

export function changesWorld(action: FaultAction): boolean {
  return ofTheWorld.has(action.kind);
}

/** Reads the JSON form; throws an Error whose message lists every problem, one line each. */
export function parseFault(input: unknown): FaultRule {
  const result = faultSchema.safeParse(input);
  if (!result.success) {
    const problems = result.error.issues.map((i) => `${i.path.join('.') || 'fault'}: ${i.message}`);
    throw new Error(problems.join('\n'));
  }
  const rule = result.data;
  if (rule.method === undefined && rule.path === undefined && !changesWorld(rule.effect)) {
    throw new Error(`fault: ${rule.effect.kind} needs a method or a path`);
  }
  return rule;
}

/** `VM.*` against `VM.start`, without regard to capitals. */
export function fits(pattern: string, value: string): boolean {
  const source = pattern
    .split('*')
    .map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'))
    .join('.*');
  return new RegExp(`^${source}$`, 'i').test(value);
}
