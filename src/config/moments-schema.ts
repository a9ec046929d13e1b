/** Callouts and prompts of a recovery plan, each at its moment. */
import { z } from 'zod';
import { globProblem } from '../domain/glob.ts';
import type { CalloutSettings, Moment, PromptSettings } from '../domain/recovery-plan.ts';
import { complain, duration, name, text } from './fields.ts';

const before = z
  .string()
  .describe('promotion, or tier NAME')
  .meta({ examples: ['promotion', 'tier web'] })
  .transform((written, context): Moment => {
    const tier = /^tier +(\S.*)$/.exec(written)?.[1];
    if (tier !== undefined) return { at: 'before-tier', tier };
    if (written === 'promotion') return { at: 'before-promotion' };
    return complain(
      context,
      `${JSON.stringify(written)} is no moment`,
      'write before: promotion, or before: tier NAME',
    );
  });

const after = z
  .string()
  .describe('storage, tier NAME, or start of VM; the VM may be a glob')
  .meta({ examples: ['storage', 'tier database', 'start of db-01'] })
  .transform((written, context): Moment => {
    const tier = /^tier +(\S.*)$/.exec(written)?.[1];
    if (tier !== undefined) return { at: 'after-tier', tier };
    const vm = /^start of +(\S.*)$/.exec(written)?.[1];
    if (vm !== undefined && globProblem(vm) === null) return { at: 'after-start', vm };
    if (written === 'storage') return { at: 'after-storage' };
    return complain(
      context,
      `${JSON.stringify(written)} is no moment`,
      'write after: storage, after: tier NAME, or after: start of VM',
    );
  });

const moment = {
  before: before.optional(),
  after: after.optional(),
  at: z.literal('end').optional().describe('When every VM is up'),
};

interface WrittenMoment {
  readonly before?: Moment | undefined;
  readonly after?: Moment | undefined;
  readonly at?: 'end' | undefined;
}

function momentOf(written: WrittenMoment): Moment | null {
  const end: Moment | undefined = written.at === undefined ? undefined : { at: 'end' };
  const told = [written.before, written.after, end].flatMap((each) => each ?? []);
  return told.length === 1 ? (told[0] ?? null) : null;
}

const oneMoment = 'write exactly one of before, after and at';

export const callout = z
  .strictObject({
    name: name.describe('Shown in plans and reports'),
    ...moment,
    run: z
      .array(text)
      .min(1)
      .describe('A program of this machine and its arguments; no shell takes them apart'),
    timeout: duration.prefault('5min').describe('How long one try may take; then it is killed'),
    on_failure: z.enum(['stop', 'continue']).describe('What happens to the run when it fails'),
    retries: z.int().min(0).max(20).default(0).describe('Tries after a failure; needs repeatable'),
    repeatable: z
      .boolean()
      .default(false)
      .describe('Running it twice does no harm; otherwise an interrupted call is a question for a person'),
    drill: z.boolean().default(false).describe('Whether drills call it too'),
  })
  .transform((written, context): CalloutSettings => {
    const at = momentOf(written);
    if (at === null) return complain(context, 'the moment of this callout is not clear', oneMoment);
    if (written.retries > 0 && !written.repeatable) {
      return complain(
        context,
        'a retry runs the program again, and nobody said that it may run twice',
        'write repeatable: true if it may, or remove retries',
      );
    }
    return {
      name: written.name,
      moment: at,
      argv: written.run,
      timeoutSeconds: written.timeout,
      onFailure: written.on_failure,
      retries: written.retries,
      repeatable: written.repeatable,
      inDrill: written.drill,
    };
  });

export const prompt = z
  .strictObject({
    name: name.describe('Shown in plans and reports'),
    ...moment,
    question: text.describe('What a person is asked; yes goes on, no stops the run'),
    timeout: duration.describe('How long an answer is waited for'),
    default: z.enum(['continue', 'stop']).describe('What counts when nobody answers in time'),
    drill: z.boolean().default(true).describe('Whether drills ask it too'),
  })
  .transform((written, context): PromptSettings => {
    const at = momentOf(written);
    if (at === null) return complain(context, 'the moment of this prompt is not clear', oneMoment);
    return {
      name: written.name,
      moment: at,
      question: written.question,
      timeoutSeconds: written.timeout,
      byDefault: written.default,
      inDrill: written.drill,
    };
  });
